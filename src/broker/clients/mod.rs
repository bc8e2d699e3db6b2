//! Our client at an authorization server.

pub mod redirect_uri;
