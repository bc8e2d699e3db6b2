//! Jobs: what a server does without a caller.
//! Owns: when each runs, and how much it does at a time.
//! Must not know: the rules it applies; those are in the other rooms.

pub mod audit;
pub mod device_polls;
pub mod encryption_keys;
pub mod ended;
pub mod ending;
pub mod exclusive;
pub mod keep_alive;
pub mod reseal;
pub mod resume;
pub mod schedule;
pub mod stock;
pub mod sweep;
pub mod usage;
pub mod webhooks;
