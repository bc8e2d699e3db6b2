//! `/console/sign-in` and `/console/sign-out`.
//! Owns: the page with the ways to sign in, the exchange of an API key for the cookie of a session, and who else is asked
//! about a text that is no key of this server.
//! Must not know: how keys or sessions are stored.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    failure::{Failure, with_facts_of},
    form::{AnyForm, fields, require_same_origin, value_of},
    langsmith,
    page::show,
    session::{Session, end_earlier},
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
        caller::LANGSMITH_PREFIX,
        denial::{Denied, Outside},
        error::ApiError,
        request_id::id_of,
    },
    identity::{
        Caller, Permission,
        api_keys::is_generated,
        console::{self, LANGSMITH_LIFETIME_SECONDS, LIFETIME_SECONDS, act_of, may_sign_in},
        langsmith::LangSmith,
    },
    model::{
        actor::{Act, ActorKind},
        api_key::Role,
    },
};

const UNKNOWN: &str = "This is not a valid API key of this server. It may be misspelled, expired or revoked.";
const OF_LANGSMITH: &str = "This is an API key of LangSmith, which this console does not take. Enter an API key of this server, \
                            or ask those who run it to set CONSOLE_LANGSMITH_ROLE.";
const AGENT: &str = "This is an agent's key. The console needs a key with the role admin or viewer.";

#[derive(Template)]
#[template(path = "http/console/sign_in.html")]
struct SignInPage<'a> {
    base: &'a str,
    /// What is wrong with the API key.
    problem: Option<&'a str>,
    /// What went wrong at the identity provider.
    openid_problem: Option<&'a str>,
    /// That of the request that went wrong.
    request_id: Option<String>,
    has_openid: bool,
    /// Whether LangSmith's users sign in here.
    has_langsmith: bool,
    /// Whether this is the demo, whose database no command of another process opens.
    is_demo: bool,
}

/// Shows the form.
pub async fn get(State(app): State<Arc<App>>, session: Result<Session, Failure>) -> Response {
    let base = base(&app);
    match session {
        Ok(_) => redirect(format!("{base}/console")),
        Err(Failure::SignedOut(_)) => sign_in_page(&app, StatusCode::OK, None, (None, None)),
        Err(failure) => failure.into_response(),
    }
}

/// Begins a session.
pub async fn post(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    // There is no session yet whose token the form could have: another site must not sign a browser in.
    require_same_origin(&parts, &app)?;
    let base = base(&app);
    let body = whole(Request::from_parts(parts.clone(), body), &()).await?;
    let fields = fields(&body);
    let now = app.broker.clock.now();
    let typed = SecretString::from(value_of(&fields, "key"));
    let key = app.api_keys.look_up(typed.expose_secret(), now).await.map_err(BrokerError::from)?;
    let Some(key) = key else {
        return match langsmith_for(&app, typed.expose_secret()) {
            Some(langsmith) => with_langsmith(&app, &parts, langsmith, &typed, value_of(&fields, "workspace")).await,
            None => {
                let is_langsmiths = typed.expose_secret().starts_with(LANGSMITH_PREFIX);
                count_failure(&app, &parts)?;
                Ok(again(&app, &parts, ApiError::Unauthorized, if is_langsmiths { OF_LANGSMITH } else { UNKNOWN }))
            }
        };
    };
    let act = through(&parts, &app, act_of(&key));
    if !may_sign_in(key.role) {
        let caller = Caller { act, ..Caller::of_key(&key, None) };
        let denied = Denied::new(&caller, Outside::Role(Permission::Oversee));
        return Ok(again(&app, &parts, ApiError::Denied(Box::new(denied)), AGENT));
    }
    end_earlier(&app, &parts).await?;
    let cookie = console::sign_in(app.broker.store(), &key, &act, now).await.map_err(BrokerError::from)?;
    tracing::info!(event = "console.signed_in", by = "api_key", key_id = %key.id, "somebody signed in to the console");
    Ok(with_cookie(redirect(format!("{base}/console")), &app, &cookie, LIFETIME_SECONDS))
}

/// The LangSmith to ask about a text that is no valid key of this server, and the role of its users. What can only be one of
/// our keys is never sent there.
fn langsmith_for<'a>(app: &'a App, typed: &str) -> Option<(&'a LangSmith, Role)> {
    let langsmith = app.langsmith.as_ref().filter(|_| !typed.is_empty() && !is_generated(typed))?;
    Some((langsmith, langsmith.console_role?))
}

/// Begins the session of a person whom LangSmith names.
async fn with_langsmith(
    app: &App,
    parts: &Parts,
    langsmith: (&LangSmith, Role),
    typed: &SecretString,
    workspace: &str,
) -> Result<Response, Failure> {
    match langsmith::sign_in(app, parts, langsmith, typed, workspace).await? {
        Ok(cookie) => {
            end_earlier(app, parts).await?;
            let response = redirect(format!("{}/console", base(app)));
            Ok(with_cookie(response, app, &cookie, LANGSMITH_LIFETIME_SECONDS))
        }
        Err(refused) => {
            if refused.is_failed_key {
                count_failure(app, parts)?;
            }
            Ok(again(app, parts, refused.error, refused.problem))
        }
    }
}

/// A failed sign-in counts like a request with a wrong key.
fn count_failure(app: &App, parts: &Parts) -> Result<(), ApiError> {
    let act = through(parts, app, Act::new(ActorKind::Unknown, None));
    app.broker.refused_keys.note(act.address, &act);
    app.limits.count_failed_key(&parts.extensions, &parts.headers)
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
pub(super) fn after_openid(app: &App, parts: &Parts, error: ApiError, problem: &str) -> Response {
    refused(app, parts, error, (None, Some(problem)))
}

/// The same after a key that signs nobody in.
fn again(app: &App, parts: &Parts, error: ApiError, problem: &str) -> Response {
    refused(app, parts, error, (Some(problem), None))
}

fn refused(app: &App, parts: &Parts, error: ApiError, problems: (Option<&str>, Option<&str>)) -> Response {
    let refused = error.into_response();
    with_facts_of(sign_in_page(app, refused.status(), id_of(&parts.headers), problems), refused)
}

fn sign_in_page(
    app: &App,
    status: StatusCode,
    request_id: Option<String>,
    (problem, openid_problem): (Option<&str>, Option<&str>),
) -> Response {
    let has_langsmith = app.langsmith.as_ref().is_some_and(|langsmith| langsmith.console_role.is_some());
    let (has_openid, is_demo) = (app.openid.is_some(), app.broker.catalog.is_of_demo());
    let base = &base(app);
    show(status, &SignInPage { base, problem, openid_problem, request_id, has_openid, has_langsmith, is_demo })
}

/// The response with the cookie of a session.
pub(super) fn with_cookie(mut response: Response, app: &App, cookie: &SecretString, max_age: i64) -> Response {
    if let Some(set) = set_cookie_of(&CONSOLE, cookie, &app.broker.public_url, max_age) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}
