//! Metadata documents: of a protected resource (RFC 9728) and of its authorization server (RFC 8414, `OpenID` Connect
//! Discovery).
//! Owns: where they may be, reading them, and what makes one believable.
//! Must not know: how they are fetched.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::outbound::client::CallError;

/// All of a discovery together takes no longer than this.
pub(super) const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// And no more requests. A server that keeps to the specification needs 6 at the most: the probe, the resource's metadata
/// at the second of its two well-known places, and its authorization server's at the third of three. The other 2 are for
/// a metadata document of the challenge that is not there, or for another authorization server.
pub(super) const REQUESTS_MAX: u32 = 8;

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

/// The well-known part goes between host and path (RFC 9728 section 3.1); then the root of the host.
pub(super) fn resource_places(url: &Url) -> Vec<Url> {
    let mut places = Vec::new();
    if url.path() != "/" || url.query().is_some() {
        places.extend(inserted(url, "oauth-protected-resource"));
    }
    places.extend(url.join("/.well-known/oauth-protected-resource").ok());
    places
}

pub(super) fn server_places(issuer: &Url) -> Vec<Url> {
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
