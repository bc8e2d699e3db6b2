//! `POST /v2/auth/providers/mcp-discover`: connects an MCP server by its URL.
//! Owns: the shape of the request.
//! Must not know: how a server is discovered, or how a client is registered.

use std::sync::Arc;

use axum::{Json, extract::State};
use secrecy::SecretString;
use utoipa::ToSchema;

use super::provider_response::ProviderResponse;
use crate::{
    broker::{
        providers::{
            draft::check_text,
            mcp::{McpDraft, connect},
        },
        rules::Fault,
    },
    http::{
        app::App,
        body::{Fields, JsonBody},
        error::{ApiError, ErrorBody, Faults, RegistrationRequired},
    },
    identity::Caller,
    model::{client::ClientAuthentication, options::GrantType},
    outbound::address::AddressGuard,
};

/// An MCP server to connect.
#[derive(ToSchema)]
#[schema(
    as = MCPOAuthProviderCreateRequest,
    example = json!({"provider_id": "linear", "name": "Linear", "mcp_server_url": "https://mcp.linear.app/mcp"}),
)]
pub struct McpDiscoverRequest {
    /// Plain characters; unique in the workspace. Part of the callback address.
    #[schema(value_type = String, required = true)]
    provider_id: Option<String>,
    #[schema(value_type = String, required = true)]
    name: Option<String>,
    /// The address of the MCP server: https, or http to a host in `ALLOW_PRIVATE_UPSTREAMS`.
    #[schema(value_type = String, required = true)]
    mcp_server_url: Option<String>,
    /// A client that was registered by hand, if the authorization server does not let clients register themselves.
    client_id: Option<String>,
    client_secret: Option<String>,
    token_endpoint_auth_method: Option<ClientAuthentication>,
    /// `client_credentials` for a server that accepts the client's own tokens; `authorization_code` if absent.
    grant_type: Option<GrantType>,
    /// Accept an authorization server whose metadata does not declare PKCE support (S256 is sent anyway).
    #[schema(default = false, required = false)]
    allow_missing_pkce: bool,
    /// Send no `resource` (RFC 8707): some servers refuse it.
    #[schema(default = false, required = false)]
    omit_resource: bool,
}

/// Discovers an MCP server and its authorization server, registers a client there, and stores it as a provider.
#[utoipa::path(
    post,
    operation_id = "discoverMcpProvider",
    path = "/v2/auth/providers/mcp-discover",
    tag = "Providers",
    request_body = McpDiscoverRequest,
    responses(
        (status = 200, body = ProviderResponse),
        (
            status = 409,
            body = RegistrationRequired,
            description = "The name is taken (`conflict`), or a client has to be registered by hand \
                (`registration_required`): then set its `client_id` on the provider with PATCH",
        ),
        (status = 422, body = Faults),
        (
            status = 429,
            body = ErrorBody,
            description = "Four discoveries of this workspace are running (`too_many_discoveries`), or there are \
                too many requests",
        ),
        (status = 502, body = ErrorBody),
    ),
)]
pub async fn discover(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.administers_providers()?;
    let draft = McpDiscoverRequest::read(&body, app.broker.outbound.guard());
    draft.provider_id.as_deref().map_or(Ok(()), |id| caller.reaches_provider(id))?;
    let provider = Box::pin(connect(&app.broker, caller.tenant, draft, &caller.act)).await?;
    Ok(Json(ProviderResponse::of(provider, &app.broker.public_url)))
}

impl McpDiscoverRequest {
    /// Faults of single fields are in the draft.
    fn read(body: &JsonBody, guard: &AddressGuard) -> McpDraft {
        let mut fields = Fields::of_body(body);
        let text = |fields: &mut Fields<'_>, name: &'static str| {
            fields.optional_text(name, &|text| check_text(name, text, guard))
        };
        let request = Self {
            client_id: text(&mut fields, "client_id"),
            client_secret: text(&mut fields, "client_secret"),
            token_endpoint_auth_method: fields
                .optional_name("token_endpoint_auth_method", &ClientAuthentication::NAMES),
            grant_type: fields.optional_name("grant_type", &GrantType::NAMES),
            provider_id: text(&mut fields, "provider_id"),
            name: text(&mut fields, "name"),
            mcp_server_url: text(&mut fields, "mcp_server_url"),
            allow_missing_pkce: fields.boolean("allow_missing_pkce", false),
            omit_resource: fields.boolean("omit_resource", false),
        };
        let nulls = ["provider_id", "name", "mcp_server_url"];
        let nulls = nulls.into_iter().filter(|name| fields.is_null(name)).collect();
        McpDraft { nulls, ..request.into_draft(fields.into_faults()) }
    }

    fn into_draft(self, unreadable: Vec<Fault>) -> McpDraft {
        McpDraft {
            provider_id: self.provider_id,
            name: self.name,
            url: self.mcp_server_url,
            client_id: self.client_id,
            client_secret: self.client_secret.map(SecretString::from),
            authentication: self.token_endpoint_auth_method,
            grant_type: self.grant_type,
            allow_missing_pkce: self.allow_missing_pkce,
            omit_resource: self.omit_resource,
            unreadable,
            nulls: Vec::new(),
        }
    }
}
