//! Requests that are refused with 422: which faults are named, and the limits of what is accepted.

mod bodies;
mod limits;
mod snapshot;
