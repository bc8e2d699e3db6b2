//! The state of a token: reading it, and ending a grant.
//! Owns: these statements. No secret is opened for them.
//! Must not know: what follows from the state.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName, EventResult},
        key_limits::Reach,
        subject::Tenant,
        token::Token,
        token_state::TokenState,
    },
    store::{db::Tx, error::StoreError, handle::Store, key_limits::usable_token_in_limits},
};

/// The columns of a [`TokenState`], from `tokens t` and `providers p`.
macro_rules! token_state_columns {
    () => {
        "t.id, p.provider_id, t.account_label, t.state, t.scopes, t.is_default, t.expires_at, t.refresh_due_at,
         t.refresh_token IS NOT NULL AS has_refresh_token, t.refresh_token_expires_at,
         (t.refresh_until IS NOT NULL AND t.refresh_until >= (SELECT now_ms FROM database_clock)) AS is_refreshing,
         t.last_refreshed_at, t.last_error, t.last_error_at, t.refresh_failures, t.retry_at, t.last_used_at,
         t.created_at, t.updated_at, p.client_error, p.client_error_at"
    };
}
pub(in crate::store) use token_state_columns;

impl Store {
    /// The state of a token of a user (as `user_id` or `ls_user_id`).
    pub async fn token_state(&self, reach: Reach<'_>, user: &str, id: Uuid) -> Result<Option<TokenState>, StoreError> {
        self.db
            .query(concat!(
                "SELECT ",
                token_state_columns!(),
                "
                 FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND (t.user_id = $3 OR t.ls_user_id = $3)
                   AND t.id = $4 AND ",
                usable_token_in_limits!("t", "$5")
            ))
            .within(reach.tenant)
            .bind(user.to_owned())
            .bind(id)
            .limited(reach.limits)
            .read()
            .optional()
            .await
    }

    /// Notes that a grant without a refresh token is dead, with a code that says why. `false`: the token was written or
    /// deleted since it was read.
    pub async fn end_grant(
        &self,
        token: &Token,
        error: &str,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let tenant = &token.subject.tenant;
        let _changing = self.token_changes.of(token.provider, &token.subject.user_id);
        let mut tx = self.db.begin().await?;
        let ended = tx
            .query(
                "UPDATE tokens SET state = 'consent_needed', last_error = $5, last_error_at = $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4
                   AND refresh_token IS NULL",
            )
            .within(tenant)
            .bind(token.id)
            .bind(token.generation)
            .bind(error.to_owned())
            .bind(now)
            .execute()
            .await?;
        if ended > 0 {
            let event = Event::of_token(EventName::TokenConsentNeeded, token, act, now);
            self.record(&mut tx, vec![event.ended(EventResult::Failed, error)]).await?;
        }
        tx.commit().await?;
        Ok(ended > 0)
    }
}

/// Notes that all grants of a provider are dead, with a code that says why, and counts them.
pub(in crate::store) async fn end_grants(
    tx: &mut Tx,
    tenant: &Tenant,
    provider: Uuid,
    error: &str,
    now: DateTime<Utc>,
) -> Result<u64, StoreError> {
    tx.query(
        "UPDATE tokens SET state = 'consent_needed', last_error = $4, last_error_at = $5
         WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3",
    )
    .within(tenant)
    .bind(provider)
    .bind(error.to_owned())
    .bind(now)
    .execute()
    .await
}
