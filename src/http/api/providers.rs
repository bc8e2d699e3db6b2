//! `/v2/auth/providers`: the authorization servers of a workspace.
//! Owns: their shape on the wire. A client secret comes in and never goes out.
//! Must not know: how a provider is spoken to.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    provider_bodies::{ProviderCreateRequest, ProviderUpdateRequest},
    provider_issuer, provider_template as template,
};
use crate::{
    app::App,
    broker::{consent::client_credentials::REPLACED, tokens::revoke},
    catalog::Catalog,
    http::{
        body::{Fields, JsonBody, Rule, rules},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::{
        client::ClientAuthentication,
        options::{GrantType, ProviderOptions, TokenFormat},
    },
    outbound::{address::AddressGuard, client::Outbound},
    store::{StoreError, Tenant, providers::Provider},
};

/// The families of providers with habits of their own.
const PROVIDER_TYPES: [&str; 4] = ["microsoft", "salesforce", "slack", "x"];

/// A provider as it is answered.
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
    /// The issuer of the authorization server, where it is known.
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
    /// The error with which the token endpoint refused the client, until it takes it again: correct the client's
    /// settings. Tokens are kept meanwhile.
    client_error: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// What was deleted with a provider.
#[derive(Serialize, ToSchema)]
pub struct DeletedProvider {
    /// What was done, in a sentence.
    message: String,
    /// Whether every grant of its tokens is revoked at the provider by now.
    upstream_revoked: bool,
    /// How many are yet to be revoked there: they are tried again in the background.
    revocation_queued: usize,
}

/// Lists the workspace's providers.
#[utoipa::path(get, path = "/v2/auth/providers", tag = "Providers",
    responses((status = 200, body = Vec<ProviderResponse>), (status = 401, body = ErrorBody)))]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Vec<ProviderResponse>>, ApiError> {
    caller.needs(Permission::List)?;
    let providers = app.store.providers(&caller.tenant).await?;
    Ok(Json(providers.into_iter().map(ProviderResponse::from).collect()))
}

/// Registers a provider.
#[utoipa::path(post, path = "/v2/auth/providers", tag = "Providers", request_body = ProviderCreateRequest,
    responses((status = 200, body = ProviderResponse), (status = 409, body = ErrorBody), (status = 422, body = Faults),
              (status = 429, body = ErrorBody, description = "Four discoveries of this workspace are under way"),
              (status = 502, body = ErrorBody), (status = 504, body = ErrorBody)))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::Administer)?;
    let issuer = provider_issuer::named(app.outbound.guard(), &body)?;
    // Kept until the end: a workspace discovers a few servers at a time.
    let _discovering = match &issuer {
        Some(_) => Some(app.discoveries.begin(&caller.tenant).ok_or(ApiError::TooManyDiscoveries)?),
        None => None,
    };
    let provider = read_described((&app.outbound, &app.catalog), caller.tenant, issuer, body, app.clock.now()).await?;
    match app.store.create_provider(&provider).await {
        Ok(()) => Ok(Json(provider.into())),
        Err(StoreError::Conflict) => {
            Err(ApiError::Conflict("This workspace has a provider of that provider_id already.".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows a provider.
#[utoipa::path(get, path = "/v2/auth/providers/{provider_id}", tag = "Providers",
    params(("provider_id" = String, Path)),
    responses((status = 200, body = ProviderResponse), (status = 404, body = ErrorBody), (status = 422, body = Faults)))]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::List)?;
    Ok(Json(existing(&app, &caller, &provider_id).await?.into()))
}

/// Changes a provider. Its tokens stay, and are refreshed with the new settings.
#[utoipa::path(patch, path = "/v2/auth/providers/{provider_id}", tag = "Providers",
    params(("provider_id" = String, Path)), request_body = ProviderUpdateRequest,
    responses((status = 200, body = ProviderResponse), (status = 404, body = ErrorBody), (status = 422, body = Faults)))]
pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::Administer)?;
    let mut provider = existing(&app, &caller, &provider_id).await?;
    let endpoint = |url: &str| rules::endpoint(app.outbound.guard(), url);
    let mut fields = Fields::of_body(&body);
    let entry = template::asked(&mut fields, &app.catalog);
    if let Some(entry) = &entry {
        template::apply(&mut provider, entry);
    }
    replace(&mut provider.name, fields.optional_text("name", &rules::display_name));
    replace(&mut provider.client_id, fields.optional_text("client_id", &rules::identifier));
    replace(&mut provider.auth_url, fields.optional_text("auth_url", &endpoint));
    replace(&mut provider.token_url, fields.optional_text("token_url", &endpoint));
    provider.userinfo_url = fields.optional_text("userinfo_url", &endpoint).or(provider.userinfo_url);
    provider.revocation_url = fields.optional_text("revocation_url", &endpoint).or(provider.revocation_url);
    replace(&mut provider.uses_pkce, fields.optional_boolean("uses_pkce"));
    replace(&mut provider.allowed_redirect_uris, redirect_uris(&mut fields));
    if let Some(params) = parameters(&mut fields) {
        let catalogue = entry.map(|entry| entry.authorization_params).unwrap_or_default();
        provider.authorization_params = template::merged(&catalogue, params);
    }
    template::options(&mut fields, app.outbound.guard(), &mut provider.options);
    template::check_endpoints(&mut fields, &provider, &endpoint);
    fields.optional_text("code_challenge_method", &challenge_method);
    let method = authentication_field(&mut fields);
    if let Some(secret) = fields.optional_text("client_secret", &rules::secret) {
        provider.client_secret = Some(SecretString::from(secret));
        // A public client that is given a secret means to use it.
        if provider.token_endpoint_auth_method == ClientAuthentication::None {
            provider.token_endpoint_auth_method = ClientAuthentication::ClientSecretPost;
        }
    }
    replace(&mut provider.token_endpoint_auth_method, method);
    if grant_type_field(&mut fields).is_some_and(|asked| asked != provider.options.grant_type) {
        let problem = "grant_type cannot be changed: tokens would become of another kind. Create another provider";
        fields.fault(&["grant_type".into()], ("value_error", problem.into()));
    }
    let is_new_key = provider.options.grant_type == GrantType::ApiKey && !fields.is_absent("client_secret");
    fields.finish()?;
    let mut updated = app.store.update_provider(&provider, app.clock.now()).await?;
    if is_new_key {
        app.store.end_grants(&updated.tenant, updated.id, REPLACED, app.clock.now()).await?;
    }
    app.store.mark_client_error(&updated.tenant, updated.id, None, app.clock.now()).await?;
    app.store.end_cool_down(&updated.tenant, updated.id).await?;
    updated.client_error = None;
    Ok(Json(updated.into()))
}

/// Deletes a provider with all of its tokens, and revokes their grants there.
#[utoipa::path(delete, path = "/v2/auth/providers/{provider_id}", tag = "Providers",
    params(("provider_id" = String, Path)),
    responses((status = 200, body = DeletedProvider), (status = 404, body = ErrorBody), (status = 422, body = Faults)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
) -> Result<Json<DeletedProvider>, ApiError> {
    caller.needs(Permission::Administer)?;
    rules::provider_id(&provider_id).map_err(|_| no_provider())?;
    let deletion = revoke::delete_provider(&app, &caller.tenant, &provider_id).await?.ok_or_else(no_provider)?;
    Ok(Json(DeletedProvider {
        message: format!("Provider {provider_id} and its tokens were deleted."),
        upstream_revoked: deletion.upstream_revoked(),
        revocation_queued: deletion.queued,
    }))
}

async fn existing(app: &App, caller: &Caller, provider_id: &str) -> Result<Provider, ApiError> {
    rules::provider_id(provider_id).map_err(|_| no_provider())?;
    app.store.provider(&caller.tenant, provider_id).await?.ok_or_else(no_provider)
}

/// What is answered for a provider that is not there, or not the caller's.
#[must_use]
pub fn no_provider() -> ApiError {
    ApiError::NotFound("There is no provider of that id in this workspace.".into())
}

/// Reads a provider to create; what the body does not say is taken from the metadata of `issuer`, if it named one.
pub(in crate::http) async fn read_described(
    (outbound, catalog): (&Outbound, &Catalog),
    tenant: Tenant,
    issuer: Option<String>,
    body: JsonBody,
    now: DateTime<Utc>,
) -> Result<Provider, ApiError> {
    let Some(issuer) = issuer else { return read_new((outbound.guard(), catalog), tenant, &body, now) };
    let (body, server) = provider_issuer::described(outbound, &issuer, body, now).await?;
    let mut provider = read_new((outbound.guard(), catalog), tenant, &body, now)?;
    provider.options.issuer = Some(server.issuer);
    provider.options.iss_required = server.authorization_response_iss_parameter_supported;
    Ok(provider)
}

/// Reads a provider to create, with every fault at once.
fn read_new(
    (guard, catalog): (&AddressGuard, &Catalog),
    tenant: Tenant,
    body: &JsonBody,
    now: DateTime<Utc>,
) -> Result<Provider, ApiError> {
    let endpoint = |url: &str| rules::endpoint(guard, url);
    let mut fields = Fields::of_body(body);
    let entry = template::asked(&mut fields, catalog);
    let grant_type = grant_type_field(&mut fields).unwrap_or_default();
    // Whoever names a template, be it wrongly, does not want to be asked for what it would have said.
    let by_template = !fields.is_absent("template");
    let text = |fields: &mut Fields<'_>, name: &'static str, rule: Rule<'_>| {
        if by_template || !is_needed(name, grant_type) {
            fields.optional_text(name, rule)
        } else {
            Some(fields.required_text(name, rule))
        }
    };
    let method = authentication_field(&mut fields);
    fields.optional_text("code_challenge_method", &challenge_method);
    let mut provider = Provider {
        id: Uuid::now_v7(),
        tenant,
        provider_id: fields.required_text("provider_id", &rules::provider_id),
        name: String::new(),
        client_id: if is_needed("client_id", grant_type) {
            fields.required_text("client_id", &rules::identifier)
        } else {
            fields.optional_text("client_id", &rules::identifier).unwrap_or_default()
        },
        client_secret: fields.optional_text("client_secret", &rules::secret).map(SecretString::from),
        auth_url: String::new(),
        token_url: String::new(),
        userinfo_url: None,
        revocation_url: None,
        uses_pkce: false,
        code_challenge_method: "S256".into(),
        provider_type: None,
        token_endpoint_auth_method: ClientAuthentication::ClientSecretPost,
        authorization_params: BTreeMap::new(),
        allowed_redirect_uris: redirect_uris(&mut fields).unwrap_or_default(),
        mcp_server_url: None,
        is_dynamic_client: false,
        options: ProviderOptions::default(),
        client_error: None,
        generation: 1,
        created_at: now,
        updated_at: now,
    };
    if let Some(entry) = &entry {
        template::apply(&mut provider, entry);
    }
    replace(&mut provider.name, text(&mut fields, "name", &rules::display_name));
    replace(&mut provider.auth_url, text(&mut fields, "auth_url", &endpoint));
    replace(&mut provider.token_url, text(&mut fields, "token_url", &endpoint));
    provider.userinfo_url = fields.optional_text("userinfo_url", &endpoint).or(provider.userinfo_url);
    provider.revocation_url = fields.optional_text("revocation_url", &endpoint).or(provider.revocation_url);
    provider.uses_pkce = fields.boolean("uses_pkce", provider.uses_pkce);
    let family = fields.optional_text("provider_type", &|text| {
        let known = PROVIDER_TYPES.contains(&text);
        if known { Ok(()) } else { Err(literal("'microsoft', 'salesforce', 'slack' or 'x'")) }
    });
    provider.provider_type = family.or(provider.provider_type);
    let params = parameters(&mut fields).unwrap_or_default();
    provider.authorization_params = template::merged(&provider.authorization_params, params);
    if entry.is_none() {
        template::recognise(&mut provider, catalog, method.is_some());
    }
    replace(&mut provider.token_endpoint_auth_method, method);
    template::options(&mut fields, guard, &mut provider.options);
    provider.options.grant_type = grant_type;
    if provider.client_secret.is_none() {
        require_secret(&mut fields, grant_type);
    }
    template::check_endpoints(&mut fields, &provider, &endpoint);
    fields.finish()?;
    Ok(provider)
}

/// How tokens come about, if the body says so.
pub(in crate::http) fn grant_type_field(fields: &mut Fields<'_>) -> Option<GrantType> {
    let of = |text: &str| GrantType::NAMES.iter().find(|(name, _)| *name == text).map(|(_, grant_type)| *grant_type);
    let named = fields.optional_text("grant_type", &|text| {
        of(text).map(drop).ok_or_else(|| literal("'authorization_code', 'client_credentials' or 'api_key'"))
    });
    named.as_deref().and_then(of)
}

/// Notes that the secret is missing, where our client has nothing else to show.
pub(in crate::http) fn require_secret(fields: &mut Fields<'_>, grant_type: GrantType) {
    if grant_type == GrantType::ClientCredentials {
        fields.fault(&["client_secret".into()], ("missing", "Field required with client_credentials".into()));
    }
}

/// Whether a provider cannot do without that field.
fn is_needed(name: &str, grant_type: GrantType) -> bool {
    match grant_type {
        GrantType::AuthorizationCode => true,
        GrantType::ClientCredentials => name != "auth_url",
        GrantType::ApiKey => !["client_id", "auth_url", "token_url"].contains(&name),
    }
}

fn parameters(fields: &mut Fields<'_>) -> Option<BTreeMap<String, String>> {
    fields.optional_map("authorization_params", rules::PARAMETERS_MAX, &rules::parameter_value)
}

fn redirect_uris(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    fields.optional_texts("allowed_redirect_uris", rules::REDIRECT_URIS_MAX, &rules::redirect_uri)
}

/// How the client authenticates, if the body says so.
pub(in crate::http) fn authentication_field(fields: &mut Fields<'_>) -> Option<ClientAuthentication> {
    let named = fields.optional_text("token_endpoint_auth_method", &|text| {
        authentication(text).map(drop).ok_or_else(|| literal("'none', 'client_secret_basic' or 'client_secret_post'"))
    });
    named.as_deref().and_then(authentication)
}

fn authentication(text: &str) -> Option<ClientAuthentication> {
    [ClientAuthentication::None, ClientAuthentication::ClientSecretBasic, ClientAuthentication::ClientSecretPost]
        .into_iter()
        .find(|method| method.as_str() == text)
}

fn challenge_method(text: &str) -> Result<(), crate::http::body::Problem> {
    // `plain` is accepted from those who ask for it, and S256 is sent: every server that knows PKCE knows it
    // (RFC 7636 section 4.2).
    if ["S256", "plain"].contains(&text) { Ok(()) } else { Err(literal("'S256'")) }
}

fn literal(expected: &str) -> crate::http::body::Problem {
    ("literal_error", format!("Input should be {expected}"))
}

fn replace<T>(current: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *current = new;
    }
}

impl From<Provider> for ProviderResponse {
    fn from(provider: Provider) -> Self {
        Self {
            id: provider.id,
            organization_id: provider.tenant.organization,
            provider_id: provider.provider_id,
            name: provider.name,
            client_id: provider.client_id,
            auth_url: provider.auth_url,
            token_url: provider.token_url,
            userinfo_url: provider.userinfo_url,
            revocation_url: provider.revocation_url,
            uses_pkce: provider.uses_pkce,
            code_challenge_method: Some(provider.code_challenge_method),
            provider_type: provider.provider_type,
            mcp_server_url: provider.mcp_server_url,
            token_endpoint_auth_method: provider.token_endpoint_auth_method.as_str(),
            is_dynamic_client: provider.is_dynamic_client,
            authorization_params: provider.authorization_params,
            allowed_redirect_uris: provider.allowed_redirect_uris,
            issuer: provider.options.issuer,
            template: provider.options.template,
            grant_type: provider.options.grant_type,
            device_authorization_url: provider.options.device_authorization_url,
            refresh_url: provider.options.refresh_url,
            scope_separator: provider.options.scope_separator,
            default_scopes: provider.options.default_scopes,
            always_scopes: provider.options.always_scopes,
            resource: provider.options.resource,
            omit_resource: provider.options.omit_resource,
            token_params: provider.options.token_params,
            token_format: provider.options.token_format,
            client_error: provider.client_error,
            created_at: provider.created_at,
            updated_at: provider.updated_at,
        }
    }
}
