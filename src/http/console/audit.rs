//! `/console/audit`: what was done in the workspace, and its export.
//! Owns: the filters of the page.
//! Must not know: how events are recorded.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat};
use url::form_urlencoded;

use super::{
    failure::{Failure, with_facts_of},
    frame::Frame,
    page::show,
    session::Session,
    words::{Moment, moment, parameter, query, shown, shown_if_any},
};
use crate::{
    broker::audit,
    http::{
        api::audit::{Query, json_lines},
        app::App,
        error::ApiError,
    },
    model::audit::{EventName, RecordedEvent},
};

/// How many are on a page.
const LISTED: usize = 50;
/// The filters, as they are in the address of the page and of the API.
const FILTERS: [&str; 7] = ["event", "provider_id", "user_id", "agent_id", "actor", "from", "to"];

struct Row {
    at: Moment,
    /// The day and the time, in UTC.
    said: String,
    event: String,
    result: String,
    actor: String,
    actor_id: Option<String>,
    about: Vec<(&'static str, String)>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "http/console/audit.html")]
struct AuditPage {
    frame: Frame,
    names: &'static [&'static str],
    event: String,
    provider: String,
    user: String,
    agent: String,
    actor: String,
    from: String,
    to: String,
    is_filtered: bool,
    /// Why the filters cannot be used.
    problem: Option<String>,
    rows: Vec<Row>,
    export: String,
    /// Empty on the last page.
    next: String,
}

/// Lists events, newest first.
pub async fn list(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    session.caller.reads_the_audit_log()?;
    let values = FILTERS.map(|name| parameter(asked.as_deref(), name));
    let (events, older, refused) = match read(asked.as_deref()) {
        Ok(read) => {
            let page = audit::page(&app.broker, &session.caller.tenant, &read.filter, read.before, LISTED).await?;
            (page.events, page.next, None)
        }
        Err(error) => (Vec::new(), None, Some(error)),
    };
    let now = app.broker.clock.now();
    let address = |before: &str| {
        let pairs: Vec<(&str, &str)> = FILTERS.iter().copied().zip(values.iter().map(String::as_str)).collect();
        query(&[&pairs[..], &[("cursor", before)]].concat())
    };
    let (export, next) = (format!("/audit/export{}", address("")), older.map(|next| address(&next.to_string())));
    let is_filtered = values.iter().any(|value| !value.is_empty());
    let [event, provider, user, agent, actor, from, to] = values;
    let page = AuditPage {
        frame: Frame::new(&session, "/audit", "Audit log"),
        names: EventName::NAMES,
        event,
        provider,
        user,
        agent,
        actor,
        from,
        to,
        is_filtered,
        problem: refused.as_ref().map(ApiError::for_people),
        rows: events.iter().map(|event| Row::of(event, now)).collect(),
        export,
        next: next.map_or_else(String::new, |next| format!("/audit{next}")),
    };
    Ok(match refused.map(IntoResponse::into_response) {
        Some(refused) => with_facts_of(show(refused.status(), &page), refused),
        None => show(StatusCode::OK, &page),
    })
}

/// What an address of the page asks for. Its times may be shorter than those of the API.
fn read(asked: Option<&str>) -> Result<Query, ApiError> {
    let mut read = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(asked.unwrap_or_default().as_bytes()) {
        let time = if ["from", "to"].contains(&&*name) { time(&value) } else { None };
        read.append_pair(&name, time.as_deref().unwrap_or(&value));
    }
    Query::read(&read.finish())
}

/// A day, or a time without seconds or without a zone, in UTC, as the API takes it. `None`: it is something else.
fn time(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches(['Z', 'z']).replace('T', " ");
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN);
    let with = |format: &str| NaiveDateTime::parse_from_str(&text, format).ok();
    let time = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok().map(midnight);
    let time = time.or_else(|| with("%Y-%m-%d %H:%M")).or_else(|| with("%Y-%m-%d %H:%M:%S"))?;
    Some(time.and_utc().to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Every event that the filters let through, one a line.
pub async fn export(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    session.caller.reads_the_audit_log()?;
    let query = read(asked.as_deref())?;
    let mut response = json_lines(Arc::clone(&app.broker), session.caller.tenant, query);
    let name = HeaderValue::from_static("attachment; filename=\"audit.jsonl\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}

impl Row {
    fn of(event: &RecordedEvent, now: chrono::DateTime<chrono::Utc>) -> Self {
        let token = event.token_id.map(|id| id.to_string());
        let about = [
            ("user", event.user_id.as_deref()),
            ("agent", event.agent_id.as_deref()),
            ("provider", event.provider_id.as_deref()),
            ("token", token.as_deref()),
        ];
        let details = event.details.0.iter().map(|(name, value)| ("", format!("{}: {}", shown(name), shown(value))));
        Self {
            at: moment(event.at, now),
            said: event.at.format("%F %T").to_string(),
            event: event.event.clone(),
            result: event.result.clone(),
            actor: event.actor.replace('_', " "),
            actor_id: event.actor_id.as_deref().and_then(shown_if_any),
            about: about.into_iter().filter_map(|(name, value)| Some((name, shown(value?)))).chain(details).collect(),
            error: event.error.as_deref().and_then(shown_if_any),
        }
    }
}
