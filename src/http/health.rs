//! Whether the server is alive and ready, and its metrics.
//! Owns: `/livez`, `/readyz`, `/ok`, `/metrics`.
//! Must not know: tenants.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{app::App, error::ApiError};
use crate::telemetry::metrics::{self, METRICS};

/// The process responds.
pub async fn livez() -> &'static str {
    "ok"
}

/// The health check of the hosted service's clients.
pub async fn ok() -> Json<Value> {
    Json(json!({"ok": true}))
}

/// The database responds, and the server is not stopping.
pub async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.leaving.load(Ordering::Relaxed) || app.broker.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    match app.broker.ping().await {
        Ok(()) => (StatusCode::OK, "ready"),
        Err(error) => {
            tracing::warn!(event = "server.not_ready", %error, "the database does not respond");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not respond")
        }
    }
}

/// The metrics, in the text format of Prometheus. No label names a tenant or a user.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<impl IntoResponse, ApiError> {
    app.broker.measure();
    // A task that may block: the operating system is asked about every open file.
    let text = spawn_blocking(|| METRICS.render()).await.map_err(|_| ApiError::Internal)?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}
