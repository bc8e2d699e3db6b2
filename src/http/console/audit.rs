//! `/console/audit`: what was done in the workspace, and its export.
//! Owns: the filters of the page.
//! Must not know: how events are recorded.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::{
    failure::Failure,
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
    },
    model::audit::{EventName, RecordedEvent},
};

/// How many are on a page.
const LISTED: usize = 50;
/// The filters, as they are in the address of the page and of the API.
const FILTERS: [&str; 7] = ["event", "provider_id", "user_id", "agent_id", "actor", "from", "to"];

struct Row {
    at: Moment,
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
    let read = Query::read(asked.as_deref().unwrap_or_default())?;
    let values = FILTERS.map(|name| parameter(asked.as_deref(), name));
    let page = audit::page(&app.broker, &session.caller.tenant, &read.filter, read.before, LISTED).await?;
    let now = app.broker.clock.now();
    let address = |before: &str| {
        let pairs: Vec<(&str, &str)> = FILTERS.iter().copied().zip(values.iter().map(String::as_str)).collect();
        query(&[&pairs[..], &[("cursor", before)]].concat())
    };
    let (export, next) = (format!("/audit/export{}", address("")), page.next.map(|next| address(&next.to_string())));
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
        rows: page.events.iter().map(|event| Row::of(event, now)).collect(),
        export,
        next: next.map_or_else(String::new, |next| format!("/audit{next}")),
    };
    Ok(show(StatusCode::OK, &page))
}

/// Every event that the filters let through, one a line.
pub async fn export(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    session.caller.reads_the_audit_log()?;
    let query = Query::read(asked.as_deref().unwrap_or_default())?;
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
            event: event.event.clone(),
            result: event.result.clone(),
            actor: event.actor.replace('_', " "),
            actor_id: event.actor_id.as_deref().and_then(shown_if_any),
            about: about.into_iter().filter_map(|(name, value)| Some((name, shown(value?)))).chain(details).collect(),
            error: event.error.as_deref().and_then(shown_if_any),
        }
    }
}
