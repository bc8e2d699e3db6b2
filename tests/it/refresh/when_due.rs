//! A token that is due is refreshed before it is handed out: when, with which request, and what a failure costs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, Request};
use crate::support::both_databases;
use crate::support::caller::{asking, with};

both_databases! {
    a_fresh_token_is_not_refreshed,
    a_due_token_is_refreshed_before_it_is_given,
    an_expired_token_is_refreshed_before_it_is_given,
    a_refreshed_token_keeps_its_id_and_gets_a_new_expiry,
    a_refresh_sends_what_the_specification_asks,
    a_refresh_answer_without_a_refresh_token_keeps_the_old_one,
    a_rotating_refresh_token_works_ten_times,
    a_refresh_answer_without_scope_keeps_the_granted_ones,
    a_refresh_keeps_the_metadata_it_does_not_repeat,
    an_expired_token_without_a_refresh_token_needs_consent,
    a_due_token_without_a_refresh_token_is_given_while_it_is_valid,
    a_token_of_a_very_short_life_does_not_loop,
    a_dead_grant_needs_consent_and_is_asked_for_once,
    a_dead_grant_named_by_its_id_is_told_as_expired,
    a_failing_provider_costs_no_grant,
    a_failing_provider_does_not_hide_a_token_that_is_still_valid,
    wrong_client_credentials_cost_no_grant,
    a_refresh_answered_with_nonsense_costs_no_grant,
    many_callers_make_one_refresh,
    an_agents_connected_token_is_refreshed_too,
}

const HOUR: u64 = 3600;

fn question() -> Value {
    asking("alice", &["read"])
}

/// Alice's token, as this token response gave it.
async fn connected(app: &TestApp, answer: Value) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider.answer_token(Reply::json(answer));
    app.connect(&provider, &question()).await;
    provider
}

fn an_hour() -> Value {
    json!({"access_token": "first", "refresh_token": "refresh-1", "expires_in": HOUR})
}

fn sent(requests: &[Request]) -> Vec<&str> {
    let tokens = requests.iter().map(|r| r.value("refresh_token"));
    tokens.map(|token| token.expect("a refresh token")).collect()
}

async fn a_fresh_token_is_not_refreshed(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR / 2);
    assert_eq!(app.token(&question()).await, "first");
    assert_eq!(provider.refreshes().len(), 0);
}

async fn a_due_token_is_refreshed_before_it_is_given(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR - 30);
    let token = app.token(&question()).await;
    assert!(token.starts_with("access-"), "{token}");
    assert_eq!(sent(&provider.refreshes()), ["refresh-1"]);
    assert_eq!(app.token(&question()).await, token);
    assert_eq!(provider.refreshes().len(), 1);
}

async fn an_expired_token_is_refreshed_before_it_is_given(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(100 * 24 * HOUR);
    assert_ne!(app.token(&question()).await, "first");
    assert_eq!(provider.refreshes().len(), 1);
}

async fn a_refreshed_token_keeps_its_id_and_gets_a_new_expiry(app: TestApp) {
    let _provider = connected(&app, an_hour()).await;
    let before = app.tokens().await;
    app.advance(HOUR);
    app.token(&question()).await;
    let after = app.tokens().await;
    assert_eq!(after.len(), 1);
    for kept in ["id", "provider_id", "scopes", "is_default", "created_at"] {
        assert_eq!(after[0][kept], before[0][kept], "{kept}");
    }
    let expiry = |token: &Value| token["expires_at"].as_str().unwrap().to_owned();
    assert!(expiry(&after[0]) > expiry(&before[0]));
}

async fn a_refresh_sends_what_the_specification_asks(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR);
    app.token(&question()).await;
    let refresh = provider.refreshes().remove(0);
    assert_eq!(refresh.method, "POST");
    assert_eq!(refresh.value("refresh_token"), Some("refresh-1"));
    assert!([None, Some("read")].contains(&refresh.value("scope")));
    for absent in ["code", "redirect_uri", "code_verifier"] {
        assert_eq!(refresh.value(absent), None, "{absent}");
    }
}

async fn a_refresh_answer_without_a_refresh_token_keeps_the_old_one(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    for token in ["second", "third"] {
        let answer = json!({"access_token": token, "expires_in": HOUR});
        provider.answer_token(Reply::json(answer));
        app.advance(HOUR);
        assert_eq!(app.token(&question()).await, token);
    }
    for empty in [json!(null), json!("")] {
        let answer = json!({"access_token": "x", "expires_in": HOUR, "refresh_token": empty});
        provider.answer_token(Reply::json(answer));
        app.advance(HOUR);
        app.token(&question()).await;
    }
    assert_eq!(sent(&provider.refreshes()), ["refresh-1"; 4]);
}

async fn a_rotating_refresh_token_works_ten_times(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    for _ in 0..10 {
        app.advance(HOUR);
        app.token(&question()).await;
    }
    let refreshes = provider.refreshes();
    let mut different = sent(&refreshes);
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 10, "each refresh token is used once");
}

async fn a_refresh_answer_without_scope_keeps_the_granted_ones(app: TestApp) {
    let granted = with(an_hour(), json!({"scope": "read extra"}));
    let _provider = connected(&app, granted).await;
    app.advance(HOUR);
    app.token(&asking("alice", &["read", "extra"])).await;
    assert_eq!(app.tokens().await[0]["scopes"], json!(["read", "extra"]));
}

async fn a_refresh_keeps_the_metadata_it_does_not_repeat(app: TestApp) {
    let told = json!({"instance_url": "https://a.example", "team": {"id": "T1"}});
    let provider = connected(&app, with(an_hour(), told)).await;
    let answer = json!({"access_token": "second", "expires_in": HOUR});
    provider.answer_token(Reply::json(answer));
    app.advance(HOUR);
    let answer = app.authenticate(&question()).await;
    assert_eq!(answer["token"], "second");
    assert_eq!(answer["metadata"]["instance_url"], "https://a.example");
    assert_eq!(answer["metadata"]["team"]["id"], "T1");
}

async fn an_expired_token_without_a_refresh_token_needs_consent(app: TestApp) {
    let answer = json!({"access_token": "first", "expires_in": HOUR});
    let provider = connected(&app, answer).await;
    app.advance(HOUR + 1);
    app.begin(&question()).await;
    assert_eq!(provider.refreshes().len(), 0);
}

async fn a_due_token_without_a_refresh_token_is_given_while_it_is_valid(app: TestApp) {
    let answer = json!({"access_token": "first", "expires_in": HOUR});
    let _provider = connected(&app, answer).await;
    app.advance(HOUR - 90);
    assert_eq!(app.token(&question()).await, "first");
}

async fn a_token_of_a_very_short_life_does_not_loop(app: TestApp) {
    let short = json!({"access_token": "first", "refresh_token": "r", "expires_in": 30});
    let provider = connected(&app, short.clone()).await;
    for asked in 1..=5 {
        provider.answer_token(Reply::json(short.clone()));
        app.token(&question()).await;
        assert!(provider.refreshes().len() <= asked);
    }
}

fn dead() -> Reply {
    Reply::json(json!({"error": "invalid_grant"})).status(400)
}

async fn a_dead_grant_needs_consent_and_is_asked_for_once(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR);
    provider.answer_token(dead());
    app.begin(&question()).await;
    app.advance(HOUR);
    app.begin(&question()).await;
    assert_eq!(provider.refreshes().len(), 1, "a dead grant stays dead");
    let token = app.connect(&provider, &question()).await;
    assert_eq!(app.token(&question()).await, token, "consent revives it");
}

async fn a_dead_grant_named_by_its_id_is_told_as_expired(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    let id = app.tokens().await[0]["id"].clone();
    app.advance(HOUR);
    provider.answer_token(dead());
    let named = with(question(), json!({"token_id": id}));
    let answer = app.authenticate(&named).await;
    assert_eq!(answer["status"], "token_expired", "{answer}");
    assert!(answer["token"].is_null());
}

/// The refresh of an expired token is answered like that; half an hour later all is well again.
async fn costs_no_grant(app: &TestApp, wrong: Reply) {
    let provider = connected(app, an_hour()).await;
    app.advance(HOUR);
    // More than one, because a refresh may be tried again at once.
    for _ in 0..4 {
        provider.answer_token(wrong.clone());
    }
    let answer = app.try_authenticate(&question()).await;
    let status = answer.status.as_u16();
    assert!([502, 503, 504].contains(&status), "{answer:?}");
    let body = answer.json();
    assert!(body["detail"].is_string() && body["code"].is_string());
    assert!(status != 503 || !answer.header("retry-after").is_empty());
    assert_eq!(app.tokens().await.len(), 1);
    for _ in 0..3 {
        app.advance(HOUR / 2);
        if app.try_authenticate(&question()).await.status == 200 {
            break;
        }
    }
    app.advance(HOUR / 2);
    app.token(&question()).await;
    let refreshes = provider.refreshes();
    let mut used = sent(&refreshes);
    used.dedup();
    assert_eq!(used, ["refresh-1"], "the old credentials are kept");
}

async fn a_failing_provider_costs_no_grant(app: TestApp) {
    costs_no_grant(&app, Reply::text("text/plain", "").status(500)).await;
    app.delete("/v2/auth/providers/acme").await.expect(200);
    let saying_it_is_dead = json!({"error": "invalid_grant"});
    costs_no_grant(&app, Reply::json(saying_it_is_dead).status(503)).await;
}

async fn a_failing_provider_does_not_hide_a_token_that_is_still_valid(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR - 30);
    for _ in 0..4 {
        provider.answer_token(Reply::text("text/plain", "").status(500));
    }
    assert_eq!(app.token(&question()).await, "first");
}

async fn wrong_client_credentials_cost_no_grant(app: TestApp) {
    let refused = json!({"error": "invalid_client"});
    costs_no_grant(&app, Reply::json(refused).status(401)).await;
}

async fn a_refresh_answered_with_nonsense_costs_no_grant(app: TestApp) {
    costs_no_grant(&app, Reply::text("text/html", "<h1>Sorry</h1>")).await;
    app.delete("/v2/auth/providers/acme").await.expect(200);
    let without_token = json!({"refresh_token": "evil", "expires_in": HOUR});
    costs_no_grant(&app, Reply::json(without_token)).await;
}

async fn many_callers_make_one_refresh(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR);
    let answer = json!({"access_token": "second", "refresh_token": "refresh-2", "expires_in": HOUR});
    provider.answer_token(Reply::json(answer).after(Duration::from_millis(300)));
    let app = Arc::new(app);
    let callers = (0..20).map(|_| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { app.token(&question()).await })
    });
    for token in join_all(callers).await {
        assert_eq!(token.unwrap(), "second");
    }
    assert_eq!(provider.refreshes().len(), 1);
}

async fn an_agents_connected_token_is_refreshed_too(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    let id = app.tokens().await[0]["id"].clone();
    app.connect_agent("helper", &id).await;
    app.advance(HOUR);
    let as_agent = with(question(), json!({"agent_id": "helper"}));
    let token = app.token(&as_agent).await;
    assert_eq!(app.token(&question()).await, token);
    assert_eq!(provider.refreshes().len(), 1);
}
