//! MCP servers: discovery, client registration and their limits.

mod clients;
mod discovered_text;
mod discovery;
mod hostile;
mod limits;
