//! The endpoints that the client calls itself: token (RFC 6749, section 3.2) and revocation (RFC 7009).
//! Owns client authentication and the error codes of both.
//! Must not know pages, or how grants are remembered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use super::{
    client::{Client, SampleProvider},
    memory::{Issued, Refused},
    parameters::{self, Parameters},
};

/// When a refresh that was put off may be tried again.
const TRY_AGAIN: Duration = Duration::from_mins(10);

/// `POST /token` (RFC 6749, sections 4.1.3 and 6).
pub(super) async fn token(State(provider): State<Arc<SampleProvider>>, headers: HeaderMap, body: Bytes) -> Response {
    match answer_token(&provider, &headers, &body) {
        Ok(issued) => {
            let mut token = json!({
                "access_token": issued.access_token,
                "token_type": "Bearer",
                "expires_in": issued.expires_in.as_secs(),
                "scope": issued.scopes.join(" "),
            });
            if let Some(refresh_token) = issued.refresh_token {
                token["refresh_token"] = refresh_token.into();
            }
            ([(CACHE_CONTROL, "no-store")], Json(token)).into_response()
        }
        Err(fault) => fault.into_response(),
    }
}

fn answer_token(provider: &SampleProvider, headers: &HeaderMap, body: &[u8]) -> Result<Issued, Fault> {
    let (client, form) = authenticated_form(provider, headers, body)?;
    let required = |name| form.get(name).ok_or(Fault::new("invalid_request", "A required parameter is missing."));
    let now = Instant::now();
    let issued = match required("grant_type")? {
        "authorization_code" => {
            if required("redirect_uri")? != client.redirect_uri {
                return Err(Fault::new("invalid_grant", "redirect_uri is not the one of the authorization request."));
            }
            provider.memory().exchange(&client.id, required("code")?, required("code_verifier")?, now)
        }
        "refresh_token" => {
            let malformed = Fault::new("invalid_scope", "scope is malformed.");
            let scopes = form.get("scope").map(|scope| parameters::scopes(scope).ok_or(malformed)).transpose()?;
            provider.memory().refresh(&client.id, required("refresh_token")?, scopes, now)
        }
        _ => {
            return Err(Fault::new("unsupported_grant_type", "Only authorization_code and refresh_token are offered."));
        }
    };
    issued.map_err(|refused| match refused {
        Refused::Grant(description) => Fault::new("invalid_grant", description),
        Refused::Scope => Fault::new("invalid_scope", "scope goes beyond what was granted."),
        Refused::TooMany => Fault::new("temporarily_unavailable", "Too many requests. Try again later."),
    })
}

/// `POST /revoke` (RFC 7009): 200 for unknown tokens too.
pub(super) async fn revoke(State(provider): State<Arc<SampleProvider>>, headers: HeaderMap, body: Bytes) -> Response {
    let revoked = authenticated_form(&provider, &headers, &body).and_then(|(client, form)| {
        let token = form.get("token").ok_or(Fault::new("invalid_request", "token is missing."))?;
        provider.memory().revoke(&client.id, token);
        Ok(())
    });
    revoked.map_or_else(IntoResponse::into_response, |()| StatusCode::OK.into_response())
}

/// The form of a request, and the client that proved to have sent it, by `client_secret_basic` or `client_secret_post`.
fn authenticated_form(
    provider: &SampleProvider,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Arc<Client>, Parameters), Fault> {
    let form = Parameters::parse(body).map_err(|_| Fault::new("invalid_request", "A parameter appears twice."))?;
    let proven = |id: &str, secret: &str| provider.client(id).filter(|client| client.has_secret(secret));
    let client = match (headers.contains_key(AUTHORIZATION), form.get("client_secret")) {
        (true, Some(_)) => {
            return Err(Fault::new("invalid_request", "The client authenticates in two ways at once."));
        }
        (true, None) => basic(headers).and_then(|(id, secret)| proven(&id, &secret)),
        (false, Some(secret)) => form.get("client_id").and_then(|id| proven(id, secret)),
        (false, None) => None,
    };
    let client = client.ok_or(Fault::new("invalid_client", "The client is unknown or its secret is wrong."))?;
    Ok((client, form))
}

/// Client id and secret, each form-encoded before Basic (RFC 6749, section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(credentials(headers, "Basic")?).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((parameters::decoded(id), parameters::decoded(secret)))
}

/// What follows the authentication scheme; its name is case-insensitive (RFC 9110, section 11.1).
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (found, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

/// An error of the token or revocation endpoint (RFC 6749, section 5.2).
struct Fault {
    error: &'static str,
    description: &'static str,
}

impl Fault {
    fn new(error: &'static str, description: &'static str) -> Self {
        Self { error, description }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.error, "error_description": self.description }));
        let mut response = ([(CACHE_CONTROL, "no-store")], body).into_response();
        *response.status_mut() = StatusCode::BAD_REQUEST;
        if self.error == "temporarily_unavailable" {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(TRY_AGAIN.as_secs()));
        }
        if self.error == "invalid_client" {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sample provider\""));
        }
        response
    }
}
