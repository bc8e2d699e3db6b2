//! `GET /v2/audit`: what was done in the workspace, newest first.
//! Owns: the filters, the pages, and the shape of an event on the wire.
//! Must not know: how events are recorded.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::{audit, context::Broker, error::BrokerError},
    http::{
        app::App,
        checks::{read_parameters, readable},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::Caller,
    model::{
        audit::{EventFilter, EventName, RecordedEvent},
        subject::Tenant,
    },
};

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;
const JSON_LINES: &str = "application/x-ndjson";

/// Something that was done.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct EventResponse {
    organization_id: String,
    workspace_id: String,
    /// Its number in the organization's log. Other workspaces of the organization have the numbers in between.
    sequence: i64,
    at: DateTime<Utc>,
    /// What was done, such as `token.handed_out`.
    event: String,
    /// `ok`, `failed` or `refused`.
    result: String,
    /// Who did it: `api_key`, `langsmith`, `console_user`, `command_line`, `browser`, `service` or `unknown` ...
    actor: String,
    /// ... and which one: the id of the API key, or the user.
    actor_id: Option<String>,
    /// Whose token.
    user_id: Option<String>,
    agent_id: Option<String>,
    provider_id: Option<String>,
    token_id: Option<Uuid>,
    auth_id: Option<Uuid>,
    scopes: Vec<String>,
    /// Why it failed or was refused.
    error: Option<String>,
    /// What else there is to say of this event.
    details: BTreeMap<String, String>,
    request_id: Option<String>,
    /// The client's address, as far as it can be trusted.
    address: Option<String>,
    /// The hash that chains it to the event before, in hexadecimal.
    hash: String,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEventList)]
pub struct EventList {
    data: Vec<EventResponse>,
    /// Pass it as `cursor` for the next page. A page can be short, or empty, and have a next one. Null on the last page.
    next_cursor: Option<String>,
}

/// The parameters of the query.
const PARAMETERS: [&str; 10] =
    ["event", "provider_id", "user_id", "agent_id", "actor", "from", "to", "limit", "cursor", "format"];
/// The longest name or id to look for, in bytes. No record has a longer one.
const TEXT_MAX: usize = 512;

/// How events are sent.
#[derive(Clone, Copy, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum EventFormat {
    /// A page of them.
    #[default]
    Json,
    /// One event a line.
    Jsonl,
}

/// The query.
#[derive(Default)]
pub(in crate::http) struct Query {
    pub(in crate::http) filter: EventFilter,
    pub(in crate::http) before: Option<i64>,
    limit: Option<usize>,
    format: EventFormat,
}

/// Lists what was done in the workspace, newest first.
#[utoipa::path(
    get,
    operation_id = "listAuditEvents",
    path = "/v2/audit",
    tag = "Audit",
    params(
        ("event" = Option<String>, Query, description = "Only events of this name."),
        ("provider_id" = Option<String>, Query),
        ("user_id" = Option<String>, Query),
        ("agent_id" = Option<String>, Query),
        ("actor" = Option<String>, Query, description = "A kind of actor, or the id of one."),
        ("from" = Option<DateTime<Utc>>, Query, description = "Events at this time or later."),
        ("to" = Option<DateTime<Utc>>, Query, description = "Events before this time."),
        (
            "limit" = Option<i64>,
            Query,
            minimum = 1,
            maximum = 1000,
            description = "From 1 to 1000, by default 100. With JSON lines, by default all.",
        ),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before."),
        (
            "format" = inline(Option<EventFormat>),
            Query,
            description = "`jsonl`: one event a line, all of them in one response. So does `Accept: \
                application/x-ndjson`.",
        ),
    ),
    responses(
        (status = 200, content((EventList = "application/json"), (String = "application/x-ndjson"))),
        (status = 403, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    caller.reads_the_audit_log()?;
    let query = Query::read(readable(query.as_deref())?)?;
    if query.format == EventFormat::Jsonl || accepts_json_lines(&headers) {
        return Ok(json_lines(Arc::clone(&app.broker), caller.tenant, query));
    }
    let limit = query.limit.unwrap_or(LIMIT);
    let page = audit::page(&app.broker, &caller.tenant, &query.filter, query.before, limit).await?;
    Ok(Json(EventList {
        data: page.events.into_iter().map(EventResponse::from).collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    })
    .into_response())
}

/// Every event, page by page as the client reads. No connection to the database is held in between.
pub(in crate::http) fn json_lines(broker: Arc<Broker>, tenant: Tenant, query: Query) -> Response {
    let left = query.limit.unwrap_or(usize::MAX);
    let pages = stream::unfold(Some((query.before, left)), move |next| {
        let (broker, tenant, filter) = (Arc::clone(&broker), tenant.clone(), query.filter.clone());
        async move {
            let (before, left) = next?;
            match audit::page(&broker, &tenant, &filter, before, left.min(LIMIT_MAX)).await {
                Ok(page) => {
                    let left = left.saturating_sub(page.events.len());
                    let next = page.next.filter(|_| left > 0).map(|next| (Some(next), left));
                    Some((Ok(lines(page.events)), next))
                }
                Err(error) => {
                    tracing::warn!(event = "audit.export_interrupted", %error, "the database failed during an export of audit events");
                    Some((Err::<Bytes, BrokerError>(error), None))
                }
            }
        }
    });
    ([(header::CONTENT_TYPE, JSON_LINES)], Body::from_stream(pages)).into_response()
}

fn lines(events: Vec<RecordedEvent>) -> Bytes {
    let lines: String = events.into_iter().map(|event| EventResponse::from(event).json_line() + "\n").collect();
    lines.into()
}

fn accepts_json_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').filter_map(|range| range.split(';').next()).any(|range| range.trim() == JSON_LINES)
}

impl Query {
    /// Reads it, or says every fault.
    pub(in crate::http) fn read(query: &str) -> Result<Self, ApiError> {
        let mut read = Self::default();
        read_parameters(query, &PARAMETERS, |name, value| read.take(name, value))?;
        Ok(read)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), (&'static str, String)> {
        // No record has a NUL; PostgreSQL refuses one.
        let text = |value: &str| match value.replace('\0', "") {
            text if text.len() > TEXT_MAX => {
                Err(("string_too_long", format!("String should have at most {TEXT_MAX} characters")))
            }
            text => Ok(Some(text)),
        };
        let filter = &mut self.filter;
        match name {
            "event" if EventName::NAMES.contains(&value) => filter.event = Some(value.to_owned()),
            "event" => {
                return Err(("literal_error", format!("Input should be one of {}", EventName::NAMES.join(", "))));
            }
            "provider_id" => filter.provider_id = text(value)?,
            "user_id" => filter.user_id = text(value)?,
            "agent_id" => filter.agent_id = text(value)?,
            "actor" => filter.actor = text(value)?,
            "from" => filter.from = Some(time(value)?),
            "to" => filter.to = Some(time(value)?),
            "limit" => match value.parse() {
                Ok(limit @ 1..=LIMIT_MAX) => self.limit = Some(limit),
                _ => return Err(("int_parsing", format!("Input should be a number from 1 to {LIMIT_MAX}"))),
            },
            "cursor" => match value.parse() {
                Ok(before @ 1..) => self.before = Some(before),
                _ => return Err(("value_error", "Input should be the next_cursor of a page".into())),
            },
            "format" => match value {
                "json" => self.format = EventFormat::Json,
                "jsonl" => self.format = EventFormat::Jsonl,
                _ => return Err(("literal_error", "Input should be 'json' or 'jsonl'".into())),
            },
            _ => {}
        }
        Ok(())
    }
}

fn time(value: &str) -> Result<DateTime<Utc>, (&'static str, String)> {
    // In a query, the plus sign of a time zone arrives as a space unless it was encoded.
    let time = DateTime::parse_from_rfc3339(&value.replace(' ', "+"));
    let problem = "Input should be a time such as 2026-01-31T00:00:00Z";
    time.map(|time| time.to_utc()).map_err(|_| ("datetime_parsing", problem.into()))
}

impl EventResponse {
    /// The event as one line of JSON.
    #[must_use]
    pub fn json_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<RecordedEvent> for EventResponse {
    fn from(event: RecordedEvent) -> Self {
        Self {
            organization_id: event.organization_id,
            workspace_id: event.workspace_id,
            sequence: event.sequence,
            at: event.at,
            event: event.event,
            result: event.result,
            actor: event.actor,
            actor_id: event.actor_id,
            user_id: event.user_id,
            agent_id: event.agent_id,
            provider_id: event.provider_id,
            token_id: event.token_id,
            auth_id: event.auth_id,
            scopes: event.scopes.0,
            error: event.error,
            details: event.details.0,
            request_id: event.request_id,
            address: event.address,
            hash: hex::encode(event.hash),
        }
    }
}
