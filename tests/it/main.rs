//! The integration suite: what agent-auth promises from the outside, on SQLite and on PostgreSQL.
//! Owns every promise as a test that is named after it.
//! Must not know how a promise is kept: only requests, command lines, and what lies in the database.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on panics, and looks at clock, database and environment from outside"
)]

mod api;
mod support;

mod accounts;
mod accounts_userinfo;
mod address_guard;
mod addresses;
mod agents;
mod authenticate;
mod authorization_url;
mod callers;
mod catalog;
mod catalog_flows;
mod client_authentication;
mod client_credentials;
mod command_line;
mod consent;
mod crashes;
mod crowds;
mod devices;
mod errors;
mod failed_token_responses;
mod faults;
mod isolation;
mod keep_alive;
mod limits;
mod mcp_clients;
mod mcp_discovery;
mod mcp_hostile;
mod mcp_limits;
mod openapi;
mod pages;
mod prefixes;
mod provider_catalog_commands;
mod provider_commands;
mod providers;
mod races;
mod refresh;
mod refused_consent;
mod replicas;
mod restarts;
mod revocation;
mod revocation_races;
mod revocation_wire;
mod secrecy;
mod serving;
mod single_flight;
mod slack;
mod soak;
mod static_keys;
mod stored_types;
mod sweep;
mod token_responses;
mod token_state;
mod tokens;
mod upstream_faults;
mod usage;
mod validation;
mod wait;
