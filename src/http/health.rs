//! Whether the server lives and is ready, and its figures.
//! Owns: `/livez`, `/readyz`, `/ok`, `/metrics`.
//! Must not know: anything of tenants.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use crate::{app::App, telemetry};

/// The process answers.
pub async fn livez() -> &'static str {
    "ok"
}

/// What clients of the hosted service ask for.
pub async fn ok() -> Json<Value> {
    Json(json!({"ok": true}))
}

/// The database answers, and the server is not stopping.
pub async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    match app.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
        }
    }
}

/// The figures, in the text format of Prometheus. No tenant, user or provider is named in them.
pub async fn metrics() -> String {
    telemetry::metrics()
}
