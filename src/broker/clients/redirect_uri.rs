//! Redirect URIs: where people come back to.
//! Owns: our callback addresses, and which redirect URI an authorization request has.
//! Must not know: what comes back.
//!
//! No two providers have the same callback address. Otherwise one workspace could copy the endpoint and the client id of
//! another one's provider, with a token endpoint of its own, and get the codes of people who consent there.

use url::{Host, Url};

use crate::{
    broker::{context::Broker, error::BrokerError},
    model::provider::Provider,
};

/// A callback address of ours, built from the public URL alone. An empty tag is the plain address, which the first provider
/// of a `provider_id` has; those of other workspaces have a tag.
#[must_use]
pub fn callback_address(public_url: &str, provider_id: &str, tag: &str) -> String {
    let plain = format!("{public_url}/host-oauth-callback/{provider_id}");
    if tag.is_empty() { plain } else { format!("{plain}/at/{tag}") }
}

/// The callback address of a provider.
#[must_use]
pub fn callback_address_of(public_url: &str, provider: &Provider) -> String {
    callback_address(public_url, &provider.provider_id, &provider.callback_tag)
}

/// The redirect URI of an authorization request: ours, or the requested one if the provider's record allows it.
///
/// # Errors
/// [`BrokerError::Invalid`] when it is not allowed.
pub fn redirect_uri(broker: &Broker, provider: &Provider, requested: Option<&str>) -> Result<String, BrokerError> {
    let Some(requested) = requested else { return Ok(callback_address_of(&broker.public_url, provider)) };
    if is_ours(broker, &provider.provider_id, &provider.callback_tag, requested)
        || provider.allowed_redirect_uris.iter().any(|address| address == requested)
    {
        return Ok(requested.to_owned());
    }
    Err(BrokerError::Invalid {
        field: "redirect_uri",
        problem: "must be one of the provider's allowed_redirect_uris or the server's own callback address".into(),
    })
}

/// Whether `redirect_uri` is the callback address with that tag. Compared byte by byte (RFC 9700 section 2.1). The plain
/// one has other spellings, which belong to the same provider; a proxy may have removed the prefix of the last.
#[must_use]
pub fn is_ours(broker: &Broker, provider_id: &str, tag: &str, redirect_uri: &str) -> bool {
    let spelled = |path: &str| format!("{}{path}{provider_id}", broker.public_url) == redirect_uri;
    redirect_uri == callback_address(&broker.public_url, provider_id, tag)
        || (tag.is_empty() && ["/v2/auth/callback/", "/api-host/v2/auth/callback/"].into_iter().any(spelled))
}

/// Whether a browser that comes back with a code comes to this server, and not to an application. Any path counts, for a
/// proxy may read one differently; so does every spelling of the host.
#[must_use]
pub fn leads_here(public_url: &str, redirect_uri: &str) -> bool {
    let (Ok(ours), Ok(theirs)) = (Url::parse(public_url), Url::parse(redirect_uri)) else { return false };
    let is_same_host = host(&ours) == host(&theirs) || (is_this_machine(&ours) && is_this_machine(&theirs));
    is_same_host && ours.port_or_known_default() == theirs.port_or_known_default()
}

/// The host without the dot that may end a name.
fn host(url: &Url) -> Option<&str> {
    url.host_str().map(|host| host.trim_end_matches('.'))
}

/// Whether the host is a loopback address, or the name of one.
#[must_use]
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_server_is_recognized_in_every_spelling() {
        let server = "http://127.0.0.1:8080";
        for ours in [
            "http://127.0.0.1:8080/host-oauth-callback/acme",
            "http://localhost:8080/host-oauth-callback/acme",
            "http://127.1:8080/v2/auth/callback/acme",
            "http://2130706433:8080/v2/auth/callback/acme",
            "http://[::1]:8080/api-host/v2/auth/callback/acme",
            "http://[::ffff:127.0.0.1]:8080/v2/auth/setup/acme",
            "HTTP://127.0.0.1:8080/x/../host-oauth-callback/acme",
            "http://127.0.0.1:8080/x/%2e%2e/host-oauth-callback/acme",
            "http://localhost.:8080/connect/x",
            "http://127.0.0.1:8080//host-oauth-callback%2Facme",
        ] {
            assert!(leads_here(server, ours), "{ours}");
        }
        for theirs in [
            "http://127.0.0.1:8081/host-oauth-callback/acme",
            "https://127.0.0.1/host-oauth-callback/acme",
            "https://app.example/host-oauth-callback/acme",
            "not a URL",
        ] {
            assert!(!leads_here(server, theirs), "{theirs}");
        }
        for ours in ["https://EXAMPLE.com:443/auth/v2/auth/callback/acme", "https://example.com./"] {
            assert!(leads_here("https://example.com/auth", ours), "{ours}");
        }
        assert!(!leads_here("https://example.com/auth", "https://app.example.com/auth"));
    }
}
