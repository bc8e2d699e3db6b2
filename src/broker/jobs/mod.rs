//! Background work.

pub mod keep_alive;
pub mod resume;
pub mod schedule;
pub mod sweep;
