//! The yardsticks: the least that can answer such a request. They check no key, open no secret and count nothing.
//! Owns: two bare axum handlers. One says hello; the other parses the same body and reads one row of two tables by their
//! indexes, on a connection that is not tested before.
//! Must not know: the library.
#![expect(clippy::disallowed_methods, reason = "what is compared with is bare sqlx")]

use std::{io::Write, net::Ipv4Addr, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What makes this program the yardstick.
pub const ARGUMENT: &str = "yardstick";
pub const SELECT: &str = "/select";
pub const HELLO: &str = "/hello";
pub const GREETING: &str = "hello";
/// As many as the server holds.
const CONNECTIONS: u32 = 8;

struct Yardstick {
    pool: PgPool,
    organization: String,
    workspace: String,
}

#[derive(Deserialize)]
struct Ask {
    provider: String,
    #[expect(dead_code, reason = "parsed, as it must be")]
    scopes: Vec<String>,
    user_id: String,
}

#[derive(Serialize, sqlx::FromRow)]
struct Row {
    id: Uuid,
    expires_at: Option<DateTime<Utc>>,
}

/// Serves for ever, and tells its address on the first line of standard output.
pub async fn serve(database_url: &str) -> anyhow::Result<()> {
    let pool =
        PgPoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false).connect(database_url).await?;
    let (organization, workspace): (String, String) =
        sqlx::query_as("SELECT organization_id, workspace_id FROM installation").fetch_one(&pool).await?;
    let yardstick = Arc::new(Yardstick { pool, organization, workspace });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    let router = Router::new().route(SELECT, post(select)).route(HELLO, post(async || GREETING)).with_state(yardstick);
    Ok(axum::serve(listener, router).await?)
}

async fn select(State(yardstick): State<Arc<Yardstick>>, Json(ask): Json<Ask>) -> Result<Json<Row>, StatusCode> {
    sqlx::query_as(
        "SELECT t.id, t.expires_at FROM providers p JOIN tokens t ON t.provider = p.id
         WHERE p.organization_id = $1 AND p.workspace_id = $2 AND p.provider_id = $3 AND t.user_id = $4",
    )
    .bind(&yardstick.organization)
    .bind(&yardstick.workspace)
    .bind(&ask.provider)
    .bind(&ask.user_id)
    .fetch_one(&yardstick.pool)
    .await
    .map(Json)
    .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
