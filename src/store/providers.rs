//! Providers: authorization servers with our client registration at each.
//! Owns: the table `providers`.
//! Must not know: how a provider is called.

use std::{collections::BTreeMap, sync::LazyLock};

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    client::ClientRow,
    db::{Query, Tx, insert_into, update},
    error::{NotOpened, StoreError},
    handle::Store,
    key_limits::in_limit,
    seal::PROVIDER_CLIENT_SECRET,
    tokens::{lease::end_cool_down, state::end_grants},
};
use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName, EventResult},
        key_limits::Reach,
        provider::Provider,
        subject::Tenant,
    },
    telemetry::metrics::{DeathCause, METRICS},
};

#[derive(sqlx::FromRow)]
pub(super) struct ProviderRow {
    pub(super) id: Uuid,
    organization_id: String,
    workspace_id: String,
    pub(super) provider_id: String,
    callback_tag: String,
    name: String,
    auth_url: String,
    userinfo_url: Option<String>,
    uses_pkce: bool,
    code_challenge_method: String,
    provider_type: Option<String>,
    authorization_params: Json<BTreeMap<String, String>>,
    allowed_redirect_uris: Json<Vec<String>>,
    mcp_server_url: Option<String>,
    is_dynamic_client: bool,
    generation: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[sqlx(flatten)]
    client: ClientRow,
    // Written only by `mark_client_error`.
    client_error: Option<String>,
}

/// The columns of a [`ProviderRow`].
macro_rules! provider_columns {
    () => {
        "id, organization_id, workspace_id, provider_id, callback_tag, name, auth_url, userinfo_url, uses_pkce,
         code_challenge_method, provider_type, authorization_params, allowed_redirect_uris, mcp_server_url,
         is_dynamic_client, generation, created_at, updated_at, client_id, client_secret, token_endpoint_auth_method,
         token_url, revocation_url, options, client_error"
    };
}

/// What is written, in the order of the fields.
const COLUMNS: [&str; 18] = [
    "id",
    "organization_id",
    "workspace_id",
    "provider_id",
    "name",
    "auth_url",
    "userinfo_url",
    "uses_pkce",
    "code_challenge_method",
    "provider_type",
    "authorization_params",
    "allowed_redirect_uris",
    "mcp_server_url",
    "is_dynamic_client",
    "generation",
    "created_at",
    "updated_at",
    "callback_tag",
];

static INSERT: LazyLock<String> = LazyLock::new(|| insert_into("providers", &[&COLUMNS, &ClientRow::COLUMNS]));
static UPDATE: LazyLock<String> = LazyLock::new(|| {
    update("providers", &[&COLUMNS, &ClientRow::COLUMNS])
        + " WHERE id = $1 AND organization_id = $2 AND workspace_id = $3 AND generation = $15 - 1"
});

impl ProviderRow {
    fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization_id.clone(), workspace: self.workspace_id.clone() }
    }

    fn without_secret(self) -> Provider {
        Provider {
            id: self.id,
            tenant: self.tenant(),
            provider_id: self.provider_id,
            callback_tag: self.callback_tag,
            name: self.name,
            client: self.client.without_secret(),
            auth_url: self.auth_url,
            userinfo_url: self.userinfo_url,
            uses_pkce: self.uses_pkce,
            code_challenge_method: self.code_challenge_method,
            provider_type: self.provider_type,
            authorization_params: self.authorization_params.0,
            allowed_redirect_uris: self.allowed_redirect_uris.0,
            mcp_server_url: self.mcp_server_url,
            is_dynamic_client: self.is_dynamic_client,
            client_error: self.client_error,
            generation: self.generation,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn bind(self, query: Query<'_>) -> Query<'_> {
        let query = query
            .bind(self.id)
            .bind(self.organization_id)
            .bind(self.workspace_id)
            .bind(self.provider_id)
            .bind(self.name)
            .bind(self.auth_url)
            .bind(self.userinfo_url)
            .bind(self.uses_pkce)
            .bind(self.code_challenge_method)
            .bind(self.provider_type)
            .bind(self.authorization_params)
            .bind(self.allowed_redirect_uris)
            .bind(self.mcp_server_url)
            .bind(self.is_dynamic_client)
            .bind(self.generation)
            .bind(self.created_at)
            .bind(self.updated_at)
            .bind(self.callback_tag);
        self.client.bind(query)
    }
}

impl Store {
    /// Stores a new provider, and records `event` about it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the workspace has a provider of that `provider_id`, or another one has its callback
    /// address.
    pub async fn create_provider(&self, provider: &Provider, event: EventName, act: &Act) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        self.seal_provider(provider)?.bind(tx.query(&INSERT)).execute().await?;
        let event = about_provider(event, provider, act, provider.created_at)
            .with("token_url", &provider.client.token_url)
            .with("client_id", &provider.client.id);
        self.record(&mut tx, vec![event]).await?;
        tx.commit().await?;
        // From here on it has metrics: an increase from nothing would not be seen.
        drop(METRICS.providers.of(&provider.provider_id));
        Ok(())
    }

    /// Whether no provider of that name has the plain callback address, in any workspace. [`Self::create_provider`] decides
    /// between two that find it free at the same moment.
    pub async fn plain_callback_is_free(&self, provider_id: &str) -> Result<bool, StoreError> {
        let (owners,): (i64,) = self
            .db
            .query("SELECT count(*) FROM providers WHERE provider_id = $1 AND callback_tag = ''")
            .bind(provider_id.to_owned())
            .read()
            .one()
            .await?;
        Ok(owners == 0)
    }

    /// The names of providers whose callback address another workspace's provider has too: they shared it before addresses
    /// were distinct.
    pub async fn shared_callbacks(&self) -> Result<Vec<String>, StoreError> {
        let shared: Vec<(String,)> = self
            .db
            .query(
                "SELECT DISTINCT p.provider_id FROM providers p
                 JOIN providers o ON o.provider_id = p.provider_id AND o.id <> p.id AND o.callback_tag = ''
                 WHERE p.shares_callback ORDER BY p.provider_id",
            )
            .read()
            .all()
            .await?;
        Ok(shared.into_iter().map(|(provider_id,)| provider_id).collect())
    }

    /// Writes a provider whose client was registered again, unless it was changed since it was read. Its tokens stay as
    /// they are.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was changed or deleted in the meantime.
    pub async fn replace_client(
        &self,
        provider: &Provider,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Provider, StoreError> {
        let mut tx = self.db.begin().await?;
        let updated = self.write_update(tx.query(&UPDATE), provider, now).await?;
        let event = about_provider(EventName::ProviderClientReregistered, &updated, act, now)
            .with("client_id", &updated.client.id);
        self.record(&mut tx, vec![event]).await?;
        tx.commit().await?;
        Ok(updated)
    }

    /// The same for a change that an operator made to put something right: what failed before is tried again at once.
    /// `changed` names the fields that the audit log names. With `replaced_key` every token of the provider ends with this error code, because it holds the key that was
    /// replaced.
    ///
    /// # Errors
    /// Those of [`Self::update_provider`].
    pub async fn correct_provider(
        &self,
        provider: &Provider,
        changed: &[&str],
        replaced_key: Option<&str>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Provider, StoreError> {
        let _changing = replaced_key.map(|_| self.token_changes.of_all());
        let mut tx = self.db.begin().await?;
        let mut updated = self.write_update(tx.query(&UPDATE), provider, now).await?;
        let was_marked =
            write_client_error(tx.query(MARK), &updated.tenant, updated.id, None, now).execute().await? > 0;
        updated.client_error = None;
        end_cool_down(&mut tx, &updated.tenant, updated.id).await?;
        let mut event =
            about_provider(EventName::ProviderChanged, &updated, act, now).with("fields", changed.join(" "));
        if let Some(error) = replaced_key {
            let ended = end_grants(&mut tx, &updated.tenant, updated.id, error, now).await?;
            METRICS.providers.of(&updated.provider_id).deaths.of(DeathCause::of(error)).add(ended);
            event = event.with("ended_tokens", ended);
        }
        let recovered = was_marked.then(|| about_provider(EventName::ProviderRecovered, &updated, act, now));
        self.record(&mut tx, [Some(event), recovered].into_iter().flatten().collect()).await?;
        tx.commit().await?;
        Ok(updated)
    }

    async fn write_update(
        &self,
        query: Query<'_>,
        provider: &Provider,
        now: DateTime<Utc>,
    ) -> Result<Provider, StoreError> {
        let updated = Provider { generation: provider.generation + 1, updated_at: now, ..provider.clone() };
        let written = self.seal_provider(&updated)?.bind(query).execute().await?;
        if written == 0 { Err(StoreError::Conflict) } else { Ok(updated) }
    }

    /// The provider that applications call `provider_id`.
    pub async fn provider(&self, tenant: &Tenant, provider_id: &str) -> Result<Option<Provider>, StoreError> {
        let row = self.row_of_provider(tenant, provider_id).await?;
        Ok(row.map(|row| self.open_provider(row)).transpose()?)
    }

    /// The same without its client secret, which may be one that cannot be opened. Only to look at.
    pub async fn provider_without_secret(
        &self,
        tenant: &Tenant,
        provider_id: &str,
    ) -> Result<Option<Provider>, StoreError> {
        Ok(self.row_of_provider(tenant, provider_id).await?.map(ProviderRow::without_secret))
    }

    async fn row_of_provider(&self, tenant: &Tenant, provider_id: &str) -> Result<Option<ProviderRow>, StoreError> {
        self.db
            .query(concat!(
                "SELECT ",
                provider_columns!(),
                " FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND provider_id = $3"
            ))
            .within(tenant)
            .bind(provider_id.to_owned())
            .read()
            .optional()
            .await
    }

    /// Every provider of a tenant that the caller reaches, ordered by `provider_id`, without its client secret.
    pub async fn providers_without_secrets(&self, reach: Reach<'_>) -> Result<Vec<Provider>, StoreError> {
        let rows: Vec<ProviderRow> = self
            .db
            .query(concat!(
                "SELECT ",
                provider_columns!(),
                " FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND ",
                in_limit!("$3", "providers", "provider_id"),
                " ORDER BY provider_id"
            ))
            .within(reach.tenant)
            .limited(reach.limits)
            .read()
            .all()
            .await?;
        Ok(rows.into_iter().map(ProviderRow::without_secret).collect())
    }

    /// Counts the stored grants of a provider, dead ones too: their refresh tokens are still sent when they are revoked.
    pub async fn count_grants(&self, provider: &Provider) -> Result<u64, StoreError> {
        let (grants,): (i64,) = self
            .db
            // Of a large provider only an index is read, because the tokens are those of the provider's tenant.
            .query(
                "SELECT count(*) FROM tokens WHERE provider = (
                    SELECT id FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND id = $3)",
            )
            .within(&provider.tenant)
            .bind(provider.id)
            .read()
            .one()
            .await?;
        Ok(grants.unsigned_abs())
    }

    /// Marks a provider with the error code of its token endpoint; without one, removes the mark. Its grants stay: the
    /// operator has to correct the client. Only the first mark, and its end, are recorded.
    pub async fn mark_client_error(
        &self,
        provider: &Provider,
        error: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (tenant, id) = (&provider.tenant, provider.id);
        if error.is_some() && write_client_error(self.db.query(RENEW_MARK), tenant, id, error, now).execute().await? > 0
        {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        if write_client_error(tx.query(CHANGE_MARK), tenant, id, error, now).execute().await? > 0 {
            let event = match error {
                Some(error) => about_provider(EventName::ProviderFailing, provider, &Act::service(), now)
                    .ended(EventResult::Failed, error),
                None => about_provider(EventName::ProviderRecovered, provider, &Act::service(), now),
            };
            self.record(&mut tx, vec![event]).await?;
        }
        tx.commit().await
    }

    fn seal_provider(&self, provider: &Provider) -> Result<ProviderRow, StoreError> {
        let p = provider.clone();
        let seal = self.row_seal(&provider.tenant, provider.id, provider.generation);
        Ok(ProviderRow {
            id: p.id,
            organization_id: p.tenant.organization,
            workspace_id: p.tenant.workspace,
            provider_id: p.provider_id,
            callback_tag: p.callback_tag,
            name: p.name,
            auth_url: p.auth_url,
            userinfo_url: p.userinfo_url,
            uses_pkce: p.uses_pkce,
            code_challenge_method: p.code_challenge_method,
            provider_type: p.provider_type,
            authorization_params: Json(p.authorization_params),
            allowed_redirect_uris: Json(p.allowed_redirect_uris),
            mcp_server_url: p.mcp_server_url,
            is_dynamic_client: p.is_dynamic_client,
            generation: p.generation,
            created_at: p.created_at,
            updated_at: p.updated_at,
            client: ClientRow::seal(&p.client, &seal, PROVIDER_CLIENT_SECRET)?,
            client_error: p.client_error,
        })
    }

    pub(super) fn open_provider(&self, row: ProviderRow) -> Result<Provider, NotOpened> {
        let tenant = row.tenant();
        let seal = self.row_seal(&tenant, row.id, row.generation);
        let secret = seal.open_optional(PROVIDER_CLIENT_SECRET, row.client.sealed_secret())?;
        let mut provider = row.without_secret();
        provider.client.secret = secret;
        Ok(provider)
    }
}

/// An event about a provider, without the rest of what its record says.
pub(super) fn about_provider(name: EventName, provider: &Provider, act: &Act, now: DateTime<Utc>) -> Event {
    Event::new(name, act, &provider.tenant, now).at_provider(&provider.provider_id)
}

/// The provider of that record.
pub(super) async fn provider_row(tx: &mut Tx, tenant: &Tenant, id: Uuid) -> Result<Option<ProviderRow>, StoreError> {
    tx.query(concat!(
        "SELECT ",
        provider_columns!(),
        " FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND id = $3"
    ))
    .within(tenant)
    .bind(id)
    .optional()
    .await
}

/// Closes a provider to new tokens for as long as the transaction runs: PostgreSQL blocks new references to a row while
/// one of its unique columns is being changed. So no consent can slip in between the deletion of the tokens and that of
/// the provider, and be lost unrevoked. No provider can have the new name.
pub(super) async fn close_provider(
    tx: &mut Tx,
    tenant: &Tenant,
    provider_id: &str,
) -> Result<Option<ProviderRow>, StoreError> {
    let row: Option<ProviderRow> = tx
        .query(concat!(
            "UPDATE providers SET provider_id = $4
             WHERE organization_id = $1 AND workspace_id = $2 AND provider_id = $3 RETURNING ",
            provider_columns!()
        ))
        .within(tenant)
        .bind(provider_id.to_owned())
        .bind(format!("-{}", Uuid::new_v4()))
        .optional()
        .await?;
    Ok(row.map(|row| ProviderRow { provider_id: provider_id.to_owned(), ..row }))
}

pub(super) async fn delete_provider_row(tx: &mut Tx, tenant: &Tenant, id: Uuid) -> Result<(), StoreError> {
    tx.query("DELETE FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
        .within(tenant)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

/// Replaces a mark that is there.
const RENEW_MARK: &str = "UPDATE providers SET client_error = $4, client_error_at = $5
    WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND client_error IS NOT NULL";
/// Sets a mark where there is none, or removes one.
const CHANGE_MARK: &str = "UPDATE providers SET client_error = $4, client_error_at = $5
    WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND (client_error IS NULL) = ($4 IS NOT NULL)";
const MARK: &str = "UPDATE providers SET client_error = $4, client_error_at = $5
    WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND (client_error IS NOT NULL OR $4 IS NOT NULL)";

fn write_client_error<'q>(
    query: Query<'q>,
    tenant: &Tenant,
    provider: Uuid,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Query<'q> {
    query.within(tenant).bind(provider).bind(error.map(ToOwned::to_owned)).bind(error.map(|_| now))
}
