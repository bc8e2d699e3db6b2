//! Taking a pending request: exactly one of any number of callers gets it.
//! Owns: the two statements that consume a state.
//! Must not know: what is done with the request.

use chrono::{DateTime, Utc};

use super::row::{AuthorizationRequestRow, request_columns};
use crate::{
    model::{
        actor::Act,
        audit::{EventName, EventResult},
        authorization_request::AuthorizationRequest,
    },
    store::{db::Tx, error::StoreError, handle::Store},
};

impl Store {
    /// Takes the pending request of this state for the exchange of a code. A state that belongs to another provider
    /// than the callback's is not taken: a provider must not be able to have another one's code sent to itself.
    pub async fn take_authorization_request(
        &self,
        state_hash: [u8; 32],
        provider_id: &str,
        code_hash: [u8; 32],
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let mut tx = self.db.begin().await?;
        let row: Option<AuthorizationRequestRow> = tx
            .query(concat!(
                "UPDATE authorization_requests SET status = 'exchanging', code_hash = $3, taken_at = $4
                 WHERE state_hash = $1 AND provider_id = $2 AND status = 'pending' AND code IS NULL
                   AND expires_at > $4
                 RETURNING ",
                request_columns!()
            ))
            .bind(state_hash.to_vec())
            .bind(provider_id.to_owned())
            .bind(code_hash.to_vec())
            .bind(now)
            .optional()
            .await?;
        self.commit_taken(tx, row, EventName::ConsentReturned, act, now).await
    }

    /// Commits that a request was taken, and records it. If this replica lacks a key to open it, the transaction is rolled
    /// back: what the request was taken with is not spent yet, and another replica may have the key.
    pub(super) async fn commit_taken(
        &self,
        mut tx: Tx,
        row: Option<AuthorizationRequestRow>,
        event: EventName,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let Some(row) = row else {
            tx.commit().await?;
            return Ok(None);
        };
        let request = self.open_authorization_request(row)?;
        self.record(&mut tx, vec![request.event(event, act, now)]).await?;
        tx.commit().await?;
        Ok(Some(request))
    }

    /// Ends the pending request of this state because the provider sent the person back with an error.
    pub async fn refuse_authorization_request(
        &self,
        state_hash: [u8; 32],
        provider_id: &str,
        error: &str,
        error_description: Option<&str>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let mut tx = self.db.begin().await?;
        let row: Option<AuthorizationRequestRow> = tx
            .query(
                concat!(
"UPDATE authorization_requests SET status = 'failed', error = $3, error_description = $4, finished_at = $5, ",
without_secrets!(),
" WHERE state_hash = $1 AND provider_id = $2 AND status = 'pending' AND code IS NULL
                   AND expires_at > $5
                 RETURNING ",
request_columns!()
),
            )
            .bind(state_hash.to_vec())
            .bind(provider_id.to_owned())
            .bind(error.to_owned())
            .bind(error_description.map(ToOwned::to_owned))
            .bind(now)
            .optional()
            .await?;
        let request = row.map(|row| self.open_authorization_request(row)).transpose()?;
        if let Some(request) = &request {
            let event = request.event(EventName::ConsentRefused, act, now).ended(EventResult::Refused, error);
            self.record(&mut tx, vec![event]).await?;
        }
        tx.commit().await?;
        Ok(request)
    }
}
