//! A small OAuth 2.0 authorization server with an API, so that the demo needs no account.
//! Owns its routes, its authorization endpoint and its consent page.
//! Must not know: agent-auth, which is a client like any other.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use self::{
    client::SampleProvider,
    memory::{Answer, Approved, ConsentRequest, Terms},
    parameters::Parameters,
    people::{ACCOUNTS, Person, account},
    scopes::meaning,
};
use crate::http::browser::pages::render;

mod api;
mod apps;
pub mod client;
pub mod memory;
mod parameters;
pub mod people;
pub mod scopes;
#[cfg(test)]
mod tests;
mod token;

const BODY_BYTES: usize = 16 * 1024;

impl SampleProvider {
    /// Its routes. Its pages know only relative addresses, so they can be served below any path.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/authorize", get(authorize))
            .route("/decision", post(decision))
            .route("/token", post(token::token))
            .route("/revoke", post(token::revoke))
            .route("/apps", get(apps::get).post(apps::post))
            .route("/me", get(api::me))
            .route("/documents", get(api::documents))
            .route("/documents/{id}", get(api::document))
            .route("/calendar", get(api::calendar))
            .route("/contacts", get(api::contacts))
            .layer(DefaultBodyLimit::max(BODY_BYTES))
            .with_state(self)
    }

    /// What pressing Approve leads to for this person, as the demo does it for the connections that it begins with. `None`:
    /// the authorization request is not right.
    pub fn approve(&self, authorization_url: &SecretString, person: &'static Person, terms: Terms) -> Option<Approval> {
        let url = Url::parse(authorization_url.expose_secret()).ok()?;
        let query = Parameters::parse(url.query()?.as_bytes()).ok()?;
        self.client(query.get("client_id")?)?;
        let request = consent_request(&query).ok()?;
        let (mut memory, now) = (self.memory(), Instant::now());
        let consent = memory.remember(request, now);
        let answer = memory.decide(&consent, Some((person, terms)), now)?;
        let Approved { code, grant } = answer.approved?;
        Some(Approval { code: code.into(), state: answer.state?.into(), grant })
    }

    /// Ends a grant, as a person does who removes an application from their account.
    pub fn withdraw(&self, grant: &str) {
        self.memory().withdraw(grant);
    }
}

/// What a person's browser brings back to the client, and the grant behind it.
pub struct Approval {
    /// The authorization code.
    pub code: SecretString,
    /// The state of the authorization request.
    pub state: SecretString,
    /// The provider's name of the grant.
    pub grant: String,
}

/// `GET /authorize` (RFC 6749, section 4.1.1; RFC 7636, section 4.3).
async fn authorize(State(provider): State<Arc<SampleProvider>>, RawQuery(query): RawQuery) -> Response {
    let Ok(query) = Parameters::parse(query.unwrap_or_default().as_bytes()) else {
        return refusal("This link is not right", "A parameter of the authorization request appears twice.");
    };
    // Without the right client and redirect URI there is no address to send an error to (RFC 6749, section 4.1.2.1).
    let Some(client) = query.get("client_id").and_then(|id| provider.client(id)) else {
        return refusal(
            "This application is unknown",
            "The authorization request names a client that is not registered here.",
        );
    };
    if query.get("redirect_uri") != Some(&client.redirect_uri) {
        return refusal(
            "This return address is unknown",
            "The redirect URI of the authorization request is not the registered one.",
        );
    }
    let state = query.get("state");
    match consent_request(&query) {
        Ok(request) => {
            let scopes = request.scopes.clone();
            // OpenID Connect Core, section 3.1.2.1.
            let hint = query.get("login_hint");
            let chosen = account(|person| hint == Some(person.email));
            let request = provider.memory().remember(request, Instant::now());
            let destination = client.destination();
            // Chromium holds a form's redirects to `form-action` too.
            let form_action = format!("'self' {destination}");
            let page = ConsentPage { client: &client.name, chosen, request, scopes, destination };
            render::html(StatusCode::OK, &page, &form_action)
        }
        Err((error, description)) => client.redirect(state, &[("error", error), ("error_description", description)]),
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
        client_id: query.get("client_id").unwrap_or_default().to_owned(),
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
    let person = account(|person| form.get("account") == Some(person.id));
    let approval = approved.then(|| (person, Terms::default()));
    let answer = provider.memory().decide(form.get("request").unwrap_or_default(), approval, Instant::now());
    let answer = answer.and_then(|answer| Some((provider.client(&answer.client_id)?, answer)));
    match answer {
        Some((client, Answer { state, approved: Some(approved), .. })) => {
            client.redirect(state.as_deref(), &[("code", &approved.code)])
        }
        Some((client, Answer { state, approved: None, .. })) => client.redirect(
            state.as_deref(),
            &[("error", "access_denied"), ("error_description", "Sam Sample denied the request.")],
        ),
        None => refusal(
            "This request has expired",
            "It was not answered in time, or the sample provider has been restarted since.",
        ),
    }
}

#[derive(Template)]
#[template(path = "demo/consent.html")]
struct ConsentPage<'a> {
    client: &'a str,
    chosen: &'static Person,
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
