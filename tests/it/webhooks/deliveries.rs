//! How deliveries go wrong, and what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Hook, OF_TOKENS, PATH, count, deliver, until_finished, webhook, with_provider};
use crate::support::app::TestApp;
use crate::support::authorization_server::{Reply, Request};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    the_order_of_each_token_is_kept_while_the_receiver_fails_half_of_the_time,
    a_dead_letter_can_be_sent_again,
    after_a_dead_letter_the_later_events_of_its_token_go_on,
    delivered_events_can_be_sent_again_by_id_and_since_a_time,
    a_webhook_that_is_gone_is_disabled_and_can_be_enabled,
    a_receiver_that_wants_a_pause_gets_it,
    a_redirect_is_not_followed,
    private_addresses_are_refused_when_added_and_when_called,
    a_slow_webhook_does_not_delay_another,
    old_deliveries_are_deleted,
}

/// Half of the attempts, by their signature, which differs from attempt to attempt.
fn fails(request: &Request) -> bool {
    request.header("webhook-signature").as_bytes()[3].is_multiple_of(2)
}

fn flaky(request: &Request) -> Reply {
    Reply::json(json!({})).status(if fails(request) { 500 } else { 200 })
}

fn question(user: &str) -> Value {
    asking(user, &["read"])
}

async fn the_order_of_each_token_is_kept_while_the_receiver_fails_half_of_the_time(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add_with(&app.database, &OF_TOKENS, flaky).await);
    let app_ref = app.service_key().await;
    let users = ["ann", "bob", "cyd", "dan", "eve"];
    for user in users {
        app_ref.acting_for(user).connect(&provider, &question(user)).await;
    }
    for round in 0..4 {
        app.advance(3600);
        for user in users {
            if round % 2 == 0 {
                provider.answer_token(Reply::json(json!({"error": "unsupported_grant_type"})).status(400));
                app_ref.acting_for(user).try_authenticate(&question(user)).await;
            } else {
                app_ref.acting_for(user).token(&question(user)).await;
            }
        }
    }
    until_finished(&app, 100).await;
    assert_eq!(count(&app.database, "dead_at IS NULL AND delivered_at IS NOT NULL").await, 25);
    let (mut order, mut seen) = (BTreeMap::<String, Vec<String>>::new(), BTreeSet::new());
    for attempt in hook.attempts().iter().filter(|attempt| !fails(attempt)) {
        assert!(seen.insert(attempt.header("webhook-id").to_owned()), "delivered twice");
        let body = attempt.json();
        let of_token = order.entry(body["data"]["token_id"].as_str().unwrap().to_owned()).or_default();
        of_token.push(body["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(order.len(), users.len());
    for types in order.values() {
        let (failed, recovered) = ("token.refresh_failed", "token.recovered");
        assert_eq!(types, &["token.connected", failed, recovered, failed, recovered]);
    }
    assert!(hook.attempts().iter().any(fails), "the receiver failed");
}

/// A webhook that never takes anything, and one event that is dead by now.
async fn with_dead_letter(app: &TestApp) -> Hook {
    let provider = with_provider(app).await;
    let hook = Hook::add(&app.database, &[]).await;
    hook.receiver.show(PATH, Reply::json(json!({})).status(503));
    app.connect(&provider, &question("alice")).await;
    hook.received(1).await;
    until_finished(app, 30).await;
    assert_eq!(count(&app.database, "dead_at IS NOT NULL").await, 1);
    hook
}

async fn a_dead_letter_can_be_sent_again(app: TestApp) {
    let hook = with_dead_letter(&app).await;
    assert_eq!(hook.attempts().len(), 13, "the first attempt, and one after each wait");
    let listed = hook.command(&app.database, "deliveries", &["--state", "dead", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((&listed["state"], &listed["last_status"]), (&json!("dead"), &json!(503)));
    let listed = hook.command(&app.database, "deliveries", &[]).await;
    assert!(listed.stderr.contains("ID\tTYPE\tSTATE\tHAPPENED\tATTEMPTS\tLAST ERROR"), "{listed:?}");
    assert!(!listed.stderr.contains("there may be more"), "{listed:?}");
    let columns: Vec<&str> = listed.stdout.trim_end().split('\t').collect();
    assert_eq!((columns[1], columns[2], columns[4]), ("token.connected", "dead", "13"));
    hook.receiver.hide(PATH);
    let sent = hook.command(&app.database, "replay", &["--since", "2020-01-01T00:00:00Z", "--dead"]).await;
    assert!(sent.stdout.starts_with("1 event is sent again"), "{sent:?}");
    deliver(&app).await;
    hook.received(14).await;
    let attempts = hook.attempts();
    assert_eq!(attempts[13].header("webhook-id"), attempts[0].header("webhook-id"), "receivers can tell");
    assert_eq!(attempts[13].body, attempts[0].body);
    eventually(super::SOON, async || count(&app.database, "delivered_at IS NOT NULL").await == 1).await;
    let none = hook.command(&app.database, "replay", &["--since", "2020-01-01T00:00:00Z", "--dead"]).await;
    assert!(none.stdout.starts_with("0 events"), "{none:?}");
}

async fn after_a_dead_letter_the_later_events_of_its_token_go_on(app: TestApp) {
    let provider = with_provider(&app).await;
    let hook = Hook::add(&app.database, &[]).await;
    hook.receiver.show(PATH, Reply::json(json!({})).status(503));
    app.connect(&provider, &question("alice")).await;
    app.acting_for("alice").delete("/v2/auth/tokens?provider_id=acme").await;
    eventually(super::SOON, async || count(&app.database, "last_status = 503").await == 1).await;
    assert!(hook.types().iter().all(|name| name == "token.connected"), "the other one waits");
    app.database.tamper("UPDATE webhook_deliveries SET attempts = 12 WHERE event = 'token.connected'").await;
    app.advance(24 * 3600);
    deliver(&app).await;
    eventually(super::SOON, async || count(&app.database, "dead_at IS NOT NULL").await == 1).await;
    hook.receiver.hide(PATH);
    until_finished(&app, 5).await;
    assert_eq!(hook.types().last().map(String::as_str), Some("token.revoked"));
}

async fn delivered_events_can_be_sent_again_by_id_and_since_a_time(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    app.connect(&provider, &question("alice")).await;
    app.acting_for("alice").delete("/v2/auth/tokens?provider_id=acme").await;
    hook.received(2).await;
    eventually(super::SOON, async || count(&app.database, "delivered_at IS NOT NULL").await == 2).await;
    let id = hook.attempts()[1].header("webhook-id").to_owned();
    let sent = hook.command(&app.database, "replay", &["--message", &id]).await;
    assert!(sent.stdout.starts_with("1 event is sent again"), "{sent:?}");
    hook.received(3).await;
    assert_eq!(hook.attempts()[2].header("webhook-id"), id);
    eventually(super::SOON, async || count(&app.database, "delivered_at IS NOT NULL").await == 2).await;
    hook.command(&app.database, "replay", &["--since", "2020-01-01T00:00:00Z"]).await;
    hook.received(5).await;
    assert_eq!(hook.types()[3..], ["token.connected", "token.revoked"], "in their order");
    let later = hook.command(&app.database, "replay", &["--since", "2100-01-01T00:00:00Z"]).await;
    assert!(later.stdout.starts_with("0 events"), "{later:?}");
}

async fn a_webhook_that_is_gone_is_disabled_and_can_be_enabled(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    hook.receiver.answer(PATH, Reply::json(json!({})).status(410));
    app.connect(&provider, &question("alice")).await;
    let disabled = "SELECT count(*) FROM webhooks WHERE disabled_at IS NOT NULL";
    eventually(super::SOON, async || app.database.number(disabled).await == 1).await;
    app.connect(&provider, &question("bob")).await;
    deliver(&app).await;
    assert_eq!(hook.receiver.count(PATH), 1, "nothing more is sent");
    let listed = webhook(&app.database, &["list"]).await;
    assert!(listed.stdout.contains("disabled"), "{listed:?}");
    assert!(hook.command(&app.database, "enable", &[]).await.status.success());
    hook.command(&app.database, "replay", &["--since", "2020-01-01T00:00:00Z"]).await;
    hook.received(2).await;
    assert_eq!(hook.types(), ["token.connected", "token.connected"]);
    let events = app.get("/v2/audit?limit=1000").await.expect(200);
    let names: Vec<&str> = events["data"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    for name in ["webhook.created", "webhook.disabled", "webhook.enabled"] {
        assert_eq!(names.iter().filter(|event| **event == name).count(), 1, "{name} in {names:?}");
    }
}

async fn a_receiver_that_wants_a_pause_gets_it(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    hook.receiver.answer(PATH, Reply::json(json!({})).status(429).header("retry-after", "3000"));
    app.connect(&provider, &question("alice")).await;
    eventually(super::SOON, async || count(&app.database, "last_status = 429").await == 1).await;
    app.advance(2900);
    deliver(&app).await;
    assert_eq!(hook.receiver.count(PATH), 1);
    app.advance(200);
    deliver(&app).await;
    hook.received(2).await;
}

async fn a_redirect_is_not_followed(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    hook.receiver.answer(PATH, Reply::json(json!({})).status(307).header("location", &hook.receiver.at("/other")));
    app.connect(&provider, &question("alice")).await;
    eventually(super::SOON, async || count(&app.database, "last_status = 307").await == 1).await;
    assert_eq!(hook.receiver.count("/other"), 0);
}

async fn private_addresses_are_refused_when_added_and_when_called(database: Database) {
    let app = TestApp::start(database).await;
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    let mut strict = app.database.environment();
    strict.retain(|(name, _)| name != "AGENT_AUTH_ALLOW_PRIVATE_UPSTREAMS");
    for url in [
        "http://example.com/hook",
        "https://127.0.0.1/hook",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/hook",
        "https://localhost/hook",
        "file:///etc/passwd",
        "https://user:password@example.com/hook",
    ] {
        let refused = crate::support::binary::run(&["webhook", "add", url], &strict).await;
        assert!(!refused.status.success(), "{url}: {refused:?}");
    }
    app.stop().await;
    // It was added when its address was allowed, and no server that allows it delivers any more.
    app.connect(&provider, &question("alice")).await;
    let strict = app.replica_with(|settings| "false".clone_into(&mut settings.allow_private_upstreams)).await;
    deliver(&strict).await;
    let refused = "last_status IS NULL AND last_error LIKE 'the URL %'";
    eventually(super::SOON, async || count(&app.database, refused).await == 1).await;
    assert_eq!(hook.receiver.count(PATH), 0);
}

async fn a_slow_webhook_does_not_delay_another(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.provider_timeout_seconds = 60).await;
    let provider = with_provider(&app).await;
    let (slow, fast) = (Hook::add(&app.database, &[]).await, Hook::add(&app.database, &[]).await);
    slow.receiver.show(PATH, Reply::json(json!({})).after(Duration::from_mins(2)));
    let of = |hook: &Hook, condition: &str| {
        format!("webhook = (SELECT id FROM webhooks WHERE url = '{}') AND {condition}", hook.receiver.at(PATH))
    };
    app.connect(&provider, &question("ann")).await;
    slow.received(1).await;
    for user in ["bob", "cyd"] {
        app.connect(&provider, &question(user)).await;
    }
    eventually(super::SOON, async || count(&app.database, &of(&fast, "delivered_at IS NOT NULL")).await == 3).await;
    let under_way = "attempts = 1 AND due_at IS NOT NULL AND last_error IS NULL";
    assert_eq!(count(&app.database, &of(&slow, under_way)).await, 1, "the slow one has not answered yet");
}

async fn old_deliveries_are_deleted(app: TestApp) {
    use agent_auth::broker::jobs::sweep::run_once;
    let hook = with_dead_letter(&app).await;
    let provider = with_provider_named(&app, "other").await;
    hook.receiver.hide(PATH);
    app.connect(&provider, &json!({"provider": "other", "scopes": ["read"], "user_id": "bob"})).await;
    eventually(super::SOON, async || count(&app.database, "delivered_at IS NOT NULL").await == 1).await;
    for (days, left) in [(6, 2), (2, 1), (23, 0)] {
        app.advance(days * 24 * 3600);
        while run_once(&app.app.broker).await.unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(count(&app.database, "1 = 1").await, left, "after {days} more days");
    }
}

async fn with_provider_named(app: &TestApp, name: &str) -> crate::support::authorization_server::AuthorizationServer {
    let provider = crate::support::authorization_server::AuthorizationServer::start().await;
    app.register_as(provider.definition(name)).await;
    provider
}
