//! agent-auth: a self-hosted OAuth token broker for AI agents.
//!
//! Module map; imports go from left to right only: `cli`, `demo` -> `server` -> `http` -> `broker`, `identity` ->
//! `oauth`, `vault`, `store` -> `outbound`, `model`. `tests/architecture.rs` checks it.
//!
//! `POST /v2/auth/authenticate`: `http/mod.rs` (the route) -> `http/api/authenticate.rs` (body, caller, response) ->
//! `broker/authenticate.rs` (choose a token, refresh it or begin) -> `store/tokens/usable.rs`; when a token is due,
//! `broker/tokens/refresh.rs` -> `oauth/token.rs`; without a token, `broker/consent/authorization.rs` ->
//! `oauth/authorize.rs`.
//!
//! `GET /host-oauth-callback/{provider_id}`: `http/mod.rs` -> `http/browser/callback.rs` ->
//! `broker/consent/exchange.rs` (`complete`: the state is taken, the waiters are woken) -> `oauth/token.rs` (the code is
//! exchanged; no connection or lock is held) -> `store/tokens/grant.rs` (the token is stored).

pub mod broker;
pub mod catalog;
pub mod cipher;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod formats;
pub mod http;
pub mod identity;
pub mod model;
pub mod oauth;
pub mod outbound;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod terminal;
pub mod vault;
