//! The reads of the hot path, which the handle shares among callers.
//! Owns: their statements, and what is remembered for them.
//! Must not know: how a token is opened, or which one is preferred.

mod generations;
pub(super) mod provider_names;
pub(super) mod remembered;
pub(super) mod shared;
pub(super) mod statements;
pub(super) mod stored_token;
