//! Nouns that several layers share.
//! Owns: what a record is, in types. A type moves here when a second layer needs it.
//! Must not know: databases, the wire, or any I/O.

pub mod actor;
pub mod agent_connection;
pub mod api_key;
pub mod audit;
pub mod authorization_request;
pub mod client;
pub mod connect_link;
pub mod consent;
pub mod console_person;
pub mod failure;
pub mod grant;
pub mod handed_out;
pub mod key_limits;
pub mod moved_grant;
pub mod options;
pub mod outage;
pub mod provider;
pub mod quirks;
pub mod subject;
pub mod token;
pub mod token_state;
pub mod web_address;
pub mod webhook;
