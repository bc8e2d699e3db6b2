//! What people's browsers see: the page before a consent, callbacks, the page for a static key, and the pages themselves.
//! Owns: pages and redirects.
//! Must not know: the rules of the broker.

pub mod callback;
pub mod client_metadata;
pub mod connect;
pub(crate) mod cookie;
pub mod key_entry;
pub mod languages;
pub mod logo;
pub mod message;
pub mod pages;
pub mod start;
pub mod view;
