//! Which events are reported, and what they say.

use serde_json::{Value, json};

use super::{Hook, OF_TOKENS, PATH, SOON, count, with_provider};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::eventually::eventually;

both_databases! {
    an_event_is_delivered_once_and_signed,
    the_life_of_a_token_is_reported_in_order,
    only_the_first_failure_of_a_series_is_reported,
    what_could_not_be_done_is_not_reported,
    a_webhook_gets_only_the_types_it_wants,
    a_webhook_of_one_workspace_gets_no_events_of_another,
    no_message_holds_a_secret,
    a_provider_that_refuses_our_client_is_reported_once_and_so_is_its_recovery,
    a_refresh_token_that_ends_soon_is_reported_once_unless_refreshes_move_its_end,
}

fn question() -> Value {
    asking("alice", &["read"])
}

async fn an_event_is_delivered_once_and_signed(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    let replica = if app.database.postgres.is_some() { Some(app.replica().await) } else { None };
    app.connect(&provider, &with(question(), json!({"agent_id": "helper"}))).await;
    hook.received(1).await;
    let body = &hook.bodies()[0];
    assert_eq!(body["type"], "token.connected");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'), "{body}");
    let data = &body["data"];
    assert_eq!((&data["user_id"], &data["agent_id"]), (&json!("alice"), &json!("helper")));
    assert_eq!((&data["provider_id"], &data["scopes"]), (&json!("acme"), &json!(["read"])));
    let token = app.authenticate(&with(question(), json!({"agent_id": "helper"}))).await;
    assert_eq!(data["token_id"], token["metadata"]["token_id"]);
    let id = hook.attempts()[0].header("webhook-id").to_owned();
    assert!(id.starts_with("msg_"), "{id}");
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(hook.receiver.count(PATH), 1, "neither this process nor a replica sends it again");
    eventually(SOON, async || count(&app.database, "delivered_at IS NOT NULL AND last_status = 200").await == 1).await;
    drop(replica);
}

async fn the_life_of_a_token_is_reported_in_order(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &OF_TOKENS).await);
    app.connect(&provider, &question()).await;
    app.advance(3600);
    provider.answer_token(Reply::json(json!({"error": "unsupported_grant_type"})).status(400));
    assert_eq!(app.try_authenticate(&question()).await.status, 502);
    app.advance(60);
    app.token(&question()).await;
    app.advance(3600);
    app.token(&question()).await;
    app.advance(3600);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.begin(&question()).await;
    let token = app.tokens_of("alice").await[0]["id"].as_str().unwrap().to_owned();
    app.acting_for("alice").delete(&format!("/v2/auth/tokens/{token}")).await;
    let expected =
        ["token.connected", "token.refresh_failed", "token.recovered", "token.consent_needed", "token.revoked"];
    hook.received(expected.len()).await;
    assert_eq!(hook.types(), expected);
    let bodies = hook.bodies();
    assert_eq!(bodies[1]["data"]["error"], "unsupported_grant_type");
    assert_eq!(bodies[3]["data"]["error"], "invalid_grant");
    assert!(bodies[3]["data"]["what_to_do"].as_str().unwrap().contains("connect again"), "{}", bodies[3]);
    for body in &bodies {
        assert_eq!(body["data"]["token_id"], token.as_str(), "{body}");
        assert_eq!(body["data"]["user_id"], "alice", "{body}");
        assert_eq!(body["data"]["provider_id"], "acme", "{body}");
    }
}

async fn only_the_first_failure_of_a_series_is_reported(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &OF_TOKENS).await);
    app.connect(&provider, &question()).await;
    app.advance(3600);
    for _ in 0..3 {
        provider.answer_token(Reply::json(json!({"error": "unsupported_grant_type"})).status(400));
        assert_eq!(app.try_authenticate(&question()).await.status, 502);
        app.advance(60);
    }
    app.token(&question()).await;
    hook.received(3).await;
    assert_eq!(hook.types(), ["token.connected", "token.refresh_failed", "token.recovered"]);
}

async fn what_could_not_be_done_is_not_reported(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    let pending = app.begin(&question()).await;
    app.database.tamper("ALTER TABLE webhook_deliveries RENAME TO deliveries_away").await;
    app.visit(&provider.consent(&pending.url)).await;
    assert_eq!(app.database.row_counts().await["tokens"], 0, "no token without its event");
    app.database.tamper("ALTER TABLE deliveries_away RENAME TO webhook_deliveries").await;
    hook.received(1).await;
    assert_eq!(hook.types(), ["token.connected"]);
    assert_eq!(app.database.row_counts().await["tokens"], 1);
}

async fn a_webhook_gets_only_the_types_it_wants(app: TestApp) {
    let provider = with_provider(&app).await;
    let all = Hook::add(&app.database, &[]).await;
    let some = Hook::add(&app.database, &["--events", "token.revoked,token.consent_needed"]).await;
    app.connect(&provider, &question()).await;
    app.acting_for("alice").delete("/v2/auth/tokens?provider_id=acme").await;
    all.received(2).await;
    some.received(1).await;
    assert_eq!(all.types(), ["token.connected", "token.revoked"]);
    assert_eq!(some.types(), ["token.revoked"]);
}

async fn a_webhook_of_one_workspace_gets_no_events_of_another(app: TestApp) {
    let home = app.app.broker.home_tenant().await.unwrap().organization;
    let sister = app.service_key_in(&home, "sister").await;
    let stranger = app.service_key_in("elsewhere", "far").await;
    let provider = with_provider(&app).await;
    sister.register(&provider).await;
    stranger.register(&provider).await;
    let ours = Hook::add(&app.database, &[]).await;
    let theirs = Hook::add(&app.database, &["--organization", &home, "--workspace", "sister"]).await;
    let far = Hook::add(&app.database, &["--organization", "elsewhere", "--workspace", "far"]).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    sister.acting_for("bob").connect(&provider, &asking("bob", &["read"])).await;
    stranger.acting_for("carol").connect(&provider, &asking("carol", &["read"])).await;
    for (hook, user) in [(&ours, "alice"), (&theirs, "bob"), (&far, "carol")] {
        hook.received(1).await;
        let users: Vec<Value> = hook.bodies().into_iter().map(|body| body["data"]["user_id"].clone()).collect();
        assert_eq!(users, [user]);
    }
    eventually(SOON, async || count(&app.database, "due_at IS NOT NULL").await == 0).await;
    let other = theirs.command(&app.database, "remove", &[]).await;
    assert!(!other.status.success(), "it is not of this workspace");
}

async fn no_message_holds_a_secret(app: TestApp) {
    let (provider, hook) = (with_provider(&app).await, Hook::add(&app.database, &[]).await);
    let token = app.connect(&provider, &question()).await;
    app.advance(3600);
    let refreshed = app.token(&question()).await;
    app.acting_for("alice").delete("/v2/auth/tokens?provider_id=acme").await;
    hook.received(2).await;
    for request in hook.attempts() {
        let text = String::from_utf8(request.body.to_vec()).unwrap();
        for secret in [&token, &refreshed, &hook.secret, &app.database.bootstrap_key] {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
        assert!(!text.contains("refresh_token\""), "{text}");
    }
    let stored = app.database.everything_at_rest().await;
    let secret = hook.secret.strip_prefix("whsec_").unwrap().as_bytes();
    assert!(!stored.windows(secret.len()).any(|part| part == secret), "the secret is sealed");
}

async fn a_provider_that_refuses_our_client_is_reported_once_and_so_is_its_recovery(app: TestApp) {
    let (provider, hook) = (
        with_provider(&app).await,
        Hook::add(&app.database, &["--events", "provider.failing,provider.recovered"]).await,
    );
    app.connect(&provider, &question()).await;
    for _ in 0..2 {
        app.advance(3600);
        provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
        assert_eq!(app.try_authenticate(&question()).await.status, 502);
    }
    app.advance(3600);
    app.token(&question()).await;
    hook.received(2).await;
    assert_eq!(hook.types(), ["provider.failing", "provider.recovered"]);
    assert_eq!(hook.bodies()[0]["data"]["error"], "invalid_client");
    assert_eq!(hook.bodies()[0]["data"]["provider_id"], "acme");
    app.advance(3600);
    provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    assert_eq!(app.try_authenticate(&question()).await.status, 502);
    app.patch("/v2/auth/providers/acme", &json!({"name": "Acme"})).await.expect(200);
    hook.received(4).await;
    assert_eq!(hook.types()[2..], ["provider.failing", "provider.recovered"]);
}

async fn a_refresh_token_that_ends_soon_is_reported_once_unless_refreshes_move_its_end(app: TestApp) {
    use agent_auth::broker::jobs::ending::report;
    let (provider, hook) =
        (with_provider(&app).await, Hook::add(&app.database, &["--events", "token.ending_soon"]).await);
    let answer = |seconds: u64| {
        let token = crate::support::database::random_text("token-");
        Reply::json(json!({"access_token": token, "refresh_token": format!("r-{token}"), "expires_in": 3600,
            "refresh_token_expires_in": seconds, "token_type": "bearer", "scope": "read"}))
    };
    let days = 24 * 3600;
    for (user, lifetime) in [("fixed", 10 * days), ("moving", 5 * days)] {
        app.exchange(&provider, asking(user, &["read"]), answer(lifetime)).await;
    }
    app.advance(2 * days);
    for (user, lifetime) in [("fixed", 8 * days), ("moving", 5 * days)] {
        provider.answer_token(answer(lifetime));
        app.token(&asking(user, &["read"])).await;
    }
    report(&app.app.broker).await.unwrap();
    assert_eq!(count(&app.database, "1 = 1").await, 0);
    app.advance(2 * days);
    for _ in 0..2 {
        report(&app.app.broker).await.unwrap();
    }
    hook.received(1).await;
    assert_eq!(count(&app.database, "1 = 1").await, 1);
    let data = &hook.bodies()[0]["data"];
    assert_eq!((&data["user_id"], &data["provider_id"]), (&json!("fixed"), &json!("acme")));
    assert!(data["expires_at"].as_str().unwrap().ends_with('Z'), "{data}");
}
