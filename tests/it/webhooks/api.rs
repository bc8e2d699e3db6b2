//! `/v2/admin/webhooks`: what `agent-auth webhook` does, for programs.

use serde_json::{Value, json};

use super::{PATH, SOON, assert_signed, count, with_provider};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::eventually::eventually;

const WEBHOOKS: &str = "/v2/admin/webhooks";

both_databases! {
    a_webhook_is_added_sends_and_is_removed,
    a_test_says_how_the_receiver_answered,
    what_was_given_up_is_listed_and_sent_again,
    faults_of_a_webhook_are_named,
    a_webhook_of_another_workspace_does_not_exist,
    a_viewer_lists_and_changes_nothing,
    a_key_with_limits_has_no_webhooks,
}

async fn receiver() -> AuthorizationServer {
    AuthorizationServer::custom(|_| Reply::json(json!({}))).await
}

async fn added(app: &TestApp, receiver: &AuthorizationServer, events: Value) -> Value {
    app.post(WEBHOOKS, &json!({"url": receiver.at(PATH), "events": events})).await.expect(201)
}

fn of(webhook: &Value, path: &str) -> String {
    format!("{WEBHOOKS}/{}{path}", webhook["id"].as_str().unwrap())
}

async fn a_webhook_is_added_sends_and_is_removed(app: TestApp) {
    let (provider, receiver) = (with_provider(&app).await, receiver().await);
    let webhook = added(&app, &receiver, json!(["token.connected"])).await;
    let secret = webhook["secret"].as_str().unwrap();
    let listed = app.get(WEBHOOKS).await;
    assert!(!listed.text().contains(secret), "shown once");
    let listed = &listed.expect(200)["data"][0];
    assert_eq!((&listed["id"], &listed["events"]), (&webhook["id"], &json!(["token.connected"])));
    app.connect(&provider, &asking("alice", &["read"])).await;
    eventually(SOON, async || receiver.count(PATH) == 1).await;
    assert_signed(&receiver.requests(PATH)[0], secret);
    eventually(SOON, async || count(&app.database, "delivered_at IS NOT NULL").await == 1).await;
    let deliveries = app.get(&of(&webhook, "/deliveries?state=delivered")).await.expect(200);
    let delivery = &deliveries["data"][0];
    assert_eq!((&delivery["type"], &delivery["last_status"]), (&json!("token.connected"), &json!(200)));
    assert_eq!(delivery["message_id"], receiver.requests(PATH)[0].header("webhook-id"));
    app.delete(&of(&webhook, "")).await.expect(204);
    assert_eq!(app.get(WEBHOOKS).await.expect(200)["data"], json!([]));
    app.delete(&of(&webhook, "")).await.expect_error(404, "not_found");
    let events = app.get("/v2/audit?event=webhook.deleted").await.expect(200);
    assert_eq!(events["data"][0]["details"]["webhook_id"], webhook["id"]);
    assert_eq!(events["data"][0]["actor"], "api_key");
}

async fn a_test_says_how_the_receiver_answered(app: TestApp) {
    let receiver = receiver().await;
    let webhook = added(&app, &receiver, json!([])).await;
    let tested = app.post(&of(&webhook, "/test"), &json!({})).await.expect(200);
    assert_eq!(tested, json!({"status": 200, "error": null}));
    assert_eq!(receiver.requests(PATH)[0].json()["type"], "webhook.test");
    receiver.answer(PATH, Reply::json(json!({})).status(401));
    assert_eq!(app.post(&of(&webhook, "/test"), &json!({})).await.expect(200)["status"], 401);
    let nobody = app.post(WEBHOOKS, &json!({"url": "http://127.0.0.1:1/webhook"})).await.expect(201);
    let tested = app.post(&of(&nobody, "/test"), &json!({})).await.expect(200);
    assert_eq!(tested, json!({"status": null, "error": "no connection"}));
}

async fn what_was_given_up_is_listed_and_sent_again(app: TestApp) {
    let (provider, receiver) = (with_provider(&app).await, receiver().await);
    let webhook = added(&app, &receiver, json!([])).await;
    receiver.answer(PATH, Reply::json(json!({})).status(410));
    app.connect(&provider, &asking("alice", &["read"])).await;
    eventually(SOON, async || count(&app.database, "dead_at IS NOT NULL").await == 1).await;
    let dead = app.get(&of(&webhook, "/deliveries?state=dead")).await.expect(200);
    assert_eq!(dead["data"][0]["last_error"], "410 gone");
    assert_eq!(app.get(WEBHOOKS).await.expect(200)["data"][0]["disabled_reason"], "410 gone");
    app.post(&of(&webhook, "/enable"), &json!({})).await.expect(204);
    let again = json!({"message_id": dead["data"][0]["message_id"]});
    let replayed = app.post(&of(&webhook, "/replay"), &again).await.expect(200);
    assert_eq!(replayed, json!({"replayed": 1}));
    eventually(SOON, async || count(&app.database, "delivered_at IS NOT NULL").await == 1).await;
    let since = json!({"since": "2026-01-01T00:00:00Z", "dead": true});
    assert_eq!(app.post(&of(&webhook, "/replay"), &since).await.expect(200)["replayed"], 0);
}

async fn faults_of_a_webhook_are_named(app: TestApp) {
    let receiver = receiver().await;
    let webhook = added(&app, &receiver, json!([])).await;
    for (body, fault) in [
        (json!({}), "body.url"),
        (json!({"url": "nowhere"}), "body.url"),
        (json!({"url": "https://user:password@app.example/webhook"}), "body.url"),
        (json!({"url": receiver.at(PATH), "events": ["token.exploded"]}), "body.events.0"),
    ] {
        app.post(WEBHOOKS, &body).await.expect_fault_at(fault);
    }
    for (body, fault) in [
        (json!({}), "body.since"),
        (json!({"since": "yesterday"}), "body.since"),
        (json!({"message_id": "msg_1"}), "body.message_id"),
    ] {
        app.post(&of(&webhook, "/replay"), &body).await.expect_fault_at(fault);
    }
    app.get(&of(&webhook, "/deliveries?state=lost")).await.expect_fault_at("query.state");
    app.post(&format!("{WEBHOOKS}/17/test"), &json!({})).await.expect_error(404, "not_found");
}

async fn a_webhook_of_another_workspace_does_not_exist(app: TestApp) {
    let receiver = receiver().await;
    let webhook = added(&app, &receiver, json!([])).await;
    let home = app.app.broker.home_tenant().await.unwrap().organization;
    let sister = app.service_key_in(&home, "sister").await;
    assert_eq!(sister.get(WEBHOOKS).await.expect(200)["data"], json!([]));
    sister.get(&of(&webhook, "/deliveries")).await.expect_error(404, "not_found");
    sister.post(&of(&webhook, "/test"), &json!({})).await.expect_error(404, "not_found");
    sister.delete(&of(&webhook, "")).await.expect_error(404, "not_found");
    assert_eq!(receiver.count(PATH), 0);
}

async fn a_viewer_lists_and_changes_nothing(app: TestApp) {
    let receiver = receiver().await;
    let webhook = added(&app, &receiver, json!([])).await;
    let viewer = app.new_key(&["--role", "viewer"]).await;
    assert_eq!(viewer.get(WEBHOOKS).await.expect(200)["data"][0]["id"], webhook["id"]);
    viewer.get(&of(&webhook, "/deliveries")).await.expect(200);
    viewer.delete(&of(&webhook, "")).await.expect_error(403, "forbidden");
    viewer.post(WEBHOOKS, &json!({"url": receiver.at(PATH)})).await.expect_error(403, "forbidden");
}

async fn a_key_with_limits_has_no_webhooks(app: TestApp) {
    let limited = app.new_key(&["--role", "admin", "--only-provider", "acme"]).await;
    limited.get(WEBHOOKS).await.expect_error(403, "outside_key_limits");
    limited.get("/v2/events?timeout=0").await.expect_error(403, "outside_key_limits");
}
