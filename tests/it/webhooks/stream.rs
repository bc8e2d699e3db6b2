//! `GET /v2/events`: what webhooks are sent, as server-sent events.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{SOON, with_provider};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking};
use crate::support::eventually::eventually;

const ALL: &str = "/v2/events?after=0&timeout=0";

both_databases! {
    a_stream_has_the_events_in_order_and_goes_on_where_it_ended,
    a_stream_brings_what_happens_meanwhile_also_on_another_replica,
    a_stream_begins_now_unless_it_is_said_otherwise,
    a_workspace_sees_only_its_own_events,
    a_stream_ends_when_its_key_is_revoked,
    a_stream_ends_when_the_server_stops,
    a_key_has_only_so_many_streams,
    events_are_kept_for_three_days,
    what_cannot_be_read_is_refused,
    no_event_without_what_it_reports,
}

/// An event as it was received.
#[derive(Debug, PartialEq)]
struct Received {
    id: i64,
    kind: String,
    data: Value,
}

fn parsed(stream: &str) -> Vec<Received> {
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {event}")).to_owned()
    };
    let events = stream.split("\n\n").filter(|event| !event.is_empty() && !event.starts_with(':'));
    events
        .map(|event| Received {
            id: field(event, "id").parse().expect("a number"),
            kind: field(event, "event"),
            data: serde_json::from_str(&field(event, "data")).expect("JSON"),
        })
        .collect()
}

async fn events(caller: &Caller, path: &str) -> Vec<Received> {
    let answer = caller.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-cache");
    parsed(&answer.text())
}

fn kinds(events: &[Received]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

async fn a_stream_has_the_events_in_order_and_goes_on_where_it_ended(app: TestApp) {
    let provider = with_provider(&app).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.advance(3600);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.begin(&asking("alice", &["read"])).await;
    let all = events(&app, ALL).await;
    assert_eq!(kinds(&all), ["token.connected", "token.consent_needed"]);
    assert!(all[0].id < all[1].id, "{all:?}");
    assert_eq!(all[0].data["type"], "token.connected");
    assert_eq!(all[0].data["data"]["user_id"], "alice");
    let again = app.with("last-event-id", &all[0].id.to_string());
    assert_eq!(kinds(&events(&again, ALL).await), ["token.consent_needed"], "the header is the later one");
    assert_eq!(events(&app, &format!("/v2/events?after={}&timeout=0", all[1].id)).await, []);
}

async fn a_stream_brings_what_happens_meanwhile_also_on_another_replica(app: TestApp) {
    let provider = with_provider(&app).await;
    let elsewhere = if app.database.postgres.is_some() { Some(app.replica().await) } else { None };
    let follower = elsewhere.as_ref().map_or_else(|| (*app).clone(), |replica| (**replica).clone());
    let following = tokio::spawn(async move { events(&follower, "/v2/events?timeout=6").await });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    let received = timeout(SOON, following).await.expect("it ends").unwrap();
    assert_eq!(kinds(&received), ["token.connected"]);
}

async fn a_stream_begins_now_unless_it_is_said_otherwise(app: TestApp) {
    let provider = with_provider(&app).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(events(&app, "/v2/events?timeout=0").await, []);
    assert_eq!(events(&app, ALL).await.len(), 1);
}

async fn a_workspace_sees_only_its_own_events(app: TestApp) {
    let home = app.app.broker.home_tenant().await.unwrap().organization;
    let sister = app.service_key_in(&home, "sister").await;
    let stranger = app.service_key_in("elsewhere", "far").await;
    let provider = with_provider(&app).await;
    sister.register(&provider).await;
    stranger.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    sister.acting_for("bob").connect(&provider, &asking("bob", &["read"])).await;
    stranger.acting_for("carol").connect(&provider, &asking("carol", &["read"])).await;
    for (caller, user) in [(&*app, "alice"), (&sister, "bob"), (&stranger, "carol")] {
        let received = events(caller, ALL).await;
        let users: Vec<&Value> = received.iter().map(|event| &event.data["data"]["user_id"]).collect();
        assert_eq!(users, [user]);
    }
}

async fn a_stream_ends_when_its_key_is_revoked(app: TestApp) {
    let provider = with_provider(&app).await;
    let viewer = app.new_key(&["--role", "viewer"]).await;
    let following = tokio::spawn({
        let viewer = viewer.clone();
        async move { events(&viewer, "/v2/events?timeout=60").await }
    });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    app.database.tamper("UPDATE api_keys SET revoked_at = created_at WHERE role = 'viewer'").await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(timeout(SOON, following).await.expect("it ends").unwrap(), [], "nothing after the revocation");
}

async fn a_stream_ends_when_the_server_stops(app: TestApp) {
    let follower = (*app).clone();
    let following = tokio::spawn(async move { events(&follower, "/v2/events?timeout=60").await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.stop().await;
    timeout(SOON, following).await.expect("it ends").unwrap();
}

async fn a_key_has_only_so_many_streams(app: TestApp) {
    let app = app.replica_with(|settings| settings.waits_per_key = 1).await;
    let follower = (*app).clone();
    let following = tokio::spawn(async move { events(&follower, "/v2/events?timeout=60").await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    app.get("/v2/events?timeout=0").await.expect_error(429, "too_many_waits");
    following.abort();
    let accepted = async || app.get("/v2/events?timeout=0").await.status == 200;
    eventually(SOON, accepted).await;
}

async fn events_are_kept_for_three_days(app: TestApp) {
    use agent_auth::broker::jobs::sweep::{count, run_once};

    let provider = with_provider(&app).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.advance(3 * 86_400 - 60);
    assert_eq!(run_once(&app.app.broker).await.unwrap().unwrap().events, 0);
    app.advance(120);
    assert_eq!(count(&app.app.broker).await.unwrap().events, 1);
    assert_eq!(run_once(&app.app.broker).await.unwrap().unwrap().events, 1);
    assert_eq!(events(&app, ALL).await, []);
}

async fn what_cannot_be_read_is_refused(app: TestApp) {
    app.get("/v2/events?after=x").await.expect_fault_at("query.after");
    app.get("/v2/events?after=-1").await.expect_fault_at("query.after");
    app.get("/v2/events?timeout=86401").await.expect_fault_at("query.timeout");
    app.with("last-event-id", "x").get("/v2/events").await.expect_fault_at("header.last-event-id");
    let posted = app.send(Method::POST, "/v2/events", Body::empty()).await;
    posted.expect_error(405, "method_not_allowed");
}

async fn no_event_without_what_it_reports(app: TestApp) {
    let provider = with_provider(&app).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    app.database.tamper("ALTER TABLE reported_events RENAME TO events_away").await;
    app.visit(&provider.consent(&pending.url)).await;
    assert_eq!(app.database.row_counts().await["tokens"], 0, "no token without its event");
    app.database.tamper("ALTER TABLE events_away RENAME TO reported_events").await;
}
