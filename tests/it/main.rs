//! The integration suite: what agent-auth promises from the outside, on SQLite and on PostgreSQL.
//! Each promise is a test named after it, checked by requests, command lines and reads of the database.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on panics, and looks at clock, database and environment from outside"
)]

mod support;

mod api;
mod audit;
mod consent;
mod console;
mod identity;
mod keys;
mod mcp;
mod memory;
mod people;
mod providers;
mod refresh;
mod revocation;
mod server;
mod transfer;
mod webhooks;
