//! Polls for people who consent on another device (RFC 8628): which requests are due.
//! Owns: that one replica at a time polls for a request.
//! Must not know: what is polled, or what the responses mean.

use chrono::{DateTime, Utc};

use super::row::{AuthorizationRequestRow, request_columns};
use crate::{
    model::authorization_request::AuthorizationRequest,
    store::{error::StoreError, handle::Store},
};

impl Store {
    /// Takes at most `limit` requests of all tenants whose poll is due; each carries its tenant. Until `taken_until`
    /// no other replica takes them. A request that this server cannot open (it lacks a key) is left to other replicas.
    pub async fn take_due_polls(
        &self,
        now: DateTime<Utc>,
        taken_until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<AuthorizationRequest>, StoreError> {
        let due: Vec<AuthorizationRequestRow> = self
            .db
            .query(concat!(
                "UPDATE authorization_requests SET status = 'exchanging', taken_at = $1, poll_at = $2
                 WHERE poll_at <= $1 AND id IN (
                    SELECT id FROM authorization_requests WHERE poll_at <= $1 AND expires_at > $1
                    ORDER BY poll_at LIMIT $3)
                 RETURNING ",
                request_columns!()
            ))
            .bind(now)
            .bind(taken_until)
            .bind(limit)
            .all()
            .await?;
        let mut requests = Vec::with_capacity(due.len());
        for row in due {
            match self.open_authorization_request(row) {
                Ok(request) => requests.push(request),
                Err(error) => {
                    tracing::warn!(event = "authorization_request.not_opened", %error, "a sealed authorization request cannot be opened");
                }
            }
        }
        Ok(requests)
    }

    /// Releases a taken request: the next poll is due at `poll_at`, and then every so many `seconds`.
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
            .within(&request.wanted.subject.tenant)
            .bind(request.id)
            .bind(seconds)
            .bind(poll_at)
            .execute()
            .await?;
        Ok(())
    }
}
