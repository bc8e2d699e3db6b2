//! Providers: authorization servers with our client registration at each.
//! Owns: the table `providers` and the sealing of client secrets.
//! Must not know: how a provider is spoken to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Store, StoreError, Tenant};
use crate::{
    cipher::Place,
    model::{client::ClientAuthentication, options::ProviderOptions},
};

/// A provider. What a person may set, with the names of the wire.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The record's id.
    pub id: Uuid,
    /// Who owns it.
    pub tenant: Tenant,
    /// The name that applications and callback addresses use.
    pub provider_id: String,
    /// The name for people.
    pub name: String,
    /// Our client there.
    pub client_id: String,
    /// Its secret, unless it is a public client.
    pub client_secret: Option<SecretString>,
    /// The authorization endpoint.
    pub auth_url: String,
    /// The token endpoint.
    pub token_url: String,
    /// Where the provider tells whose an access token is.
    pub userinfo_url: Option<String>,
    /// Where grants are revoked, if not where it is known of the provider.
    pub revocation_url: Option<String>,
    /// Whether a code challenge is sent (RFC 7636).
    pub uses_pkce: bool,
    /// `S256`, the only one ever sent.
    pub code_challenge_method: String,
    /// A family of providers with habits of their own.
    pub provider_type: Option<String>,
    /// How we authenticate at the token endpoint.
    pub token_endpoint_auth_method: ClientAuthentication,
    /// Parameters added to every authorization URL.
    pub authorization_params: BTreeMap<String, String>,
    /// Redirect URIs of applications that receive the redirect themselves.
    pub allowed_redirect_uris: Vec<String>,
    /// The MCP server this provider was discovered from.
    pub mcp_server_url: Option<String>,
    /// True when our client was registered by us (RFC 7591).
    pub is_dynamic_client: bool,
    /// What it needs beyond the published fields.
    pub options: ProviderOptions,
    /// The error with which its token endpoint refused our client, until it takes it again.
    pub client_error: Option<String>,
    /// Counts the writes of the secret.
    pub generation: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
pub(super) struct ProviderRow {
    pub(super) id: Uuid,
    organization_id: String,
    workspace_id: String,
    pub(super) provider_id: String,
    name: String,
    client_id: String,
    client_secret: Option<Vec<u8>>,
    auth_url: String,
    token_url: String,
    userinfo_url: Option<String>,
    revocation_url: Option<String>,
    uses_pkce: bool,
    code_challenge_method: String,
    provider_type: Option<String>,
    token_endpoint_auth_method: ClientAuthentication,
    authorization_params: Json<BTreeMap<String, String>>,
    allowed_redirect_uris: Json<Vec<String>>,
    mcp_server_url: Option<String>,
    is_dynamic_client: bool,
    options: Json<ProviderOptions>,
    client_error: Option<String>,
    generation: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

fn secret_place(tenant: &Tenant, id: Uuid, generation: i64) -> Place<'_> {
    Place {
        column: ("providers", "client_secret"),
        organization: &tenant.organization,
        workspace: &tenant.workspace,
        row: id,
        generation,
    }
}

impl Store {
    /// Keeps a new provider.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the tenant has a provider of that `provider_id`.
    pub async fn create_provider(&self, provider: &Provider) -> Result<(), StoreError> {
        let p = provider.clone();
        let secret = self.seal_client_secret(&p)?;
        self.db
            .query(
                "INSERT INTO providers (id, organization_id, workspace_id, provider_id, name, client_id, client_secret,
                    auth_url, token_url, uses_pkce, code_challenge_method, provider_type, token_endpoint_auth_method,
                    authorization_params, allowed_redirect_uris, mcp_server_url, is_dynamic_client, generation,
                    created_at, updated_at, userinfo_url, revocation_url, options)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                    $21, $22, $23)",
            )
            .bind(p.id)
            .bind(p.tenant.organization)
            .bind(p.tenant.workspace)
            .bind(p.provider_id)
            .bind(p.name)
            .bind(p.client_id)
            .bind(secret)
            .bind(p.auth_url)
            .bind(p.token_url)
            .bind(p.uses_pkce)
            .bind(p.code_challenge_method)
            .bind(p.provider_type)
            .bind(p.token_endpoint_auth_method)
            .bind(Json(p.authorization_params))
            .bind(Json(p.allowed_redirect_uris))
            .bind(p.mcp_server_url)
            .bind(p.is_dynamic_client)
            .bind(p.generation)
            .bind(p.created_at)
            .bind(p.updated_at)
            .bind(p.userinfo_url)
            .bind(p.revocation_url)
            .bind(Json(p.options))
            .execute()
            .await?;
        Ok(())
    }

    /// Writes a changed provider back, unless somebody else changed it since it was read.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was changed or deleted meanwhile.
    pub async fn update_provider(&self, provider: &Provider, now: DateTime<Utc>) -> Result<Provider, StoreError> {
        let mut p = provider.clone();
        p.generation += 1;
        p.updated_at = now;
        let secret = self.seal_client_secret(&p)?;
        let updated = p.clone();
        let written = self
            .db
            .query(
                "UPDATE providers SET name = $5, client_id = $6, client_secret = $7, auth_url = $8, token_url = $9,
                    uses_pkce = $10, code_challenge_method = $11, authorization_params = $12,
                    allowed_redirect_uris = $13, generation = $14, updated_at = $15, userinfo_url = $16,
                    revocation_url = $17, options = $18,
                    token_endpoint_auth_method = $19, mcp_server_url = $20, is_dynamic_client = $21,
                    provider_type = $22
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4",
            )
            .bind(p.tenant.organization)
            .bind(p.tenant.workspace)
            .bind(p.id)
            .bind(provider.generation)
            .bind(p.name)
            .bind(p.client_id)
            .bind(secret)
            .bind(p.auth_url)
            .bind(p.token_url)
            .bind(p.uses_pkce)
            .bind(p.code_challenge_method)
            .bind(Json(p.authorization_params))
            .bind(Json(p.allowed_redirect_uris))
            .bind(p.generation)
            .bind(p.updated_at)
            .bind(p.userinfo_url)
            .bind(p.revocation_url)
            .bind(Json(p.options))
            .bind(p.token_endpoint_auth_method)
            .bind(p.mcp_server_url)
            .bind(p.is_dynamic_client)
            .bind(p.provider_type)
            .execute()
            .await?;
        if written == 0 { Err(StoreError::Conflict) } else { Ok(updated) }
    }

    /// The provider an application calls `provider_id`.
    pub async fn provider(&self, tenant: &Tenant, provider_id: &str) -> Result<Option<Provider>, StoreError> {
        let row: Option<ProviderRow> = self
            .db
            .query("SELECT * FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND provider_id = $3")
            .within(tenant)
            .bind(provider_id.to_owned())
            .optional()
            .await?;
        row.map(|row| self.open_provider(row)).transpose()
    }

    /// Every provider of a tenant, by name of the wire.
    pub async fn providers(&self, tenant: &Tenant) -> Result<Vec<Provider>, StoreError> {
        let rows: Vec<ProviderRow> = self
            .db
            .query("SELECT * FROM providers WHERE organization_id = $1 AND workspace_id = $2 ORDER BY provider_id")
            .within(tenant)
            .all()
            .await?;
        rows.into_iter().map(|row| self.open_provider(row)).collect()
    }

    fn seal_client_secret(&self, provider: &Provider) -> Result<Option<Vec<u8>>, StoreError> {
        let place = secret_place(&provider.tenant, provider.id, provider.generation);
        Ok(provider.client_secret.as_ref().map(|secret| self.keys.seal(&place, secret)).transpose()?)
    }

    pub(super) fn open_provider(&self, row: ProviderRow) -> Result<Provider, StoreError> {
        let tenant = Tenant { organization: row.organization_id, workspace: row.workspace_id };
        let place = secret_place(&tenant, row.id, row.generation);
        let client_secret = row.client_secret.map(|sealed| self.keys.open(&place, &sealed)).transpose()?;
        Ok(Provider {
            id: row.id,
            provider_id: row.provider_id,
            name: row.name,
            client_id: row.client_id,
            client_secret,
            auth_url: row.auth_url,
            token_url: row.token_url,
            userinfo_url: row.userinfo_url,
            revocation_url: row.revocation_url,
            uses_pkce: row.uses_pkce,
            code_challenge_method: row.code_challenge_method,
            provider_type: row.provider_type,
            token_endpoint_auth_method: row.token_endpoint_auth_method,
            authorization_params: row.authorization_params.0,
            allowed_redirect_uris: row.allowed_redirect_uris.0,
            mcp_server_url: row.mcp_server_url,
            is_dynamic_client: row.is_dynamic_client,
            options: row.options.0,
            client_error: row.client_error,
            generation: row.generation,
            created_at: row.created_at,
            updated_at: row.updated_at,
            tenant,
        })
    }
}
