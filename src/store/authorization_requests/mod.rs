//! Authorization requests: one attempt each to get a person's consent.
//! Owns: the table `authorization_requests`; that a state is taken once.
//! Must not know: what an authorization URL looks like, or what a code is exchanged for.

mod interaction;
pub(in crate::store) mod outcome;
mod polls;
pub mod row;
mod take;
