//! The token endpoint: what is brought there for a token (RFC 6749 sections 4.1.3, 4.4.2 and 6, RFC 8628 section 3.4).
//! Owns: client authentication, the request bodies, and what kind of failure a response is.
//! Must not know: where grants are kept, or who waits for one.

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};

use super::{
    client_authentication::Authentication,
    redaction::Redaction,
    token_response::{ErrorResponse, Reading, TokenResponse, read},
};
use crate::{
    model::{
        client::Client,
        failure::{FailureKind, TokenFailure},
        options::TokenFormat,
        quirks::{ErrorCodes, Quirks},
    },
    outbound::client::{Answer, CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// The grant type of a device's code.
pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Fields of a request that are no secrets.
const PUBLIC_FIELDS: [&str; 5] = ["grant_type", "redirect_uri", "scope", "client_id", "resource"];

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
        /// The requested scopes.
        scopes: &'a [String],
    },
    /// The code of a device whose person may have consented by now.
    Device(&'a SecretString),
}

/// Brings `grant` to the token endpoint.
pub async fn request_token(
    outbound: &Outbound,
    client: &Client,
    quirks: &Quirks,
    grant: Grant<'_>,
    now: DateTime<Utc>,
) -> Result<TokenResponse, TokenFailure> {
    let refresh_url = client.options.refresh_url.as_deref().filter(|_| matches!(grant, Grant::Refresh(_)));
    let url = refresh_url.unwrap_or(&client.token_url);
    let scope = match &grant {
        // Without the scopes that are always added: those are for consents.
        Grant::ClientCredentials { scopes } => scopes.join(client.options.scope_separator.as_deref().unwrap_or(" ")),
        _ => String::new(),
    };
    let fields = grant_fields(client, &grant, &scope);
    let (answer, redaction) = ask(outbound, Endpoint::Token, client, url, fields, now).await?;
    match read(&answer, quirks, now) {
        Reading::Granted(mut response) => {
            response.redact(redaction);
            // What is renewed without a refresh token is marked as renewable by a copy in its place.
            let renewable = client.options.renewal_grant.is_some() || matches!(grant, Grant::ClientCredentials { .. });
            if renewable && response.refresh_token.is_none() {
                response.refresh_token = Some(response.access_token.clone());
            }
            Ok(*response)
        }
        Reading::Refused(refused) => {
            let is_dead = matches!(grant, Grant::Refresh(_)) && says_dead_grant(&answer, &refused, &quirks.errors);
            let mut failure = refusal(&refused, &quirks.errors, &redaction);
            if is_dead && failure.kind == FailureKind::Refused {
                failure.kind = FailureKind::DeadGrant;
            }
            Err(failure)
        }
        Reading::Malformed(problem) => {
            let problem = format!("the provider's token response is not valid: {problem}");
            Err(TokenFailure::new(FailureKind::Unreadable, "provider_response", &problem))
        }
        Reading::Unreadable => Err(TokenFailure::new(
            FailureKind::Unreadable,
            "provider_response",
            &format!("the provider responded with status {} and no token; check its token_url", answer.status),
        )),
    }
}

/// Asks an endpoint as our client; a response of a server that is busy or broken counts as a failure. The response may
/// repeat what was sent, so what is to be taken out of it comes along.
pub(super) async fn ask(
    outbound: &Outbound,
    endpoint: Endpoint,
    client: &Client,
    url: &str,
    fields: Vec<(&str, &str)>,
    now: DateTime<Utc>,
) -> Result<(Answer, Redaction), TokenFailure> {
    let (answer, redaction) = send(outbound, endpoint, client, url, fields, now).await?;
    // An overloaded server may send an OAuth error along; the status is what counts (a 503 is never a dead grant).
    let busy = match answer.status {
        429 => FailureKind::RateLimited,
        408 | 500.. => FailureKind::Unavailable,
        _ => return Ok((answer, redaction)),
    };
    let description = format!("the provider responded with status {}; try again later", answer.status);
    Err(TokenFailure {
        retry_after: answer.retry_after,
        ..TokenFailure::new(busy, "provider_unavailable", &description)
    })
}

/// The same, whatever the status of the response is.
pub(super) async fn send(
    outbound: &Outbound,
    endpoint: Endpoint,
    client: &Client,
    url: &str,
    fields: Vec<(&str, &str)>,
    now: DateTime<Utc>,
) -> Result<(Answer, Redaction), TokenFailure> {
    let mut url = Url::parse(url).map_err(|_| {
        TokenFailure::new(FailureKind::AddressRefused, "address_refused", "the provider's record has no URL to ask at")
    })?;
    let mut redaction = Redaction::of_client(client);
    let secret_fields = fields.iter().filter(|(name, _)| !PUBLIC_FIELDS.contains(name));
    secret_fields.for_each(|(_, value)| redaction.add(value));
    let (content_type, body) = encoded(client, fields, &mut url);
    let request = outbound
        .post(&url)
        .map_err(|error| call_failure(&error))?
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, content_type);
    let request = Authentication::of(client).apply(request);
    let answer = outbound.send(endpoint, request.body(body), now).await.map_err(|error| call_failure(&error))?;
    Ok((answer, redaction))
}

fn grant_fields<'a>(client: &'a Client, grant: &'a Grant<'_>, scope: &'a str) -> Vec<(&'a str, &'a str)> {
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
        Grant::ClientCredentials { .. } => {
            let mut fields = vec![("grant_type", "client_credentials")];
            fields.extend((!scope.is_empty()).then_some(("scope", scope)));
            fields
        }
        Grant::Device(device_code) => {
            vec![("grant_type", DEVICE_CODE), ("device_code", device_code.expose_secret())]
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// The media type and the text of a request with these fields, and with what every one of a client has. What its server reads
/// from the query is added to the URL.
fn encoded<'a>(client: &'a Client, mut fields: Vec<(&'a str, &'a str)>, url: &mut Url) -> (&'static str, String) {
    fields.extend(client.options.resource().map(|resource| ("resource", resource)));
    fields.extend(Authentication::of(client).fields());
    for (name, value) in &client.options.token_params {
        // A record can add to the protocol, not override it.
        if !fields.iter().any(|(taken, _)| taken == name) {
            fields.push((name, value));
        }
    }
    match client.options.token_format {
        TokenFormat::Form => (FORM, form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()),
        TokenFormat::Query => {
            url.query_pairs_mut().extend_pairs(fields);
            (FORM, String::new())
        }
        TokenFormat::Json => {
            let object: serde_json::Map<_, _> =
                fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            ("application/json", serde_json::Value::from(object).to_string())
        }
    }
}

/// What a refusal means: by the codes of RFC 6749 (sections 4.1.2.1 and 5.2), RFC 8628 and `OpenID` Connect, and by those
/// of the provider.
pub(super) fn refusal(refused: &ErrorResponse, codes: &ErrorCodes, redaction: &Redaction) -> TokenFailure {
    let code = refused.error.as_str();
    let among = |codes: &[String]| codes.iter().any(|known| known == code);
    let kind = match code {
        "invalid_grant" | "interaction_required" | "consent_required" | "login_required" => FailureKind::DeadGrant,
        _ if among(&codes.dead_grant) => FailureKind::DeadGrant,
        "invalid_client" | "unauthorized_client" | "unsupported_grant_type" => FailureKind::MisconfiguredClient,
        _ if among(&codes.misconfigured_client) => FailureKind::MisconfiguredClient,
        "temporarily_unavailable" | "server_error" => FailureKind::Unavailable,
        "slow_down" => FailureKind::RateLimited,
        _ if among(&codes.rate_limited) => FailureKind::RateLimited,
        _ => FailureKind::Refused,
    };
    TokenFailure {
        kind,
        error: redaction.printable(&refused.error, 64),
        error_description: refused.error_description.as_ref().map(|text| redaction.printable(text, 300)),
        retry_after: None,
    }
}

/// Whether the refusal of a refresh says in plain words that the refresh token is dead, under a code that does not: a
/// whole sentence of the error is one of the catalogue's.
fn says_dead_grant(answer: &Answer, refused: &ErrorResponse, codes: &ErrorCodes) -> bool {
    let texts = [Some(&refused.error), refused.error_description.as_ref()];
    let mut sentences = texts.into_iter().flatten().flat_map(|text| text.split(['.', ';', ':', '!', '(', '\n']));
    matches!(answer.status, 400 | 401)
        && sentences.any(|sentence| {
            let sentence = words(sentence);
            codes.dead_grant_texts.iter().any(|text| words(text) == sentence)
        })
}

/// The words of a sentence, without those that change nothing about what it says of a refresh token.
fn words(sentence: &str) -> Vec<String> {
    const IDLE: [&str; 12] =
        ["a", "an", "been", "given", "has", "is", "or", "provided", "supplied", "the", "was", "your"];
    let words = sentence.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    words.filter(|word| !word.is_empty() && !IDLE.contains(&word.as_str())).collect()
}

fn call_failure(error: &CallError) -> TokenFailure {
    let (kind, code) = match error {
        CallError::Refused(_) => (FailureKind::AddressRefused, "address_refused"),
        CallError::TimedOut => (FailureKind::TimedOut, "provider_timeout"),
        CallError::TooLarge => (FailureKind::Unreadable, "provider_response"),
        CallError::NotConnected | CallError::Untrusted | CallError::Broken => {
            (FailureKind::Unavailable, "provider_unavailable")
        }
    };
    TokenFailure::new(kind, code, &error.to_string())
}
