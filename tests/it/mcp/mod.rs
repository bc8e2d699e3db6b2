//! MCP servers: discovery, client registration and their limits.

mod clients;
mod discovery;
mod hostile;
mod limits;
