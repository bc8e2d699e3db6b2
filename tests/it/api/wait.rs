//! `GET /v2/auth/wait/{auth_id}`: the long poll for the end of an authorization request, and its limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_auth::identity::api_keys;
use agent_auth::model::actor::Act;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    without_patience_a_pending_request_is_told_as_pending,
    when_the_time_is_over_it_is_told_as_timeout,
    after_a_timeout_one_may_wait_again,
    the_end_is_told_as_soon_as_it_comes,
    the_end_is_told_again_and_again,
    a_long_gone_end_is_not_found,
    an_unknown_request_is_not_found_at_once,
    an_expired_request_is_not_found,
    a_request_that_expires_while_one_waits_is_not_held_for_ever,
    a_timeout_that_is_no_whole_number_is_refused,
    a_timeout_beyond_the_limits_is_refused,
    the_largest_timeout_is_accepted,
    a_lower_limit_is_obeyed_without_a_timeout_too,
    a_hundred_waiters_are_woken,
    waiters_do_not_hold_up_other_requests,
    another_key_of_the_workspace_may_wait_too,
    a_deleted_token_is_not_told_any_more,
    waiters_whose_key_was_revoked_get_no_token,
    waiters_whose_key_has_expired_get_no_token,
    an_agent_whose_key_was_revoked_during_a_refresh_gets_no_token,
}

async fn begun(app: &TestApp) -> (AuthorizationServer, String, url::Url) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let callback = provider.consent(&pending.url);
    (provider, pending.auth_id, callback)
}

fn waiting(caller: &Caller, auth_id: &str, seconds: u32) -> tokio::task::JoinHandle<Value> {
    let (caller, path) = (caller.clone(), format!("/v2/auth/wait/{auth_id}?timeout={seconds}"));
    tokio::spawn(async move { caller.get(&path).await.expect(200) })
}

async fn without_patience_a_pending_request_is_told_as_pending(app: TestApp) {
    let (_provider, auth_id, _) = begun(&app).await;
    let begun = Instant::now();
    let answer = app.look(&auth_id).await;
    assert_eq!(answer["status"], "pending");
    assert!(answer["token"].is_null());
    assert!(begun.elapsed() < Duration::from_secs(1));
}

async fn when_the_time_is_over_it_is_told_as_timeout(app: TestApp) {
    let (_provider, auth_id, _) = begun(&app).await;
    let begun = Instant::now();
    let answer = waiting(&app, &auth_id, 1).await.unwrap();
    assert_eq!(answer["status"], "timeout");
    assert!(answer["token"].is_null());
    let waited = begun.elapsed().as_secs_f64();
    assert!((0.9..5.0).contains(&waited), "{waited}");
}

async fn after_a_timeout_one_may_wait_again(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    for _ in 0..2 {
        let answer = waiting(&app, &auth_id, 1).await.unwrap();
        assert_eq!(answer["status"], "timeout");
    }
    let waiter = waiting(&app, &auth_id, 20);
    app.come_back(&callback).await;
    assert_eq!(waiter.await.unwrap()["status"], "completed");
}

async fn the_end_is_told_as_soon_as_it_comes(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    let waiter = waiting(&app, &auth_id, 60);
    tokio::time::sleep(Duration::from_millis(200)).await;
    app.come_back(&callback).await;
    let come_back = Instant::now();
    let answer = waiter.await.unwrap();
    assert!(come_back.elapsed() < Duration::from_secs(2));
    assert_eq!(answer["status"], "completed");
    let token = app.token(&asking("alice", &["read"])).await;
    assert_eq!(answer["token"], token.as_str());
}

async fn the_end_is_told_again_and_again(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    app.come_back(&callback).await;
    let first = app.wait(&auth_id).await;
    app.advance(120);
    for _ in 0..3 {
        assert_eq!(app.wait(&auth_id).await, first);
    }
}

async fn a_long_gone_end_is_not_found(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    app.come_back(&callback).await;
    app.advance(24 * 3600);
    assert_eq!(app.look(&auth_id).await["status"], "not_found");
}

async fn an_unknown_request_is_not_found_at_once(app: TestApp) {
    let begun = Instant::now();
    for unknown in [Uuid::new_v4().to_string(), Uuid::now_v7().to_string(), "x".to_owned(), "a".repeat(2000)] {
        let path = format!("/v2/auth/wait/{unknown}?timeout=30");
        let answer = app.get(&path).await.expect(200);
        assert_eq!(answer["status"], "not_found", "{unknown}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

async fn an_expired_request_is_not_found(app: TestApp) {
    let (_provider, auth_id, _) = begun(&app).await;
    let lifetime = u64::try_from(app.settings.authorization_ttl_seconds).unwrap();
    app.advance(lifetime + 1);
    assert_eq!(app.look(&auth_id).await["status"], "not_found");
}

async fn a_request_that_expires_while_one_waits_is_not_held_for_ever(app: TestApp) {
    let (_provider, auth_id, _) = begun(&app).await;
    let waiter = waiting(&app, &auth_id, 3);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let lifetime = u64::try_from(app.settings.authorization_ttl_seconds).unwrap();
    app.advance(lifetime + 1);
    let answer = waiter.await.unwrap();
    let status = answer["status"].as_str().unwrap();
    assert!(["not_found", "timeout"].contains(&status), "{answer}");
    assert_eq!(app.look(&auth_id).await["status"], "not_found");
}

async fn a_timeout_that_is_no_whole_number_is_refused(app: TestApp) {
    let (_provider, auth_id, _) = begun(&app).await;
    for wrong in ["soon", "1.5", "", "0x10", "1e2", "true"] {
        let path = format!("/v2/auth/wait/{auth_id}?timeout={wrong}");
        let answer = app.get(&path).await;
        answer.expect_fault("query.timeout", "int_parsing");
    }
}

async fn a_timeout_beyond_the_limits_is_refused(app: TestApp) {
    let (_provider, auth_id, _) = begun(&app).await;
    for (wrong, kind) in [("-1", "greater_than_equal"), ("301", "less_than_equal"), ("1000000000", "less_than_equal")] {
        let path = format!("/v2/auth/wait/{auth_id}?timeout={wrong}");
        let answer = app.get(&path).await;
        answer.expect_fault("query.timeout", kind);
    }
    let path = format!("/v2/auth/wait/{auth_id}?timeout=99999999999999999999");
    app.get(&path).await.expect_fault_at("query.timeout");
}

async fn the_largest_timeout_is_accepted(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    app.come_back(&callback).await;
    for query in ["?timeout=300", ""] {
        let path = format!("/v2/auth/wait/{auth_id}{query}");
        let answer = app.get(&path).await.expect(200);
        assert_eq!(answer["status"], "completed");
    }
}

async fn a_lower_limit_is_obeyed_without_a_timeout_too(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.wait_max_seconds = 2).await;
    let (_provider, auth_id, _) = begun(&app).await;
    let path = format!("/v2/auth/wait/{auth_id}");
    app.get(&format!("{path}?timeout=3")).await.expect_fault("query.timeout", "less_than_equal");
    let asked = Instant::now();
    let answer = app.get(&path).await.expect(200);
    assert_eq!(answer["status"], "timeout");
    assert!(asked.elapsed() < Duration::from_secs(6));
}

async fn a_hundred_waiters_are_woken(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    let waiters: Vec<_> = (0..100).map(|_| waiting(&app, &auth_id, 60)).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.come_back(&callback).await;
    let come_back = Instant::now();
    for answer in join_all(waiters).await {
        assert_eq!(answer.unwrap()["status"], "completed");
    }
    assert!(come_back.elapsed() < Duration::from_secs(5));
}

async fn waiters_do_not_hold_up_other_requests(app: TestApp) {
    let (_provider, auth_id, _) = begun(&app).await;
    let app = Arc::new(app);
    let waiters: Vec<_> = (0..200).map(|_| waiting(&app, &auth_id, 60)).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    for _ in 0..20 {
        app.get("/v2/auth/providers").await.expect(200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    for waiter in waiters {
        waiter.abort();
    }
}

async fn another_key_of_the_workspace_may_wait_too(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    let other = app.service_key().await;
    app.come_back(&callback).await;
    assert_eq!(other.look(&auth_id).await["status"], "completed");
}

async fn a_deleted_token_is_not_told_any_more(app: TestApp) {
    let (provider, auth_id, callback) = begun(&app).await;
    app.come_back(&callback).await;
    let told = app.look(&auth_id).await;
    assert_eq!(told["status"], "completed");
    assert_eq!(provider.refreshes().len(), 0);
    app.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    let answer = app.look(&auth_id).await;
    assert_ne!(answer["token"], told["token"], "a deleted token is not handed out any more: {answer}");
}

async fn revoke(app: &TestApp, caller: &Caller) {
    let keys = api_keys::list(app.app.broker.store()).await.unwrap();
    let key = keys.iter().find(|key| caller.key().starts_with(&key.prefix)).expect("the key's record");
    assert!(api_keys::revoke(app.app.broker.store(), key.id, &Act::command_line(), app.clock.now()).await.unwrap());
}

/// For waiters to sleep, and not merely to have been started.
async fn sleep_deeply(app: &TestApp, auth_id: &str) {
    eventually(Duration::from_secs(20), async || app.look(auth_id).await["status"] == "pending").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn waiters_whose_key_was_revoked_get_no_token(app: TestApp) {
    let (_provider, auth_id, callback) = begun(&app).await;
    let replica = if app.app.broker.is_shared() { Some(app.replica().await) } else { None };
    let revoked = app.new_key(&["--role", "agent", "--kind", "service"]).await;
    let mut waiters = Vec::new();
    for number in 0..100 {
        let caller = match &replica {
            Some(replica) if number % 2 == 0 => replica.with_key(&revoked.key()),
            _ => revoked.clone(),
        };
        let path = format!("/v2/auth/wait/{auth_id}?timeout=60");
        waiters.push(tokio::spawn(async move { caller.get(&path).await }));
    }
    let other = waiting(&app, &auth_id, 60);
    sleep_deeply(&app, &auth_id).await;
    revoke(&app, &revoked).await;
    app.come_back(&callback).await;
    for answer in join_all(waiters).await {
        answer.unwrap().expect_error(401, "unauthorized");
    }
    assert_eq!(other.await.unwrap()["status"], "completed", "another key is not concerned");
}

async fn waiters_whose_key_has_expired_get_no_token(app: TestApp) {
    let (provider, ..) = begun(&app).await;
    let caller = app.new_key(&["--role", "agent", "--kind", "service", "--expires-in-days", "1"]).await;
    app.advance(24 * 3600 - 60);
    let pending = app.begin(&asking("bob", &["read"])).await;
    let path = format!("/v2/auth/wait/{}?timeout=60", pending.auth_id);
    let waiter = tokio::spawn(async move { caller.get(&path).await });
    sleep_deeply(&app, &pending.auth_id).await;
    app.advance(120);
    app.come_back(&provider.consent(&pending.url)).await;
    waiter.await.unwrap().expect_error(401, "unauthorized");
}

async fn an_agent_whose_key_was_revoked_during_a_refresh_gets_no_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let agent = app.new_key(&["--role", "agent", "--kind", "service"]).await;
    let question = asking("alice", &["read"]);
    agent.connect(&provider, &question).await;
    app.advance(24 * 3600);
    let slow = Reply::json(json!({"access_token": "new", "expires_in": 3600})).after(Duration::from_secs(3));
    provider.answer_token(slow);
    let (caller, body) = (agent.clone(), question.clone());
    let refreshing = tokio::spawn(async move { caller.try_authenticate(&body).await });
    eventually(Duration::from_secs(20), async || !provider.refreshes().is_empty()).await;
    revoke(&app, &agent).await;
    refreshing.await.unwrap().expect_error(401, "unauthorized");
    assert_eq!(app.token(&question).await, "new", "the refresh itself is not lost");
}
