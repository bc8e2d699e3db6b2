//! What holds for a provider's addresses: where people come back to.
//! Owns: our callback addresses and the choice of a redirect URI.
//! Must not know: what else a provider's record holds.

use super::BrokerError;
use crate::{app::App, store::providers::Provider};

/// Our own callback address for a provider, built from the public URL alone.
#[must_use]
pub fn callback_address(public_url: &str, provider_id: &str) -> String {
    format!("{public_url}/host-oauth-callback/{provider_id}")
}

/// The redirect URI of an authorization request: ours, or the asked one if the provider's record allows it.
///
/// # Errors
/// [`BrokerError::Invalid`] when it is not allowed.
pub fn redirect_uri(app: &App, provider: &Provider, asked: Option<&str>) -> Result<String, BrokerError> {
    let ours = callback_address(&app.public_url, &provider.provider_id);
    let Some(asked) = asked else { return Ok(ours) };
    let also_ours = ["/v2/auth/callback/", "/api-host/v2/auth/callback/"]
        .map(|path| format!("{}{path}{}", app.public_url, provider.provider_id));
    // Compared byte by byte (RFC 9700 section 2.1).
    if asked == ours
        || also_ours.iter().any(|address| address == asked)
        || provider.allowed_redirect_uris.iter().any(|address| address == asked)
    {
        return Ok(asked.to_owned());
    }
    Err(BrokerError::Invalid {
        field: "redirect_uri",
        problem: "must be one of the provider's allowed_redirect_uris or the server's own callback address".into(),
    })
}
