//! `GET /v2/events`: what is reported of the workspace, as it happens (server-sent events).
//! Owns: what a client can ask for, and how an event is written.
//! Must not know: when the stream ends, and what is reported.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{Response, sse::Event},
};

use crate::{
    http::{
        app::App,
        checks::{read_parameters, readable},
        error::{ApiError, ErrorBody, Faults},
        follow::{Following, NOT_AN_EVENT, last_received, number},
    },
    identity::Caller,
};

/// The longest time after which a client can have its stream ended, in seconds.
const TIMEOUT_MAX: u64 = 86_400;

/// Follows what is reported of the workspace: the events that webhooks are sent, as server-sent events.
#[utoipa::path(
    get,
    operation_id = "followEvents",
    path = "/v2/events",
    tag = "Events",
    params(
        (
            "after" = Option<i64>,
            Query,
            minimum = 0,
            description = "The `id` of the last event that was received: the stream begins after it. Events are kept for \
                three days. If absent: from now on.",
        ),
        (
            "timeout" = Option<i64>,
            Query,
            minimum = 0,
            maximum = 86400,
            description = "After how many seconds the stream ends; with 0 it ends after the events that there are. If absent: \
                not before the server stops.",
        ),
        ("Last-Event-ID" = Option<String>, Header, description = "The same, as browsers send it."),
    ),
    responses(
        (status = 200, description = "A stream of events", content_type = "text/event-stream"),
        (status = 403, body = ErrorBody),
        (status = 422, body = Faults),
        (
            status = 429,
            body = ErrorBody,
            description = "The API key has too many waits and streams open (`too_many_waits`), or sends too many requests",
        ),
        (
            status = 503,
            body = ErrorBody,
            description = "This server holds as many waits and streams as it has connections for (`too_many_waiters`), or \
                something that it depends on is unavailable",
        ),
    ),
)]
pub async fn follow(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    caller.sees_every_event()?;
    let Query { after, timeout } = Query::read(readable(query.as_deref())?, &headers)?;
    let following = Following::begin(app, caller, None, after, timeout).await?;
    Ok(following.into_response(|_, event| Some(Event::default().event(&event.event).data(&event.payload))))
}

/// What a client asks for.
struct Query {
    /// After which event the stream begins.
    after: Option<i64>,
    /// After which time it ends.
    timeout: Option<Duration>,
}

impl Query {
    fn read(query: &str, headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut read = Self { after: None, timeout: None };
        read_parameters(query, &["after", "timeout"], |name, value| {
            match name {
                "after" => read.after = Some(number(value).ok_or_else(|| ("int_parsing", NOT_AN_EVENT.to_owned()))?),
                "timeout" => match value.parse() {
                    Ok(seconds @ 0..=TIMEOUT_MAX) => read.timeout = Some(Duration::from_secs(seconds)),
                    _ => return Err(("int_parsing", format!("Input should be a number from 0 to {TIMEOUT_MAX}"))),
                },
                _ => {}
            }
            Ok(())
        })?;
        // After a lost connection, a browser repeats the URL and adds the header: the header is the later one.
        Ok(Self { after: last_received(headers)?.or(read.after), ..read })
    }
}
