//! Redirect URIs: where people come back to.
//! Owns: our callback addresses, and which redirect URI an authorization request has.
//! Must not know: what comes back.
//!
//! No two providers have the same callback address. Otherwise one workspace could copy the endpoint and the client id of
//! another one's provider, with a token endpoint of its own, and get the codes of people who consent there.

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

/// Whether a browser that comes back with a code comes to this server, and not to an application.
#[must_use]
pub fn leads_here(broker: &Broker, redirect_uri: &str) -> bool {
    let paths = ["/host-oauth-callback/", "/v2/auth/callback/", "/api-host/v2/auth/callback/"];
    let path = redirect_uri.strip_prefix(&*broker.public_url);
    path.is_some_and(|path| paths.iter().any(|ours| path.starts_with(ours)))
}
