//! `POST /v2/auth/providers/mcp-discover`: an MCP server's URL is enough to connect it; and our client metadata document.
//! Owns: their shape on the wire.
//! Must not know: how a server is discovered, or how a client is registered.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    provider_bodies::AuthMethod,
    providers::{ProviderResponse, authentication_field, grant_type_field, no_provider, require_secret},
};
use crate::{
    app::App,
    broker::{
        clients::redirect_uri::callback_address,
        providers::mcp::{ConnectError, Connector, McpServer, StaticClient, client_document, connect},
    },
    http::{
        body::{Fields, JsonBody, rules},
        error::{ApiError, ErrorBody, Faults, RegistrationRequired},
    },
    identity::{Caller, Permission},
    model::{client::ClientAuthentication, options::GrantType},
    oauth::{metadata::DiscoveryError, registration::client_metadata, token::FailureKind},
    outbound::address::AddressGuard,
    store::Tenant,
};

/// An MCP server to connect.
#[derive(ToSchema)]
#[schema(as = MCPOAuthProviderCreateRequest)]
#[expect(dead_code, reason = "describes the body that `discover` reads")]
pub struct McpDiscoverRequest {
    /// Plain characters; unique in the workspace. Part of the callback address.
    provider_id: String,
    name: String,
    /// The address of the MCP server: https, or http to a host in `ALLOW_PRIVATE_UPSTREAMS`.
    mcp_server_url: String,
    /// A client that was registered by hand, where the authorization server lets none register itself.
    client_id: Option<String>,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<AuthMethod>,
    /// `client_credentials` for a server that takes this client's own tokens; `authorization_code` if absent.
    grant_type: Option<GrantType>,
    /// Accept an authorization server whose metadata does not say that it knows PKCE (S256 is sent all the same).
    #[schema(default = false, required = false)]
    allow_missing_pkce: bool,
    /// Send no `resource` (RFC 8707): some servers refuse it.
    #[schema(default = false, required = false)]
    omit_resource: bool,
}

/// Discovers an MCP server and its authorization server, registers a client there, and keeps them as a provider.
#[utoipa::path(post, path = "/v2/auth/providers/mcp-discover", tag = "Providers", request_body = McpDiscoverRequest,
    responses((status = 200, body = ProviderResponse),
              (status = 409, body = RegistrationRequired, description = "The name is taken (`conflict`), or a client has \
               to be registered by hand (`registration_required`): then set its `client_id` on the provider with PATCH"),
              (status = 422, body = Faults),
              (status = 429, body = ErrorBody, description = "Four discoveries of this workspace are under way"),
              (status = 502, body = ErrorBody), (status = 504, body = ErrorBody)))]
pub async fn discover(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::Administer)?;
    let server = read(app.outbound.guard(), caller.tenant, &body)?;
    let _discovering = app.discoveries.begin(&server.tenant).ok_or(ApiError::TooManyDiscoveries)?;
    Ok(Json(Box::pin(connect(&Connector::of(&app), server)).await?.into()))
}

/// Reads an MCP server to connect, with every fault at once.
pub(in crate::http) fn read(guard: &AddressGuard, tenant: Tenant, body: &JsonBody) -> Result<McpServer, ApiError> {
    let endpoint = |url: &str| rules::endpoint(guard, url);
    let mut fields = Fields::of_body(body);
    let client_id = fields.optional_text("client_id", &rules::identifier);
    let secret = fields.optional_text("client_secret", &rules::secret).map(SecretString::from);
    let authentication = authentication_field(&mut fields);
    let grant_type = grant_type_field(&mut fields).unwrap_or_default();
    if grant_type == GrantType::ApiKey {
        let problem = "Input should be 'authorization_code' or 'client_credentials': a static key needs no discovery";
        fields.fault(&["grant_type".into()], ("literal_error", problem.into()));
    }
    if client_id.is_some() && secret.is_none() {
        require_secret(&mut fields, grant_type);
    }
    let server = McpServer {
        tenant,
        provider_id: fields.required_text("provider_id", &rules::provider_id),
        name: fields.required_text("name", &rules::display_name),
        url: fields.required_text("mcp_server_url", &endpoint),
        grant_type,
        client: client_id.map(|id| StaticClient { id, secret, authentication }),
        allow_missing_pkce: fields.boolean("allow_missing_pkce", false),
        omit_resource: fields.boolean("omit_resource", false),
    };
    fields.finish()?;
    Ok(server)
}

/// What we say of ourselves to authorization servers that take a URL for a client id.
pub async fn client_document_of(State(app): State<Arc<App>>, Path(provider_id): Path<String>) -> Response {
    if rules::provider_id(&provider_id).is_err() {
        return no_provider().into_response();
    }
    let redirect_uri = callback_address(&app.public_url, &provider_id);
    let mut document = client_metadata(&redirect_uri, ClientAuthentication::None);
    document["client_id"] = Value::from(client_document(&app.public_url, &provider_id));
    document["client_uri"] = json!(app.public_url);
    ([(header::CACHE_CONTROL, "public, max-age=3600")], Json(document)).into_response()
}

impl From<ConnectError> for ApiError {
    fn from(error: ConnectError) -> Self {
        const WHAT: &str = "The MCP server was not connected";
        match error {
            ConnectError::Discovery(error) => not_discovered("mcp_server_url", WHAT, &error),
            ConnectError::Registration(error) => {
                Self::Provider(FailureKind::Refused, format!("{WHAT}: {error}."), None)
            }
            ConnectError::Broker(error) => error.into(),
        }
    }
}

/// Why there is no metadata for what stands in `field`.
pub(in crate::http) fn not_discovered(field: &'static str, what: &str, error: &DiscoveryError) -> ApiError {
    let sentence = format!("{what}: {error}.");
    match error {
        DiscoveryError::TooLong => ApiError::Provider(FailureKind::TimedOut, sentence, None),
        DiscoveryError::Unreachable(..) => ApiError::Provider(FailureKind::Refused, sentence, None),
        DiscoveryError::Refused(..)
        | DiscoveryError::TooMany
        | DiscoveryError::Unbelievable(_)
        | DiscoveryError::Missing(_) => ApiError::fault(["body", field], "discovery_failed", sentence),
    }
}
