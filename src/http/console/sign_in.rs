//! `/console/sign-in` and `/console/sign-out`.
//! Owns: the page with the ways to sign in, and the exchange of an API key for the cookie of a session.
//! Must not know: how keys or sessions are stored.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::SecretString;

use super::{
    failure::{Failure, with_facts_of},
    form::{AnyForm, fields, require_same_origin, value_of},
    page::show,
    session::Session,
};
use crate::{
    broker::error::BrokerError,
    http::{
        act::through,
        app::App,
        body::whole,
        browser::{
            callback::redirect,
            cookie::{CONSOLE, set_cookie_of},
            start::base,
        },
        denial::{Denied, Outside},
        error::ApiError,
    },
    identity::{
        Caller, Permission,
        console::{self, LIFETIME_SECONDS, act_of, may_sign_in},
    },
    model::actor::{Act, ActorKind},
};

const UNKNOWN: &str = "This is not a valid API key of this server. It may be misspelled, expired or revoked.";
const AGENT: &str = "This is an agent's key. The console needs a key with the role admin or viewer.";

#[derive(Template)]
#[template(path = "http/console/sign_in.html")]
struct SignInPage<'a> {
    base: &'a str,
    /// What is wrong with the API key.
    problem: Option<&'a str>,
    /// What went wrong at the identity provider.
    openid_problem: Option<&'a str>,
    has_openid: bool,
}

/// Shows the form.
pub async fn get(State(app): State<Arc<App>>, session: Result<Session, Failure>) -> Response {
    let base = base(&app);
    match session {
        Ok(_) => redirect(format!("{base}/console")),
        Err(Failure::SignedOut(_)) => sign_in_page(&app, StatusCode::OK, None, None),
        Err(failure) => failure.into_response(),
    }
}

/// Begins a session.
pub async fn post(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    // There is no session yet whose token the form could have: another site must not sign a browser in.
    require_same_origin(&parts, &app)?;
    let base = base(&app);
    let again = |error: ApiError, problem: &str| {
        let refused = error.into_response();
        with_facts_of(sign_in_page(&app, refused.status(), Some(problem), None), refused)
    };
    let body = whole(Request::from_parts(parts.clone(), body), &()).await?;
    let fields = fields(&body);
    let now = app.broker.clock.now();
    let key = app.api_keys.look_up(value_of(&fields, "key"), now).await.map_err(BrokerError::from)?;
    let Some(key) = key else {
        let act = through(&parts, &app, Act::new(ActorKind::Unknown, None));
        app.broker.refused_keys.note(act.address, &act);
        app.limits.count_failed_key(&parts.extensions, &parts.headers)?;
        return Ok(again(ApiError::Unauthorized, UNKNOWN));
    };
    let act = through(&parts, &app, act_of(&key));
    if !may_sign_in(key.role) {
        let caller = Caller { act, ..Caller::of_key(&key, None) };
        let denied = Denied::new(&caller, Outside::Role(Permission::Oversee));
        return Ok(again(ApiError::Denied(Box::new(denied)), AGENT));
    }
    let cookie = console::sign_in(app.broker.store(), &key, &act, now).await.map_err(BrokerError::from)?;
    tracing::info!(event = "console.signed_in", by = "api_key", key_id = %key.id, "somebody signed in to the console");
    Ok(with_cookie(redirect(format!("{base}/console")), &app, &cookie, LIFETIME_SECONDS))
}

/// Ends a session.
pub async fn sign_out(State(app): State<Arc<App>>, form: AnyForm) -> Result<Response, Failure> {
    let (session, now) = (form.session, app.broker.clock.now());
    let act = &session.caller.act;
    console::sign_out(app.broker.store(), &session.signed_in, act, now).await.map_err(BrokerError::from)?;
    let response = redirect(format!("{}/console/sign-in", session.base));
    Ok(with_cookie(response, &app, &SecretString::default(), 0))
}

/// The page after a sign-in at the identity provider that came to nothing: the response of the API would be this error.
pub(super) fn after_openid(app: &App, error: ApiError, problem: &str) -> Response {
    let refused = error.into_response();
    with_facts_of(sign_in_page(app, refused.status(), None, Some(problem)), refused)
}

fn sign_in_page(app: &App, status: StatusCode, problem: Option<&str>, openid_problem: Option<&str>) -> Response {
    show(status, &SignInPage { base: &base(app), problem, openid_problem, has_openid: app.openid.is_some() })
}

/// The response with the cookie of a session.
pub(super) fn with_cookie(mut response: Response, app: &App, cookie: &SecretString, max_age: i64) -> Response {
    if let Some(set) = set_cookie_of(&CONSOLE, cookie, &app.broker.public_url, max_age) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}
