//! Outages of the database.
//! Owns: what kinds there are.
//! Must not know: which error of which database means which kind.

/// Why the database cannot be used for now. The operator may have to act; the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// It cannot be reached, does not respond, or gave up.
    #[error("the database is unavailable")]
    Unreachable,
    /// Other writers held the same records for too long, or met this one in a deadlock.
    #[error("the database is busy")]
    Busy,
    /// It accepts no writes: a standby, or a server that was made read-only.
    #[error("the database is read-only")]
    ReadOnly,
    /// Our role lacks a right, or may not connect.
    #[error("the database denies access")]
    Denied,
    /// There is no space left to store anything.
    #[error("the database is full")]
    Full,
}
