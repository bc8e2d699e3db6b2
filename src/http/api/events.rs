//! `GET /v2/events`: what is reported of the workspace, as it happens (server-sent events).
//! Owns: the stream: where it begins, how often it looks, and when it ends.
//! Must not know: what is reported, and when.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};

use crate::{
    broker::{
        limits::{LimitKey, Permit},
        webhooks,
    },
    http::{
        app::App,
        checks::{read_parameters, readable},
        error::{ApiError, ErrorBody, Excess, Faults},
    },
    identity::Caller,
    model::webhook::ReportedEvent,
};

/// How often a stream looks for events.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a stream without events is checked and sends a comment, so that nothing in between closes it.
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// When another try makes sense after too many streams.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest time after which a client can have its stream ended, in seconds.
const TIMEOUT_MAX: u64 = 86_400;
/// How many events are read at a time.
const AT_A_TIME: i64 = 100;
/// Sent again by a client that lost its connection (HTML Standard section 9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx holds back what it is sent unless this says no.
const UNBUFFERED: (&str, &str) = ("x-accel-buffering", "no");

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
    let open = match app.broker.settings.waits_per_key {
        0 => None,
        max => {
            let key = LimitKey::Wait { caller: caller.counted_as(), max };
            Some(app.broker.limits.begin(key).ok_or(ApiError::TooMany(Excess::Waits, RETRY_AFTER))?)
        }
    };
    let place = Arc::clone(&app.waiting_places).try_acquire_owned().map_err(|_| ApiError::NoPlaceToWait)?;
    let after = match after {
        Some(after) => after,
        None => webhooks::last_event(&app.broker, &caller.tenant).await?,
    };
    let now = Instant::now();
    let until = timeout.map(|timeout| now + timeout);
    let following = Following { app, caller, after, until, checked_at: now, _open: open, _place: place };
    let alive = KeepAlive::new().interval(CHECK_EVERY);
    Ok(([UNBUFFERED], Sse::new(following.into_stream()).keep_alive(alive)).into_response())
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
        const PROBLEM: &str = "Input should be the id of an event";
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
        let mut read = Self { after: None, timeout: None };
        read_parameters(query, &["after", "timeout"], |name, value| {
            match name {
                "after" => read.after = Some(number(value).ok_or_else(|| ("int_parsing", PROBLEM.to_owned()))?),
                "timeout" => match value.parse() {
                    Ok(seconds @ 0..=TIMEOUT_MAX) => read.timeout = Some(Duration::from_secs(seconds)),
                    _ => return Err(("int_parsing", format!("Input should be a number from 0 to {TIMEOUT_MAX}"))),
                },
                _ => {}
            }
            Ok(())
        })?;
        // After a lost connection, a browser repeats the URL and adds the header: the header is the later one.
        match headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?")) {
            None | Some("") => Ok(read),
            Some(last) => match number(last) {
                Some(last) => Ok(Self { after: Some(last), ..read }),
                None => Err(ApiError::fault(["header", LAST_EVENT_ID.as_str()], "int_parsing", PROBLEM)),
            },
        }
    }
}

/// A client that follows the events of its workspace.
struct Following {
    app: Arc<App>,
    caller: Caller,
    after: i64,
    /// When the stream ends.
    until: Option<Instant>,
    checked_at: Instant,
    _open: Option<Permit>,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// Ends when the process stops, the caller loses its rights or the database fails: clients connect again, and say what
    /// they have.
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold((self, Vec::new().into_iter()), |(mut following, mut events)| async move {
            loop {
                if let Some(event) = events.next() {
                    return Some((Ok(on_the_wire(&event)), (following, events)));
                }
                events = following.next_events().await?.into_iter();
            }
        })
    }

    /// Waits for the next events.
    async fn next_events(&mut self) -> Option<Vec<ReportedEvent>> {
        let broker = &self.app.broker;
        loop {
            let found = webhooks::events_after(broker, &self.caller.tenant, self.after, AT_A_TIME).await;
            let events = match found {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(event = "events.interrupted", %error, "the database failed while a client followed events");
                    return None;
                }
            };
            if !events.is_empty() || self.checked_at.elapsed() >= CHECK_EVERY {
                // Who has followed for hours may have lost the key meanwhile.
                self.caller.check_again(&self.app).await.ok()?;
                self.checked_at = Instant::now();
            }
            if let Some(last) = events.last() {
                self.after = last.sequence;
                return Some(events);
            }
            if self.until.is_some_and(|until| until <= Instant::now()) {
                return None;
            }
            broker.shutdown.run_until_cancelled(sleep(LOOK_EVERY)).await?;
        }
    }
}

fn on_the_wire(event: &ReportedEvent) -> Event {
    Event::default().id(event.sequence.to_string()).event(&event.event).data(&event.payload)
}
