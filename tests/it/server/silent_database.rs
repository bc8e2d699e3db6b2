//! A PostgreSQL whose connections stay open and say nothing: callers are answered, and everything works afterwards.

use std::time::{Duration, Instant};

use agent_auth::clock::Clock;
use agent_auth::server;
use axum::http::Method;
use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, identity};
use crate::support::caller::{Caller, asking};
use crate::support::cluster::Cluster;
use crate::support::database::Database;
use crate::support::eventually::eventually;
use crate::support::wire::Wire;

const HOUR: u64 = 3600;
/// Generous for a slow machine. Without a deadline nothing would ever be answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// As soon as everything must work again.
const SOON: Duration = Duration::from_secs(30);

struct Story {
    app: TestApp,
    provider: AuthorizationServer,
    wire: Wire,
}

impl Story {
    async fn begin() -> Self {
        let database = Database::postgres().await;
        let wire = Wire::to(&database.postgres.as_ref().expect("PostgreSQL").url).await;
        let app = TestApp::start_with(database, |settings| {
            let url = settings.database_url.take().expect("a URL");
            settings.database_url = Some(wire.url(secrecy::ExposeSecret::expose_secret(&url)).into());
        })
        .await;
        let provider = AuthorizationServer::rotating(Duration::ZERO).await;
        app.register_as(provider.definition("acme")).await;
        app.connect(&provider, &question()).await;
        Self { app, provider, wire }
    }
}

/// Asks until the token comes; until then only "try again" will do.
async fn soon(app: &Caller) -> Value {
    let begun = Instant::now();
    loop {
        let answer = answered(app, Method::POST, "/v2/auth/authenticate", &question()).await;
        match answer.status.as_u16() {
            200 => return answer.json(),
            503 => assert!(!answer.header("retry-after").is_empty()),
            _ => panic!("{answer:?}"),
        }
        assert!(begun.elapsed() < SOON, "only ever told to try again: {answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn question() -> Value {
    asking("alice", &["read"])
}

async fn answered(app: &Caller, method: Method, path: &str, body: &Value) -> Answer {
    let request = async {
        match method {
            Method::GET => app.get(path).await,
            Method::DELETE => app.delete(path).await,
            Method::PATCH => app.patch(path, body).await,
            _ => app.post(path, body).await,
        }
    };
    tokio::time::timeout(ANSWERED_WITHIN, request).await.unwrap_or_else(|_| panic!("{path} is never answered"))
}

/// Every kind of operation, while the database says nothing: all are answered, and asked to try again.
async fn all_are_asked_to_try_again(app: &Caller) {
    let operations = [
        (Method::POST, "/v2/auth/authenticate", question()),
        (Method::POST, "/v2/auth/authenticate", asking("bob", &["read"])),
        (Method::GET, "/v2/auth/providers", Value::Null),
        (Method::GET, "/v2/auth/tokens", Value::Null),
        (Method::PATCH, "/v2/auth/providers/acme", json!({"name": "Other"})),
        (Method::DELETE, "/v2/auth/tokens?provider_id=acme", Value::Null),
        (Method::DELETE, "/v2/auth/providers/acme", Value::Null),
        (Method::GET, "/v2/auth/wait/6f2f7a0e-0a3e-4b0b-9a55-0f2d3c1f7a11?timeout=1", Value::Null),
    ];
    let answers =
        join_all(operations.iter().map(|(method, path, body)| answered(app, method.clone(), path, body))).await;
    for (answer, (method, path, _)) in answers.iter().zip(&operations) {
        assert_eq!(answer.status, 503, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["code"], "database_unavailable");
        assert!(!answer.header("retry-after").is_empty(), "{method} {path}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_answered_and_a_fresh_connection_follows() {
    let story = Story::begin().await;
    story.wire.silence();
    all_are_asked_to_try_again(&story.app).await;
    story.wire.restore();
    assert_eq!(soon(&story.app).await["status"], "completed");
    // The old connections are gone, all of them: nobody else has to wait for one.
    for _ in 0..50 {
        assert_eq!(story.app.get("/v2/auth/providers").await.status, 200);
    }
}

/// As on a host that hangs: the kernel takes what is sent, and connections that are new.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_processes_are_frozen_is_only_silent() {
    let cluster = Cluster::start();
    let app = TestApp::start(Database::postgres_on(cluster.url()).await).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    let frozen = cluster.freeze();
    all_are_asked_to_try_again(&app).await;
    assert_eq!(answered(&app, Method::GET, "/readyz", &Value::Null).await.status, 503);
    drop(frozen);
    assert_eq!(soon(&app).await["status"], "completed");
    eventually(SOON, async || app.get("/readyz").await.status == 200).await;
    app.get("/v2/auth/providers/acme").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_callers_are_answered_as_soon_as_one() {
    let story = Story::begin().await;
    story.wire.silence();
    let calls = (0..3000).map(|_| {
        let caller = Caller::clone(&story.app);
        tokio::spawn(async move { answered(&caller, Method::POST, "/v2/auth/authenticate", &question()).await })
    });
    for answer in join_all(calls.collect::<Vec<_>>()).await {
        answer.expect("no panic").expect_error(503, "database_unavailable");
    }
    story.wire.restore();
    assert_eq!(soon(&story.app).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_ends_before_a_statement_would() {
    let story = Story::begin().await;
    story.wire.silence();
    let begun = Instant::now();
    let answer = answered(&story.app, Method::GET, "/readyz", &Value::Null).await;
    assert_eq!(answer.status, 503);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    story.wire.restore();
    eventually(SOON, async || story.app.get("/readyz").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_give_up_sooner_do_not_keep_silent_connections_in_use() {
    let story = Story::begin().await;
    story.wire.silence();
    let impatient = async || {
        let body = question();
        tokio::time::timeout(Duration::from_secs(1), story.app.try_authenticate(&body)).await.ok()
    };
    for _ in 0..3 {
        assert!(impatient().await.is_none_or(|answer| answer.status == 503));
    }
    story.wire.restore();
    eventually(SOON, async || impatient().await.is_some_and(|answer| answer.status == 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_hears_nothing_connects_again() {
    let story = Story::begin().await;
    let listeners = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    eventually(SOON, async || story.app.database.number(listeners).await == 1).await;
    story.wire.silence();
    tokio::time::sleep(Duration::from_millis(100)).await;
    story.wire.restore();
    // The old connection is never closed at the server, which does not learn of it.
    eventually(Duration::from_mins(1), async || story.app.database.number(listeners).await == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_between_the_providers_response_and_the_commit_costs_no_grant() {
    let story = Story::begin().await;
    story.app.advance(HOUR);
    story.provider.hold();
    let caller = Caller::clone(&story.app);
    let call = tokio::spawn(async move { answered(&caller, Method::POST, "/v2/auth/authenticate", &question()).await });
    story.provider.until_held(1).await;
    story.wire.silence();
    story.provider.release();
    tokio::time::sleep(Duration::from_secs(1)).await;
    story.wire.restore();
    let answer = call.await.expect("no panic");
    assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
    let told = soon(&story.app).await;
    assert_eq!(identity(told["token"].as_str().expect("a token")), (0, 1));
    assert_eq!((story.provider.reuses(), story.provider.dead_grants()), (0, 0), "what was renewed is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_during_an_exchange_costs_no_consent() {
    let story = Story::begin().await;
    let pending = story.app.begin(&asking("bob", &["read"])).await;
    story.provider.hold();
    let (browser, callback) = (Caller::clone(&story.app), story.provider.consent(&pending.url));
    let visit = tokio::spawn(async move { browser.visit(&callback).await });
    story.provider.until_held(1).await;
    story.wire.silence();
    story.provider.release();
    tokio::time::sleep(Duration::from_secs(1)).await;
    story.wire.restore();
    let page = visit.await.expect("no panic");
    assert!([303, 503].contains(&page.status.as_u16()), "{page:?}");
    eventually(SOON, async || {
        let answer = story.app.get(&format!("/v2/auth/wait/{}?timeout=1", pending.auth_id)).await;
        answer.status == 200 && answer.json()["status"] == "completed"
    })
    .await;
}

/// The writer has locked the chain of its organization by then, which every other writer needs.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_while_it_sends_audit_events_does_not_hold_up_the_others() {
    let story = Story::begin().await;
    let url = story.app.database.postgres.as_ref().expect("PostgreSQL").url.clone();
    let there = story.app.replica_with(|settings| settings.database_url = Some(url.into())).await;
    for _ in 0..100 {
        story.app.token(&question()).await;
    }
    story.wire.silence_amid("token.handed_out");
    let broker = story.app.app.broker.clone();
    let cut_off = tokio::spawn(async move { broker.handouts.write().await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                   AND wait_event = 'ClientRead' AND xact_start IS NOT NULL";
    eventually(SOON, async || story.app.database.number(waiting).await > 0).await;
    let begun = Instant::now();
    let body = json!({"name": "Other"});
    eventually(Duration::from_secs(15), async || {
        answered(&there, Method::PATCH, "/v2/auth/providers/acme", &body).await.status == 200
    })
    .await;
    println!("held up for {:?}", begun.elapsed());
    story.wire.restore();
    cut_off.await.expect("no panic").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_against_a_silent_server_ends_with_the_reason() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("an address");
    let mut settings = Database::sqlite().settings();
    settings.database_url = Some(SecretString::from(format!("postgres://postgres@{address}/postgres")));
    settings.database_wait_seconds = 0;
    let started = tokio::time::timeout(ANSWERED_WITHIN, server::start(settings, Clock::system())).await;
    let error = started.expect("it ends").err().expect("it cannot start").to_string();
    assert!(error.contains(&address.to_string()) && error.contains("no response"), "{error}");
}
