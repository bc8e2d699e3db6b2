//! The token endpoint: what is brought there for a token (RFC 6749 sections 4.1.3, 4.4.2 and 6, RFC 8628 section 3.4).
//! Owns: client authentication, the request bodies, and what kind of failure an answer is.
//! Must not know: where grants are kept, or who waits for one.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};

use super::{
    quirks::{DEAD_GRANT, MISCONFIGURED_CLIENT},
    token_response::{ErrorResponse, Reading, TokenResponse, read},
};
use crate::{
    model::{
        client::ClientAuthentication,
        options::{ProviderOptions, TokenFormat},
    },
    outbound::client::{Answer, CallError, Outbound},
};

/// The grant type of a device's code.
pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Our client at a token endpoint.
#[derive(Debug)]
pub struct Client<'a> {
    /// The token endpoint.
    pub token_url: &'a str,
    /// The client id.
    pub id: &'a str,
    /// The client secret, unless the client is public.
    pub secret: Option<&'a SecretString>,
    /// How the client authenticates.
    pub authentication: ClientAuthentication,
    /// What else the provider needs.
    pub options: &'a ProviderOptions,
}

/// What is brought to the token endpoint.
pub enum Grant<'a> {
    /// A code a person came back with.
    Code {
        /// The code.
        code: &'a SecretString,
        /// The redirect URI of the authorization request, byte for byte.
        redirect_uri: &'a str,
        /// The PKCE verifier, if a challenge was sent.
        code_verifier: Option<&'a SecretString>,
    },
    /// A refresh token. No scopes are sent: the grant keeps those it has, and a provider that is asked for one it
    /// did not grant refuses the whole refresh.
    Refresh(&'a SecretString),
    /// Nothing but our client itself.
    ClientCredentials {
        /// The scopes, as the parameter says them; none if empty.
        scope: &'a str,
    },
    /// The code of a device whose person may have consented by now.
    Device(&'a SecretString),
}

/// What kind of failure it was, which decides what happens to the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The grant is dead: only a new consent helps.
    DeadGrant,
    /// Our client is wrong: its owner has to act, the grant stays.
    MisconfiguredClient,
    /// The provider refused for another reason of its own.
    Refused,
    /// The provider is down or out of reach: try again later.
    Unavailable,
    /// The provider has had enough of us: stay away for a while.
    RateLimited,
    /// The provider did not answer in time.
    TimedOut,
    /// The answer was no token response.
    Unreadable,
    /// We do not connect to that URL.
    AddressRefused,
}

/// A token request that gave no token. Holds no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}: {}", error_description.as_deref().unwrap_or("no details"))]
pub struct TokenFailure {
    /// Its kind.
    pub kind: FailureKind,
    /// The provider's code, or one of ours: `provider_unavailable`, `provider_timeout`, `provider_response`,
    /// `address_refused`.
    pub error: String,
    /// The provider's explanation, or ours.
    pub error_description: Option<String>,
    /// How long the provider asked us to stay away.
    pub retry_after: Option<Duration>,
}

/// Brings `grant` to the token endpoint.
pub async fn request_token(
    outbound: &Outbound,
    client: &Client<'_>,
    grant: Grant<'_>,
    now: DateTime<Utc>,
) -> Result<TokenResponse, TokenFailure> {
    let refresh_url = client.options.refresh_url.as_deref().filter(|_| matches!(grant, Grant::Refresh(_)));
    let url = refresh_url.unwrap_or(client.token_url);
    let answer = ask(outbound, client, url, grant_fields(client, &grant), now).await?;
    match read(&answer) {
        Reading::Granted(mut response) => {
            // What is renewed without a refresh token is marked as renewable by a copy in its place.
            let renewable = client.options.renewal_grant.is_some() || matches!(grant, Grant::ClientCredentials { .. });
            if renewable && response.refresh_token.is_none() {
                response.refresh_token = Some(response.access_token.clone());
            }
            Ok(*response)
        }
        Reading::Refused(refused) => Err(refusal(refused)),
        Reading::Unreadable => Err(failure(
            FailureKind::Unreadable,
            "provider_response",
            &format!("the provider answered with status {} and no token; check its token_url", answer.status),
        )),
    }
}

/// Asks an endpoint as our client; an answer of a server that is busy or broken counts as a failure.
pub(super) async fn ask(
    outbound: &Outbound,
    client: &Client<'_>,
    url: &str,
    fields: Vec<(&str, &str)>,
    now: DateTime<Utc>,
) -> Result<Answer, TokenFailure> {
    let url = Url::parse(url).map_err(|_| {
        failure(FailureKind::AddressRefused, "address_refused", "the provider's record has no URL to ask at")
    })?;
    let (content_type, body) = body(client, fields);
    let mut request = outbound
        .post(&url)
        .map_err(|error| call_failure(&error))?
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, content_type);
    if let (ClientAuthentication::ClientSecretBasic, Some(secret)) = (client.authentication, client.secret) {
        request = request.header(AUTHORIZATION, basic(client.id, secret));
    }
    let answer = outbound.send(request.body(body), now).await.map_err(|error| call_failure(&error))?;
    // An overloaded server may send an OAuth error along; the status is what counts (a 503 is never a dead grant).
    let busy = match answer.status {
        429 => FailureKind::RateLimited,
        408 | 500.. => FailureKind::Unavailable,
        _ => return Ok(answer),
    };
    let description = format!("the provider answered with status {}; try again later", answer.status);
    Err(TokenFailure { retry_after: answer.retry_after, ..failure(busy, "provider_unavailable", &description) })
}

fn grant_fields<'a>(client: &'a Client<'_>, grant: &'a Grant<'_>) -> Vec<(&'a str, &'a str)> {
    match grant {
        Grant::Code { code, redirect_uri, code_verifier } => {
            let mut fields = vec![
                ("grant_type", "authorization_code"),
                ("code", code.expose_secret()),
                ("redirect_uri", redirect_uri),
            ];
            fields.extend(code_verifier.map(|verifier| ("code_verifier", verifier.expose_secret())));
            fields
        }
        Grant::Refresh(refresh_token) => {
            // Where there are no refresh tokens, the access token was kept in their place.
            let kind = client.options.renewal_grant.as_deref().unwrap_or("refresh_token");
            vec![("grant_type", kind), (kind, refresh_token.expose_secret())]
        }
        Grant::ClientCredentials { scope } => {
            let mut fields = vec![("grant_type", "client_credentials")];
            fields.extend((!scope.is_empty()).then_some(("scope", *scope)));
            fields
        }
        Grant::Device(device_code) => {
            vec![("grant_type", DEVICE_CODE), ("device_code", device_code.expose_secret())]
        }
    }
}

/// The media type and the text of a request with these fields, and with what every one of a client has.
fn body<'a>(client: &'a Client<'_>, mut fields: Vec<(&'a str, &'a str)>) -> (&'static str, String) {
    fields.extend(client.options.resource().map(|resource| ("resource", resource)));
    fields.extend(client_fields(client));
    for (name, value) in &client.options.token_params {
        // A record can add to the protocol, not override it.
        if !fields.iter().any(|(taken, _)| taken == name) {
            fields.push((name, value));
        }
    }
    match client.options.token_format {
        TokenFormat::Form => {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            ("application/x-www-form-urlencoded", form)
        }
        TokenFormat::Json => {
            let object: serde_json::Map<_, _> =
                fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            ("application/json", serde_json::Value::from(object).to_string())
        }
    }
}

/// Client authentication in the body, unless it is in the header.
pub(super) fn client_fields<'a>(client: &'a Client<'_>) -> Vec<(&'a str, &'a str)> {
    match (client.authentication, client.secret) {
        // Servers made with the MCP SDK want to read there who it is, too (RFC 6749 section 3.2.1 allows it).
        (ClientAuthentication::ClientSecretBasic, Some(_)) if client.options.issuer.is_some() => {
            vec![("client_id", client.id)]
        }
        (ClientAuthentication::ClientSecretBasic, Some(_)) => Vec::new(),
        (ClientAuthentication::ClientSecretPost, Some(secret)) => {
            vec![("client_id", client.id), ("client_secret", secret.expose_secret())]
        }
        _ => vec![("client_id", client.id)],
    }
}

/// Id and secret are form-encoded before they become user name and password (RFC 6749 section 2.3.1).
pub(super) fn basic(id: &str, secret: &SecretString) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = STANDARD.encode(format!("{}:{}", encode(id), encode(secret.expose_secret())));
    let mut value =
        HeaderValue::from_str(&format!("Basic {credentials}")).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

pub(super) fn refusal(refused: ErrorResponse) -> TokenFailure {
    let kind = match refused.error.as_str() {
        code if DEAD_GRANT.contains(&code) => FailureKind::DeadGrant,
        code if MISCONFIGURED_CLIENT.contains(&code) => FailureKind::MisconfiguredClient,
        "temporarily_unavailable" | "server_error" => FailureKind::Unavailable,
        "slow_down" | "ratelimited" => FailureKind::RateLimited,
        _ => FailureKind::Refused,
    };
    TokenFailure {
        kind,
        error: printable(&refused.error, 64),
        error_description: refused.error_description.map(|text| printable(&text, 300)),
        retry_after: None,
    }
}

fn call_failure(error: &CallError) -> TokenFailure {
    let (kind, code) = match error {
        CallError::Refused(_) => (FailureKind::AddressRefused, "address_refused"),
        CallError::TimedOut => (FailureKind::TimedOut, "provider_timeout"),
        CallError::TooLarge => (FailureKind::Unreadable, "provider_response"),
        CallError::NotConnected | CallError::Broken => (FailureKind::Unavailable, "provider_unavailable"),
    };
    failure(kind, code, &error.to_string())
}

/// A failure that says nothing of when to try again.
#[must_use]
pub fn failure(kind: FailureKind, error: &str, description: &str) -> TokenFailure {
    TokenFailure { kind, error: error.to_owned(), error_description: Some(description.to_owned()), retry_after: None }
}

/// What others wrote, cut and without control characters: it goes into pages, logs and answers.
#[must_use]
pub fn printable(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}
