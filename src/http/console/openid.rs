//! `/console/sign-in/openid`: to the identity provider and back.
//! Owns: the cookie that binds a sign-in to its browser, and what a person reads when it comes to nothing.
//! Must not know: how a code or an ID token is verified, or which group has which role.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, Request, State},
    http::{header, request::Parts},
    response::Response,
};
use secrecy::SecretString;
use url::form_urlencoded;

use super::{
    failure::{Failure, not_found},
    session::end_earlier,
    sign_in::{after_openid, with_cookie},
};
use crate::{
    broker::{error::BrokerError, refusals::FailedSignIn},
    http::{
        act::through,
        app::App,
        browser::{
            callback::{is_visit, no_visit, redirect},
            cookie::{SIGN_IN, cookie_of, new_value, set_cookie_of},
            start::base,
        },
        denial::{Denied, Outside},
        error::ApiError,
    },
    identity::{
        Caller,
        console::{LIFETIME_SECONDS, sign_in_person},
        openid::{ATTEMPT_SECONDS, Identified, OpenId, OpenIdError, attempt_of},
    },
    model::{
        actor::{Act, ActorKind},
        api_key::Role,
        failure::FailureKind,
    },
};

const UNAVAILABLE: &str = "The identity provider cannot be used at the moment. Try again later; those who run this server find \
                           the reason in its log.";
const OTHER_BROWSER: &str = "This sign-in was not begun in this browser, or it took longer than ten minutes, or it was finished \
                             already. Sign in again.";
const NOT_PROVEN: &str = "The identity provider's response does not prove who you are. Sign in again; those who run this server \
                          find the reason in its log.";
const TOO_MANY: &str = "There were too many sign-ins from this address. Try again in a minute.";

/// The parameters of an authorization response (RFC 6749 section 4.1.2, RFC 9207).
#[derive(Default)]
struct AuthorizationResponse {
    code: Option<SecretString>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

impl AuthorizationResponse {
    fn read(query: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "code" => drop(read.code.get_or_insert_with(|| SecretString::from(value))),
                "state" => drop(read.state.get_or_insert(value)),
                "error" => drop(read.error.get_or_insert(value)),
                "iss" => drop(read.iss.get_or_insert(value)),
                _ => {}
            }
        }
        read
    }
}

/// Sends the browser to the identity provider. The page links here: a form would be held to `form-action` at each redirect that
/// the provider makes after ours.
pub async fn begin(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let Some(openid) = &app.openid else { return Err(not_found().await) };
    let (parts, _) = request.into_parts();
    if !is_visit(&parts.method, &parts.headers) {
        return Ok(no_visit());
    }
    // What another site links to begins nothing: the person sees the page first.
    let site = parts.headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    if site.is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return Ok(redirect(format!("{}/console/sign-in", base(&app))));
    }
    let cookie = new_value();
    match openid.begin(&cookie, &redirect_uri(&app), app.broker.clock.now()).await {
        Ok(url) => Ok(with_sign_in_cookie(redirect(url.into()), &app, &cookie, ATTEMPT_SECONDS)),
        Err(error) => Ok(unavailable(&app, &parts, &error)),
    }
}

/// Signs the person in who comes back.
pub async fn callback(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Failure> {
    let Some(openid) = &app.openid else { return Err(not_found().await) };
    let (parts, _) = request.into_parts();
    if !is_visit(&parts.method, &parts.headers) {
        return Ok(no_visit());
    }
    let response = AuthorizationResponse::read(query.as_deref().unwrap_or_default());
    let (cookie, now) = (cookie_of(&SIGN_IN, &parts.headers, &app.broker.public_url), app.broker.clock.now());
    let attempt = cookie.zip(response.state.as_deref()).and_then(|(cookie, state)| attempt_of(&cookie, state, now));
    // Anybody can begin a sign-in and bring made-up codes, each of which would be a request to the provider. So each
    // response counts, before anything is sent.
    if let Err(error) = app.limits.count_failed_key(&parts.extensions, &parts.headers) {
        return Ok(after_openid(&app, &parts, error, TOO_MANY));
    }
    let Some(attempt) = attempt else {
        note(&app, &parts, "other_browser");
        return Ok(after_openid(&app, &parts, ApiError::InvalidState(OTHER_BROWSER.into()), OTHER_BROWSER));
    };
    let identified = match (&response.error, &response.code) {
        (None, Some(code)) => openid.complete(&attempt, &redirect_uri(&app), code, response.iss.as_deref(), now).await,
        (error, _) => {
            note(&app, &parts, "refused_by_provider");
            let problem = refused_by_provider(error.as_deref());
            let page = after_openid(&app, &parts, ApiError::BadRequest(problem.clone()), &problem);
            return Ok(without_sign_in_cookie(page, &app));
        }
    };
    let response = match identified {
        Ok(identified) => signed_in(&app, openid, &parts, &identified).await?,
        Err(error) => failed(&app, &parts, &error),
    };
    Ok(without_sign_in_cookie(response, &app))
}

/// Begins the session of a person with a role.
async fn signed_in(app: &App, openid: &OpenId, parts: &Parts, identified: &Identified) -> Result<Response, Failure> {
    let person = &identified.person;
    let Some(role) = openid.role_of(person) else {
        // The names of the groups are nobody's business here.
        let groups = identified.groups;
        tracing::warn!(
            event = "console.no_group",
            groups,
            "somebody came back from the identity provider without a group"
        );
        let caller = Caller::of_person(person, Role::Viewer);
        let caller = Caller { act: through(parts, app, caller.act.clone()), ..caller };
        let denied = Denied::new(&caller, Outside::Groups);
        let detail = denied.detail;
        return Ok(after_openid(app, parts, ApiError::Denied(Box::new(denied)), detail));
    };
    let act = through(parts, app, Caller::of_person(person, role).act);
    let (store, now) = (app.broker.store(), app.broker.clock.now());
    end_earlier(app, parts).await?;
    let cookie = sign_in_person(store, person, LIFETIME_SECONDS, &act, now).await.map_err(BrokerError::from)?;
    tracing::info!(
        event = "console.signed_in",
        by = "openid",
        role = role.as_str(),
        "somebody signed in to the console"
    );
    Ok(with_cookie(redirect(format!("{}/console", base(app))), app, &cookie, LIFETIME_SECONDS))
}

/// The page after the provider failed, or its response proved nothing.
fn failed(app: &App, parts: &Parts, error: &OpenIdError) -> Response {
    let reason = match error {
        OpenIdError::IdToken(_) => "id_token",
        OpenIdError::OtherIssuer => "other_issuer",
        OpenIdError::NoTokens(failure) if matches!(failure.kind, FailureKind::DeadGrant | FailureKind::Refused) => {
            "code"
        }
        OpenIdError::NoTokens(_) | OpenIdError::Provider(..) => return unavailable(app, parts, error),
    };
    tracing::warn!(event = "console.sign_in_failed", reason, %error, "a sign-in to the console failed");
    note(app, parts, reason);
    after_openid(app, parts, ApiError::Unauthorized, NOT_PROVEN)
}

fn unavailable(app: &App, parts: &Parts, error: &OpenIdError) -> Response {
    let (kind, wait) = match error {
        OpenIdError::NoTokens(failure) => (failure.kind, failure.retry_after),
        OpenIdError::Provider(kind, _) => (*kind, None),
        OpenIdError::IdToken(_) | OpenIdError::OtherIssuer => (FailureKind::Unreadable, None),
    };
    tracing::warn!(event = "console.sign_in_failed", reason = "unavailable", %error, "a sign-in to the console failed");
    after_openid(app, parts, ApiError::Provider(kind, UNAVAILABLE.into(), wait), UNAVAILABLE)
}

/// The audit log gets how many there were.
fn note(app: &App, parts: &Parts, reason: &'static str) {
    let act = through(parts, app, Act::new(ActorKind::Unknown, None));
    app.broker.failed_sign_ins.note(Some(FailedSignIn { address: act.address, reason }), &act);
}

fn refused_by_provider(error: Option<&str>) -> String {
    let is_code = |code: &&str| code.len() <= 64 && code.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let code = error.filter(is_code).map(|code| format!(" ({code})")).unwrap_or_default();
    format!("The identity provider did not sign you in{code}. Sign in again, or ask those who run it.")
}

fn redirect_uri(app: &App) -> String {
    format!("{}/console/sign-in/openid/callback", app.broker.public_url)
}

fn without_sign_in_cookie(response: Response, app: &App) -> Response {
    with_sign_in_cookie(response, app, &SecretString::default(), 0)
}

fn with_sign_in_cookie(mut response: Response, app: &App, cookie: &SecretString, max_age: i64) -> Response {
    if let Some(set) = set_cookie_of(&SIGN_IN, cookie, &app.broker.public_url, max_age) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}
