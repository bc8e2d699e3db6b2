//! What happens to a stored grant: it is kept fresh, reported, explained, revoked.
//! Owns: the rules for tokens that exist.
//! Must not know: how a person consents.

pub mod expiry;
pub mod explain;
pub mod fresh;
pub mod list;
pub mod refresh;
pub mod report;
pub mod response;
pub mod revoke;
pub mod workspace;
