//! `/console/events`: what was reported of the workspace lately, and what is while the page is open.
//! Owns: the filters, what an event is called, and the row that shows one: the same on the page and in its stream.
//! Must not know: what is reported, or when a stream ends.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{Response, sse::Event},
};
use chrono::SecondsFormat;
use uuid::Uuid;

use super::{
    failure::Failure,
    frame::Frame,
    page::{show, show_with_script},
    session::Session,
    words::{parameter, query, shown, shown_if_any, shown_up_to},
};
use crate::{
    broker::webhooks::lately::{Sought, page},
    http::{
        app::App,
        browser::pages::render::javascript,
        follow::{Following, LivePage, last_received, number},
    },
    model::webhook::{About, EventType, ReportedEvent},
};

/// How many are on a page.
const LISTED: usize = 50;
/// How much of what to do is shown.
const WHAT_CHARS: usize = 400;
/// The filters, as they are in the address of the page and of its stream.
const FILTERS: [&str; 3] = ["event", "provider", "user"];
/// The script of the page.
const SCRIPT: &str = include_str!("events.js");

/// An event. The stream sends it as the page has it, so that the script writes no markup.
#[derive(Template)]
#[template(path = "http/console/event.html")]
struct Row {
    base: String,
    /// RFC 3339.
    exact: String,
    /// The same for people: a page that stays open must not say "just now" for hours.
    at: String,
    label: String,
    state: &'static str,
    user: String,
    agent: Option<String>,
    provider: String,
    /// The connection, unless the event says that it is gone.
    connection: Option<Uuid>,
    error: Option<String>,
    what_to_do: Option<String>,
}

struct Choice {
    name: &'static str,
    label: &'static str,
    is_chosen: bool,
}

#[derive(Template)]
#[template(path = "http/console/events.html")]
struct EventsPage {
    frame: Frame,
    kinds: Vec<Choice>,
    provider: String,
    user: String,
    is_filtered: bool,
    rows: Vec<Row>,
    /// Where the script finds what happens from now on; empty on older pages.
    stream: String,
    /// Empty on the first page.
    first: String,
    /// Empty on the last page.
    next: String,
}

/// Lists events, newest first.
pub async fn list(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let sought = sought(asked.as_deref());
    let before = number(&parameter(asked.as_deref(), "before"));
    let found = page(&app.broker, session.caller.reach(), &sought, before, LISTED).await?;
    let [_, provider, user] = FILTERS.map(|name| parameter(asked.as_deref(), name));
    let chosen = sought.kind.map_or("", EventType::as_str);
    let address =
        |more: (&str, &str)| query(&[(FILTERS[0], chosen), (FILTERS[1], &*provider), (FILTERS[2], &*user), more]);
    let live = |newest: i64| format!("/events/stream{}", address(("after", &newest.to_string())));
    let kinds = EventType::NAMES.map(|(name, kind)| Choice {
        name,
        label: words(kind).0,
        is_chosen: sought.kind == Some(kind),
    });
    let page = EventsPage {
        kinds: kinds.into(),
        is_filtered: !address(("", "")).is_empty(),
        rows: found.events.iter().map(|(event, about)| Row::of(&session.base, event, about)).collect(),
        stream: if before.is_none() { live(found.newest) } else { String::new() },
        first: if before.is_some() { format!("/events{}", address(("", ""))) } else { String::new() },
        next: found.next.map_or_else(String::new, |next| format!("/events{}", address(("before", &next.to_string())))),
        frame: Frame::new(&session, "/events", "Events"),
        provider,
        user,
    };
    Ok(if before.is_none() { show_with_script(StatusCode::OK, &page) } else { show(StatusCode::OK, &page) })
}

/// Sends each event that the filters let through, as a row of the page.
pub async fn stream(
    State(app): State<Arc<App>>,
    session: Session,
    headers: HeaderMap,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let sought = sought(asked.as_deref());
    let after = last_received(&headers)?.or(number(&parameter(asked.as_deref(), "after")));
    let page = LivePage { session: session.signed_in.session_id(), cookie: session.cookie };
    let following = Following::begin(app, session.caller, Some(page), after, None).await?;
    Ok(following.into_response(move |caller, event| {
        let about = sought.find(event, caller.limits.as_deref())?;
        let row = Row::of(&session.base, event, &about).render().ok()?;
        Some(Event::default().event("reported").data(row))
    }))
}

/// Serves the script.
pub async fn script() -> Response {
    javascript(SCRIPT)
}

fn sought(asked: Option<&str>) -> Sought {
    let [event, provider_id, user_id] =
        FILTERS.map(|name| Some(parameter(asked, name)).filter(|value| !value.is_empty()));
    let kind = EventType::NAMES.into_iter().find(|(name, _)| Some(*name) == event.as_deref()).map(|(_, kind)| kind);
    Sought { kind, provider_id, user_id }
}

impl Row {
    fn of(base: &str, event: &ReportedEvent, about: &About) -> Self {
        let kind = EventType::NAMES.iter().find(|(name, _)| *name == event.event).map(|(_, kind)| *kind);
        let said = kind.map(words);
        Self {
            base: base.to_owned(),
            exact: event.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            at: event.at.format("%F %T").to_string(),
            // A later version may have reported what this one has no word for.
            label: said.map_or_else(|| shown(&event.event), |(label, _)| label.to_owned()),
            state: said.map_or("", |(_, state)| state),
            user: shown(&about.user_id),
            agent: shown_if_any(&about.agent_id),
            provider: shown(&about.provider_id),
            connection: about.token_id.filter(|_| kind != Some(EventType::TokenRevoked)),
            error: about.error.as_deref().or(about.reason.as_deref()).and_then(shown_if_any),
            what_to_do: about.what_to_do.as_deref().map(|text| shown_up_to(text, WHAT_CHARS)),
        }
    }
}

/// What an event is called, and the state that its badge shows.
fn words(kind: EventType) -> (&'static str, &'static str) {
    match kind {
        EventType::TokenConnected => ("Connected", "active"),
        EventType::TokenConsentNeeded => ("Needs consent", "consent_needed"),
        EventType::TokenRefreshFailed => ("Refresh failed", "failing"),
        EventType::TokenEndingSoon => ("Ends soon", "failing"),
        EventType::TokenRecovered => ("Refreshes again", "active"),
        EventType::TokenRevoked => ("Disconnected", ""),
        EventType::ProviderFailing => ("Provider refuses this server", "consent_needed"),
        EventType::ProviderRecovered => ("Provider accepts this server again", "active"),
        EventType::WebhookTest => ("Test of a webhook", ""),
    }
}
