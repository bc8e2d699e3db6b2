//! What is between this server and PostgreSQL, checked at start.
//! Owns: that the settings say whether sessions are shared. A wrong setting would mix up statements, or lose every
//! notification.
//! Must not know: what the connections are used for.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    error::StoreError,
    postgres::{Postgres, PostgresLocation, in_time},
};

const UNMENTIONED: &str = "AGENT_AUTH_DATABASE_URL leads to a pooler in transaction mode. Set \
    AGENT_AUTH_DATABASE_POOLER=transaction, and AGENT_AUTH_LISTEN_DATABASE_URL to the same database without the pooler";
/// How long a notification may take.
const NOTIFIED_WITHIN: Duration = Duration::from_secs(5);

/// Refuses a pooler that the settings do not mention, and a session that receives no notifications. `own` is a connection
/// that should have a session of its own. Nothing is written before: a lock that one session took cannot be released by
/// another.
pub(super) async fn check(
    postgres: &Postgres,
    location: &PostgresLocation,
    own: &mut PgConnection,
) -> Result<(), StoreError> {
    let refused = |problem: &str| Err(StoreError::Location(problem.to_owned()));
    if sessions_are_shared(own, &mut postgres.own_session().await?).await? {
        return refused(match location.listen_url {
            Some(_) => {
                "AGENT_AUTH_LISTEN_DATABASE_URL leads to a pooler in transaction mode. Set it to the same database without \
                 the pooler"
            }
            None => UNMENTIONED,
        });
    }
    if location.listen_url.is_none() {
        return Ok(());
    }
    if !location.shares_sessions {
        let (mut one, mut other) = (postgres.connect_like_the_pool().await?, postgres.connect_like_the_pool().await?);
        if sessions_are_shared(&mut one, &mut other).await? {
            return refused(UNMENTIONED);
        }
    }
    if !receives_notifications(postgres).await? {
        return refused(
            "AGENT_AUTH_LISTEN_DATABASE_URL: a notification that was sent over AGENT_AUTH_DATABASE_URL did not arrive. Set \
             it to the same database",
        );
    }
    Ok(())
}

/// Whether two connections share a session: seen by the server processes that they lead to.
async fn sessions_are_shared(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, StoreError> {
    let compared = in_time(async {
        let before = server_process(one).await?;
        // Keeps its session, so that the first one is given another one now.
        other.execute("BEGIN").await?;
        let held = server_process(other).await?;
        let after = server_process(one).await?;
        other.execute("ROLLBACK").await?;
        Ok(before == held || before != after)
    });
    Ok(compared.await?)
}

async fn server_process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    // As text: a prepared statement would be lost, or be another's.
    connection.fetch_one("SELECT pg_backend_pid()").await?.try_get(0)
}

/// Whether what is sent over connections like those of the pool arrives in a session that listens.
async fn receives_notifications(postgres: &Postgres) -> Result<bool, StoreError> {
    let channel = format!("agent_auth_start_{}", Uuid::new_v4().simple());
    let mut listener = postgres.listen(&[&channel]).await?;
    let notify = AssertSqlSafe(format!("NOTIFY {channel}"));
    in_time(postgres.connect_like_the_pool().await?.execute(notify)).await?;
    match timeout(NOTIFIED_WITHIN, listener.recv()).await {
        Ok(received) => Ok(received.map(|_| true)?),
        Err(_) => Ok(false),
    }
}
