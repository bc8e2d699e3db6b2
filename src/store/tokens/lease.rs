//! The lease of a refresh, and the fence around its result.
//! Owns: `refresh_owner`, `refresh_until`, and that a result is written only to the token it was made for.
//! Must not know: how a refresh is done.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName, EventResult},
        grant::Grant,
        subject::Tenant,
        token::{State, Token},
    },
    store::{
        db::{Tx, milliseconds},
        error::StoreError,
        handle::Store,
        seal::TOKEN_REFRESH_TOKEN,
    },
};

/// After the database was unreachable, a lease that ran out meanwhile is not taken over for so long: its holder could
/// not extend it, and may have the provider's response in hand, to be written as soon as the database is back.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// An end of a refresh token that a refresh moves by less was moved by the time that the response took.
const EXTENDED_BY: TimeDelta = TimeDelta::minutes(1);

/// The error code of a token whose refresh needs a secret that cannot be opened.
pub const NOT_OPENED: &str = "secret_not_opened";

/// The right to refresh one token for a while.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The token.
    pub token: Uuid,
    /// This attempt.
    pub owner: Uuid,
    /// The generation the refresh began with; a result is written only while it is unchanged.
    pub generation: i64,
    /// The refresh token.
    pub refresh_token: SecretString,
    /// How many refreshes failed in a row.
    pub failures: i64,
}

/// How a failed refresh ended.
#[derive(Clone, Debug)]
pub struct RefreshFailure {
    /// The state the token is in now.
    pub state: State,
    /// The error code, of the provider or of agent-auth.
    pub error: String,
    /// No other attempt is made before this.
    pub retry_at: Option<DateTime<Utc>>,
    /// Whether the provider may have processed the request although we got no answer: then the refresh is resumed.
    pub outcome_unknown: bool,
}

impl Store {
    /// Takes the right to refresh `token` for this time, by the database's clock. One replica gets it; `None` when
    /// another one has it, when a refresh failed a moment ago, when the database was unreachable a moment ago and
    /// another replica may still have it, or when the token was written, deleted or found dead meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NotOpened`] when its refresh token cannot be opened. Then nobody has the right.
    pub async fn take_refresh_lease(
        &self,
        token: &Token,
        time: Duration,
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
            .bind(milliseconds(time))
            .bind(now)
            .bind(self.db.reachable_for(SETTLED_AFTER))
            .optional()
            .await?;
        let Some((Some(sealed), failures)) = taken else { return Ok(None) };
        match self.row_seal(tenant, token.id, token.generation).open(TOKEN_REFRESH_TOKEN, &sealed) {
            Ok(refresh_token) => {
                Ok(Some(Lease { token: token.id, owner, generation: token.generation, refresh_token, failures }))
            }
            Err(error) => {
                self.set_refresh_aside(tenant, token.id, Some(owner), now).await?;
                Err(error.into())
            }
        }
    }

    /// Releases the lease of this owner before anything was sent, because a secret that the refresh needs cannot be opened;
    /// without an owner, one that has expired. The grant is kept as it is: the key may come back. No job tries it again at
    /// once.
    pub async fn set_refresh_aside(
        &self,
        tenant: &Tenant,
        token: Uuid,
        owner: Option<Uuid>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE tokens
                 SET refresh_owner = NULL, refresh_until = NULL, last_error = $5, last_error_at = $6,
                     refresh_failures = CASE WHEN refresh_failures = 0 THEN 1 ELSE refresh_failures END
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3
                   AND (refresh_owner = $4 OR ($4 IS NULL AND (refresh_until IS NULL
                        OR refresh_until < (SELECT now_ms FROM database_clock))))",
            )
            .within(tenant)
            .bind(token)
            .bind(owner)
            .bind(NOT_OPENED.to_owned())
            .bind(now)
            .execute()
            .await?;
        Ok(())
    }

    /// Extends a lease by this time, by the database's clock. `false`: it was lost.
    pub async fn extend_refresh_lease(
        &self,
        tenant: &Tenant,
        lease: &Lease,
        time: Duration,
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
            .bind(milliseconds(time))
            .execute()
            .await?;
        Ok(extended > 0)
    }

    /// Ends every lease, but not what was begun under it. For a database with one server, at its start: no other
    /// process can have one.
    pub async fn end_refresh_leases(&self) -> Result<(), StoreError> {
        self.db.query("UPDATE tokens SET refresh_until = NULL WHERE refresh_until IS NOT NULL").execute().await?;
        Ok(())
    }

    /// Writes the result of a refresh. `false`: the token was written or deleted meanwhile, and this result is
    /// discarded.
    ///
    /// A late result, after another replica took the lease over, is still written while the token is as it
    /// was: it is newer than what it replaces, and it used the refresh token that the other replica is trying. The
    /// other's own result then replaces it, because it is newer still.
    pub async fn keep_refreshed(
        &self,
        token: &Token,
        lease: &Lease,
        grant: &Grant,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let tenant = &token.subject.tenant;
        // A response without a refresh token keeps the old one (RFC 6749 section 6), sealed again for this generation.
        let mut grant = grant.clone();
        grant.refresh_token.get_or_insert_with(|| lease.refresh_token.clone());
        if self.write_refreshed(token, lease, &grant, lease.generation, act, now).await? {
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
            .read()
            .optional()
            .await?;
        match written_late {
            Some((generation,)) => self.write_refreshed(token, lease, &grant, generation, act, now).await,
            None => Ok(false),
        }
    }

    async fn write_refreshed(
        &self,
        token: &Token,
        lease: &Lease,
        grant: &Grant,
        from: i64,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (tenant, generation) = (&token.subject.tenant, from + 1);
        let (access, refresh) = self.seal_grant(tenant, lease.token, generation, grant)?;
        let _changing = self.token_changes.of(token.provider, &token.subject.user_id);
        let mut tx = self.db.begin().await?;
        let written = tx
            .query(
                "UPDATE tokens
                 SET access_token = $6, refresh_token = $7, scopes = COALESCE($8, scopes), expires_at = $9,
                     refresh_due_at = $10, refresh_token_expires_at = COALESCE($11, refresh_token_expires_at),
                     refresh_token_extends = refresh_token_extends OR COALESCE(refresh_token_expires_at < $14, FALSE),
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
            .bind(grant.refresh_token_expires_at.map(|at| at - EXTENDED_BY))
            .execute()
            .await?;
        if written > 0 {
            let event = Event::of_token(EventName::TokenRefreshed, token, act, now).turning(lease.failures > 0);
            let scopes = grant.scopes.as_ref().unwrap_or(&token.scopes);
            self.record(&mut tx, vec![event.with_scopes(scopes)]).await?;
        }
        tx.commit().await?;
        Ok(written > 0)
    }

    /// Releases a lease after a refresh without a result. Does nothing if the lease was lost.
    pub async fn keep_refresh_failure(
        &self,
        token: &Token,
        lease: &Lease,
        failure: RefreshFailure,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let name = match failure.state {
            State::Active => EventName::TokenRefreshFailed,
            State::ConsentNeeded => EventName::TokenConsentNeeded,
        };
        let event = Event::of_token(name, token, act, now).ended(EventResult::Failed, &failure.error);
        let event = event.turning(lease.failures == 0);
        let _changing = self.token_changes.of(token.provider, &token.subject.user_id);
        let mut tx = self.db.begin().await?;
        let released = tx
            .query(
                "UPDATE tokens
                 SET refresh_owner = CASE WHEN $10 THEN refresh_owner ELSE NULL END, refresh_until = NULL, state = $6,
                     last_error = $7, last_error_at = $8, refresh_failures = refresh_failures + 1, retry_at = $9
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4
                   AND refresh_owner = $5",
            )
            .within(&token.subject.tenant)
            .bind(lease.token)
            .bind(lease.generation)
            .bind(lease.owner)
            .bind(failure.state)
            .bind(failure.error)
            .bind(now)
            .bind(failure.retry_at)
            .bind(failure.outcome_unknown)
            .execute()
            .await?;
        if released > 0 {
            self.record(&mut tx, vec![event]).await?;
        }
        tx.commit().await
    }
}

/// Ends the cool-downs of a provider's tokens, because its record was corrected.
pub(in crate::store) async fn end_cool_down(tx: &mut Tx, tenant: &Tenant, provider: Uuid) -> Result<(), StoreError> {
    tx.query(
        "UPDATE tokens SET retry_at = NULL, refresh_failures = 0
         WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3 AND retry_at IS NOT NULL",
    )
    .within(tenant)
    .bind(provider)
    .execute()
    .await?;
    Ok(())
}
