//! Connecting an MCP server: from its URL to a provider.
//! Owns: how a client is obtained, and that a server without one gets a clear answer.
//! Must not know: where metadata is found, or the shape of requests and responses on the wire.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    create::{begin_discovery, free_callback_tag, id_taken, new_callback_tag},
    definition::{required, secret_missing},
    draft::check_text,
    metadata::check_discovered,
};
use crate::{
    broker::{
        clients::{
            redirect_uri::callback_address,
            registration::{client_metadata_url, require_client},
        },
        context::Broker,
        error::BrokerError,
        rules::Fault,
    },
    model::{
        actor::Act,
        audit::EventName,
        client::{Client, ClientAuthentication},
        failure::FailureKind,
        options::{GrantType, ProviderOptions},
        provider::Provider,
        subject::Tenant,
    },
    oauth::{
        metadata::{Discovered, Discovery, DiscoveryError, ServerMetadata},
        registration::{Purpose, authentication, register},
    },
    outbound::address::AddressGuard,
    store::error::StoreError,
};

/// The order in which faults are reported.
const FIELDS: [&str; 10] = [
    "",
    "client_id",
    "client_secret",
    "token_endpoint_auth_method",
    "grant_type",
    "provider_id",
    "name",
    "mcp_server_url",
    "allow_missing_pkce",
    "omit_resource",
];
const NOT_CONNECTED: &str = "The MCP server was not connected";

/// An MCP server to connect.
#[derive(Clone, Debug, Default)]
pub struct McpDraft {
    /// The provider's name on the wire.
    pub provider_id: Option<String>,
    /// The name for people.
    pub name: Option<String>,
    /// The server's URL, byte for byte.
    pub url: Option<String>,
    /// The client id of a client that was registered by hand.
    pub client_id: Option<String>,
    /// Its secret, unless it is public.
    pub client_secret: Option<SecretString>,
    /// How it authenticates, if not as the server's metadata says.
    pub authentication: Option<ClientAuthentication>,
    /// How tokens are obtained.
    pub grant_type: Option<GrantType>,
    /// Accept a server that does not say that it supports PKCE.
    pub allow_missing_pkce: bool,
    /// Send no `resource`: some servers refuse it.
    pub omit_resource: bool,
    /// What was wrong with fields that could not be read.
    pub unreadable: Vec<Fault>,
    /// Fields that were named as null, which a required field must not be.
    pub nulls: Vec<&'static str>,
}

/// A checked draft.
#[derive(Clone)]
struct McpServer {
    tenant: Tenant,
    provider_id: String,
    name: String,
    url: Url,
    /// Byte for byte.
    given_url: String,
    draft: McpDraft,
    grant_type: GrantType,
}

/// Discovers an MCP server, gets a client at its authorization server, and stores both as a provider. If the server does
/// not let clients register themselves, the provider is stored without a client.
///
/// # Errors
/// [`BrokerError::RegistrationRequired`] in that case; in every other case nothing is stored.
pub async fn connect(broker: &Broker, tenant: Tenant, draft: McpDraft, act: &Act) -> Result<Provider, BrokerError> {
    let server = check(tenant, draft, broker.outbound.guard()).map_err(BrokerError::Faults)?;
    let _permit = begin_discovery(broker, &server.tenant)?;
    if broker.store.provider_without_secret(&server.tenant, &server.provider_id).await?.is_some() {
        // Checked before a client is registered for nothing; the database checks again.
        return Err(id_taken());
    }
    let failed = |error| BrokerError::discovery("mcp_server_url", NOT_CONNECTED, &error);
    let now = broker.clock.now();
    let discovered = Discovery::new(&broker.outbound, now).of_mcp_server(&server.url).await.map_err(failed)?;
    check_discovered(&discovered, broker.outbound.guard()).map_err(failed)?;
    if server.grant_type == GrantType::AuthorizationCode {
        check_pkce(&discovered, server.draft.allow_missing_pkce).map_err(failed)?;
    }
    // Known before the client is registered, which names the callback address.
    let mut callback_tag = free_callback_tag(broker, &server.provider_id).await?;
    loop {
        let provider = provider(broker, server.clone(), discovered.clone(), &callback_tag, now).await?;
        match broker.store.create_provider(&provider, EventName::ProviderDiscovered, act).await {
            Ok(()) => return require_client(&broker.public_url, &provider).map(|()| provider),
            Err(StoreError::Conflict)
                if callback_tag.is_empty()
                    && broker.store.provider_without_secret(&server.tenant, &server.provider_id).await?.is_none() =>
            {
                // Another workspace took the plain address at the same moment.
                callback_tag = new_callback_tag();
            }
            Err(StoreError::Conflict) => return Err(id_taken()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn check(tenant: Tenant, draft: McpDraft, guard: &AddressGuard) -> Result<McpServer, Vec<Fault>> {
    let mut faults = draft.unreadable.clone();
    let secret = draft.client_secret.as_ref().map(ExposeSecret::expose_secret);
    for (field, text) in [
        ("client_id", draft.client_id.as_deref()),
        ("client_secret", secret),
        ("provider_id", draft.provider_id.as_deref()),
        ("name", draft.name.as_deref()),
        ("mcp_server_url", draft.url.as_deref()),
    ] {
        let problem = text.and_then(|text| check_text(field, text, guard).err());
        faults.extend(problem.map(|problem| Fault::of(field, problem)));
    }
    let grant_type = draft.grant_type.unwrap_or_default();
    if grant_type == GrantType::ApiKey {
        let problem = "Input should be 'authorization_code' or 'client_credentials': a static key needs no discovery";
        faults.push(Fault::of("grant_type", ("literal_error", problem.into())));
    }
    if grant_type == GrantType::ClientCredentials && draft.client_id.is_some() && secret.is_none() {
        faults.push(secret_missing());
    }
    for (field, text) in [("provider_id", &draft.provider_id), ("name", &draft.name), ("mcp_server_url", &draft.url)] {
        if text.is_none() && !faults.iter().any(|fault| fault.field() == field) {
            faults.push(required(field, draft.nulls.contains(&field)));
        }
    }
    faults.sort_by_key(rank);
    if faults.first().is_some_and(|fault| fault.path.is_empty()) {
        return Err(faults.drain(..1).collect());
    }
    match (draft.provider_id.clone(), draft.name.clone(), draft.url.clone()) {
        (Some(provider_id), Some(name), Some(given_url)) if faults.is_empty() => match Url::parse(&given_url) {
            Ok(url) => Ok(McpServer { tenant, provider_id, name, url, given_url, draft, grant_type }),
            Err(_) => Err(vec![Fault::of("mcp_server_url", ("url_parsing", "Input should be a valid URL".into()))]),
        },
        _ => Err(faults),
    }
}

/// The place of a fault among the others: that of its field. The whole body comes first.
fn rank(fault: &Fault) -> usize {
    let field = match (fault.field(), fault.kind) {
        // That it is missing follows from the grant type.
        ("client_secret", "missing") => "grant_type",
        (field, _) => field,
    };
    FIELDS.iter().position(|known| *known == field).unwrap_or(FIELDS.len())
}

/// A server that does not say that it supports S256 may accept a stolen code from anyone.
fn check_pkce(discovered: &Discovered, allow_missing: bool) -> Result<(), DiscoveryError> {
    match &discovered.server.code_challenge_methods_supported {
        Some(methods) if methods.iter().any(|method| method == "S256") => Ok(()),
        Some(_) => Err(DiscoveryError::Unbelievable("the authorization server supports PKCE, but not with S256")),
        None if allow_missing => Ok(()),
        None => Err(DiscoveryError::Unbelievable(
            "the authorization server does not say that it supports PKCE; allow_missing_pkce accepts it anyway",
        )),
    }
}

async fn provider(
    broker: &Broker,
    server: McpServer,
    discovered: Discovered,
    callback_tag: &str,
    now: DateTime<Utc>,
) -> Result<Provider, BrokerError> {
    let Discovered { resource, scopes, known_scopes, server: metadata } = discovered;
    let method = authentication(&metadata);
    let (client, is_dynamic_client) = match server.draft.client_id.clone() {
        Some(id) => (client_by_hand(&server.draft, id, method), false),
        // A client that registers itself, or is known by its document, is one that sends people.
        None if server.grant_type != GrantType::AuthorizationCode => (no_client(method), false),
        None => own_client(broker, &metadata, (&server.provider_id, callback_tag), &known_scopes).await?,
    };
    let offline = metadata.scopes_supported.iter().flatten().any(|scope| scope == "offline_access");
    let client = Client {
        token_url: metadata.token_endpoint,
        revocation_url: metadata.revocation_endpoint,
        options: ProviderOptions {
            grant_type: server.grant_type,
            device_authorization_url: metadata.device_authorization_endpoint,
            issuer: Some(metadata.issuer),
            iss_required: metadata.authorization_response_iss_parameter_supported,
            default_scopes: scopes,
            always_scopes: if offline { vec!["offline_access".into()] } else { Vec::new() },
            resource,
            omit_resource: server.draft.omit_resource,
            registered_scopes: if client.options.registration_url.is_some() { known_scopes } else { Vec::new() },
            ..client.options
        },
        ..client
    };
    Ok(Provider {
        callback_tag: callback_tag.to_owned(),
        auth_url: metadata.authorization_endpoint,
        uses_pkce: true,
        mcp_server_url: Some(server.given_url),
        is_dynamic_client,
        ..Provider::new(server.tenant, server.provider_id, server.name, client, now)
    })
}

fn client_by_hand(draft: &McpDraft, id: String, method: ClientAuthentication) -> Client {
    let unnamed = ClientAuthentication::unnamed(draft.client_secret.is_some(), method);
    Client::new(id, draft.client_secret.clone(), draft.authentication.unwrap_or(unnamed))
}

/// No client yet: somebody has to register one by hand.
fn no_client(method: ClientAuthentication) -> Client {
    Client::new(String::new(), None, method)
}

/// Our client metadata document if the server accepts it, otherwise a registration. A server that supports neither does
/// not let clients register themselves. The second value says whether the client is our own.
async fn own_client(
    broker: &Broker,
    server: &ServerMetadata,
    (provider_id, callback_tag): (&str, &str),
    scopes: &[String],
) -> Result<(Client, bool), BrokerError> {
    let method = authentication(server);
    if server.client_id_metadata_document_supported && broker.public_url.starts_with("https://") {
        let id = client_metadata_url(&broker.public_url, provider_id, callback_tag);
        return Ok((Client::new(id, None, ClientAuthentication::None), true));
    }
    let Some(endpoint) = &server.registration_endpoint else { return Ok((no_client(method), false)) };
    let redirect_uri = callback_address(&broker.public_url, provider_id, callback_tag);
    let on_devices = server.device_authorization_endpoint.is_some();
    let purpose = Purpose { redirect_uri: &redirect_uri, scopes, on_devices };
    let registered =
        register(&broker.outbound, endpoint, purpose, method, broker.clock.now()).await.map_err(|error| {
            BrokerError::Discovery { kind: FailureKind::Refused, message: format!("{NOT_CONNECTED}: {error}.") }
        })?;
    let mut own = Client::new(registered.client_id, registered.client_secret, registered.authentication);
    own.options.registration_url = Some(endpoint.clone());
    own.options.client_secret_expires_at = registered.secret_expires_at;
    Ok((own, true))
}
