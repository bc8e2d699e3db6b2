//! Providers in responses of `/v2/auth/providers`.
//! Owns: which fields are shown. A client secret never is.
//! Must not know: what a provider may be.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::clients::redirect_uri::callback_address_of,
    model::{
        consent::Consent,
        options::{GrantType, TokenFormat},
        provider::Provider,
    },
};

/// A provider in a response.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthProviderResponse)]
pub struct ProviderResponse {
    id: Uuid,
    organization_id: String,
    provider_id: String,
    name: String,
    client_id: String,
    auth_url: String,
    token_url: String,
    userinfo_url: Option<String>,
    revocation_url: Option<String>,
    uses_pkce: bool,
    code_challenge_method: Option<String>,
    provider_type: Option<String>,
    mcp_server_url: Option<String>,
    token_endpoint_auth_method: &'static str,
    is_dynamic_client: bool,
    authorization_params: BTreeMap<String, String>,
    allowed_redirect_uris: Vec<String>,
    /// The issuer of the authorization server, if it is known.
    issuer: Option<String>,
    template: Option<String>,
    grant_type: GrantType,
    device_authorization_url: Option<String>,
    refresh_url: Option<String>,
    scope_separator: Option<String>,
    default_scopes: Vec<String>,
    always_scopes: Vec<String>,
    resource: Option<String>,
    omit_resource: bool,
    token_params: BTreeMap<String, String>,
    token_format: TokenFormat,
    consent: Option<Consent>,
    return_urls: Vec<String>,
    /// The callback address of this provider. Register it there as the redirect URI, exactly as it is here.
    redirect_uri: String,
    /// The error with which the token endpoint rejects the client, until it accepts it again: correct the client's
    /// settings. The stored tokens are kept.
    client_error: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl ProviderResponse {
    /// A provider of the server at this address.
    #[must_use]
    pub fn of(provider: Provider, public_url: &str) -> Self {
        let redirect_uri = callback_address_of(public_url, &provider);
        let options = provider.client.options;
        Self {
            id: provider.id,
            organization_id: provider.tenant.organization,
            provider_id: provider.provider_id,
            name: provider.name,
            client_id: provider.client.id,
            auth_url: provider.auth_url,
            token_url: provider.client.token_url,
            userinfo_url: provider.userinfo_url,
            revocation_url: provider.client.revocation_url,
            uses_pkce: provider.uses_pkce,
            code_challenge_method: Some(provider.code_challenge_method),
            provider_type: provider.provider_type,
            mcp_server_url: provider.mcp_server_url,
            token_endpoint_auth_method: provider.client.authentication.as_str(),
            is_dynamic_client: provider.is_dynamic_client,
            authorization_params: provider.authorization_params,
            allowed_redirect_uris: provider.allowed_redirect_uris,
            issuer: options.issuer,
            template: options.template,
            grant_type: options.grant_type,
            device_authorization_url: options.device_authorization_url,
            refresh_url: options.refresh_url,
            scope_separator: options.scope_separator,
            default_scopes: options.default_scopes,
            always_scopes: options.always_scopes,
            resource: options.resource,
            omit_resource: options.omit_resource,
            token_params: options.token_params,
            token_format: options.token_format,
            consent: options.consent,
            return_urls: options.return_urls,
            redirect_uri,
            client_error: provider.client_error,
            created_at: provider.created_at,
            updated_at: provider.updated_at,
        }
    }
}
