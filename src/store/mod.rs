//! The store: what is stored, on PostgreSQL or SQLite, and the promises that hold on both.
//! Owns: SQL, sealing of secrets, and the scope (organization and workspace) in every statement.
//! Must not know: HTTP, authorization servers, who may do what.
//!
//! The contract of every function here:
//! - it acts inside one tenant; what belongs to another does not exist for it;
//! - what it reported as written is durable;
//! - one-time things (a state, a lease) are taken by one statement, so that one caller gets them;
//! - secrets go in and come out as `SecretString`; the database holds them sealed for their row.

mod api_keys;
pub mod audit;
pub mod authorization_requests;
mod client;
pub mod connect_links;
mod connections;
pub mod console_people;
pub mod console_sessions;
pub mod db;
pub mod deletions;
pub mod encryption_keys;
pub mod error;
pub mod exported_grants;
pub mod handle;
pub mod imported_grants;
mod inserts;
mod installation;
mod jobs;
pub mod joined_reads;
mod key_check;
mod key_limits;
mod links;
pub mod notify;
mod pooler;
pub mod postgres;
mod providers;
mod reads;
mod reported_events;
pub mod revocations;
mod seal;
mod sealed_rows;
mod sqlite;
pub mod stock;
mod token_changes;
pub mod tokens;
pub mod webhooks;
