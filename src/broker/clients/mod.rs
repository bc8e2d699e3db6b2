//! Our client at an authorization server: where people come back to, how the client is registered, and whether it works.
//! Owns: the client's life.
//! Must not know: what tokens it gets.

pub mod health;
pub mod redirect_uri;
pub mod registration;
