//! Requests whose person consents on another device: which of them it is time to ask for.
//! Owns: that of all replicas one asks for a request at a time.
//! Must not know: what is asked, or what the answers mean.

use chrono::{DateTime, Utc};

use super::row::{AuthorizationRequest, AuthorizationRequestRow};
use crate::store::{Store, StoreError};

impl Store {
    /// Takes the requests of all tenants whose time to ask has come, `most` at the most; each carries its tenant. Until
    /// `taken_until` nobody else takes them. One that this server cannot open (it lacks a key) is left to others.
    pub async fn take_due_polls(
        &self,
        now: DateTime<Utc>,
        taken_until: DateTime<Utc>,
        most: i64,
    ) -> Result<Vec<AuthorizationRequest>, StoreError> {
        let due: Vec<AuthorizationRequestRow> = self
            .db
            .query(
                "UPDATE authorization_requests SET status = 'exchanging', taken_at = $1, poll_at = $2
                 WHERE poll_at <= $1 AND id IN (
                    SELECT id FROM authorization_requests WHERE poll_at <= $1 AND expires_at > $1
                    ORDER BY poll_at LIMIT $3)
                 RETURNING *",
            )
            .bind(now)
            .bind(taken_until)
            .bind(most)
            .all()
            .await?;
        let mut requests = Vec::with_capacity(due.len());
        for row in due {
            match self.open_authorization_request(row) {
                Ok(request) => requests.push(request),
                Err(error) => tracing::warn!(%error, "a device's request cannot be opened"),
            }
        }
        Ok(requests)
    }

    /// Gives a taken request back, to be asked for again at `poll_at` and then every so many `seconds`.
    pub async fn postpone_poll(
        &self,
        request: &AuthorizationRequest,
        seconds: i64,
        poll_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE authorization_requests SET status = 'pending', poll_seconds = $4, poll_at = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND status = 'exchanging'",
            )
            .within(&request.subject.tenant)
            .bind(request.id)
            .bind(seconds)
            .bind(poll_at)
            .execute()
            .await?;
        Ok(())
    }
}
