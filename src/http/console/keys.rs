//! `/console/keys`: the API keys of the workspace. A new one is shown once.
//! Owns: the form of a new key.
//! Must not know: how keys are made or checked.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    failure::Failure,
    form::{AdminForm, AnyForm},
    frame::Frame,
    page::show,
    session::Session,
    words::{Moment, moment, parameter, shown},
};
use crate::{
    broker::{error::BrokerError, rules},
    http::{app::App, browser::callback::redirect, error::ApiError},
    identity::{
        Caller, CallerId,
        api_keys::{self, NewKey},
    },
    model::{
        api_key::{ApiKey, Kind, Role},
        consent::Consent,
        key_limits::KeyLimits,
    },
};

/// The longest life of a key that has an end, in days.
const DAYS_MAX: i64 = 3650;

struct Row {
    id: Uuid,
    name: String,
    prefix: String,
    role: &'static str,
    kind: String,
    limits: Vec<String>,
    created: Moment,
    state: &'static str,
    expires: Option<Moment>,
    is_active: bool,
    is_own: bool,
}

#[derive(Template)]
#[template(path = "http/console/keys.html")]
struct KeysPage {
    frame: Frame,
    rows: Vec<Row>,
    days_max: i64,
}

#[derive(Template)]
#[template(path = "http/console/new_key.html")]
struct NewKeyPage<'a> {
    frame: Frame,
    key: &'a str,
    name: String,
}

#[derive(Template)]
#[template(path = "http/console/revoke_key.html")]
struct RevokePage {
    frame: Frame,
    row: Row,
}

/// Lists the keys of the workspace.
pub async fn list(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let keys = keys(&app, &session).await?;
    let now = app.broker.clock.now();
    let page = KeysPage {
        frame: Frame::new(&session, "/keys", "API keys").after(Some(&parameter(asked.as_deref(), "done"))),
        rows: keys.iter().map(|key| Row::of(key, &session, now)).collect(),
        days_max: DAYS_MAX,
    };
    Ok(show(StatusCode::OK, &page))
}

/// Creates a key, and shows it.
pub async fn create(State(app): State<Arc<App>>, AdminForm(form): AdminForm) -> Result<Response, Failure> {
    let session = &form.session;
    require_no_limits(&session.caller)?;
    let new = new_key(&form, &app)?;
    let (store, now) = (app.broker.store(), app.broker.clock.now());
    let created = api_keys::create(store, new, &session.caller.act, now).await.map_err(BrokerError::from)?;
    let (key, record) = created;
    let frame = Frame::new(session, "/keys", "Copy the new API key");
    Ok(show(StatusCode::OK, &NewKeyPage { frame, key: key.expose_secret(), name: shown(&record.name) }))
}

/// Asks whether to revoke a key.
pub async fn ask(State(app): State<Arc<App>>, session: Session, Path(id): Path<String>) -> Result<Response, Failure> {
    let keys = keys(&app, &session).await?;
    let key = keys.iter().find(|key| key.id.to_string() == id).ok_or_else(no_key)?;
    let row = Row::of(key, &session, app.broker.clock.now());
    let frame = Frame::new(&session, "/keys", "Revoke this API key?");
    Ok(show(StatusCode::OK, &RevokePage { frame, row }))
}

/// Revokes a key. Its sessions end with it.
pub async fn revoke(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    AdminForm(form): AdminForm,
) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    require_no_limits(caller)?;
    let id = Uuid::try_parse(&id).map_err(|_| no_key())?;
    let (store, now) = (app.broker.store(), app.broker.clock.now());
    let revoked = api_keys::revoke_of(store, &caller.tenant, id, &caller.act, now).await.map_err(BrokerError::from)?;
    let done = if revoked { "key-revoked" } else { "gone" };
    Ok(redirect(format!("{}/console/keys?done={done}", form.session.base)))
}

async fn keys(app: &App, session: &Session) -> Result<Vec<ApiKey>, Failure> {
    require_no_limits(&session.caller)?;
    let keys = api_keys::list_of(app.broker.store(), &session.caller.tenant).await;
    Ok(keys.map_err(BrokerError::from)?)
}

/// A limited key could make one without limits.
fn require_no_limits(caller: &Caller) -> Result<(), ApiError> {
    let detail = "An API key with limits cannot see, create or revoke API keys.";
    if caller.limits.is_none() { Ok(()) } else { Err(ApiError::Forbidden(detail)) }
}

fn no_key() -> ApiError {
    ApiError::NotFound("This workspace has no API key with that id.".into())
}

/// The key that the form describes.
fn new_key(form: &AnyForm, app: &App) -> Result<NewKey, ApiError> {
    let caller = &form.session.caller;
    let wrong = |field: &'static str, (kind, problem): rules::Problem| ApiError::fault(["body", field], kind, problem);
    let name = form.field("name");
    rules::display_name(name).map_err(|problem| wrong("name", problem))?;
    let role = match form.field("role") {
        "admin" => Role::Admin,
        "agent" => Role::Agent,
        "viewer" => Role::Viewer,
        _ => return Err(wrong("role", ("literal_error", "Choose admin, agent or viewer".into()))),
    };
    let identifiers = |field: &'static str, rule: &dyn Fn(&str) -> Result<(), rules::Problem>| {
        let words = form.words(field);
        words.iter().try_for_each(|word| rule(word)).map_err(|problem| wrong(field, problem))?;
        Ok::<_, ApiError>(Some(words.into_iter().collect::<BTreeSet<_>>()).filter(|words| !words.is_empty()))
    };
    let limits = KeyLimits {
        providers: identifiers("only_providers", &rules::provider_id)?,
        agents: identifiers("only_agents", &rules::identifier)?,
        users: identifiers("only_users", &rules::identifier)?,
    };
    let user = Some(form.field("user")).filter(|user| !user.is_empty()).map(ToOwned::to_owned);
    if let Some(user) = &user {
        rules::identifier(user).map_err(|problem| wrong("user", problem))?;
        if !limits.include_user(user) {
            let problem = "The key's own user is outside its limits: add the user there, or leave the limit empty";
            return Err(wrong("user", ("value_error", problem.into())));
        }
    }
    let expires_at = match form.field("days") {
        "" => None,
        days => match days.parse() {
            Ok(days @ 1..=DAYS_MAX) => Some(app.broker.clock.now() + TimeDelta::days(days)),
            _ => return Err(wrong("days", ("int_parsing", format!("Enter a number from 1 to {DAYS_MAX}")))),
        },
    };
    Ok(NewKey {
        tenant: caller.tenant.clone(),
        name: name.to_owned(),
        role,
        user,
        limits: Some(limits).filter(|limits| *limits != KeyLimits::default()),
        // Never less strict than the key that makes it.
        consent: Some(caller.consent).filter(|consent| *consent != Consent::default()),
        expires_at,
    })
}

impl Row {
    fn of(key: &ApiKey, session: &Session, now: chrono::DateTime<chrono::Utc>) -> Self {
        let limits = key.limits.clone().unwrap_or_default();
        let named = [("providers", limits.providers), ("agents", limits.agents), ("users", limits.users)];
        let limits = named.into_iter().filter_map(|(what, inside)| {
            let inside: Vec<String> = inside?.iter().map(|inside| shown(inside)).collect();
            Some(format!("only the {what} {}", inside.join(", ")))
        });
        let consent = key.consent.map(|consent| format!("consent {}", consent.as_str()));
        Self {
            id: key.id,
            name: shown(&key.name),
            prefix: shown(&key.prefix),
            role: key.role.as_str(),
            kind: match (key.kind, &key.user_id) {
                (Kind::Personal, Some(user)) => format!("personal, of {}", shown(user)),
                _ => "service".to_owned(),
            },
            limits: limits.chain(consent).collect(),
            created: moment(key.created_at, now),
            state: match (key.revoked_at, key.is_valid(now)) {
                (Some(_), _) => "Revoked",
                (None, false) => "Expired",
                (None, true) => "Active",
            },
            expires: key.expires_at.filter(|_| key.revoked_at.is_none()).map(|at| moment(at, now)),
            is_active: key.is_valid(now),
            is_own: session.caller.id == CallerId::ApiKey(key.id),
        }
    }
}
