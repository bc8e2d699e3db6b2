//! How a person, or our client itself, gets a grant: authorization requests, their exchange, and waiting for them.
//! Owns: what happens between the first request for consent and the stored token.
//! Must not know: pages, or what happens to the token later.

pub mod account;
pub mod authorization;
mod callback_parameters;
pub mod client_credentials;
pub mod completion;
pub mod confirmation;
pub mod device;
pub mod exchange;
pub mod interaction;
pub mod link;
pub mod request;
pub mod state;
pub mod static_key;
pub mod under_way;
pub mod wait;
