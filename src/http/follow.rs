//! Following what is reported of a workspace, as it happens: server-sent events.
//! Owns: how often a stream looks, how many there may be, and when one ends.
//! Must not know: what is reported, and how an event is written on the wire.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream};
use secrecy::SecretString;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{app::App, error::ApiError};
use crate::{
    broker::{limits::Permit, webhooks},
    identity::Caller,
    model::webhook::ReportedEvent,
};

/// How often a stream looks for events.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a stream without events is checked and sends a comment, so that nothing in between closes it.
const CHECK_EVERY: Duration = Duration::from_secs(15);
/// How many events are read at a time.
const AT_A_TIME: i64 = 100;
/// Sent again by a client that lost its connection (HTML Standard section 9.2.4).
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The problem of a text that should be the number of an event.
pub(super) const NOT_AN_EVENT: &str = "Input should be the id of an event";
/// nginx holds back what it is sent unless this says no.
const UNBUFFERED: (&str, &str) = ("x-accel-buffering", "no");

/// The session of the console that a page belongs to.
pub(super) struct LivePage {
    pub(super) session: Uuid,
    pub(super) cookie: SecretString,
}

/// A client that follows the events of its workspace.
pub(super) struct Following {
    app: Arc<App>,
    caller: Caller,
    /// `None`: the caller sent a key.
    page: Option<LivePage>,
    after: i64,
    /// When the stream ends.
    until: Option<Instant>,
    checked_at: Instant,
    _open: [Option<Permit>; 2],
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// Takes a place for a stream of what comes after this event; `None`: from now on.
    pub(super) async fn begin(
        app: Arc<App>,
        caller: Caller,
        page: Option<LivePage>,
        after: Option<i64>,
        timeout: Option<Duration>,
    ) -> Result<Self, ApiError> {
        let of_caller = app.begin_wait(&caller)?;
        let of_session = page.as_ref().map(|page| app.begin_live_page(page.session)).transpose()?;
        let place = Arc::clone(&app.waiting_places).try_acquire_owned().map_err(|_| ApiError::NoPlaceToWait)?;
        let after = match after {
            Some(after) => after,
            None => webhooks::last_event(&app.broker, &caller.tenant).await?,
        };
        let now = Instant::now();
        let until = timeout.map(|timeout| now + timeout);
        let open = [of_caller, of_session];
        Ok(Self { app, caller, page, after, until, checked_at: now, _open: open, _place: place })
    }

    /// Sends what `say` makes of each event, if anything. Ends when the process stops, the caller loses its rights or the
    /// database fails: clients connect again, and say what they have.
    pub(super) fn into_response(
        self,
        say: impl Fn(&Caller, &ReportedEvent) -> Option<Event> + Send + 'static,
    ) -> Response {
        let alive = KeepAlive::new().interval(CHECK_EVERY);
        ([UNBUFFERED], Sse::new(self.into_stream(say)).keep_alive(alive)).into_response()
    }

    fn into_stream(
        self,
        say: impl Fn(&Caller, &ReportedEvent) -> Option<Event> + Send + 'static,
    ) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold((self, say, Vec::new().into_iter()), |(mut following, say, mut events)| async move {
            loop {
                for event in events.by_ref() {
                    if let Some(said) = say(&following.caller, &event) {
                        let said = said.id(event.sequence.to_string());
                        return Some((Ok(said), (following, say, events)));
                    }
                }
                events = following.next_events().await?.into_iter();
            }
        })
    }

    /// Waits for the next events.
    async fn next_events(&mut self) -> Option<Vec<ReportedEvent>> {
        loop {
            let broker = &self.app.broker;
            let found = webhooks::events_after(broker, &self.caller.tenant, self.after, AT_A_TIME).await;
            let events = match found {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(event = "events.interrupted", %error, "the database failed while a client followed events");
                    return None;
                }
            };
            if !events.is_empty() || self.checked_at.elapsed() >= CHECK_EVERY {
                // Who has followed for hours may have lost the key, or signed out, meanwhile.
                self.check_again().await.ok()?;
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

    async fn check_again(&self) -> Result<(), ApiError> {
        let Some(page) = &self.page else { return self.caller.check_again(&self.app).await };
        self.app.console_session(&page.cookie).await?.map(drop).ok_or(ApiError::Unauthorized)
    }
}

/// The number of the last event that a client received before its connection was lost.
pub(super) fn last_received(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    match headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?")) {
        None | Some("") => Ok(None),
        Some(last) => match number(last) {
            Some(last) => Ok(Some(last)),
            None => Err(ApiError::fault(["header", LAST_EVENT_ID.as_str()], "int_parsing", NOT_AN_EVENT)),
        },
    }
}

/// The number of an event.
pub(super) fn number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| *number >= 0)
}
