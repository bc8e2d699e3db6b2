//! Revocations: grants that were deleted here and are still to be revoked at their provider.
//! Owns: the table `revocations`, and that one replica at a time works on a row.
//! Must not know: how a grant is revoked, or when another attempt makes sense.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use uuid::Uuid;

use super::{
    client::ClientRow,
    db::{Tx, insert_into},
    error::StoreError,
    handle::Store,
    seal::{REVOCATION_ACCESS_TOKEN, REVOCATION_CLIENT_SECRET, REVOCATION_REFRESH_TOKEN},
};
use crate::model::{
    actor::Act,
    audit::{Event, EventName, EventResult},
    client::Client,
    subject::Tenant,
};

/// A grant to revoke, opened.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The record's id.
    pub id: Uuid,
    /// Whose grant it was.
    pub tenant: Tenant,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The client at the provider: a copy, because the provider's record may have been deleted.
    pub client: Client,
    /// Where the grant is revoked.
    pub revocation_url: String,
    /// What is revoked.
    pub tokens: RevokedTokens,
    /// The number of attempts, including this one.
    pub attempts: i64,
}

/// The tokens of a grant to revoke.
#[derive(Clone, Debug)]
pub struct RevokedTokens {
    /// The access token.
    pub access_token: SecretString,
    /// The refresh token, if there is one.
    pub refresh_token: Option<SecretString>,
    /// The account at the provider, if it is known.
    pub account_id: Option<String>,
}

/// A revocation that was given up.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct GivenUp {
    /// The record's id.
    pub id: Uuid,
    organization_id: String,
    workspace_id: String,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

#[derive(sqlx::FromRow)]
struct RevocationRow {
    id: Uuid,
    organization_id: String,
    workspace_id: String,
    provider_id: String,
    access_token: Vec<u8>,
    refresh_token: Option<Vec<u8>>,
    account_id: Option<String>,
    attempts: i64,
    #[sqlx(flatten)]
    client: ClientRow,
}

/// What is written, in the order in which it is bound.
const COLUMNS: [&str; 10] = [
    "id",
    "organization_id",
    "workspace_id",
    "provider_id",
    "access_token",
    "refresh_token",
    "account_id",
    "attempts",
    "next_at",
    "created_at",
];

static INSERT: LazyLock<String> = LazyLock::new(|| insert_into("revocations", &[&COLUMNS, &ClientRow::COLUMNS]));

impl Store {
    /// Queues the revocation of a grant, due at once, and returns its id. `client` names the revocation endpoint.
    pub async fn queue_revocation(
        &self,
        tenant: &Tenant,
        provider_id: &str,
        client: &Client,
        tokens: &RevokedTokens,
        now: DateTime<Utc>,
    ) -> Result<Uuid, StoreError> {
        let mut tx = self.db.begin().await?;
        let id = self.insert_revocation(&mut tx, tenant, provider_id, client, tokens, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The same in a transaction that deletes the grant's token.
    pub(super) async fn insert_revocation(
        &self,
        tx: &mut Tx,
        tenant: &Tenant,
        provider_id: &str,
        client: &Client,
        tokens: &RevokedTokens,
        now: DateTime<Utc>,
    ) -> Result<Uuid, StoreError> {
        let id = Uuid::now_v7();
        let seal = self.row_seal(tenant, id, 0);
        let query = tx
            .query(&INSERT)
            .bind(id)
            .within(tenant)
            .bind(provider_id.to_owned())
            .bind(seal.seal(REVOCATION_ACCESS_TOKEN, &tokens.access_token)?)
            .bind(seal.seal_optional(REVOCATION_REFRESH_TOKEN, tokens.refresh_token.as_ref())?)
            .bind(tokens.account_id.clone())
            .bind(0_i64)
            .bind(now)
            .bind(now);
        ClientRow::seal(client, &seal, REVOCATION_CLIENT_SECRET)?.bind(query).execute().await?;
        Ok(id)
    }

    /// The revocations of all tenants that are due, the longest waiting first.
    pub async fn due_revocations(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Uuid>, StoreError> {
        let due: Vec<(Uuid,)> = self
            .db
            .query("SELECT id FROM revocations WHERE next_at <= $1 ORDER BY next_at LIMIT $2")
            .bind(now)
            .bind(limit)
            .read()
            .all()
            .await?;
        Ok(due.into_iter().map(|(id,)| id).collect())
    }

    /// Takes a due revocation for an attempt, which must have ended at `until`. One replica gets it.
    pub async fn take_revocation(
        &self,
        id: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<Revocation>, StoreError> {
        let row: Option<RevocationRow> = self
            .db
            .query(
                "UPDATE revocations SET attempts = attempts + 1, next_at = $3 WHERE id = $1 AND next_at <= $2
                 RETURNING id, organization_id, workspace_id, provider_id, access_token, refresh_token, account_id,
                    attempts, client_id, client_secret, token_endpoint_auth_method, token_url, revocation_url, options",
            )
            .bind(id)
            .bind(now)
            .bind(until)
            .optional()
            .await?;
        row.map(|row| self.open_revocation(row)).transpose()
    }

    /// Replaces the tokens of a revocation: a provider that revokes only a valid access token had to issue one first.
    pub async fn replace_revoked_tokens(&self, revocation: &Revocation) -> Result<(), StoreError> {
        let seal = self.row_seal(&revocation.tenant, revocation.id, 0);
        let RevokedTokens { access_token, refresh_token, .. } = &revocation.tokens;
        self.db
            .query(
                "UPDATE revocations SET access_token = $4, refresh_token = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3",
            )
            .within(&revocation.tenant)
            .bind(revocation.id)
            .bind(seal.seal(REVOCATION_ACCESS_TOKEN, access_token)?)
            .bind(seal.seal_optional(REVOCATION_REFRESH_TOKEN, refresh_token.as_ref())?)
            .execute()
            .await?;
        Ok(())
    }

    /// Postpones a revocation to `next_at`, because the attempt failed.
    pub async fn postpone_revocation(
        &self,
        revocation: &Revocation,
        error: &str,
        next_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE revocations SET last_error = $4, next_at = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3",
            )
            .within(&revocation.tenant)
            .bind(revocation.id)
            .bind(error.to_owned())
            .bind(next_at)
            .execute()
            .await?;
        Ok(())
    }

    /// Removes a revocation from the queue: there is nothing left to do. `failure` says why the grant was not revoked.
    pub async fn end_revocation(
        &self,
        revocation: &Revocation,
        failure: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let ended = tx
            .query("DELETE FROM revocations WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(&revocation.tenant)
            .bind(revocation.id)
            .execute()
            .await?;
        if ended > 0 {
            let event = about_revocation(&revocation.tenant, &revocation.provider_id, revocation.id, failure, now);
            self.record(&mut tx, vec![event]).await?;
        }
        tx.commit().await
    }

    /// Removes from the queue what is due again after `attempts` attempts, of all tenants. An attempt counts when it
    /// begins, so that a row that cannot be opened ends here too.
    pub async fn give_up_revocations(&self, attempts: i64, now: DateTime<Utc>) -> Result<Vec<GivenUp>, StoreError> {
        let mut tx = self.db.begin().await?;
        let given_up: Vec<GivenUp> = tx
            .query(
                "DELETE FROM revocations WHERE attempts >= $1 AND next_at <= $2
                 RETURNING id, organization_id, workspace_id, provider_id, last_error",
            )
            .bind(attempts)
            .bind(now)
            .all()
            .await?;
        let events = given_up.iter().map(|lost| {
            let tenant = Tenant { organization: lost.organization_id.clone(), workspace: lost.workspace_id.clone() };
            about_revocation(&tenant, &lost.provider_id, lost.id, Some("given_up"), now)
        });
        self.record(&mut tx, events.collect()).await?;
        tx.commit().await?;
        Ok(given_up)
    }

    fn open_revocation(&self, row: RevocationRow) -> Result<Revocation, StoreError> {
        let tenant = Tenant { organization: row.organization_id, workspace: row.workspace_id };
        let seal = self.row_seal(&tenant, row.id, 0);
        let client = row.client.open(&seal, REVOCATION_CLIENT_SECRET)?;
        let tokens = RevokedTokens {
            access_token: seal.open(REVOCATION_ACCESS_TOKEN, &row.access_token)?,
            refresh_token: seal.open_optional(REVOCATION_REFRESH_TOKEN, row.refresh_token.as_ref())?,
            account_id: row.account_id,
        };
        Ok(Revocation {
            id: row.id,
            provider_id: row.provider_id,
            revocation_url: client.revocation_url.clone().unwrap_or_default(),
            client,
            tokens,
            attempts: row.attempts,
            tenant,
        })
    }
}

/// What became of a revocation. It is done by the service itself, whoever deleted the token.
fn about_revocation(
    tenant: &Tenant,
    provider_id: &str,
    revocation: Uuid,
    failure: Option<&str>,
    now: DateTime<Utc>,
) -> Event {
    let name = if failure.is_some() { EventName::TokenRevocationFailed } else { EventName::TokenRevoked };
    let event = Event::new(name, &Act::service(), tenant, now).at_provider(provider_id);
    let event = event.with("revocation_id", revocation);
    match failure {
        Some(error) => event.ended(EventResult::Failed, error),
        None => event,
    }
}
