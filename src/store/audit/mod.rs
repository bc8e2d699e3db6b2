//! The audit log: what was done, added to a chain of its organization in the transaction that does it.
//! Owns: the tables `audit_events` and `audit_heads`.
//! Must not know: what an event means, or who reads it.
//!
//! The row of `audit_heads` is locked from the first statement of an append to the end of its transaction, so the
//! writers of one organization take turns: on whichever replica, each finds the hash of the event before its own, and
//! the numbers have no gap. An append is the last thing that its transaction does: the turns are short, and writers that
//! lock rows of other tables never wait for each other in a circle.

pub mod append;
pub mod chain;
mod columns;
pub mod hours;
pub mod read;
mod retention;
