//! Storing a grant: the result of a consent, or of client credentials, becomes a token.
//! Owns: that a grant replaces the token of the same account, in the transaction that completes its request.
//! Must not know: how a grant is obtained.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::matching::{ReplacedRow, replaced_token};
use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName},
        authorization_request::{AuthorizationRequest, Status},
        grant::{Grant, GrantRequest},
        key_limits::Reach,
        subject::Tenant,
    },
    store::{
        authorization_requests::outcome::complete,
        db::Tx,
        error::StoreError,
        handle::Store,
        seal::{TOKEN_ACCESS_TOKEN, TOKEN_REFRESH_TOKEN},
    },
};

impl Store {
    /// Stores a grant that no authorization request was made for, and returns the token's id. It replaces the subject's
    /// token of the same account, keeps its id, and with it the agents connected to it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another grant of the subject was stored at the same moment: try again.
    pub async fn keep_grant(
        &self,
        wanted: &GrantRequest,
        provider_id: &str,
        grant: &Grant,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Uuid, StoreError> {
        let _changing = self.token_changes.of(wanted.provider, &wanted.subject.user_id);
        let mut tx = self.db.begin().await?;
        let id = self.write_grant(&mut tx, wanted, grant, now).await?;
        let subject = &wanted.subject;
        let event = Event::new(EventName::TokenIssued, act, &subject.tenant, now).of_subject(subject);
        let event = event.at_provider(provider_id).about_token(id).with_scopes(granted_scopes(wanted, grant));
        let event = event.of_account(grant.account_label.as_deref());
        self.record(&mut tx, vec![event]).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Stores the grant of an authorization request and completes the request, in one transaction. Returns the token's
    /// id; `None` if the request was deleted in the meantime, with its provider.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another grant of the subject was stored at the same moment: try again.
    pub async fn complete_authorization_request(
        &self,
        request: &AuthorizationRequest,
        grant: &Grant,
        readable_until: DateTime<Utc>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<Uuid>, StoreError> {
        let _changing = self.token_changes.of(request.wanted.provider, &request.wanted.subject.user_id);
        let mut tx = self.db.begin().await?;
        let id = self.write_grant(&mut tx, &request.wanted, grant, now).await?;
        if !complete(&mut tx, request, id, readable_until, now).await? {
            drop(tx);
            return self.completed_before(request).await;
        }
        let mut event = request.event(EventName::ConsentCompleted, act, now).about_token(id);
        event = event.with_scopes(granted_scopes(&request.wanted, grant)).of_account(grant.account_label.as_deref());
        if let Some(account) = &grant.account_id {
            event = event.with("account_id", account);
        }
        self.record(&mut tx, vec![event]).await?;
        tx.commit().await?;
        Ok(Some(id))
    }

    /// The token of a request that is completed already: by a commit whose confirmation was lost, and which was tried
    /// again.
    async fn completed_before(&self, request: &AuthorizationRequest) -> Result<Option<Uuid>, StoreError> {
        let stored = self.authorization_request(Reach::whole(&request.wanted.subject.tenant), request.id).await?;
        Ok(stored.filter(|request| request.status == Status::Completed).and_then(|request| request.token))
    }

    async fn write_grant(
        &self,
        tx: &mut Tx,
        wanted: &GrantRequest,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<Uuid, StoreError> {
        let replaced = replaced_token(tx, wanted, grant).await?;
        let id = replaced.as_ref().map_or_else(Uuid::now_v7, |token| token.id);
        if wanted.is_default {
            unmark_defaults(tx, wanted, id).await?;
        }
        match replaced {
            Some(token) => self.replace_token(tx, wanted, token, grant, now).await?,
            None => self.insert_token(tx, wanted, id, grant, now).await?,
        }
        Ok(id)
    }

    pub(in crate::store) async fn insert_token(
        &self,
        tx: &mut Tx,
        wanted: &GrantRequest,
        id: Uuid,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let subject = &wanted.subject;
        let (access, refresh) = self.seal_grant(&subject.tenant, id, 1, grant)?;
        tx.query(
            "INSERT INTO tokens (id, organization_id, workspace_id, provider, user_id, ls_user_id, agent_id, account_id,
                account_label, access_token, refresh_token, scopes, metadata, is_default, state, expires_at,
                refresh_due_at, refresh_token_expires_at, generation, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'active', $15, $16, $17, 1, $18, $18)",
        )
        .bind(id)
        .within(&subject.tenant)
        .bind(wanted.provider)
        .bind(subject.user_id.clone())
        .bind(wanted.ls_user_id.clone())
        .bind(subject.agent_id.clone())
        .bind(grant.account_id.clone())
        .bind(grant.account_label.clone())
        .bind(access)
        .bind(refresh)
        .bind(Json(grant.scopes.clone().unwrap_or_else(|| wanted.scopes.clone())))
        .bind(Json(grant.metadata.clone()))
        .bind(wanted.is_default)
        .bind(grant.expires_at)
        .bind(grant.refresh_due_at)
        .bind(grant.refresh_token_expires_at)
        .bind(now)
        .execute()
        .await?;
        Ok(())
    }

    /// A consent without a refresh token keeps the stored one: some providers issue it only the first time.
    async fn replace_token(
        &self,
        tx: &mut Tx,
        wanted: &GrantRequest,
        replaced: ReplacedRow,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let tenant = &wanted.subject.tenant;
        let mut grant = grant.clone();
        if let (None, Some(sealed)) = (&grant.refresh_token, &replaced.refresh_token) {
            let seal = self.row_seal(tenant, replaced.id, replaced.generation);
            grant.refresh_token = Some(seal.open(TOKEN_REFRESH_TOKEN, sealed)?);
            grant.refresh_token_expires_at = replaced.refresh_token_expires_at;
        }
        let generation = replaced.generation + 1;
        let (access, refresh) = self.seal_grant(tenant, replaced.id, generation, &grant)?;
        let written = tx
            .query(
                "UPDATE tokens
                 SET ls_user_id = $4, account_id = COALESCE($5, account_id), account_label = $6, access_token = $7,
                     refresh_token = $8, scopes = $9, metadata = $10, is_default = (is_default OR $11),
                     state = 'active', expires_at = $12, refresh_due_at = $13, refresh_token_expires_at = $14,
                     generation = $15, refresh_owner = NULL, refresh_until = NULL, last_refreshed_at = $16,
                     refresh_failures = 0, last_error = NULL, last_error_at = NULL, retry_at = NULL, updated_at = $16,
                     ending_reported_at = NULL
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $17",
            )
            .within(tenant)
            .bind(replaced.id)
            .bind(wanted.ls_user_id.clone())
            .bind(grant.account_id.clone())
            .bind(replaced.account_label.or(grant.account_label))
            .bind(access)
            .bind(refresh)
            .bind(Json(grant.scopes.unwrap_or_else(|| wanted.scopes.clone())))
            .bind(Json(grant.metadata))
            .bind(wanted.is_default)
            .bind(grant.expires_at)
            .bind(grant.refresh_due_at)
            .bind(grant.refresh_token_expires_at)
            .bind(generation)
            .bind(now)
            .bind(replaced.generation)
            .execute()
            .await?;
        // A refresh wrote the token since it was read: the refresh token read above may be spent.
        if written == 0 { Err(StoreError::Conflict) } else { Ok(()) }
    }

    /// The sealed access token and refresh token of a grant.
    pub(super) fn seal_grant(
        &self,
        tenant: &Tenant,
        id: Uuid,
        generation: i64,
        grant: &Grant,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), StoreError> {
        let seal = self.row_seal(tenant, id, generation);
        let access = seal.seal(TOKEN_ACCESS_TOKEN, &grant.access_token)?;
        let refresh = seal.seal_optional(TOKEN_REFRESH_TOKEN, grant.refresh_token.as_ref())?;
        Ok((access, refresh))
    }
}

/// The scopes that a provider granted; those that were requested if it did not say.
fn granted_scopes<'a>(wanted: &'a GrantRequest, grant: &'a Grant) -> &'a [String] {
    grant.scopes.as_ref().unwrap_or(&wanted.scopes)
}

async fn unmark_defaults(tx: &mut Tx, wanted: &GrantRequest, except: Uuid) -> Result<(), StoreError> {
    tx.query(
        "UPDATE tokens SET is_default = $7
         WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3 AND user_id = $4 AND agent_id = $5
           AND id <> $6 AND is_default",
    )
    .within(&wanted.subject.tenant)
    .bind(wanted.provider)
    .bind(wanted.subject.user_id.clone())
    .bind(wanted.subject.agent_id.clone())
    .bind(except)
    .bind(false)
    .execute()
    .await?;
    Ok(())
}
