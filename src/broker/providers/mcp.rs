//! Connecting an MCP server: from its URL to a provider.
//! Owns: which way to a client is taken, and that a server without one gets a clear answer.
//! Must not know: where metadata is looked for, or the shape of requests and answers on the wire.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::{
    app::App,
    broker::{BrokerError, RegistrationRequired, clients::redirect_uri::callback_address},
    model::{
        client::ClientAuthentication,
        options::{GrantType, ProviderOptions},
    },
    oauth::{
        metadata::{Discovered, Discovery, DiscoveryError, ServerMetadata},
        registration::{Purpose, RegistrationError, authentication, register},
        token::TokenFailure,
    },
    outbound::client::Outbound,
    store::{Store, StoreError, Tenant, providers::Provider},
};

/// An MCP server to connect.
pub struct McpServer {
    /// Whose provider it becomes.
    pub tenant: Tenant,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The name for people.
    pub name: String,
    /// The server's address, byte for byte.
    pub url: String,
    /// A client that was registered by hand.
    pub client: Option<StaticClient>,
    /// How its tokens come about.
    pub grant_type: GrantType,
    /// Accept a server that does not say that it knows PKCE.
    pub allow_missing_pkce: bool,
    /// Send no `resource`: some servers refuse it.
    pub omit_resource: bool,
}

/// A client that was registered by hand.
pub struct StaticClient {
    /// Its id.
    pub id: String,
    /// Its secret, unless it is public.
    pub secret: Option<SecretString>,
    /// How it authenticates, if not as the server's metadata says.
    pub authentication: Option<ClientAuthentication>,
}

/// Why an MCP server is not connected. Nothing is kept then, but for a provider that waits for its client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Its metadata cannot be had or believed.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// Its authorization server registered no client.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// What connecting a server takes: a running server has it, and so has the command line.
pub struct Connector<'a> {
    /// Where providers are kept.
    pub store: &'a Store,
    /// The way out.
    pub outbound: &'a Outbound,
    /// The address browsers reach us at.
    pub public_url: &'a str,
    /// The time.
    pub now: DateTime<Utc>,
}

impl<'a> Connector<'a> {
    /// That of a running server.
    #[must_use]
    pub fn of(app: &'a App) -> Self {
        Self { store: &app.store, outbound: &app.outbound, public_url: &app.public_url, now: app.clock.now() }
    }
}

/// Discovers an MCP server, gets a client at its authorization server, and keeps both as a provider.
pub async fn connect(connector: &Connector<'_>, server: McpServer) -> Result<Provider, ConnectError> {
    let is_taken =
        connector.store.provider(&server.tenant, &server.provider_id).await.map_err(BrokerError::from)?.is_some();
    if is_taken {
        // Asked before a client is registered for nothing; the database asks again.
        return Err(taken().into());
    }
    let url = Url::parse(&server.url).map_err(|_| DiscoveryError::Unbelievable("the MCP server's URL is none"))?;
    let discovered = Discovery::new(connector.outbound, connector.now).of_mcp_server(&url).await?;
    if server.grant_type == GrantType::AuthorizationCode {
        check_pkce(&discovered, server.allow_missing_pkce)?;
    }
    let provider = provider(connector, server, discovered).await?;
    match connector.store.create_provider(&provider).await {
        Ok(()) => has_client(connector.public_url, &provider).map(|()| provider).map_err(ConnectError::from),
        Err(StoreError::Conflict) => Err(taken().into()),
        Err(error) => Err(BrokerError::from(error).into()),
    }
}

fn taken() -> BrokerError {
    BrokerError::Conflict("This workspace has a provider of that provider_id already.".into())
}

/// A server that does not say that it knows S256 may leave codes open to whoever steals one.
fn check_pkce(discovered: &Discovered, allow_missing: bool) -> Result<(), DiscoveryError> {
    match &discovered.server.code_challenge_methods_supported {
        Some(methods) if methods.iter().any(|method| method == "S256") => Ok(()),
        Some(_) => Err(DiscoveryError::Unbelievable("the authorization server knows PKCE, but not with S256")),
        None if allow_missing => Ok(()),
        None => Err(DiscoveryError::Unbelievable(
            "the authorization server does not say that it knows PKCE; allow_missing_pkce accepts one that does anyway",
        )),
    }
}

async fn provider(
    connector: &Connector<'_>,
    server: McpServer,
    discovered: Discovered,
) -> Result<Provider, ConnectError> {
    let now = connector.now;
    let Discovered { resource, scopes, known_scopes, server: metadata } = discovered;
    let client = match server.client {
        Some(by_hand) => static_client(by_hand, authentication(&metadata)),
        // What registers itself, or is known by its document, is a client that sends people.
        None if server.grant_type != GrantType::AuthorizationCode => no_client(authentication(&metadata)),
        None => own_client(connector, &metadata, &server.provider_id, &known_scopes).await?,
    };
    let offline = metadata.scopes_supported.iter().flatten().any(|scope| scope == "offline_access");
    Ok(Provider {
        id: Uuid::now_v7(),
        tenant: server.tenant,
        provider_id: server.provider_id,
        name: server.name,
        client_id: client.id,
        client_secret: client.secret,
        auth_url: metadata.authorization_endpoint,
        token_url: metadata.token_endpoint,
        userinfo_url: None,
        revocation_url: metadata.revocation_endpoint,
        uses_pkce: true,
        code_challenge_method: "S256".into(),
        provider_type: None,
        token_endpoint_auth_method: client.authentication,
        authorization_params: std::collections::BTreeMap::new(),
        allowed_redirect_uris: Vec::new(),
        mcp_server_url: Some(server.url),
        is_dynamic_client: client.is_ours,
        options: ProviderOptions {
            grant_type: server.grant_type,
            device_authorization_url: metadata.device_authorization_endpoint,
            issuer: Some(metadata.issuer),
            iss_required: metadata.authorization_response_iss_parameter_supported,
            default_scopes: scopes,
            always_scopes: if offline { vec!["offline_access".into()] } else { Vec::new() },
            resource,
            omit_resource: server.omit_resource,
            registered_scopes: if client.registration_url.is_some() { known_scopes } else { Vec::new() },
            registration_url: client.registration_url,
            client_secret_expires_at: client.secret_expires_at,
            ..ProviderOptions::default()
        },
        client_error: None,
        generation: 1,
        created_at: now,
        updated_at: now,
    })
}

struct Client {
    id: String,
    secret: Option<SecretString>,
    authentication: ClientAuthentication,
    is_ours: bool,
    registration_url: Option<String>,
    secret_expires_at: Option<DateTime<Utc>>,
}

fn static_client(by_hand: StaticClient, asked: ClientAuthentication) -> Client {
    let known = if by_hand.secret.is_some() { asked } else { ClientAuthentication::None };
    Client {
        id: by_hand.id,
        authentication: by_hand.authentication.unwrap_or(known),
        secret: by_hand.secret,
        is_ours: false,
        registration_url: None,
        secret_expires_at: None,
    }
}

/// There is none yet: somebody has to register one by hand.
fn no_client(asked: ClientAuthentication) -> Client {
    static_client(StaticClient { id: String::new(), secret: None, authentication: Some(asked) }, asked)
}

/// Our metadata document where the server takes it, else a registration. A server that knows neither lets no client
/// register itself.
async fn own_client(
    connector: &Connector<'_>,
    server: &ServerMetadata,
    provider_id: &str,
    scopes: &[String],
) -> Result<Client, ConnectError> {
    let asked = authentication(server);
    if server.client_id_metadata_document_supported && connector.public_url.starts_with("https://") {
        return Ok(Client {
            id: client_document(connector.public_url, provider_id),
            secret: None,
            authentication: ClientAuthentication::None,
            is_ours: true,
            registration_url: None,
            secret_expires_at: None,
        });
    }
    let Some(endpoint) = &server.registration_endpoint else { return Ok(no_client(asked)) };
    let redirect_uri = callback_address(connector.public_url, provider_id);
    let on_devices = server.device_authorization_endpoint.is_some();
    let purpose = Purpose { redirect_uri: &redirect_uri, scopes, on_devices };
    let registered = register(connector.outbound, endpoint, purpose, asked, connector.now).await?;
    Ok(Client {
        id: registered.client_id,
        secret: registered.client_secret,
        authentication: registered.authentication,
        is_ours: true,
        registration_url: Some(endpoint.clone()),
        secret_expires_at: registered.secret_expires_at,
    })
}

/// Makes sure that there is a client at the provider: an authorization server may let none register itself, and then
/// somebody has to do it by hand.
pub fn has_client(public_url: &str, provider: &Provider) -> Result<(), BrokerError> {
    if !provider.client_id.is_empty() {
        return Ok(());
    }
    Err(BrokerError::RegistrationRequired(Box::new(RegistrationRequired {
        issuer: provider.options.issuer.clone().unwrap_or_default(),
        redirect_uri: callback_address(public_url, &provider.provider_id),
        authorization_endpoint: provider.auth_url.clone(),
        token_endpoint: provider.token_url.clone(),
    })))
}

/// The address of our client metadata document for a provider, which is the client's id. One for each provider, because
/// it names the provider's own callback address.
#[must_use]
pub fn client_document(public_url: &str, provider_id: &str) -> String {
    format!("{public_url}/oauth/client-metadata.json/{provider_id}")
}

/// True when our client there has to be registered anew before it is used: its secret has expired.
#[must_use]
pub fn has_expired(provider: &Provider, now: DateTime<Utc>) -> bool {
    provider.options.registration_url.is_some() && provider.options.client_secret_expires_at.is_some_and(|at| at <= now)
}

/// True when the token endpoint does not know a client that we registered ourselves. Tried once: a client that is marked
/// as wrong already is not registered again and again.
#[must_use]
pub fn is_forgotten(provider: &Provider, failure: &TokenFailure) -> bool {
    provider.options.registration_url.is_some() && provider.client_error.is_none() && failure.error == "invalid_client"
}

/// The provider with our client registered anew; as it was, if that fails.
pub async fn renewed(app: &App, provider: Provider) -> Provider {
    let old = provider.clone();
    match Box::pin(register_anew(app, provider)).await {
        Ok(renewed) => renewed,
        Err(error) => {
            tracing::warn!(provider = old.provider_id, %error, "our client could not be registered anew");
            old
        }
    }
}

/// Registers our client anew, because its secret has expired or the server has forgotten it. Gives the provider as it
/// is then, or as somebody else made it meanwhile.
async fn register_anew(app: &App, provider: Provider) -> Result<Provider, ConnectError> {
    let Some(endpoint) = provider.options.registration_url.clone() else { return Ok(provider) };
    let (redirect_uri, now) = (callback_address(&app.public_url, &provider.provider_id), app.clock.now());
    let asked = provider.token_endpoint_auth_method;
    let purpose = Purpose {
        redirect_uri: &redirect_uri,
        scopes: &provider.options.registered_scopes,
        on_devices: provider.options.device_authorization_url.is_some(),
    };
    let registered = register(&app.outbound, &endpoint, purpose, asked, now).await?;
    let mut renewed = provider;
    renewed.client_id = registered.client_id;
    renewed.client_secret = registered.client_secret;
    renewed.token_endpoint_auth_method = registered.authentication;
    renewed.options.client_secret_expires_at = registered.secret_expires_at;
    let (tenant, provider_id) = (renewed.tenant.clone(), renewed.provider_id.clone());
    match app.store.update_provider(&renewed, now).await {
        Ok(updated) => {
            tracing::info!(provider = provider_id, "our client was registered anew");
            Ok(updated)
        }
        Err(StoreError::Conflict) => {
            let current = app.store.provider(&tenant, &provider_id).await.map_err(BrokerError::from)?;
            current.ok_or(ConnectError::Broker(BrokerError::NotFound("provider")))
        }
        Err(error) => Err(BrokerError::from(error).into()),
    }
}
