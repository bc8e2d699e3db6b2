//! Which tokens should be refreshed in the background.
//! Owns: the statements that find them, over all tenants.
//! Must not know: the settings behind the times it is given, or how a refresh is done.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::subject::Tenant,
    store::{error::StoreError, handle::Store},
};

/// Which tokens are excluded in any case, as points in time.
#[derive(Clone, Copy, Debug)]
pub struct RefreshFilter {
    /// Those whose cool-down ends after this.
    pub now: DateTime<Utc>,
    /// Those that were refreshed, or failed to be, after this.
    pub since: DateTime<Utc>,
}

/// Which tokens are about to expire while they are in use, as points in time.
#[derive(Clone, Copy, Debug)]
pub struct InUse {
    /// Due before this.
    pub due_before: DateTime<Utc>,
    /// No token that was handed out lately was due before this.
    pub due_since: DateTime<Utc>,
    /// Handed out after this.
    pub used_since: DateTime<Utc>,
}

/// Which refresh tokens are about to expire, as points in time.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Because they are idle: last used before this.
    pub idle_since: DateTime<Utc>,
    /// They expire before this ...
    pub ends_before: DateTime<Utc>,
    /// ... and were last used before this.
    pub tried_before: DateTime<Utc>,
}

/// A token to refresh.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Whose it is.
    pub tenant: Tenant,
    /// The token.
    pub token: Uuid,
    /// The provider's record.
    pub provider: Uuid,
    /// The generation it was found in.
    pub generation: i64,
}

#[derive(sqlx::FromRow)]
struct CandidateRow {
    organization_id: String,
    workspace_id: String,
    id: Uuid,
    provider: Uuid,
    generation: i64,
}

/// The tokens that may be refreshed, for a reason and in the order of an index, the last one first. `$1`: now, `$2`:
/// refreshed before.
///
/// Of a backlog that grew too large, only those that came last are looked at. So a look takes a bounded time, and a token
/// has its turn when its reason begins, however many wait already.
macro_rules! refreshable {
    ($reason:literal, $order:literal) => {
        concat!(
            "SELECT organization_id, workspace_id, id, provider, generation, refresh_failures, refresh_due_at FROM (
                SELECT t.organization_id, t.workspace_id, t.id, t.provider, t.generation, t.refresh_failures,
                       t.refresh_due_at
                FROM tokens t
                WHERE t.state = 'active' AND t.refresh_token IS NOT NULL
                  AND (t.retry_at IS NULL OR t.retry_at <= $1)
                  AND (t.refresh_until IS NULL OR t.refresh_until < (SELECT now_ms FROM database_clock))
                  AND (t.last_refreshed_at IS NULL OR t.last_refreshed_at <= $2)
                  AND (t.last_error_at IS NULL OR t.last_error_at <= $2)
                  AND (t.refresh_token_expires_at IS NULL OR t.refresh_token_expires_at > $1)
                  AND ",
            $reason,
            " ORDER BY ",
            $order,
            " DESC LIMIT 20000) AS refreshable"
        )
    };
}

/// The statement for these tokens. `$3`: the limit.
///
/// The providers take turns, and what failed before comes after what did not, so that neither a provider that is down
/// nor a token that always fails keeps the others waiting.
macro_rules! candidates {
    ($($refreshable:expr),+) => {
        concat!(
            "SELECT organization_id, workspace_id, id, provider, generation FROM (
                SELECT t.organization_id, t.workspace_id, t.id, t.provider, t.generation, t.refresh_failures,
                       row_number() OVER (
                           PARTITION BY t.provider ORDER BY t.refresh_failures, t.refresh_due_at, t.id) AS turn
                FROM (",
            $($refreshable),+,
            ") t JOIN providers p ON p.id = t.provider
                WHERE p.client_error_at IS NULL OR p.client_error_at <= $2
            ) candidates ORDER BY turn, refresh_failures, id LIMIT $3"
        )
    };
}

impl Store {
    /// At most `limit` tokens of all tenants whose refresh was interrupted: their lease has expired and was not
    /// released. Each carries its tenant.
    pub async fn interrupted_refreshes(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Candidate>, StoreError> {
        let found = self
            .db
            .query(
                "SELECT organization_id, workspace_id, id, provider, generation FROM tokens
                 WHERE refresh_owner IS NOT NULL AND state = 'active' AND refresh_token IS NOT NULL
                   AND (refresh_until IS NULL OR refresh_until < (SELECT now_ms FROM database_clock))
                   AND (retry_at IS NULL OR retry_at <= $1)
                 ORDER BY id LIMIT $2",
            )
            .bind(now)
            .bind(limit)
            .read()
            .all()
            .await?;
        Ok(found.into_iter().map(candidate).collect())
    }

    /// At most `limit` tokens of all tenants that are in use and about to expire; each carries its tenant.
    pub async fn tokens_in_use(
        &self,
        in_use: &InUse,
        filter: &RefreshFilter,
        limit: i64,
    ) -> Result<Vec<Candidate>, StoreError> {
        let found = self
            .db
            .query(candidates!(refreshable!(
                "t.refresh_due_at <= $4 AND t.refresh_due_at >= $5 AND t.last_used_at >= $6",
                "t.refresh_due_at"
            )))
            .bind(filter.now)
            .bind(filter.since)
            .bind(limit)
            .bind(in_use.due_before)
            .bind(in_use.due_since)
            .bind(in_use.used_since)
            .read()
            .all()
            .await?;
        Ok(found.into_iter().map(candidate).collect())
    }

    /// At most `limit` tokens of all tenants whose refresh token is about to expire, in use or not; each carries its
    /// tenant.
    pub async fn tokens_ending(
        &self,
        ending: &Ending,
        filter: &RefreshFilter,
        limit: i64,
    ) -> Result<Vec<Candidate>, StoreError> {
        let found = self
            .db
            .query(candidates!(
                refreshable!(
                    "COALESCE(t.last_refreshed_at, t.created_at) <= $4",
                    "COALESCE(t.last_refreshed_at, t.created_at)"
                ),
                " UNION ",
                refreshable!(
                    "t.refresh_token_expires_at <= $5 AND COALESCE(t.last_refreshed_at, t.created_at) <= $6",
                    "t.refresh_token_expires_at"
                )
            ))
            .bind(filter.now)
            .bind(filter.since)
            .bind(limit)
            .bind(ending.idle_since)
            .bind(ending.ends_before)
            .bind(ending.tried_before)
            .read()
            .all()
            .await?;
        Ok(found.into_iter().map(candidate).collect())
    }
}

fn candidate(row: CandidateRow) -> Candidate {
    Candidate {
        tenant: Tenant { organization: row.organization_id, workspace: row.workspace_id },
        token: row.id,
        provider: row.provider,
        generation: row.generation,
    }
}
