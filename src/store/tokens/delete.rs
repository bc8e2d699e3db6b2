//! Deleting tokens.
//! Owns: the statements that delete rows of `tokens`, and what they return for the revocation.
//! Must not know: that revocations are queued in the same transaction; that is `store/deletions.rs`.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName},
        key_limits::Reach,
        subject::Tenant,
    },
    store::{
        db::Tx,
        error::StoreError,
        handle::Store,
        key_limits::token_in_limits,
        revocations::RevokedTokens,
        seal::{TOKEN_ACCESS_TOKEN, TOKEN_REFRESH_TOKEN},
    },
};

/// A dead token that was deleted.
#[derive(sqlx::FromRow)]
struct DeadRow {
    id: Uuid,
    provider: Uuid,
    provider_id: Option<String>,
    organization_id: String,
    workspace_id: String,
    user_id: String,
    agent_id: String,
    account_label: Option<String>,
    scopes: Json<Vec<String>>,
}

impl DeadRow {
    fn event(self, act: &Act, now: DateTime<Utc>) -> Event {
        let tenant = Tenant { organization: self.organization_id, workspace: self.workspace_id };
        let event = Event::new(EventName::TokenDeleted, act, &tenant, now).of(&self.user_id, &self.agent_id);
        let event = event.of_account(self.account_label.as_deref());
        let event = match self.provider_id {
            Some(provider_id) => event.at_provider(&provider_id),
            None => event,
        };
        event.about_token(self.id).with_scopes(&self.scopes).with("reason", "dead for too long")
    }
}

/// A deleted token, sealed.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct DeletedRow {
    id: Uuid,
    /// The provider's record.
    pub(in crate::store) provider: Uuid,
    user_id: String,
    agent_id: String,
    scopes: Json<Vec<String>>,
    access_token: Vec<u8>,
    refresh_token: Option<Vec<u8>>,
    account_id: Option<String>,
    account_label: Option<String>,
    generation: i64,
}

impl DeletedRow {
    /// At which provider, and whose it was.
    pub(in crate::store) fn of(&self) -> (Uuid, &str) {
        (self.provider, &self.user_id)
    }

    /// That it was deleted, for the audit log.
    pub(in crate::store) fn event(&self, tenant: &Tenant, act: &Act, now: DateTime<Utc>) -> Event {
        let event = Event::new(EventName::TokenDeleted, act, tenant, now).of(&self.user_id, &self.agent_id);
        event.about_token(self.id).with_scopes(&self.scopes).of_account(self.account_label.as_deref())
    }
}

/// Deletes one token of a user (as `user_id` or `ls_user_id`).
pub(in crate::store) async fn one_of_user(
    tx: &mut Tx,
    reach: Reach<'_>,
    user: &str,
    id: Uuid,
) -> Result<Vec<DeletedRow>, StoreError> {
    tx.query(concat!(
        "DELETE FROM tokens
         WHERE organization_id = $1 AND workspace_id = $2 AND (user_id = $3 OR ls_user_id = $3) AND id = $4 AND ",
        token_in_limits!("tokens", "$5"),
        " RETURNING id, provider, user_id, agent_id, scopes, access_token, refresh_token, account_id, account_label,
                    generation"
    ))
    .within(reach.tenant)
    .bind(user.to_owned())
    .bind(id)
    .limited(reach.limits)
    .all()
    .await
}

/// Deletes the tokens of a user at a provider.
pub(in crate::store) async fn all_of_user(
    tx: &mut Tx,
    reach: Reach<'_>,
    user: &str,
    provider_id: &str,
) -> Result<Vec<DeletedRow>, StoreError> {
    tx.query(concat!(
        // The provider's name is compared last: PostgreSQL should start from the user, who has fewer tokens.
        "DELETE FROM tokens
         WHERE organization_id = $1 AND workspace_id = $2 AND (user_id = $3 OR ls_user_id = $3) AND $4 = (
            SELECT provider_id FROM providers p
            WHERE p.organization_id = $1 AND p.workspace_id = $2 AND p.id = tokens.provider)
           AND ",
        token_in_limits!("tokens", "$5"),
        " RETURNING id, provider, user_id, agent_id, scopes, access_token, refresh_token, account_id, account_label,
                    generation"
    ))
    .within(reach.tenant)
    .bind(user.to_owned())
    .bind(provider_id.to_owned())
    .limited(reach.limits)
    .all()
    .await
}

/// Deletes every token of a workspace at providers of that type.
pub(in crate::store) async fn all_of_type(
    tx: &mut Tx,
    reach: Reach<'_>,
    provider_type: &str,
) -> Result<Vec<DeletedRow>, StoreError> {
    tx.query(concat!(
        "DELETE FROM tokens WHERE organization_id = $1 AND workspace_id = $2 AND provider IN (
            SELECT id FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND provider_type = $3)
           AND ",
        token_in_limits!("tokens", "$4"),
        " RETURNING id, provider, user_id, agent_id, scopes, access_token, refresh_token, account_id, account_label,
                    generation"
    ))
    .within(reach.tenant)
    .bind(provider_type.to_owned())
    .limited(reach.limits)
    .all()
    .await
}

/// Deletes every token of a provider.
pub(in crate::store) async fn all_of_provider(
    tx: &mut Tx,
    tenant: &Tenant,
    provider: Uuid,
) -> Result<Vec<DeletedRow>, StoreError> {
    tx.query(
        "DELETE FROM tokens WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3
         RETURNING id, provider, user_id, agent_id, scopes, access_token, refresh_token, account_id, account_label,
            generation",
    )
    .within(tenant)
    .bind(provider)
    .all()
    .await
}

impl Store {
    /// The tokens of a deleted row; `None` if they can no longer be opened. Such a row can be deleted anyway.
    pub(in crate::store) fn open_deleted(&self, tenant: &Tenant, row: DeletedRow) -> Option<RevokedTokens> {
        let seal = self.row_seal(tenant, row.id, row.generation);
        let opened = seal.open(TOKEN_ACCESS_TOKEN, &row.access_token).and_then(|access_token| {
            let refresh_token = seal.open_optional(TOKEN_REFRESH_TOKEN, row.refresh_token.as_ref())?;
            Ok(RevokedTokens { access_token, refresh_token, account_id: row.account_id })
        });
        opened
            .inspect_err(|error| {
                tracing::warn!(event = "token.not_opened", token_id = %row.id, %error, "a deleted token cannot be opened and is not revoked");
            })
            .ok()
    }

    /// Counts the tokens of all tenants that died before `before`.
    pub async fn count_dead_tokens(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let (found,): (i64,) = self
            .db
            .query(
                "SELECT count(*) FROM tokens
                 WHERE state = 'consent_needed' AND COALESCE(last_error_at, updated_at) <= $1",
            )
            .bind(before)
            .read()
            .one()
            .await?;
        Ok(found.unsigned_abs())
    }

    /// Deletes at most `limit` tokens of all tenants that died before `before`, and counts them. There is nothing to
    /// revoke: their providers reported that they are dead. The condition is checked again on each row as it is
    /// deleted, so that a token that is revived at the same moment stays.
    pub async fn delete_dead_tokens(
        &self,
        before: DateTime<Utc>,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        let deleted: Vec<DeadRow> = tx
            .query(
                "DELETE FROM tokens
                 WHERE state = 'consent_needed' AND COALESCE(last_error_at, updated_at) <= $1 AND id IN (
                    SELECT id FROM tokens
                    WHERE state = 'consent_needed' AND COALESCE(last_error_at, updated_at) <= $1 ORDER BY id LIMIT $2)
                 RETURNING id, provider, (SELECT provider_id FROM providers p WHERE p.id = tokens.provider) AS provider_id,
                    organization_id, workspace_id, user_id, agent_id, account_label, scopes",
            )
            .bind(before)
            .bind(limit)
            .all()
            .await?;
        let _changing = self.token_changes.of_each(deleted.iter().map(|row| (row.provider, row.user_id.as_str())));
        let count = deleted.len() as u64;
        let act = Act::service();
        self.record(&mut tx, deleted.into_iter().map(|row| row.event(&act, now)).collect()).await?;
        tx.commit().await?;
        Ok(count)
    }
}
