//! Discovery: where the metadata of a server is looked for, and what was found at each place.
//! Owns: the order of a search, its limits, and what it says of each step.
//! Must not know: what makes a document believable; what is registered there, or kept.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::Instant;
use url::Url;

use super::{
    challenge::Challenge,
    metadata::{
        DISCOVERY_TIMEOUT, DiscoveryError, REQUESTS_MAX, ResourceMetadata, ServerMetadata, resource_places,
        server_places,
    },
    probe::{Finding, Verdict, finding},
};
use crate::{
    outbound::client::{CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// As many metadata documents of one challenge, and authorization servers of one resource, are tried.
const TRIED_MAX: usize = 3;
/// More scopes than a server knows of.
const SCOPES_MAX: usize = 200;
/// What is looked for, as errors and steps name it.
const MCP_SERVER: &str = "MCP server";
const RESOURCE: &str = "protected resource metadata";
const SERVER: &str = "authorization server metadata";
/// What a client of this revision of the protocol says first.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"agent-auth","version":"1"}}}"#;

/// What was found out about an MCP server.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// The resource its tokens are for; `None` for a server of the first revision, which has none.
    pub resource: Option<String>,
    /// The scopes to request when an agent names none.
    pub scopes: Vec<String>,
    /// All scopes that the resource or its authorization server knows of.
    pub known_scopes: Vec<String>,
    /// Its authorization server.
    pub server: ServerMetadata,
}

/// One discovery, with its limits.
pub struct Discovery<'a> {
    /// What was found at each place so far, in order, for people. Holds nothing of documents that are not believed.
    pub steps: Vec<Finding>,
    outbound: &'a Outbound,
    now: DateTime<Utc>,
    deadline: Instant,
    requests: u32,
}

/// A response to a probe: only what we look at.
struct Probe {
    status: u16,
    challenge: Option<Challenge>,
}

impl<'a> Discovery<'a> {
    /// A discovery that begins now.
    #[must_use]
    pub fn new(outbound: &'a Outbound, now: DateTime<Utc>) -> Self {
        Self { steps: Vec::new(), outbound, now, deadline: Instant::now() + DISCOVERY_TIMEOUT, requests: 0 }
    }

    /// Finds out how to get tokens for the MCP server at `url`.
    pub async fn of_mcp_server(&mut self, url: &Url) -> Result<Discovered, DiscoveryError> {
        let probe = self.probe(url).await?;
        let challenged = probe.challenge.unwrap_or_default();
        let Some(resource) = self.resource_metadata(url, &challenged).await? else {
            return self.of_first_revision(url, probe.status, challenged.scopes).await;
        };
        let mut last = DiscoveryError::Missing("the resource's metadata names no authorization server");
        if resource.authorization_servers.is_empty() {
            return Err(self.failed(RESOURCE, &resource.resource, last));
        }
        for issuer in resource.authorization_servers.iter().take(TRIED_MAX) {
            match self.of_issuer(issuer).await {
                Ok(server) => {
                    // The challenge of the resource comes before what its metadata lists.
                    let listed = each_once(resource.scopes_supported.iter().flatten());
                    let scopes = if challenged.scopes.is_empty() { listed.clone() } else { challenged.scopes };
                    let known_scopes = known_scopes(&scopes, &listed, &server);
                    return Ok(Discovered { resource: Some(resource.resource), scopes, known_scopes, server });
                }
                Err(error @ (DiscoveryError::TooLong | DiscoveryError::TooMany)) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The metadata of an authorization server, at the places where it may be (RFC 8414 section 3.1).
    pub async fn of_issuer(&mut self, issuer: &str) -> Result<ServerMetadata, DiscoveryError> {
        let url = Url::parse(issuer).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
        let Some(url) = url else {
            let error = DiscoveryError::Unbelievable("the authorization server's issuer is no plain URL");
            return Err(self.failed(SERVER, "issuer", error));
        };
        for place in server_places(&url) {
            let Some(document) = self.document(SERVER, &place).await? else { continue };
            let read = ServerMetadata::read(&document, issuer);
            match read.and_then(|server| server.map(|server| self.with_checked_endpoints(server)).transpose()) {
                Ok(Some(server)) => {
                    self.step(SERVER, Verdict::Right, format!("{place}: metadata of {}", server.issuer));
                    return Ok(server);
                }
                Ok(None) => self.step(SERVER, Verdict::Unclear, format!("{place}: something else")),
                Err(error) => return Err(self.failed(SERVER, place.as_str(), error)),
            }
        }
        let missing = "the authorization server has no metadata (RFC 8414 or OpenID Connect Discovery)";
        self.step(SERVER, Verdict::Unclear, format!("{url}: {missing}"));
        Err(DiscoveryError::Missing(missing))
    }

    /// Before there was resource metadata, the MCP server was its own authorization server, with default endpoints if
    /// it had no metadata at all.
    async fn of_first_revision(
        &mut self,
        url: &Url,
        status: u16,
        scopes: Vec<String>,
    ) -> Result<Discovered, DiscoveryError> {
        let origin = url.origin().ascii_serialization();
        match self.of_issuer(&origin).await {
            Ok(server) => {
                let known_scopes = known_scopes(&scopes, &[], &server);
                Ok(Discovered { resource: None, scopes, known_scopes, server })
            }
            Err(DiscoveryError::Missing(_)) if status == 401 => {
                let said = "the default endpoints of the first revision: /authorize, /token and /register";
                self.step(SERVER, Verdict::Unclear, format!("{origin}: {said}"));
                let server = ServerMetadata {
                    authorization_endpoint: format!("{origin}/authorize"),
                    token_endpoint: format!("{origin}/token"),
                    registration_endpoint: Some(format!("{origin}/register")),
                    issuer: origin,
                    revocation_endpoint: None,
                    userinfo_endpoint: None,
                    device_authorization_endpoint: None,
                    scopes_supported: None,
                    token_endpoint_auth_methods_supported: Some(vec!["none".into(), "client_secret_post".into()]),
                    // That revision requires it of every server.
                    code_challenge_methods_supported: Some(vec!["S256".into()]),
                    client_id_metadata_document_supported: false,
                    authorization_response_iss_parameter_supported: false,
                };
                Ok(Discovered { resource: None, known_scopes: scopes.clone(), scopes, server })
            }
            Err(DiscoveryError::Missing(_)) => Err(DiscoveryError::Missing(
                "the MCP server neither asks for authorization nor has metadata that says how to get it",
            )),
            Err(error) => Err(error),
        }
    }

    /// The first believable metadata of the resource; `None` if nothing was found.
    async fn resource_metadata(
        &mut self,
        url: &Url,
        challenge: &Challenge,
    ) -> Result<Option<ResourceMetadata>, DiscoveryError> {
        let named = challenge.resource_metadata.iter().take(TRIED_MAX).filter_map(|place| Url::parse(place).ok());
        let mut places: Vec<Url> = named.collect();
        places.extend(resource_places(url));
        places.dedup();
        for place in places {
            let Some(document) = self.document(RESOURCE, &place).await? else { continue };
            match ResourceMetadata::read(&document, url, &place) {
                Ok(Some(metadata)) => {
                    let servers = metadata.authorization_servers.join(", ");
                    self.step(RESOURCE, Verdict::Right, format!("{place}: its authorization server is {servers}"));
                    return Ok(Some(metadata));
                }
                Ok(None) => self.step(RESOURCE, Verdict::Unclear, format!("{place}: something else")),
                Err(error) => return Err(self.failed(RESOURCE, place.as_str(), error)),
            }
        }
        let said =
            "none: the server is taken for its own authorization server, as in the first revision of the protocol";
        self.step(RESOURCE, Verdict::Unclear, said.to_owned());
        Ok(None)
    }

    async fn probe(&mut self, url: &Url) -> Result<Probe, DiscoveryError> {
        match self.probed(url).await {
            Ok(probe) => {
                let (verdict, said) = match &probe {
                    Probe { challenge: Some(challenge), .. } if !challenge.resource_metadata.is_empty() => {
                        (Verdict::Right, "it asks for authorization, and names its metadata")
                    }
                    Probe { status: 401, .. } => (Verdict::Right, "it asks for authorization, and names no metadata"),
                    _ => (Verdict::Unclear, "it does not ask for authorization"),
                };
                self.step(MCP_SERVER, verdict, format!("{url}: status {}: {said}", probe.status));
                Ok(probe)
            }
            Err(error) => Err(self.failed(MCP_SERVER, url.as_str(), error)),
        }
    }

    async fn probed(&mut self, url: &Url) -> Result<Probe, DiscoveryError> {
        let request = self.outbound.post(url).map_err(|error| refused(MCP_SERVER, error))?;
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(INITIALIZE);
        let (status, challenges) = self
            .within(self.outbound.head_of(Endpoint::McpServer, request))
            .await?
            .map_err(|error| refused(MCP_SERVER, error))?;
        let challenge = Challenge::of_headers(challenges.iter().map(String::as_str));
        Ok(Probe { status, challenge })
    }

    /// A document, if there is one: any 4xx, redirect or page is a miss. A server that fails is not passed over, lest
    /// the search goes on to a place somebody else controls.
    async fn document(&mut self, what: &'static str, url: &Url) -> Result<Option<Bytes>, DiscoveryError> {
        let (status, body) = match self.fetched(what, url).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.failed(what, url.as_str(), error)),
        };
        match status {
            200 => Ok(Some(body)),
            ..500 | 502 => {
                self.step(what, Verdict::Unclear, format!("{url}: status {status}: nothing there"));
                Ok(None)
            }
            _ => {
                let error = "a metadata document cannot be read: its server responds with an error";
                Err(self.failed(what, url.as_str(), DiscoveryError::Missing(error)))
            }
        }
    }

    async fn fetched(&mut self, what: &'static str, url: &Url) -> Result<(u16, Bytes), DiscoveryError> {
        let request = self.outbound.get(url).map_err(|error| refused(what, error))?;
        let request = request.header(ACCEPT, "application/json");
        let answer = self.within(self.outbound.send(Endpoint::Metadata, request, self.now)).await?;
        answer.map(|answer| (answer.status, answer.body)).map_err(|error| refused(what, error))
    }

    fn step(&mut self, of: &'static str, verdict: Verdict, said: String) {
        self.steps.push(finding(of, verdict, said));
    }

    /// An error that ends the search at `place`.
    fn failed(&mut self, of: &'static str, place: &str, error: DiscoveryError) -> DiscoveryError {
        self.step(of, Verdict::Wrong, format!("{place}: {error}"));
        error
    }

    async fn within<T>(&mut self, call: impl Future<Output = T>) -> Result<T, DiscoveryError> {
        if self.requests == REQUESTS_MAX {
            return Err(DiscoveryError::TooMany);
        }
        self.requests += 1;
        tokio::time::timeout_at(self.deadline, call).await.map_err(|_| DiscoveryError::TooLong)
    }

    /// Every endpoint a document names is one we may connect to, or send a browser to.
    fn with_checked_endpoints(&self, server: ServerMetadata) -> Result<ServerMetadata, DiscoveryError> {
        for (name, endpoint) in server.endpoints() {
            let url = Url::parse(endpoint)
                .ok()
                .filter(|url| endpoint.len() <= 2048 && url.username().is_empty() && url.password().is_none())
                .ok_or(DiscoveryError::Unbelievable("an endpoint in the authorization server's metadata is no URL"))?;
            self.outbound.guard().check_url(&url).map_err(|refusal| DiscoveryError::Refused(name, refusal))?;
        }
        Ok(server)
    }
}

fn known_scopes(asked: &[String], listed: &[String], server: &ServerMetadata) -> Vec<String> {
    each_once(asked.iter().chain(listed).chain(server.scopes_supported.iter().flatten()))
}

/// Each scope once, in order. Some servers list several in one text.
fn each_once<'s>(listed: impl Iterator<Item = &'s String>) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in listed.flat_map(|text| text.split(' ')).filter(|scope| !scope.is_empty()) {
        if scopes.len() < SCOPES_MAX && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

fn refused(what: &'static str, error: CallError) -> DiscoveryError {
    match error {
        CallError::Refused(refusal) => DiscoveryError::Refused(what, refusal),
        other => DiscoveryError::Unreachable(what, other),
    }
}
