//! `/console`: the pages on which operators see and change what a workspace has. Every page works without JavaScript.
//! Owns: signing in, the pages and their forms.
//! Must not know: the rules of the broker. A page shows and changes nothing that its API key could not through the API.

pub mod add_mcp;
pub mod add_provider;
pub mod audit;
mod chart;
pub mod connections;
pub mod edit_provider;
pub mod events;
pub mod failure;
pub(in crate::http) mod form;
mod frame;
pub mod keys;
mod langsmith;
pub mod openid;
pub mod overview;
pub(crate) mod page;
pub mod providers;
pub mod requests;
pub mod revoke_many;
pub mod session;
pub mod settings;
pub mod sign_in;
pub mod tried;
pub mod try_provider;
pub mod verify_audit;
pub(in crate::http) mod words;
