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
        discovery::{Discovered, Discovery},
        metadata::{DiscoveryError, ServerMetadata},
        probe::{Finding, Verdict},
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
const CLIENT: &str = "client registration";
const REGISTER_BY_HAND: &str = "Register a client at the authorization server by hand, with the redirect URI of this provider, and enter its \
                                client id and client secret.";
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

/// What was done to connect a server, for the person who watches it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was found, in order: of the server, its metadata and our client.
    pub steps: Vec<Finding>,
    /// What helps after the failure, if it is known.
    pub what_to_do: Option<&'static str>,
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
    connect_and_report(broker, tenant, draft, act, &mut Report::default()).await
}

/// The same, with a report of each step, also when it fails.
///
/// # Errors
/// As [`connect`].
pub async fn connect_and_report(
    broker: &Broker,
    tenant: Tenant,
    draft: McpDraft,
    act: &Act,
    report: &mut Report,
) -> Result<Provider, BrokerError> {
    let server = check(tenant, draft, broker.outbound.guard()).map_err(BrokerError::Faults)?;
    let _permit = begin_discovery(broker, &server.tenant)?;
    if broker.store.provider_without_secret(&server.tenant, &server.provider_id).await?.is_some() {
        // Checked before a client is registered for nothing; the database checks again.
        return Err(id_taken());
    }
    let now = broker.clock.now();
    let discovered = discover(broker, &server, now, report).await.map_err(|error| {
        report.what_to_do = Some(what_to_do(&error));
        BrokerError::discovery("mcp_server_url", NOT_CONNECTED, &error)
    })?;
    // Known before the client is registered, which names the callback address.
    let mut callback_tag = free_callback_tag(broker, &server.provider_id).await?;
    loop {
        let provider = provider(broker, server.clone(), discovered.clone(), &callback_tag, now, report).await?;
        match broker.store.create_provider(&provider, EventName::ProviderDiscovered, act).await {
            Ok(()) => {
                report.step("provider", Verdict::Right, format!("stored as {}", provider.provider_id));
                return require_client(&broker.public_url, &provider).map(|()| provider);
            }
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

async fn discover(
    broker: &Broker,
    server: &McpServer,
    now: DateTime<Utc>,
    report: &mut Report,
) -> Result<Discovered, DiscoveryError> {
    let mut discovery = Discovery::new(&broker.outbound, now);
    let discovered = discovery.of_mcp_server(&server.url).await;
    report.steps.append(&mut discovery.steps);
    let discovered = discovered?;
    let mut noted = |of, checked: Result<(), DiscoveryError>| {
        if let Err(error) = &checked {
            report.step(of, Verdict::Wrong, error.to_string());
        }
        checked
    };
    noted("metadata", check_discovered(&discovered, broker.outbound.guard()))?;
    if server.grant_type == GrantType::AuthorizationCode {
        noted("PKCE", check_pkce(&discovered, server.draft.allow_missing_pkce))?;
        let said = match discovered.server.code_challenge_methods_supported {
            Some(_) => (Verdict::Right, "the authorization server supports S256"),
            None => {
                (Verdict::Unclear, "the authorization server does not say that it supports it; S256 is sent anyway")
            }
        };
        report.step("PKCE", said.0, said.1);
    }
    Ok(discovered)
}

fn what_to_do(error: &DiscoveryError) -> &'static str {
    match error {
        DiscoveryError::Refused(..) => {
            "Use a public https address. For a server in your own network, name its host in ALLOW_PRIVATE_UPSTREAMS."
        }
        DiscoveryError::Unreachable(..) | DiscoveryError::TooLong => {
            "Compare the URL with the server's documentation, and see whether this machine reaches that host: by DNS, \
             through the firewall and with a trusted certificate. Then connect it again."
        }
        DiscoveryError::TooMany | DiscoveryError::Missing(_) => {
            "Compare the URL with the server's documentation: it often ends in /mcp. If the server has no metadata, add a \
             provider by the endpoints of its authorization server."
        }
        DiscoveryError::Unbelievable(problem) if problem.contains("PKCE") => {
            "If the provider's documentation says that it supports PKCE with S256, connect it again and accept that its \
             metadata does not say so. Otherwise the server's operator has to add PKCE."
        }
        DiscoveryError::Unbelievable(_) | DiscoveryError::Invalid(..) => {
            "The server's operator has to correct its metadata. Until then, add a provider by the endpoints of its \
             authorization server."
        }
    }
}

impl Report {
    fn by_hand(&mut self) {
        let said =
            "the authorization server does not let clients register themselves; one has to be registered by hand";
        self.step(CLIENT, Verdict::Unclear, said);
        self.what_to_do = Some(REGISTER_BY_HAND);
    }

    fn step(&mut self, of: &'static str, verdict: Verdict, said: impl Into<String>) {
        self.steps.push(Finding { of, said: said.into(), verdict });
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
    report: &mut Report,
) -> Result<Provider, BrokerError> {
    let Discovered { resource, scopes, known_scopes, server: metadata } = discovered;
    let method = authentication(&metadata);
    let (client, is_dynamic_client) = match server.draft.client_id.clone() {
        Some(id) => {
            report.step(CLIENT, Verdict::Right, "the one that you have registered by hand");
            (client_by_hand(&server.draft, id, method), false)
        }
        // A client that registers itself, or is known by its document, is one that sends people.
        None if server.grant_type != GrantType::AuthorizationCode => {
            report.by_hand();
            (no_client(method), false)
        }
        None => own_client(broker, &metadata, (&server.provider_id, callback_tag), &known_scopes, report).await?,
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
    report: &mut Report,
) -> Result<(Client, bool), BrokerError> {
    let method = authentication(server);
    if server.client_id_metadata_document_supported && broker.public_url.starts_with("https://") {
        let id = client_metadata_url(&broker.public_url, provider_id, callback_tag);
        report.step(CLIENT, Verdict::Right, format!("no registration needed: the server reads our document at {id}"));
        return Ok((Client::new(id, None, ClientAuthentication::None), true));
    }
    let Some(endpoint) = &server.registration_endpoint else {
        report.by_hand();
        return Ok((no_client(method), false));
    };
    let redirect_uri = callback_address(&broker.public_url, provider_id, callback_tag);
    let on_devices = server.device_authorization_endpoint.is_some();
    let purpose = Purpose { redirect_uri: &redirect_uri, scopes, on_devices };
    let registered =
        register(&broker.outbound, endpoint, purpose, method, broker.clock.now()).await.map_err(|error| {
            report.step(CLIENT, Verdict::Wrong, format!("{endpoint}: {error}"));
            report.what_to_do = Some(REGISTER_BY_HAND);
            BrokerError::Discovery { kind: FailureKind::Refused, message: format!("{NOT_CONNECTED}: {error}.") }
        })?;
    report.step(CLIENT, Verdict::Right, format!("{endpoint}: registered as {}", registered.client_id));
    let mut own = Client::new(registered.client_id, registered.client_secret, registered.authentication);
    own.options.registration_url = Some(endpoint.clone());
    own.options.client_secret_expires_at = registered.secret_expires_at;
    Ok((own, true))
}
