//! API keys, roles and users, and the isolation of workspaces.

mod callers;
mod isolation;
