//! The wire of authorization servers: what we send, and what we make of what comes back.
//! Owns: one file an endpoint of the RFCs.
//! Must not know: the store, who a token is for, HTTP status codes of our own.

pub mod account;
pub mod alive;
pub mod authorize;
pub mod callback_signature;
pub mod challenge;
mod client_authentication;
pub mod device;
pub mod discovery;
mod lifetime;
pub mod metadata;
pub mod openid;
pub mod probe;
pub mod redaction;
pub mod registration;
pub mod revocation;
pub mod scopes;
pub mod token;
pub mod token_response;
pub mod userinfo;
