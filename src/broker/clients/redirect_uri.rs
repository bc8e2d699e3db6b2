//! Redirect URIs: where people come back to.
//! Owns: our callback addresses, and which redirect URI an authorization request has.
//! Must not know: what comes back.

use crate::{
    broker::{context::Broker, error::BrokerError},
    model::provider::Provider,
};

/// Our own callback address for a provider, built from the public URL alone.
#[must_use]
pub fn callback_address(public_url: &str, provider_id: &str) -> String {
    format!("{public_url}/host-oauth-callback/{provider_id}")
}

/// The redirect URI of an authorization request: ours, or the requested one if the provider's record allows it.
///
/// # Errors
/// [`BrokerError::Invalid`] when it is not allowed.
pub fn redirect_uri(broker: &Broker, provider: &Provider, requested: Option<&str>) -> Result<String, BrokerError> {
    let ours = callback_address(&broker.public_url, &provider.provider_id);
    let Some(requested) = requested else { return Ok(ours) };
    let also_ours = ["/v2/auth/callback/", "/api-host/v2/auth/callback/"]
        .map(|path| format!("{}{path}{}", broker.public_url, provider.provider_id));
    // Compared byte by byte (RFC 9700 section 2.1).
    if requested == ours
        || also_ours.iter().any(|address| address == requested)
        || provider.allowed_redirect_uris.iter().any(|address| address == requested)
    {
        return Ok(requested.to_owned());
    }
    Err(BrokerError::Invalid {
        field: "redirect_uri",
        problem: "must be one of the provider's allowed_redirect_uris or the server's own callback address".into(),
    })
}
