//! What a provider's record means for us: where people come back to, and who we are there.
//! Owns: our callback addresses, the choice of a redirect URI, and our client of the record.
//! Must not know: what else a provider's record holds.

use crate::{app::App, broker::BrokerError, oauth::token::Client, store::providers::Provider};

/// Our own callback address for a provider, built from the public URL alone.
#[must_use]
pub fn callback_address(public_url: &str, provider_id: &str) -> String {
    format!("{public_url}/host-oauth-callback/{provider_id}")
}

/// Our client at a provider's token endpoint, as the provider's record has it today.
#[must_use]
pub fn token_client(provider: &Provider) -> Client<'_> {
    Client {
        token_url: &provider.token_url,
        id: &provider.client_id,
        secret: provider.client_secret.as_ref(),
        authentication: provider.token_endpoint_auth_method,
        options: &provider.options,
    }
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
