//! How a request ends: completed with a token, failed, or expired.
//! Owns: the statements that end a request and forget its secrets.
//! Must not know: why it ends.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{EventName, EventResult},
        authorization_request::AuthorizationRequest,
    },
    store::{db::Tx, error::StoreError, handle::Store},
};

/// Completes a request with the token that was stored in the same transaction. `false`: there is no such request any
/// more, or it has ended.
///
/// With polls for a device, success is what counts, even if a later poll was answered that the code is spent.
pub(in crate::store) async fn complete(
    tx: &mut Tx,
    request: &AuthorizationRequest,
    token: Uuid,
    readable_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let completed = tx
        .query(concat!(
            "UPDATE authorization_requests SET status = 'completed', token = $4, finished_at = $5, expires_at = $6, ",
            without_secrets!(),
            " WHERE organization_id = $1 AND workspace_id = $2 AND id = $3
               AND (status = 'exchanging' OR (poll_seconds IS NOT NULL AND status IN ('pending', 'failed')))"
        ))
        .within(&request.wanted.subject.tenant)
        .bind(request.id)
        .bind(token)
        .bind(now)
        .bind(readable_until)
        .execute()
        .await?;
    Ok(completed > 0)
}

impl Store {
    /// Ends a request whose code could not be exchanged.
    pub async fn fail_authorization_request(
        &self,
        request: &AuthorizationRequest,
        error: &str,
        error_description: Option<&str>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let failed = tx
            .query(
                concat!(
"UPDATE authorization_requests SET status = 'failed', error = $4, error_description = $5, finished_at = $6, ",
without_secrets!(),
" WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND status = 'exchanging'"
),
            )
            .within(&request.wanted.subject.tenant)
            .bind(request.id)
            .bind(error.to_owned())
            .bind(error_description.map(ToOwned::to_owned))
            .bind(now)
            .execute()
            .await?;
        if failed > 0 {
            let event = request.event(EventName::ConsentFailed, act, now).ended(EventResult::Failed, error);
            self.record(&mut tx, vec![event]).await?;
        }
        tx.commit().await
    }

    /// Counts the requests of all tenants that expired before `before`.
    pub async fn count_expired_authorization_requests(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let (found,): (i64,) = self
            .db
            .query("SELECT count(*) FROM authorization_requests WHERE expires_at <= $1")
            .bind(before)
            .read()
            .one()
            .await?;
        Ok(found.unsigned_abs())
    }

    /// Deletes at most `limit` requests of all tenants that expired before `before`, and counts them.
    pub async fn delete_expired_authorization_requests(
        &self,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        self.db
            .query(
                "DELETE FROM authorization_requests
                 WHERE expires_at <= $1 AND id IN (
                    SELECT id FROM authorization_requests WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
            )
            .bind(before)
            .bind(limit)
            .execute()
            .await
    }
}
