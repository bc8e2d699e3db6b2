//! How a person, or our client itself, comes to a grant: authorization requests, their exchange, and waiting for them.

pub mod account;
pub mod authorization;
pub mod client_credentials;
pub mod device;
pub mod exchange;
pub mod static_key;
pub mod wait;
