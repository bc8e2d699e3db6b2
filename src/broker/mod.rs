//! What a broker does: authenticate, begin and complete an authorization, keep tokens fresh, revoke them, keep providers.
//! Owns: the rules. Each function reads as the sentence in its doc comment.
//! Must not know: HTTP status codes, SQL, the wire of authorization servers.
//!
//! The rooms, from the bottom: what everything works with (`context` and below), `clients` (our client at a server),
//! `tokens` (grants that exist), `providers` and `consent` (how grants are obtained), `authenticate`, `transfer` (grants
//! that come from elsewhere or go there), `jobs`.

pub mod audit;
pub mod authenticate;
mod backoff;
pub mod clients;
pub mod connect_links;
pub mod connections;
pub mod consent;
pub mod context;
pub mod error;
pub mod handouts;
pub mod jobs;
pub mod key_ring;
pub mod limits;
pub mod notifications;
pub mod open;
mod pace;
pub mod pending;
mod persist;
pub mod providers;
pub mod refusals;
pub mod rotation;
pub mod rules;
pub mod sights;
pub mod tokens;
pub mod transfer;
pub mod trial;
pub mod usage;
pub mod webhooks;
