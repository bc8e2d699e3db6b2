//! Taking a pending request: exactly one of any number of callers gets it.
//! Owns: the two statements that consume a state.
//! Must not know: what is done with the request.

use chrono::{DateTime, Utc};

use super::row::AuthorizationRequestRow;
use crate::{
    model::authorization_request::AuthorizationRequest,
    store::{error::StoreError, handle::Store},
};

impl Store {
    /// Takes the pending request of this state for the exchange of a code. A state that belongs to another provider
    /// than the callback's is not taken: a provider must not be able to have another one's code sent to itself.
    pub async fn take_authorization_request(
        &self,
        state_hash: [u8; 32],
        provider_id: &str,
        code_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query(
                "UPDATE authorization_requests SET status = 'exchanging', code_hash = $3, taken_at = $4
                 WHERE state_hash = $1 AND provider_id = $2 AND status = 'pending' AND code IS NULL
                   AND expires_at > $4
                 RETURNING *",
            )
            .bind(state_hash.to_vec())
            .bind(provider_id.to_owned())
            .bind(code_hash.to_vec())
            .bind(now)
            .optional()
            .await?;
        self.open_taken(row).await
    }

    /// Opens a request that was just taken. If this replica lacks a key it is given back: what it was taken with is not
    /// spent yet, and another replica may have the key. A kept code keeps its hash.
    pub(super) async fn open_taken(
        &self,
        row: Option<AuthorizationRequestRow>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        let (tenant, id) = (row.tenant(), row.id);
        match self.open_authorization_request(row) {
            Ok(request) => Ok(Some(request)),
            Err(error) => {
                self.db
                    .query(
                        "UPDATE authorization_requests
                         SET status = 'pending', taken_at = NULL,
                             code_hash = CASE WHEN code IS NULL THEN NULL ELSE code_hash END
                         WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND status = 'exchanging'",
                    )
                    .within(&tenant)
                    .bind(id)
                    .execute()
                    .await?;
                Err(error)
            }
        }
    }

    /// Ends the pending request of this state because the provider sent the person back with an error.
    pub async fn refuse_authorization_request(
        &self,
        state_hash: [u8; 32],
        provider_id: &str,
        error: &str,
        error_description: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query(
                concat!(
"UPDATE authorization_requests SET status = 'failed', error = $3, error_description = $4, finished_at = $5, ",
without_secrets!(),
" WHERE state_hash = $1 AND provider_id = $2 AND status = 'pending' AND code IS NULL
                   AND expires_at > $5
                 RETURNING *"
),
            )
            .bind(state_hash.to_vec())
            .bind(provider_id.to_owned())
            .bind(error.to_owned())
            .bind(error_description.map(ToOwned::to_owned))
            .bind(now)
            .optional()
            .await?;
        row.map(|row| self.open_authorization_request(row)).transpose()
    }
}
