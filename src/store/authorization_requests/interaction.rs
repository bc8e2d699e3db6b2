//! Requests that a person sees on a page of ours, or that their application confirms.
//! Owns: that one browser goes on with a request, and that one confirmation takes its code.
//! Must not know: what the page shows, or who confirms.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use uuid::Uuid;

use super::row::{AuthorizationRequestRow, request_columns};
use crate::{
    model::{
        actor::Act,
        audit::{EventName, EventResult},
        authorization_request::AuthorizationRequest,
        subject::Tenant,
    },
    store::{error::StoreError, handle::Store, seal::REQUEST_CODE},
};

/// That a browser may go on with the request.
macro_rules! may_go_on {
    () => {
        "organization_id = $1 AND workspace_id = $2 AND id = $3 AND expires_at > $5 AND code IS NULL
           AND (status = 'pending' OR (status = 'exchanging' AND poll_seconds IS NOT NULL))"
    };
}

impl Store {
    /// The request of the reference in the URL of our page, in any status. The reference proves that the person was given
    /// the URL; no tenant is known yet.
    pub async fn authorization_request_of_reference(
        &self,
        reference_hash: [u8; 32],
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let row: Option<AuthorizationRequestRow> = self
            .db
            .query(concat!("SELECT ", request_columns!(), " FROM authorization_requests WHERE reference_hash = $1"))
            .bind(reference_hash.to_vec())
            .read()
            .optional()
            .await?;
        row.map(|row| self.open_authorization_request(row)).transpose()
    }

    /// Binds an open request to a browser, unless it is bound to another one. Of any number of browsers, one gets it.
    pub async fn bind_browser(
        &self,
        request: &AuthorizationRequest,
        browser_hash: [u8; 32],
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let bound = tx
            .query(concat!(
                "UPDATE authorization_requests SET browser_hash = $4 WHERE browser_hash IS NULL AND ",
                may_go_on!()
            ))
            .within(&request.wanted.subject.tenant)
            .bind(request.id)
            .bind(browser_hash.to_vec())
            .bind(now)
            .execute()
            .await?;
        if bound > 0 {
            self.record(&mut tx, vec![request.event(EventName::ConsentContinued, act, now)]).await?;
            tx.commit().await?;
            return Ok(true);
        }
        // The same browser may go on again: a double click, or the way back.
        let (same,): (i64,) = tx
            .query(concat!("SELECT count(*) FROM authorization_requests WHERE browser_hash = $4 AND ", may_go_on!()))
            .within(&request.wanted.subject.tenant)
            .bind(request.id)
            .bind(browser_hash.to_vec())
            .bind(now)
            .one()
            .await?;
        tx.commit().await?;
        Ok(same > 0)
    }

    /// Keeps the code of a pending request until the application has confirmed its user. `false`: it has a code already, or
    /// is not pending any more.
    pub async fn keep_code(
        &self,
        request: &AuthorizationRequest,
        code: &SecretString,
        code_hash: [u8; 32],
        confirmation_hash: [u8; 32],
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let sealed = self.row_seal(&request.wanted.subject.tenant, request.id, 0).seal(REQUEST_CODE, code)?;
        let mut tx = self.db.begin().await?;
        let kept = tx
            .query(
                "UPDATE authorization_requests SET code = $4, code_hash = $5, confirmation_hash = $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND status = 'pending' AND code IS NULL
                   AND expires_at > $7",
            )
            .within(&request.wanted.subject.tenant)
            .bind(request.id)
            .bind(sealed)
            .bind(code_hash.to_vec())
            .bind(confirmation_hash.to_vec())
            .bind(now)
            .execute()
            .await?;
        if kept > 0 {
            self.record(&mut tx, vec![request.event(EventName::ConsentReturned, act, now)]).await?;
        }
        tx.commit().await?;
        Ok(kept > 0)
    }

    /// Takes the request whose user the application has confirmed, for the exchange of its code.
    pub async fn take_confirmed_request(
        &self,
        tenant: &Tenant,
        id: Uuid,
        confirmation_hash: [u8; 32],
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<AuthorizationRequest>, StoreError> {
        let mut tx = self.db.begin().await?;
        let row: Option<AuthorizationRequestRow> = tx
            .query(concat!(
                "UPDATE authorization_requests SET status = 'exchanging', taken_at = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND confirmation_hash = $4
                   AND status = 'pending' AND code IS NOT NULL AND expires_at > $5
                 RETURNING ",
                request_columns!()
            ))
            .within(tenant)
            .bind(id)
            .bind(confirmation_hash.to_vec())
            .bind(now)
            .optional()
            .await?;
        self.commit_taken(tx, row, EventName::ConsentConfirmed, act, now).await
    }

    /// Ends an open request without a token, because of what the person or the application said here. `false`: it has
    /// ended, or its code is being exchanged.
    pub async fn end_authorization_request(
        &self,
        request: &AuthorizationRequest,
        error: &str,
        error_description: &str,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let ended = tx
            .query(
                concat!(
"UPDATE authorization_requests SET status = 'failed', error = $4, error_description = $5, finished_at = $6, ",
without_secrets!(),
" WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND expires_at > $6
                   AND (status = 'pending' OR (status = 'exchanging' AND poll_seconds IS NOT NULL))"
),
            )
            .within(&request.wanted.subject.tenant)
            .bind(request.id)
            .bind(error.to_owned())
            .bind(error_description.to_owned())
            .bind(now)
            .execute()
            .await?;
        if ended > 0 {
            let event = request.event(EventName::ConsentRefused, act, now).ended(EventResult::Refused, error);
            self.record(&mut tx, vec![event]).await?;
        }
        tx.commit().await?;
        Ok(ended > 0)
    }
}
