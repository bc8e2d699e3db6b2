//! Which tokens are worth a refresh that nobody asked for.
//! Owns: the one statement that finds them, over all tenants.
//! Must not know: the settings behind the times it is given, or how a refresh is done.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError, Tenant};

/// What makes a token worth a refresh, as points in time. `None` switches a reason off.
#[derive(Clone, Copy, Debug)]
pub struct Worth {
    /// Now.
    pub now: DateTime<Utc>,
    /// Refreshed, or failed to be, after this: left alone.
    pub rested_since: DateTime<Utc>,
    /// Due before this ...
    pub due_before: DateTime<Utc>,
    /// ... and handed out after this.
    pub used_since: Option<DateTime<Utc>>,
    /// No token that was handed out since `used_since` was due before this.
    pub due_since: Option<DateTime<Utc>>,
    /// Last refreshed before this: about to die of idleness.
    pub idle_since: Option<DateTime<Utc>>,
    /// The refresh token expires before this ...
    pub ends_before: Option<DateTime<Utc>>,
    /// ... and was not tried after this.
    pub tried_before: DateTime<Utc>,
}

/// A token that is worth a refresh.
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

impl Store {
    /// The tokens of all tenants that are worth a refresh, `most` at the most; each carries its tenant. The providers
    /// take turns, and what failed before comes after what did not, so that neither a provider that is down nor a
    /// token that always fails keeps the others waiting.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tokens_worth_a_refresh(&self, worth: &Worth, most: i64) -> Result<Vec<Candidate>, StoreError> {
        let rows: Vec<CandidateRow> = self
            .db
            .query(
                "SELECT organization_id, workspace_id, id, provider, generation FROM (
                    SELECT t.organization_id, t.workspace_id, t.id, t.provider, t.generation, t.refresh_failures,
                           row_number() OVER (
                               PARTITION BY t.provider ORDER BY t.refresh_failures, t.refresh_due_at, t.id) AS turn
                    FROM tokens t JOIN providers p ON p.id = t.provider
                    WHERE t.state = 'active' AND t.refresh_token IS NOT NULL
                      AND (t.retry_at IS NULL OR t.retry_at <= $1)
                      AND (t.refresh_until IS NULL OR t.refresh_until < (SELECT now_ms FROM database_clock))
                      AND COALESCE(t.last_refreshed_at, t.created_at) <= $2
                      AND (t.last_error_at IS NULL OR t.last_error_at <= $2)
                      AND (p.client_error_at IS NULL OR p.client_error_at <= $2)
                      AND (t.refresh_token_expires_at IS NULL OR t.refresh_token_expires_at > $1)
                      AND ((t.refresh_due_at <= $3 AND t.refresh_due_at >= $4 AND t.last_used_at >= $5)
                           OR COALESCE(t.last_refreshed_at, t.created_at) <= $6
                           OR (t.refresh_token_expires_at <= $7
                               AND COALESCE(t.last_refreshed_at, t.created_at) <= $8))
                 ) candidates
                 ORDER BY turn, refresh_failures, id LIMIT $9",
            )
            .bind(worth.now)
            .bind(worth.rested_since)
            .bind(worth.due_before)
            .bind(worth.due_since)
            .bind(worth.used_since)
            .bind(worth.idle_since)
            .bind(worth.ends_before)
            .bind(worth.tried_before)
            .bind(most)
            .all()
            .await?;
        let open = |row: CandidateRow| Candidate {
            tenant: Tenant { organization: row.organization_id, workspace: row.workspace_id },
            token: row.id,
            provider: row.provider,
            generation: row.generation,
        };
        Ok(rows.into_iter().map(open).collect())
    }
}
