//! Creating, changing and deleting providers: the same for the HTTP API, MCP discovery, the demo and the command line.
//! Owns: what a provider may be. Each change is one transaction.
//! Must not know: where a draft comes from.

pub mod change;
pub mod check;
pub mod check_catalog;
pub mod create;
mod definition;
pub mod delete;
pub mod draft;
mod endpoints;
pub mod list;
pub mod mcp;
mod metadata;
