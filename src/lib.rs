//! agent-auth: a self-hosted OAuth token broker for AI agents.
//!
//! The map. Knowledge goes one way: `http` -> `broker` -> `oauth` and `store`.
//!
//! `POST /v2/auth/authenticate`: `http/mod.rs` (the route) -> `http/authenticate.rs` (body, caller, answer) ->
//! `broker/authenticate.rs` (which token; refresh; begin) -> `store/tokens.rs`, and when a token is due
//! `broker/refresh.rs` -> `oauth/token.rs`, when there is none `broker/authorization.rs` -> `oauth/authorize.rs`.
//!
//! `GET /host-oauth-callback/{provider_id}`: `http/mod.rs` -> `http/callback.rs` -> `broker/authorization.rs`
//! (`complete`) -> `store/authorization_requests.rs` (the state is taken) -> `oauth/token.rs` (the code is exchanged,
//! with nothing held) -> `store/grants.rs` (the token is kept) -> `broker/waiters.rs` (wake) -> `http/pages`.

pub mod app;
pub mod broker;
pub mod catalog;
pub mod cipher;
pub mod cli;
pub mod client_authentication;
pub mod clock;
pub mod config;
pub mod demo;
pub mod http;
pub mod identity;
pub mod oauth;
pub mod provider_options;
pub mod serve;
pub mod store;
pub mod telemetry;
