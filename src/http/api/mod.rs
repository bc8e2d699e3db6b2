//! The API: one resource a file. A handler only translates: body in, one broker call, body out.
//! Owns: the shapes on the wire.
//! Must not know: the rules of the broker.

pub mod admin_tokens;
pub mod audit;
pub mod authenticate;
pub mod confirm;
pub mod connect_links;
pub mod connections;
pub mod events;
pub mod finalize;
pub mod mcp;
pub mod provider_bodies;
pub mod provider_response;
pub mod providers;
pub mod token_state;
pub mod tokens;
pub mod wait;
pub mod webhooks;
