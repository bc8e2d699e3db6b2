//! Refreshing stored tokens: when it happens, that it happens once, and what failures cost.

mod dead_grants;
mod expires_at;
mod faults;
mod keep_alive;
mod single_flight;
mod when_due;
