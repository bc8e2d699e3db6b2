//! The exchange of an authorization code for a token.

mod client_authentication;
mod failures;
mod responses;
