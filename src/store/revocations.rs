//! Revocations: grants that were deleted here and are yet to be revoked at their provider.
//! Owns: the table `revocations`, and that one replica at a time works on a row.
//! Must not know: how a provider is told, or when another attempt makes sense.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Store, StoreError, Tenant, db::Tx, providers::Provider, tokens::grant::Grant};
use crate::{
    cipher::Place,
    model::{client::ClientAuthentication, options::ProviderOptions},
};

/// Our client at a provider and where it revokes: a copy, because the provider's record may be gone by then.
#[derive(Clone, Debug)]
pub struct RevocationClient {
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The revocation endpoint.
    pub revocation_url: String,
    /// The token endpoint.
    pub token_url: String,
    /// Our client there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<SecretString>,
    /// How it authenticates, at either endpoint.
    pub authentication: ClientAuthentication,
    /// What else the provider needs.
    pub options: ProviderOptions,
}

/// Tells how the grants of a provider are revoked; `None` where they cannot be.
pub type ClientOf = fn(&Provider) -> Option<RevocationClient>;

/// A grant to revoke, opened.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The record's id.
    pub id: Uuid,
    /// Whose grant it was.
    pub tenant: Tenant,
    /// Where it is revoked.
    pub client: RevocationClient,
    /// The access token.
    pub access_token: SecretString,
    /// The refresh token, if there is one.
    pub refresh_token: Option<SecretString>,
    /// Whose account it is for at the provider, if that is known.
    pub account_id: Option<String>,
    /// How often it was tried, this time included.
    pub attempts: i64,
}

/// A revocation that was given up.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct GivenUp {
    /// The record's id.
    pub id: Uuid,
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
    revocation_url: String,
    token_url: String,
    client_id: String,
    client_secret: Option<Vec<u8>>,
    token_endpoint_auth_method: ClientAuthentication,
    options: Json<ProviderOptions>,
    access_token: Vec<u8>,
    refresh_token: Option<Vec<u8>>,
    account_id: Option<String>,
    attempts: i64,
}

fn place<'a>(tenant: &'a Tenant, column: &'static str, id: Uuid) -> Place<'a> {
    Place {
        column: ("revocations", column),
        organization: &tenant.organization,
        workspace: &tenant.workspace,
        row: id,
        generation: 0,
    }
}

impl Store {
    /// Queues the revocation of a grant, due at once, and gives its id.
    pub async fn queue_revocation(
        &self,
        tenant: &Tenant,
        client: &RevocationClient,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<Uuid, StoreError> {
        let mut tx = self.db.begin().await?;
        let granted = (&grant.access_token, grant.refresh_token.as_ref(), grant.account_id.as_deref());
        let id = self.insert_revocation(&mut tx, tenant, client, granted, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The same in a transaction that takes the grant from where it was.
    pub(super) async fn insert_revocation(
        &self,
        tx: &mut Tx,
        tenant: &Tenant,
        client: &RevocationClient,
        (access_token, refresh_token, account_id): (&SecretString, Option<&SecretString>, Option<&str>),
        now: DateTime<Utc>,
    ) -> Result<Uuid, StoreError> {
        let id = Uuid::now_v7();
        let seal = |column, value: &SecretString| self.keys.seal(&place(tenant, column, id), value);
        let client_secret = client.client_secret.as_ref().map(|value| seal("client_secret", value)).transpose()?;
        let refresh_token = refresh_token.map(|value| seal("refresh_token", value)).transpose()?;
        tx.query(
            "INSERT INTO revocations (id, organization_id, workspace_id, provider_id, revocation_url, token_url,
                client_id, client_secret, token_endpoint_auth_method, access_token, refresh_token, attempts, next_at,
                created_at, options, account_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $12, $13, $14)",
        )
        .bind(id)
        .within(tenant)
        .bind(client.provider_id.clone())
        .bind(client.revocation_url.clone())
        .bind(client.token_url.clone())
        .bind(client.client_id.clone())
        .bind(client_secret)
        .bind(client.authentication)
        .bind(seal("access_token", access_token)?)
        .bind(refresh_token)
        .bind(now)
        .bind(Json(client.options.clone()))
        .bind(account_id.map(ToOwned::to_owned))
        .execute()
        .await?;
        Ok(id)
    }

    /// The revocations of all tenants that are due, the longest waiting first.
    pub async fn due_revocations(&self, now: DateTime<Utc>, most: i64) -> Result<Vec<Uuid>, StoreError> {
        let due: Vec<(Uuid,)> = self
            .db
            .query("SELECT id FROM revocations WHERE next_at <= $1 ORDER BY next_at LIMIT $2")
            .bind(now)
            .bind(most)
            .all()
            .await?;
        Ok(due.into_iter().map(|(id,)| id).collect())
    }

    /// Takes a due revocation for an attempt, which must have ended at `until`. Of all replicas one gets it.
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
                 RETURNING *",
            )
            .bind(id)
            .bind(now)
            .bind(until)
            .optional()
            .await?;
        row.map(|row| self.open_revocation(row)).transpose()
    }

    /// Writes the tokens of a revocation anew: a provider that takes only a live access token had to be asked for one.
    pub async fn renew_revocation(&self, revocation: &Revocation) -> Result<(), StoreError> {
        let tenant = &revocation.tenant;
        let seal = |column, value: &SecretString| self.keys.seal(&place(tenant, column, revocation.id), value);
        let refresh_token = revocation.refresh_token.as_ref().map(|value| seal("refresh_token", value)).transpose()?;
        self.db
            .query(
                "UPDATE revocations SET access_token = $4, refresh_token = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3",
            )
            .within(tenant)
            .bind(revocation.id)
            .bind(seal("access_token", &revocation.access_token)?)
            .bind(refresh_token)
            .execute()
            .await?;
        Ok(())
    }

    /// Puts a revocation off to `next_at`, because the attempt failed.
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

    /// Takes a revocation off the queue: there is nothing left to do.
    pub async fn end_revocation(&self, revocation: &Revocation) -> Result<(), StoreError> {
        self.db
            .query("DELETE FROM revocations WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(&revocation.tenant)
            .bind(revocation.id)
            .execute()
            .await?;
        Ok(())
    }

    /// Takes off the queue what is due again after `attempts` attempts, of all tenants. Attempts count when they
    /// begin, so that a row that cannot even be opened ends here too.
    pub async fn give_up_revocations(&self, attempts: i64, now: DateTime<Utc>) -> Result<Vec<GivenUp>, StoreError> {
        self.db
            .query(
                "DELETE FROM revocations WHERE attempts >= $1 AND next_at <= $2
                 RETURNING id, provider_id, last_error",
            )
            .bind(attempts)
            .bind(now)
            .all()
            .await
    }

    fn open_revocation(&self, row: RevocationRow) -> Result<Revocation, StoreError> {
        let tenant = Tenant { organization: row.organization_id, workspace: row.workspace_id };
        let open = |column, sealed: &[u8]| self.keys.open(&place(&tenant, column, row.id), sealed);
        let client_secret = row.client_secret.map(|sealed| open("client_secret", &sealed)).transpose()?;
        let refresh_token = row.refresh_token.map(|sealed| open("refresh_token", &sealed)).transpose()?;
        let access_token = open("access_token", &row.access_token)?;
        Ok(Revocation {
            id: row.id,
            tenant,
            client: RevocationClient {
                provider_id: row.provider_id,
                revocation_url: row.revocation_url,
                token_url: row.token_url,
                client_id: row.client_id,
                client_secret,
                authentication: row.token_endpoint_auth_method,
                options: row.options.0,
            },
            access_token,
            refresh_token,
            account_id: row.account_id,
            attempts: row.attempts,
        })
    }
}
