//! Writing of grants: what a consent gave becomes a token, and a refresh renews it.
//! Owns: what is written to the secrets of the table `tokens`, the lease of a refresh and the fence around its result.
//! Must not know: how a grant is obtained.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    matching::{ReplacedRow, replaced_token},
    row::{State, Token, token_place},
};
use crate::store::{
    Store, StoreError, Tenant,
    authorization_requests::row::{AuthorizationRequest, Status},
    db::Tx,
};

/// After the database was away, a lease that ran out meanwhile is not taken over for so long: whoever holds it could not
/// extend it, and may have the provider's answer in hand, to be written as soon as the database is back.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// What a provider granted, ready to be kept.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What an agent sends to the provider's API.
    pub access_token: SecretString,
    /// What it is renewed with. `None` on a renewal keeps the one that is there.
    pub refresh_token: Option<SecretString>,
    /// The granted scopes; `None` on a renewal keeps those that are there.
    pub scopes: Option<Vec<String>>,
    /// What else the provider told. No secrets.
    pub metadata: Map<String, Value>,
    /// Who the person is at the provider, if the response said so.
    pub account_id: Option<String>,
    /// The same for people.
    pub account_label: Option<String>,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// From when on it is refreshed before it is handed out.
    pub refresh_due_at: Option<DateTime<Utc>>,
    /// When the refresh token expires, if the provider said so.
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
}

/// The right to refresh one token for a while.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The token.
    pub token: Uuid,
    /// This attempt.
    pub owner: Uuid,
    /// The generation the refresh began with; a result is kept only while it stands.
    pub generation: i64,
    /// What to refresh with.
    pub refresh_token: SecretString,
    /// How many refreshes failed since the last that did not.
    pub failures: i64,
}

/// How a refresh ended that gave nothing.
#[derive(Clone, Debug)]
pub struct RefreshFailure {
    /// The state the token is in now.
    pub state: State,
    /// The provider's code, or ours.
    pub error: String,
    /// Before when no other attempt is to be made.
    pub retry_at: Option<DateTime<Utc>>,
    /// Whether the provider may have done what it was asked: then the refresh counts as one that broke off.
    pub is_open: bool,
}

impl Store {
    /// Makes a token of a consent and finishes its authorization request, in one transaction. The token replaces
    /// the subject's token of the same account and keeps its id, and with it the agents connected to it. Gives the
    /// token's id; `None` if the request was deleted meanwhile, with its provider.
    ///
    /// Of the questions about a device a success is what counts, though a later one was told that the code is spent.
    ///
    /// # Errors
    /// [`StoreError`]. On [`StoreError::Conflict`] another consent of the subject was kept at the same moment: try
    /// again.
    pub async fn keep_grant(
        &self,
        request: &AuthorizationRequest,
        grant: &Grant,
        readable_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<Uuid>, StoreError> {
        let mut tx = self.db.begin().await?;
        let replaced = replaced_token(&mut tx, request, grant).await?;
        let id = replaced.as_ref().map_or_else(Uuid::now_v7, |token| token.id);
        if request.is_default {
            unmark_defaults(&mut tx, request, id).await?;
        }
        match replaced {
            Some(token) => self.replace_token(&mut tx, request, token, grant, now).await?,
            None => self.insert_token(&mut tx, request, id, grant, now).await?,
        }
        let finished = tx
            .query(
                "UPDATE authorization_requests
                 SET status = 'completed', token = $4, finished_at = $5, expires_at = $6, code_verifier = NULL,
                     client_secret = NULL, device_code = NULL, poll_at = NULL
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3
                   AND (status = 'exchanging' OR (poll_seconds IS NOT NULL AND status IN ('pending', 'failed')))",
            )
            .within(&request.subject.tenant)
            .bind(request.id)
            .bind(id)
            .bind(now)
            .bind(readable_until)
            .execute()
            .await?;
        if finished == 0 {
            drop(tx);
            return self.kept_before(request).await;
        }
        tx.commit().await?;
        Ok(Some(id))
    }

    /// The token that was made of a request: of a commit whose confirmation was lost, which was tried again.
    async fn kept_before(&self, request: &AuthorizationRequest) -> Result<Option<Uuid>, StoreError> {
        let kept = self.authorization_request(&request.subject.tenant, request.id).await?;
        Ok(kept.filter(|request| request.status == Status::Completed).and_then(|request| request.token))
    }

    async fn insert_token(
        &self,
        tx: &mut Tx,
        request: &AuthorizationRequest,
        id: Uuid,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let subject = &request.subject;
        let (access, refresh) = self.seal_grant(&subject.tenant, id, 1, grant)?;
        tx.query(
            "INSERT INTO tokens (id, organization_id, workspace_id, provider, user_id, ls_user_id, agent_id, account_id,
                account_label, access_token, refresh_token, scopes, metadata, is_default, state, expires_at,
                refresh_due_at, refresh_token_expires_at, generation, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'active', $15, $16, $17, 1, $18, $18)",
        )
        .bind(id)
        .within(&subject.tenant)
        .bind(request.provider)
        .bind(subject.user_id.clone())
        .bind(request.ls_user_id.clone())
        .bind(subject.agent_id.clone())
        .bind(grant.account_id.clone())
        .bind(grant.account_label.clone())
        .bind(access)
        .bind(refresh)
        .bind(Json(grant.scopes.clone().unwrap_or_else(|| request.scopes.clone())))
        .bind(Json(grant.metadata.clone()))
        .bind(request.is_default)
        .bind(grant.expires_at)
        .bind(grant.refresh_due_at)
        .bind(grant.refresh_token_expires_at)
        .bind(now)
        .execute()
        .await?;
        Ok(())
    }

    /// A consent without a refresh token keeps the one that was there: some providers give it only the first time.
    async fn replace_token(
        &self,
        tx: &mut Tx,
        request: &AuthorizationRequest,
        replaced: ReplacedRow,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let tenant = &request.subject.tenant;
        let mut grant = grant.clone();
        if let (None, Some(sealed)) = (&grant.refresh_token, &replaced.refresh_token) {
            let place = token_place(tenant, "refresh_token", replaced.id, replaced.generation);
            grant.refresh_token = Some(self.keys.open(&place, sealed)?);
            grant.refresh_token_expires_at = replaced.refresh_token_expires_at;
        }
        let generation = replaced.generation + 1;
        let (access, refresh) = self.seal_grant(tenant, replaced.id, generation, &grant)?;
        let written = tx
            .query(
                "UPDATE tokens
             SET ls_user_id = $4, account_id = COALESCE($5, account_id), account_label = $6, access_token = $7,
                 refresh_token = $8, scopes = $9, metadata = $10, is_default = (is_default OR $11), state = 'active',
                 expires_at = $12, refresh_due_at = $13, refresh_token_expires_at = $14, generation = $15,
                 refresh_owner = NULL, refresh_until = NULL, last_refreshed_at = $16, refresh_failures = 0, last_error = NULL, last_error_at = NULL, retry_at = NULL,
                 updated_at = $16
             WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $17",
            )
            .within(tenant)
            .bind(replaced.id)
            .bind(request.ls_user_id.clone())
            .bind(grant.account_id.clone())
            .bind(replaced.account_label.or(grant.account_label))
            .bind(access)
            .bind(refresh)
            .bind(Json(grant.scopes.unwrap_or_else(|| request.scopes.clone())))
            .bind(Json(grant.metadata))
            .bind(request.is_default)
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

    /// Takes the right to refresh `token` for `milliseconds`, by the database's clock. Of all replicas one gets it;
    /// `None` when another holds it, when a refresh failed a moment ago, when the database was away a moment ago and
    /// another may still hold it, or when the token was written, deleted or found dead meanwhile.
    pub async fn take_refresh_lease(
        &self,
        token: &Token,
        milliseconds: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<Lease>, StoreError> {
        let owner = Uuid::new_v4();
        let tenant = &token.subject.tenant;
        let taken: Option<(Option<Vec<u8>>, i64)> = self
            .db
            .query(
                "UPDATE tokens SET refresh_owner = $5, refresh_until = (SELECT now_ms FROM database_clock) + $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4
                   AND state = 'active' AND refresh_token IS NOT NULL
                   AND (refresh_until IS NULL OR ($8 AND refresh_until < (SELECT now_ms FROM database_clock)))
                   AND (retry_at IS NULL OR retry_at <= $7)
                 RETURNING refresh_token, refresh_failures",
            )
            .within(tenant)
            .bind(token.id)
            .bind(token.generation)
            .bind(owner)
            .bind(milliseconds)
            .bind(now)
            .bind(self.db.has_been_there_for(SETTLED_AFTER))
            .optional()
            .await?;
        let Some((Some(sealed), failures)) = taken else { return Ok(None) };
        let place = token_place(tenant, "refresh_token", token.id, token.generation);
        let refresh_token = self.keys.open(&place, &sealed)?;
        Ok(Some(Lease { token: token.id, owner, generation: token.generation, refresh_token, failures }))
    }

    /// Holds a lease for `milliseconds` more, by the database's clock. `false`: it was lost.
    pub async fn extend_refresh_lease(
        &self,
        tenant: &Tenant,
        lease: &Lease,
        milliseconds: i64,
    ) -> Result<bool, StoreError> {
        let extended = self
            .db
            .query(
                "UPDATE tokens SET refresh_until = (SELECT now_ms FROM database_clock) + $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4
                   AND refresh_owner = $5",
            )
            .within(tenant)
            .bind(lease.token)
            .bind(lease.generation)
            .bind(lease.owner)
            .bind(milliseconds)
            .execute()
            .await?;
        Ok(extended > 0)
    }

    /// Ends every lease, but not what was begun under it. For a database with one server, when it starts: whoever held
    /// one is gone.
    pub async fn end_refresh_leases(&self) -> Result<(), StoreError> {
        self.db.query("UPDATE tokens SET refresh_until = NULL WHERE refresh_until IS NOT NULL").execute().await?;
        Ok(())
    }

    /// Lets the tokens of a provider be refreshed at once again, because its record was corrected.
    pub async fn end_cool_down(&self, tenant: &Tenant, provider: Uuid) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE tokens SET retry_at = NULL, refresh_failures = 0
                 WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3 AND retry_at IS NOT NULL",
            )
            .within(tenant)
            .bind(provider)
            .execute()
            .await?;
        Ok(())
    }

    /// Writes what a refresh gave. `false`: the token was written or deleted meanwhile, and this result is discarded.
    ///
    /// A result that comes late, after somebody else took the lease over, is still written while the token is as it
    /// was: it is newer than what it replaces, and it spent the refresh token that the other is trying. The other's
    /// own result then goes on top of it, being newer still.
    pub async fn keep_refreshed(
        &self,
        tenant: &Tenant,
        lease: &Lease,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        // A response without a refresh token keeps the old one (RFC 6749 section 6), sealed anew for this generation.
        let mut grant = grant.clone();
        grant.refresh_token.get_or_insert_with(|| lease.refresh_token.clone());
        if self.write_refreshed(tenant, lease, &grant, lease.generation, now).await? {
            return Ok(true);
        }
        let written_late: Option<(i64,)> = self
            .db
            .query(
                "SELECT generation FROM tokens
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND refresh_owner = $4",
            )
            .within(tenant)
            .bind(lease.token)
            .bind(lease.owner)
            .optional()
            .await?;
        match written_late {
            Some((generation,)) => self.write_refreshed(tenant, lease, &grant, generation, now).await,
            None => Ok(false),
        }
    }

    async fn write_refreshed(
        &self,
        tenant: &Tenant,
        lease: &Lease,
        grant: &Grant,
        from: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let generation = from + 1;
        let (access, refresh) = self.seal_grant(tenant, lease.token, generation, grant)?;
        let written = self
            .db
            .query(
                "UPDATE tokens
                 SET access_token = $6, refresh_token = $7, scopes = COALESCE($8, scopes), expires_at = $9,
                     refresh_due_at = $10, refresh_token_expires_at = COALESCE($11, refresh_token_expires_at),
                     state = 'active', generation = $12, last_refreshed_at = $13, refresh_failures = 0,
                     last_error = NULL, last_error_at = NULL, retry_at = NULL, updated_at = $13,
                     refresh_until = CASE WHEN refresh_owner = $5 THEN NULL ELSE refresh_until END,
                     refresh_owner = CASE WHEN refresh_owner = $5 THEN NULL ELSE refresh_owner END
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4",
            )
            .within(tenant)
            .bind(lease.token)
            .bind(from)
            .bind(lease.owner)
            .bind(access)
            .bind(refresh)
            .bind(grant.scopes.clone().map(Json))
            .bind(grant.expires_at)
            .bind(grant.refresh_due_at)
            .bind(grant.refresh_token_expires_at)
            .bind(generation)
            .bind(now)
            .execute()
            .await?;
        Ok(written > 0)
    }

    /// Gives a lease back after a refresh that gave nothing. Does nothing if the lease no longer holds.
    pub async fn keep_refresh_failure(
        &self,
        tenant: &Tenant,
        lease: &Lease,
        failure: RefreshFailure,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE tokens
                 SET refresh_owner = CASE WHEN $10 THEN refresh_owner ELSE NULL END, refresh_until = NULL, state = $6,
                     last_error = $7, last_error_at = $8, refresh_failures = refresh_failures + 1, retry_at = $9
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4
                   AND refresh_owner = $5",
            )
            .within(tenant)
            .bind(lease.token)
            .bind(lease.generation)
            .bind(lease.owner)
            .bind(failure.state)
            .bind(failure.error)
            .bind(now)
            .bind(failure.retry_at)
            .bind(failure.is_open)
            .execute()
            .await?;
        Ok(())
    }

    fn seal_grant(
        &self,
        tenant: &Tenant,
        id: Uuid,
        generation: i64,
        grant: &Grant,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), StoreError> {
        let seal = |column, value: &SecretString| self.keys.seal(&token_place(tenant, column, id, generation), value);
        let access = seal("access_token", &grant.access_token)?;
        let refresh = grant.refresh_token.as_ref().map(|value| seal("refresh_token", value)).transpose()?;
        Ok((access, refresh))
    }
}

async fn unmark_defaults(tx: &mut Tx, request: &AuthorizationRequest, except: Uuid) -> Result<(), StoreError> {
    let subject = &request.subject;
    tx.query(
        "UPDATE tokens SET is_default = $7
         WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3 AND user_id = $4 AND agent_id = $5
           AND id <> $6 AND is_default",
    )
    .within(&subject.tenant)
    .bind(request.provider)
    .bind(subject.user_id.clone())
    .bind(subject.agent_id.clone())
    .bind(except)
    .bind(false)
    .execute()
    .await?;
    Ok(())
}
