//! Outbound requests: everything this server sends to other servers.
//! Owns: time-outs, the size limit, the address guard, and that no redirect is followed.
//! Must not know: what is requested, or why.

pub mod address;
pub mod client;
