//! Metadata documents: of a protected resource (RFC 9728) and of its authorization server (RFC 8414, `OpenID` Connect
//! Discovery).
//! Owns: where they are looked for, fetching them, and what makes one believable.
//! Must not know: what is registered there, or kept.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use crate::{
    outbound::client::{CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// All of a discovery together takes no longer than this.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// And no more requests. A server that keeps to the specification needs 6 at the most: the probe, the resource's metadata
/// at the second of its two well-known places, and its authorization server's at the third of three. The other 2 are for
/// a metadata document of the challenge that is not there, or for another authorization server.
const REQUESTS_MAX: u32 = 8;
/// As many metadata documents of one challenge, and authorization servers of one resource, are tried.
const TRIED_MAX: usize = 3;
/// More scopes than a server knows of.
const SCOPES_MAX: usize = 200;
/// What a client of this revision of the protocol says first.
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"agent-auth","version":"1"}}}"#;

/// Why there is no believable metadata. Holds nothing of the documents.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A URL, ours or one of a document, that we do not connect to or send people to.
    #[error("{0}: the URL {1}")]
    Refused(&'static str, crate::outbound::address::Refusal),
    /// The server cannot be reached.
    #[error("{0}: {1}")]
    Unreachable(&'static str, CallError),
    /// It took too long.
    #[error("discovery took longer than {} seconds", DISCOVERY_TIMEOUT.as_secs())]
    TooLong,
    /// It would take another request.
    #[error("{REQUESTS_MAX} requests found no metadata that can be used, and discovery makes no more")]
    TooMany,
    /// A document contradicts the place it was found at, or lacks what it must have.
    #[error("{0}")]
    Unbelievable(&'static str),
    /// A field of a document, by its name, and what is wrong with its text.
    #[error("`{0}` in the metadata is not valid: {1}")]
    Invalid(&'static str, String),
    /// There is no metadata where it has to be.
    #[error("{0}")]
    Missing(&'static str),
}

/// Metadata of a protected resource.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ResourceMetadata {
    /// Its identifier, byte for byte.
    pub resource: String,
    /// Its authorization servers, of which the client chooses one.
    #[serde(default)]
    pub authorization_servers: Vec<String>,
    /// The scopes it knows.
    #[serde(default)]
    pub scopes_supported: Option<Vec<String>>,
}

impl ResourceMetadata {
    /// Reads a document that was found at `place` when the server at `url` was looked for. `None`: it is something else.
    ///
    /// # Errors
    /// It is metadata of another resource.
    pub fn read(document: &[u8], url: &Url, place: &Url) -> Result<Option<Self>, DiscoveryError> {
        let Ok(metadata) = serde_json::from_slice::<Self>(document) else { return Ok(None) };
        if covers(&metadata.resource, url, place) {
            return Ok(Some(metadata));
        }
        Err(DiscoveryError::Unbelievable(
            "the metadata is of another resource than the MCP server (RFC 9728 section 3.3)",
        ))
    }
}

/// Metadata of an authorization server.
#[derive(Clone, Debug, Deserialize)]
pub struct ServerMetadata {
    /// Its identifier.
    pub issuer: String,
    /// The authorization endpoint.
    pub authorization_endpoint: String,
    /// The token endpoint.
    pub token_endpoint: String,
    /// Where clients register (RFC 7591).
    pub registration_endpoint: Option<String>,
    /// Where grants are revoked (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// The userinfo endpoint.
    pub userinfo_endpoint: Option<String>,
    /// Where the authorization of a device begins (RFC 8628 section 4).
    pub device_authorization_endpoint: Option<String>,
    /// The scopes it knows.
    pub scopes_supported: Option<Vec<String>>,
    /// How clients may authenticate; HTTP Basic if it does not say.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Which code challenges it knows.
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// Whether a URL may be a client id (client id metadata documents).
    #[serde(default)]
    pub client_id_metadata_document_supported: bool,
    /// Whether its authorization responses name it (RFC 9207 section 3).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

impl ServerMetadata {
    /// The endpoints that it names, each with its name in the document.
    pub fn endpoints(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("registration_endpoint", self.registration_endpoint.as_ref()),
            ("revocation_endpoint", self.revocation_endpoint.as_ref()),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
            ("device_authorization_endpoint", self.device_authorization_endpoint.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, endpoint)| Some((name, endpoint?.as_str())))
    }

    /// Reads the metadata of `issuer`. `None`: the document is something else.
    ///
    /// # Errors
    /// It is metadata of another issuer.
    pub fn read(document: &[u8], issuer: &str) -> Result<Option<Self>, DiscoveryError> {
        let Ok(server) = serde_json::from_slice::<Self>(document) else { return Ok(None) };
        if same_identifier(&server.issuer, issuer) {
            return Ok(Some(server));
        }
        Err(DiscoveryError::Unbelievable(
            "the authorization server's metadata is of another issuer than the one it was asked for",
        ))
    }
}

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
        Self { outbound, now, deadline: Instant::now() + DISCOVERY_TIMEOUT, requests: 0 }
    }

    /// Finds out how to get tokens for the MCP server at `url`.
    pub async fn of_mcp_server(&mut self, url: &Url) -> Result<Discovered, DiscoveryError> {
        let probe = self.probe(url).await?;
        let challenged = probe.challenge.unwrap_or_default();
        let Some(resource) = self.resource_metadata(url, &challenged).await? else {
            return self.of_first_revision(url, probe.status, challenged.scopes).await;
        };
        let mut last = DiscoveryError::Missing("the resource's metadata names no authorization server");
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
        let url = Url::parse(issuer)
            .ok()
            .filter(|url| url.query().is_none() && url.fragment().is_none())
            .ok_or(DiscoveryError::Unbelievable("the authorization server's issuer is no plain URL"))?;
        for place in server_places(&url) {
            let Some(document) = self.document("authorization server metadata", &place).await? else { continue };
            let Some(server) = ServerMetadata::read(&document, issuer)? else { continue };
            self.check_endpoints(&server)?;
            return Ok(server);
        }
        Err(DiscoveryError::Missing("the authorization server has no metadata (RFC 8414 or OpenID Connect Discovery)"))
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
            let Some(document) = self.document("protected resource metadata", &place).await? else { continue };
            let Some(metadata) = ResourceMetadata::read(&document, url, &place)? else { continue };
            return Ok(Some(metadata));
        }
        Ok(None)
    }

    async fn probe(&mut self, url: &Url) -> Result<Probe, DiscoveryError> {
        const WHAT: &str = "MCP server";
        let request = self.outbound.post(url).map_err(|error| refused(WHAT, error))?;
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(INITIALIZE);
        let (status, challenges) = self
            .within(self.outbound.head_of(Endpoint::McpServer, request))
            .await?
            .map_err(|error| refused(WHAT, error))?;
        let challenge = Challenge::of_headers(challenges.iter().map(String::as_str));
        Ok(Probe { status, challenge })
    }

    /// A document, if there is one: any 4xx, redirect or page is a miss. A server that fails is not passed over, lest
    /// the search goes on to a place somebody else controls.
    async fn document(&mut self, what: &'static str, url: &Url) -> Result<Option<Bytes>, DiscoveryError> {
        let request = self.outbound.get(url).map_err(|error| refused(what, error))?;
        let request = request.header(ACCEPT, "application/json");
        let answer = self.within(self.outbound.send(Endpoint::Metadata, request, self.now)).await?;
        match answer.map_err(|error| refused(what, error))? {
            answer if answer.status == 200 => Ok(Some(answer.body)),
            answer if answer.status < 500 || answer.status == 502 => Ok(None),
            _ => Err(DiscoveryError::Missing("a metadata document cannot be read: its server responds with an error")),
        }
    }

    async fn within<T>(&mut self, call: impl Future<Output = T>) -> Result<T, DiscoveryError> {
        if self.requests == REQUESTS_MAX {
            return Err(DiscoveryError::TooMany);
        }
        self.requests += 1;
        tokio::time::timeout_at(self.deadline, call).await.map_err(|_| DiscoveryError::TooLong)
    }

    /// Every endpoint a document names is one we may connect to, or send a browser to.
    fn check_endpoints(&self, server: &ServerMetadata) -> Result<(), DiscoveryError> {
        for (name, endpoint) in server.endpoints() {
            let url = Url::parse(endpoint)
                .ok()
                .filter(|url| endpoint.len() <= 2048 && url.username().is_empty() && url.password().is_none())
                .ok_or(DiscoveryError::Unbelievable("an endpoint in the authorization server's metadata is no URL"))?;
            self.outbound.guard().check_url(&url).map_err(|refusal| DiscoveryError::Refused(name, refusal))?;
        }
        Ok(())
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

/// The well-known part goes between host and path (RFC 9728 section 3.1); then the root of the host.
fn resource_places(url: &Url) -> Vec<Url> {
    let mut places = Vec::new();
    if url.path() != "/" || url.query().is_some() {
        places.extend(inserted(url, "oauth-protected-resource"));
    }
    places.extend(url.join("/.well-known/oauth-protected-resource").ok());
    places
}

fn server_places(issuer: &Url) -> Vec<Url> {
    let mut places: Vec<Url> = Vec::new();
    places.extend(inserted(issuer, "oauth-authorization-server"));
    places.extend(inserted(issuer, "openid-configuration"));
    if issuer.path() != "/" {
        let mut appended = issuer.clone();
        appended.set_path(&format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/')));
        places.push(appended);
    }
    places
}

fn inserted(url: &Url, well_known: &str) -> Option<Url> {
    let path = url.path().trim_end_matches('/');
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    url.join(&format!("/.well-known/{well_known}{path}{query}")).ok()
}

/// Byte for byte, but for the slash that URL libraries add to an origin.
fn same_identifier(one: &str, other: &str) -> bool {
    let bare = |text: &str| match Url::parse(text) {
        Ok(url) if url.path() == "/" => text.trim_end_matches('/').to_owned(),
        _ => text.to_owned(),
    };
    bare(one) == bare(other)
}

/// True when metadata of `resource`, found at `place`, is metadata of the server at `url`: it is that server's, or, at
/// the well-known place of its own, that of a resource on the same origin which the server's path lies in.
fn covers(resource: &str, url: &Url, place: &Url) -> bool {
    let Ok(parsed) = Url::parse(resource) else { return false };
    if parsed.fragment().is_some() {
        return false;
    }
    if parsed == *url {
        return true;
    }
    let above = url.path().strip_prefix(parsed.path().trim_end_matches('/'));
    let is_above = parsed.origin() == url.origin()
        && parsed.query().is_none()
        && above.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_above && (resource_places(&parsed).contains(place) || resource_places(url).contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        let places = |text| resource_places(&url(text)).into_iter().map(String::from).collect::<Vec<_>>();
        assert_eq!(
            places("https://a.example/public/mcp"),
            [
                "https://a.example/.well-known/oauth-protected-resource/public/mcp",
                "https://a.example/.well-known/oauth-protected-resource"
            ]
        );
        assert_eq!(places("https://a.example"), ["https://a.example/.well-known/oauth-protected-resource"]);
        let places = |text| server_places(&url(text)).into_iter().map(String::from).collect::<Vec<_>>();
        assert_eq!(
            places("https://as.example/tenant1"),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant1",
                "https://as.example/.well-known/openid-configuration/tenant1",
                "https://as.example/tenant1/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            places("https://as.example"),
            [
                "https://as.example/.well-known/oauth-authorization-server",
                "https://as.example/.well-known/openid-configuration"
            ]
        );
    }

    #[test]
    fn metadata_counts_for_its_own_resource_and_for_what_lies_in_it() {
        let server = url("https://a.example/public/mcp");
        let (own, root) = (&resource_places(&server)[0], &resource_places(&server)[1]);
        assert!(covers("https://a.example/public/mcp", &server, own));
        assert!(covers("https://a.example", &server, root));
        assert!(covers("https://a.example/", &server, own));
        assert!(covers("https://a.example/public", &server, own));
        for other in [
            "https://b.example/public/mcp",
            "http://a.example/public/mcp",
            "https://a.example/public/mcp/deeper",
            "https://a.example/pub",
            "https://a.example/public/mcp#x",
            "https://a.example:444/public/mcp",
            "mcp",
        ] {
            assert!(!covers(other, &server, own), "{other}");
        }
        assert!(!covers("https://a.example", &server, &url("https://evil.example/metadata")));
    }

    #[test]
    fn an_issuer_is_compared_byte_for_byte_but_for_the_slash_of_an_origin() {
        assert!(same_identifier("https://as.example/", "https://as.example"));
        for (one, other) in [
            ("https://as.example/a", "https://as.example/a/"),
            ("https://AS.example", "https://as.example"),
            ("https://as.example:443", "https://as.example"),
            ("http://as.example", "https://as.example"),
        ] {
            assert!(!same_identifier(one, other), "{one} {other}");
        }
    }
}
