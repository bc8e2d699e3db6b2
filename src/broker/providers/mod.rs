//! Creating and changing providers.

pub mod mcp;
