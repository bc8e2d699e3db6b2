//! A small OAuth 2.0 authorization server with one sample person, so that the demo needs no account.
//! Owns its wire: authorization, token and revocation endpoints, its consent page and its profile.
//! Must not know: agent-auth, which is a client like any other.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::json;

use self::{
    client::SampleProvider,
    memory::{Answer, ConsentRequest},
    parameters::Parameters,
};
use crate::http::browser::pages::render;

pub mod client;
mod memory;
mod parameters;
#[cfg(test)]
mod tests;
mod token;

const PERSON_NAME: &str = "Sam Sample";
const PERSON_EMAIL: &str = "sam@example.com";
const BODY_BYTES: usize = 16 * 1024;

impl SampleProvider {
    /// Its routes, to be served at the root of its own address.
    pub fn router(self) -> Router {
        Router::new()
            .route("/authorize", get(authorize))
            .route("/decision", post(decision))
            .route("/token", post(token::token))
            .route("/revoke", post(token::revoke))
            .route("/me", get(me))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .with_state(Arc::new(self))
    }
}

/// `GET /authorize` (RFC 6749, section 4.1.1; RFC 7636, section 4.3).
async fn authorize(State(provider): State<Arc<SampleProvider>>, RawQuery(query): RawQuery) -> Response {
    let Ok(query) = Parameters::parse(query.unwrap_or_default().as_bytes()) else {
        return refusal("This link is not right", "A parameter of the authorization request appears twice.");
    };
    // Without the right client and redirect URI there is no address to send an error to (RFC 6749, section 4.1.2.1).
    if query.get("client_id") != Some(&provider.client_id) {
        return refusal(
            "This application is unknown",
            "The authorization request names a client that is not registered here.",
        );
    }
    if query.get("redirect_uri") != Some(&provider.redirect_uri) {
        return refusal(
            "This return address is unknown",
            "The redirect URI of the authorization request is not the registered one.",
        );
    }
    let state = query.get("state");
    match consent_request(&query) {
        Ok(request) => {
            let scopes = request.scopes.clone();
            let request = provider.memory().remember(request, Instant::now());
            let destination = provider.destination();
            // Chromium holds a form's redirects to `form-action` too.
            let form_action = format!("'self' {destination}");
            render::html(StatusCode::OK, &ConsentPage { request, scopes, destination }, &form_action)
        }
        Err((error, description)) => provider.redirect(state, &[("error", error), ("error_description", description)]),
    }
}

fn consent_request(query: &Parameters) -> Result<ConsentRequest, (&'static str, &'static str)> {
    match query.get("response_type") {
        Some("code") => {}
        Some(_) => {
            return Err(("unsupported_response_type", "Only response_type=code is offered."));
        }
        None => return Err(("invalid_request", "response_type is missing.")),
    }
    let code_challenge = query.get("code_challenge").ok_or(("invalid_request", "code_challenge is missing."))?;
    // Missing would mean "plain" (RFC 7636, section 4.3).
    if query.get("code_challenge_method") != Some("S256") {
        return Err(("invalid_request", "code_challenge_method must be S256."));
    }
    if BASE64_URL_SAFE_NO_PAD.decode(code_challenge).map(|digest| digest.len()) != Ok(32) {
        return Err(("invalid_request", "code_challenge is not a base64url SHA-256 digest."));
    }
    let scopes =
        parameters::scopes(query.get("scope").unwrap_or("profile")).ok_or(("invalid_scope", "scope is malformed."))?;
    Ok(ConsentRequest {
        state: query.get("state").map(str::to_owned),
        code_challenge: code_challenge.to_owned(),
        scopes,
    })
}

/// `POST /decision`: the decision on the consent page.
async fn decision(State(provider): State<Arc<SampleProvider>>, body: Bytes) -> Response {
    let form = Parameters::parse(&body).unwrap_or_default();
    let approved = match form.get("decision") {
        Some("approve") => true,
        Some("deny") => false,
        _ => {
            return refusal("This answer is incomplete", "It says neither Approve nor Deny.");
        }
    };
    let answer = provider.memory().decide(form.get("request").unwrap_or_default(), approved, Instant::now());
    match answer {
        Some(Answer { state, code: Some(code) }) => provider.redirect(state.as_deref(), &[("code", &code)]),
        Some(Answer { state, code: None }) => provider.redirect(
            state.as_deref(),
            &[("error", "access_denied"), ("error_description", "Sam Sample denied the request.")],
        ),
        None => refusal(
            "This request has expired",
            "It was not answered in time, or the sample provider has been restarted since.",
        ),
    }
}

/// `GET /me`: the sample person's profile, to try an access token on (RFC 6750).
async fn me(State(provider): State<Arc<SampleProvider>>, headers: HeaderMap) -> Response {
    let Some(token) = token::credentials(&headers, "Bearer") else {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    };
    let memory = provider.memory();
    let Some((scopes, left)) = memory.introspect(token, Instant::now()) else {
        let challenge =
            "Bearer error=\"invalid_token\", error_description=\"The access token is unknown, expired or revoked.\"";
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response();
    };
    let profile = json!({
        "sub": "sam-sample",
        "name": PERSON_NAME,
        "email": PERSON_EMAIL,
        "scope": scopes.join(" "),
        "access_token_expires_in": left.as_secs(),
    });
    ([(CACHE_CONTROL, "no-store")], Json(profile)).into_response()
}

#[derive(Template)]
#[template(path = "demo/consent.html")]
struct ConsentPage {
    request: String,
    scopes: Vec<String>,
    destination: String,
}

#[derive(Template)]
#[template(path = "demo/refusal.html")]
struct RefusalPage {
    title: &'static str,
    fault: &'static str,
}

fn refusal(title: &'static str, fault: &'static str) -> Response {
    render::html(StatusCode::BAD_REQUEST, &RefusalPage { title, fault }, "'none'")
}

/// What a scope permits, in plain words.
fn scope_in_words(scope: &str) -> &'static str {
    match scope {
        "profile" => "See your name",
        "email" => "See your email address",
        "offline_access" => "Stay connected when you are offline",
        _ => "Use",
    }
}
