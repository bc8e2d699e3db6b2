//! Our own client at an authorization server nobody registered us at (RFC 7591, client id metadata documents).
//! Owns: what we say of ourselves, the registration request, and the reading of its response.
//! Must not know: where the client is kept.

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use super::{metadata::ServerMetadata, token::DEVICE_CODE, token_response::is_visible};
use crate::{
    model::client::ClientAuthentication,
    outbound::client::{CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// What people read on a consent page.
const CLIENT_NAME: &str = "agent-auth";
/// Some servers put everything about a client into its id or secret, and sign it.
const CLIENT_ID_MAX: usize = 2048;
const CLIENT_SECRET_MAX: usize = 8192;
/// Seconds since 1970 beyond this are a mistake.
const YEAR_9999: i64 = 253_402_300_799;

/// A client that was registered.
pub struct Registered {
    /// Its id.
    pub client_id: String,
    /// Its secret, unless it is public.
    pub client_secret: Option<SecretString>,
    /// How it authenticates.
    pub authentication: ClientAuthentication,
    /// When the secret stops working.
    pub secret_expires_at: Option<DateTime<Utc>>,
}

/// Why there is no client. Holds nothing of the response but an error code of RFC 7591.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistrationError {
    /// There was no response.
    #[error("the registration endpoint: {0}")]
    Call(#[from] CallError),
    /// The server said no.
    #[error("the authorization server refused to register a client: {0}")]
    Refused(&'static str),
    /// The response was no registration.
    #[error("the registration endpoint's response is not a registration: {0}")]
    Unreadable(&'static str),
}

#[derive(Deserialize)]
struct Answered {
    client_id: String,
    client_secret: Option<String>,
    client_secret_expires_at: Option<Value>,
    token_endpoint_auth_method: Option<String>,
    redirect_uris: Option<Vec<String>>,
}

/// The way of authenticating that both sides know: of those the server lists, the secret in the body before HTTP Basic
/// (servers made with the MCP SDK look for the client in the body) before none; a server that lists nothing knows HTTP
/// Basic (RFC 8414 section 2).
#[must_use]
pub fn authentication(server: &ServerMetadata) -> ClientAuthentication {
    let Some(listed) = &server.token_endpoint_auth_methods_supported else {
        return ClientAuthentication::ClientSecretBasic;
    };
    [ClientAuthentication::ClientSecretPost, ClientAuthentication::ClientSecretBasic]
        .into_iter()
        .find(|method| listed.iter().any(|name| name == method.as_str()))
        .unwrap_or(ClientAuthentication::None)
}

/// What a client is registered for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// Where people come back to.
    pub redirect_uri: &'a str,
    /// Everything it may ask for; empty if the server names no scopes.
    pub scopes: &'a [String],
    /// Whether people consent on other devices, too (RFC 8628).
    pub on_devices: bool,
}

/// What we say of ourselves. `redirect_uri` is where people come back to.
#[must_use]
pub fn client_metadata(redirect_uri: &str, authentication: ClientAuthentication) -> Value {
    // A client on the machine itself is a native one to those who tell them apart (OpenID Connect Registration section 2).
    let is_loopback = Url::parse(redirect_uri).is_ok_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    });
    json!({
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": authentication.as_str(),
        "application_type": if is_loopback { "native" } else { "web" },
    })
}

/// Registers a client at `endpoint`.
pub async fn register(
    outbound: &Outbound,
    endpoint: &str,
    purpose: Purpose<'_>,
    asked: ClientAuthentication,
    now: DateTime<Utc>,
) -> Result<Registered, RegistrationError> {
    let endpoint = Url::parse(endpoint).map_err(|_| RegistrationError::Unreadable("its endpoint is not a URL"))?;
    let Purpose { redirect_uri, scopes, on_devices } = purpose;
    let mut metadata = client_metadata(redirect_uri, asked);
    if !scopes.is_empty() {
        metadata["scope"] = scopes.join(" ").into();
    }
    if on_devices {
        metadata["grant_types"] = json!(["authorization_code", "refresh_token", DEVICE_CODE]);
    }
    let request = outbound
        .post(&endpoint)?
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .body(metadata.to_string());
    let answer = outbound.send(Endpoint::Registration, request, now).await?;
    if !matches!(answer.status, 200 | 201) {
        return Err(RegistrationError::Refused(refusal(&answer.body)));
    }
    let answered: Answered =
        serde_json::from_slice(&answer.body).map_err(|_| RegistrationError::Unreadable("it names no client"))?;
    if !(1..=CLIENT_ID_MAX).contains(&answered.client_id.len()) || !is_visible(&answered.client_id) {
        return Err(RegistrationError::Unreadable("its client_id is missing or invalid"));
    }
    // What the response says counts, not what was asked for (RFC 7591 section 3.2.1).
    if answered.redirect_uris.is_some_and(|uris| !uris.iter().any(|uri| uri == redirect_uri)) {
        return Err(RegistrationError::Unreadable("it left our redirect URI out"));
    }
    let secret = answered.client_secret.filter(|secret| !secret.is_empty());
    if secret.as_ref().is_some_and(|secret| secret.len() > CLIENT_SECRET_MAX || !is_visible(secret)) {
        return Err(RegistrationError::Unreadable("its client_secret is invalid"));
    }
    let named = answered.token_endpoint_auth_method.as_deref();
    let authentication = match named {
        _ if secret.is_none() => ClientAuthentication::None,
        Some("client_secret_basic") => ClientAuthentication::ClientSecretBasic,
        Some("client_secret_post") => ClientAuthentication::ClientSecretPost,
        Some("none") => ClientAuthentication::None,
        Some(_) => return Err(RegistrationError::Unreadable("it wants a client authentication that we do not know")),
        None => asked,
    };
    Ok(Registered {
        client_id: answered.client_id,
        client_secret: secret.map(SecretString::from),
        authentication,
        secret_expires_at: answered.client_secret_expires_at.as_ref().and_then(expiry),
    })
}

/// Zero means never.
fn expiry(value: &Value) -> Option<DateTime<Utc>> {
    let seconds = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    DateTime::from_timestamp(seconds, 0).filter(|_| (1..=YEAR_9999).contains(&seconds))
}

/// The error codes of RFC 7591 section 3.2.2; nothing else of the response is passed on.
fn refusal(body: &[u8]) -> &'static str {
    const CODES: [&str; 5] = [
        "invalid_redirect_uri",
        "invalid_client_metadata",
        "invalid_software_statement",
        "unapproved_software_statement",
        "access_denied",
    ];
    let error = serde_json::from_slice::<Value>(body).ok();
    let code = error.as_ref().and_then(|error| error.get("error")?.as_str());
    CODES.into_iter().find(|known| Some(*known) == code).unwrap_or("without a reason that we know")
}
