//! The exchange of an authorization code for a token.

mod characters;
mod client_authentication;
mod failures;
mod responses;
