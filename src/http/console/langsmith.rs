//! Signing in with LangSmith's credentials, which go to LangSmith once and are not kept.
//! Owns: in which header a credential goes there, who may sign in, and what a person reads who may not.
//! Must not know: what LangSmith's response means, or how sessions are stored.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION, request::Parts};
use secrecy::{ExposeSecret, SecretString};

use super::failure::Failure;
use crate::{
    broker::error::BrokerError,
    http::{
        act::through,
        app::App,
        caller::LANGSMITH_PREFIX,
        denial::{Denied, Outside},
        error::ApiError,
    },
    identity::{
        Caller,
        console::{LANGSMITH_LIFETIME_SECONDS, sign_in_person},
        langsmith::{Credentials, LangSmith, Refusal},
    },
    model::api_key::Role,
};

/// Longer ones are not sent to LangSmith.
const CREDENTIAL_MAX_BYTES: usize = 8 * 1024;
const WORKSPACE_MAX_BYTES: usize = 512;

const UNKNOWN: &str = "Neither this server nor LangSmith accepts this. It may be misspelled, expired or revoked.";
const FORBIDDEN: &str =
    "LangSmith denies access. The key or token may be revoked, or the workspace may be another one.";
const NO_WORKSPACE: &str = "LangSmith names no workspace for this. Enter the id of the workspace, too.";
const NOT_ACCEPTED: &str = "This server does not accept people of this LangSmith workspace. LANGSMITH_TENANT_IDS lists \
                            those that it accepts.";
const OTHER_WORKSPACE: &str = "This belongs to another workspace than the one that you entered.";
const UNAVAILABLE: &str = "LangSmith did not respond usefully, so nobody can sign in with its keys at the moment. Try \
                           again, or enter an API key of this server.";

/// Why somebody is not signed in.
pub(super) struct Refused {
    /// The error that the API would have returned.
    pub(super) error: ApiError,
    /// What the person reads.
    pub(super) problem: &'static str,
    /// Whether it counts like a wrong key.
    pub(super) is_failed_key: bool,
}

/// Signs the person in whom LangSmith names for this credential, and returns the cookie of the session. Nothing else of the
/// request goes to LangSmith, above all no cookie.
pub(super) async fn sign_in(
    app: &App,
    parts: &Parts,
    (langsmith, role): (&LangSmith, Role),
    credential: &SecretString,
    workspace: &str,
) -> Result<Result<SecretString, Refused>, Failure> {
    let now = app.broker.clock.now();
    let headers = headers(credential, workspace);
    let Some(credentials) = headers.as_ref().and_then(Credentials::of) else {
        return Ok(Err(Refused { error: ApiError::Unauthorized, problem: UNKNOWN, is_failed_key: true }));
    };
    let identified = langsmith.identify_now(&credentials, now).await;
    let identified = identified.and_then(|identity| {
        langsmith.check_workspace(&identity.tenant)?;
        Ok(identity)
    });
    let identity = match identified {
        Ok(identity) => identity,
        Err(refusal) => return Ok(Err(refused(refusal))),
    };
    let denied = |caller: Caller, outside: Outside| {
        let denied = Denied::new(&Caller { act: through(parts, app, caller.act.clone()), ..caller }, outside);
        let problem = if matches!(outside, Outside::Workspace) { OTHER_WORKSPACE } else { denied.detail };
        Ok(Err(Refused { error: ApiError::Denied(Box::new(denied)), problem, is_failed_key: false }))
    };
    let Some(person) = langsmith.person_of(&identity) else {
        return denied(Caller::of_langsmith(&identity, langsmith.role, HeaderMap::new()), Outside::Person);
    };
    let caller = Caller::of_langsmith_person(&person, role);
    if !workspace.is_empty() && workspace != identity.tenant.workspace {
        return denied(caller, Outside::Workspace);
    }
    let act = through(parts, app, caller.act);
    let cookie = sign_in_person(app.broker.store(), &person, LANGSMITH_LIFETIME_SECONDS, &act, now).await;
    let cookie = cookie.map_err(BrokerError::from)?;
    tracing::info!(
        event = "console.signed_in",
        by = "langsmith",
        role = role.as_str(),
        "somebody signed in to the console"
    );
    Ok(Ok(cookie))
}

/// The headers that LangSmith recognizes callers by: its API keys have one of their own, everything else is a token. `None`
/// for what can be neither, or for what can be no id of a workspace.
fn headers(credential: &SecretString, workspace: &str) -> Option<HeaderMap> {
    let credential = credential.expose_secret();
    let fits = |text: &str, max| text.len() <= max && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits(credential, CREDENTIAL_MAX_BYTES) || !fits(workspace, WORKSPACE_MAX_BYTES) {
        return None;
    }
    let (name, mut value) = if credential.starts_with(LANGSMITH_PREFIX) {
        (HeaderName::from_static("x-api-key"), HeaderValue::from_str(credential).ok()?)
    } else {
        (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {credential}")).ok()?)
    };
    value.set_sensitive(true);
    let tenant = (HeaderName::from_static("x-tenant-id"), HeaderValue::from_str(workspace).ok()?);
    Some(HeaderMap::from_iter([(name, value), tenant]))
}

/// An outage says nothing of the credential. Everything else counts, so that nobody can try credentials here without end.
fn refused(refusal: Refusal) -> Refused {
    let problem = match refusal {
        Refusal::Unauthorized => UNKNOWN,
        Refusal::Forbidden => FORBIDDEN,
        Refusal::NoWorkspace => NO_WORKSPACE,
        Refusal::WorkspaceNotAllowed => NOT_ACCEPTED,
        Refusal::Unavailable { .. } => UNAVAILABLE,
    };
    let is_failed_key = !matches!(refusal, Refusal::Unavailable { .. });
    Refused { error: ApiError::LangSmith(refusal), problem, is_failed_key }
}
