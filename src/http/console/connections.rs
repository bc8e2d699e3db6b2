//! `/console/connections`: the tokens of all users, one of them with its actions, and the end of one.
//! Owns: the filters, and what a token is shown with.
//! Must not know: how a token is refreshed or revoked.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    failure::Failure,
    form::AdminForm,
    frame::Frame,
    page::show,
    session::Session,
    words::{Moment, condition, moment, parameter, query, shown, shown_if_any},
};
use crate::{
    broker::{
        providers::list::describe,
        rules,
        tokens::{explain::Explanation, refresh::Refreshed, workspace},
    },
    http::{app::App, browser::callback::redirect, error::ApiError},
    model::{
        token::TokenChange,
        token_state::{Condition, OwnedToken, TokenFilter},
    },
};

/// How many are on a page.
const LISTED: usize = 50;
/// The filters of the list, as they are in its address.
const FILTERS: [&str; 4] = ["user", "agent", "provider", "state"];

/// A token, in a list.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) user: String,
    pub(super) agent: Option<String>,
    pub(super) provider: String,
    pub(super) account: Option<String>,
    pub(super) state: &'static str,
    pub(super) label: &'static str,
    pub(super) is_default: bool,
    pub(super) expires: Option<Moment>,
    pub(super) last_used: Option<Moment>,
}

struct Choice {
    name: &'static str,
    label: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "http/console/connections.html")]
struct ListPage {
    frame: Frame,
    user: String,
    agent: String,
    provider: String,
    states: Vec<Choice>,
    is_filtered: bool,
    rows: Vec<Row>,
    /// Empty on the first page.
    first: String,
    /// Empty on the last page.
    next: String,
}

struct Scope {
    name: String,
    meaning: Option<String>,
}

#[derive(Template)]
#[template(path = "http/console/connection.html")]
struct TokenPage {
    frame: Frame,
    row: Row,
    why: Option<String>,
    what_to_do: String,
    scopes: Vec<Scope>,
    label: String,
    label_max: usize,
    can_refresh: bool,
    refresh_token: &'static str,
    facts: Vec<(&'static str, Moment)>,
    last_error: Option<String>,
    failures: i64,
}

#[derive(Template)]
#[template(path = "http/console/revoke_connection.html")]
struct RevokePage {
    frame: Frame,
    row: Row,
}

/// Lists the tokens.
pub async fn list(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let [user, agent, provider, state] = FILTERS.map(|name| parameter(asked.as_deref(), name));
    check_address(asked.as_deref())?;
    let caller = &session.caller;
    let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let filter = TokenFilter {
        user_id: named(&user),
        agent_id: named(&agent),
        provider_id: named(&provider),
        condition: Condition::named(&state),
    };
    let before = Uuid::try_parse(&parameter(asked.as_deref(), "before")).ok();
    let page = workspace::page(&app.broker, caller.reach(), &filter, before, LISTED).await?;
    let now = app.broker.clock.now();
    let chosen = filter.condition.map_or("", Condition::as_str);
    let address = |before: &str| {
        let pairs = [("user", &*user), ("agent", &*agent), ("provider", &*provider), ("state", chosen)];
        query(&[&pairs[..], &[("before", before)]].concat())
    };
    let states = Condition::NAMES.map(|(name, which)| Choice {
        name,
        label: condition(which),
        is_chosen: filter.condition == Some(which),
    });
    let page = ListPage {
        frame: Frame::new(&session, "/connections", "Connections").after(Some(&parameter(asked.as_deref(), "done"))),
        states: states.into(),
        is_filtered: filter != TokenFilter::default(),
        rows: page.tokens.iter().map(|(token, explanation)| Row::of(token, explanation, now)).collect(),
        first: if before.is_some() { format!("/connections{}", address("")) } else { String::new() },
        next: page.next.map_or_else(String::new, |next| format!("/connections{}", address(&next.to_string()))),
        user,
        agent,
        provider,
    };
    Ok(show(StatusCode::OK, &page))
}

/// Shows a token.
pub async fn get(
    State(app): State<Arc<App>>,
    session: Session,
    Path(id): Path<String>,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let (token, explanation) = token(&app, &session, &id).await?;
    let now = app.broker.clock.now();
    let state = &token.state;
    let provider = describe(&app.broker, &session.caller.tenant, &state.provider_id).await?;
    let scopes = state.scopes.iter().map(|scope| Scope {
        name: shown(scope),
        meaning: app.broker.catalog.scope_meaning(&provider.client, scope).map(ToOwned::to_owned),
    });
    let facts = [
        ("Access token expires", state.expires_at),
        ("Refreshed from", state.refresh_due_at),
        ("Refresh token expires", state.refresh_token_expires_at),
        ("Last refreshed", state.last_refreshed_at),
        ("Last used", state.last_used_at),
        ("Last error", state.last_error_at),
        ("Next try", state.retry_at),
        ("Connected", Some(state.created_at)),
    ];
    let row = Row::of(&token, &explanation, now);
    let page = TokenPage {
        frame: Frame::new(&session, "/connections", format!("{} at {}", row.user, row.provider))
            .after(Some(&parameter(asked.as_deref(), "done"))),
        why: explanation.why.as_deref().map(shown),
        what_to_do: explanation.what_to_do,
        scopes: scopes.collect(),
        label: state.account_label.clone().unwrap_or_default(),
        label_max: rules::DISPLAY_NAME_MAX,
        can_refresh: state.has_refresh_token && explanation.condition != Condition::ConsentNeeded,
        refresh_token: if state.has_refresh_token { "Yes" } else { "No" },
        facts: facts.into_iter().filter_map(|(name, at)| Some((name, moment(at?, now)))).collect(),
        last_error: state.last_error.as_deref().map(shown),
        failures: state.refresh_failures,
        row,
    };
    Ok(show(StatusCode::OK, &page))
}

/// Refreshes a token, makes it the default, or changes its label.
pub async fn post(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let (session, id) = (&form.session, token_id(&id)?);
    let (broker, reach, act) = (&app.broker, session.caller.reach(), &session.caller.act);
    let change = match form.field("action") {
        "refresh" => {
            let done = match workspace::refresh_now(broker, reach, id, act).await? {
                Refreshed::Fresh(_) => "refreshed",
                Refreshed::ConsentNeeded => "dead",
                Refreshed::Failed(_) => "failed",
            };
            return Ok(redirect(format!("{}/console/connections/{id}?done={done}", session.base)));
        }
        "default" => TokenChange { is_default: Some(true), ..TokenChange::default() },
        "label" => {
            let label = Some(form.field("label")).filter(|label| !label.is_empty());
            if let Some(Err((kind, problem))) = label.map(rules::display_name) {
                return Err(ApiError::fault(["body", "label"], kind, problem).into());
            }
            TokenChange { account_label: Some(label.map(ToOwned::to_owned)), ..TokenChange::default() }
        }
        _ => return Err(ApiError::BadRequest("The form names no action.".into()).into()),
    };
    if !workspace::change(broker, reach, id, &change, act).await? {
        return Err(no_token().into());
    }
    Ok(redirect(format!("{}/console/connections/{id}?done=changed", session.base)))
}

/// Asks whether to revoke a token.
pub async fn ask(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    let (token, explanation) = token(&app, &session, &id).await?;
    let row = Row::of(&token, &explanation, app.broker.clock.now());
    let frame = Frame::new(&session, "/connections", "Revoke this connection?");
    Ok(show(StatusCode::OK, &RevokePage { frame, row }))
}

/// Deletes a token and revokes its grant.
pub async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let (caller, id) = (&form.session.caller, token_id(&id)?);
    let deletion = workspace::delete(&app.broker, caller.reach(), id, &caller.act).await?;
    let done = match deletion {
        None => "gone",
        Some(deletion) if deletion.upstream_revoked() => "revoked",
        Some(deletion) if deletion.queued > 0 => "revoking",
        Some(_) => "not-revocable",
    };
    Ok(redirect(format!("{}/console/connections?done={done}", form.session.base)))
}

async fn token(app: &App, session: &Session, id: &str) -> Result<(OwnedToken, Explanation), Failure> {
    let token = workspace::get(&app.broker, session.caller.reach(), token_id(id)?).await?;
    token.ok_or_else(|| no_token().into())
}

fn token_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| no_token())
}

fn no_token() -> ApiError {
    ApiError::NotFound("This workspace has no connection with that id. It may have been revoked.".into())
}

/// Refuses an address whose filters would be ignored: its list would be another one than was asked for.
fn check_address(query: Option<&str>) -> Result<(), ApiError> {
    let names: Vec<String> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).map(|(name, _)| name.into_owned()).collect();
    let is_known = |name: &str| FILTERS.contains(&name) || ["before", "done"].contains(&name);
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        let problem = format!("{} is no filter of this list. Its filters are {}.", shown(name), FILTERS.join(", "));
        return Err(ApiError::BadRequest(problem));
    }
    let [state, before] = ["state", "before"].map(|name| parameter(query, name));
    if !state.is_empty() && Condition::named(&state).is_none() {
        let known = Condition::NAMES.map(|(name, _)| name).join(", ");
        let problem = format!("No connection has the state {}. The states are {known}.", shown(&state));
        return Err(ApiError::BadRequest(problem));
    }
    if !before.is_empty() && Uuid::try_parse(&before).is_err() {
        let problem = "This is no address of a page of the list. Begin with its first page.";
        return Err(ApiError::BadRequest(problem.into()));
    }
    Ok(())
}

impl Row {
    pub(super) fn of(token: &OwnedToken, explanation: &Explanation, now: chrono::DateTime<chrono::Utc>) -> Self {
        let state = &token.state;
        Self {
            id: state.id,
            user: shown(&token.user_id),
            agent: shown_if_any(&token.agent_id),
            provider: shown(&state.provider_id),
            account: state.account_label.as_deref().and_then(shown_if_any),
            state: explanation.condition.as_str(),
            label: condition(explanation.condition),
            is_default: state.is_default,
            expires: state.expires_at.map(|at| moment(at, now)),
            last_used: state.last_used_at.map(|at| moment(at, now)),
        }
    }
}
