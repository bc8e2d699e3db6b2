//! Token responses that name the time of expiry and not the lifetime (`expires_at`).

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::asking;

both_databases! {
    a_token_is_refreshed_when_its_time_of_expiry_has_come,
    a_time_that_makes_no_sense_means_unknown,
    a_token_that_came_expired_is_refreshed_before_it_is_given,
    a_token_that_came_expired_and_cannot_be_refreshed_needs_consent,
    a_provider_whose_tokens_all_come_expired_gives_one_a_call,
}

fn question() -> Value {
    asking("alice", &["read"])
}

async fn connected(app: &TestApp, expires_at: Value, refresh_token: Option<&str>) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    connect(app, &provider, expires_at, refresh_token).await;
    provider
}

async fn connect(app: &TestApp, provider: &AuthorizationServer, expires_at: Value, refresh_token: Option<&str>) {
    let response = json!({"access_token": "first", "refresh_token": refresh_token, "expires_at": expires_at});
    let (_, page) = app.exchange(provider, question(), Reply::json(response)).await;
    assert_eq!(page.status, 303);
}

/// The time an hour from now, written in every way that providers write it.
fn in_an_hour(app: &TestApp) -> [Value; 9] {
    let at = app.clock.now() + TimeDelta::hours(1);
    [
        json!(at.timestamp()),
        json!(at.timestamp_millis()),
        json!(at.timestamp_micros()),
        json!(at.timestamp_nanos_opt().unwrap()),
        json!(at.timestamp_micros().to_string()),
        json!(at.timestamp().to_string()),
        json!(at.timestamp_millis().to_string()),
        json!(at.to_rfc3339()),
        json!(at.format("%Y-%m-%d %H:%M:%S").to_string()),
    ]
}

async fn a_token_is_refreshed_when_its_time_of_expiry_has_come(app: TestApp) {
    let provider = connected(&app, in_an_hour(&app)[0].clone(), Some("r")).await;
    for way in 0..in_an_hour(&app).len() {
        app.token(&question()).await;
        assert_eq!(provider.refreshes().len(), way, "it is still valid");
        app.advance(3600);
        let token = format!("token-{way}");
        provider.answer_token(Reply::json(json!({"access_token": token, "expires_at": in_an_hour(&app)[way]})));
        assert_eq!(app.token(&question()).await, token);
        assert_eq!(provider.refreshes().len(), way + 1, "it had expired");
    }
    app.token(&question()).await;
    assert_eq!(provider.refreshes().len(), in_an_hour(&app).len());
}

async fn a_time_that_makes_no_sense_means_unknown(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for odd in [json!(0), json!(-1), json!(3600), json!(1e300), json!("tomorrow"), json!(""), json!(true), json!([7])] {
        connect(&app, &provider, odd.clone(), Some("r")).await;
        assert!(app.tokens().await.iter().all(|token| token["expires_at"].is_null()), "{odd}");
        assert_eq!(app.token(&question()).await, "first");
    }
    assert!(provider.refreshes().is_empty());
}

async fn a_token_that_came_expired_is_refreshed_before_it_is_given(app: TestApp) {
    let provider = connected(&app, json!(app.clock.now().timestamp() - 60), Some("r")).await;
    provider.answer_token(Reply::json(json!({"access_token": "second", "expires_in": 3600})));
    assert_eq!(app.token(&question()).await, "second");
    assert_eq!(app.token(&question()).await, "second");
    assert_eq!(provider.refreshes().len(), 1);
}

async fn a_token_that_came_expired_and_cannot_be_refreshed_needs_consent(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let response = json!({"access_token": "first", "expires_at": "2020-01-01T00:00:00Z"});
    let (pending, _) = app.exchange(&provider, question(), Reply::json(response)).await;
    let waited = app.wait(&pending.auth_id).await;
    assert_eq!((&waited["status"], &waited["error"]), (&json!("not_found"), &json!("token_expired")), "{waited}");
    assert!(waited["error_description"].as_str().unwrap().contains("authenticate again"), "{waited}");
    app.begin(&question()).await;
}

async fn a_provider_whose_tokens_all_come_expired_gives_one_a_call(app: TestApp) {
    let past = json!(app.clock.now().timestamp() - 60);
    let provider = connected(&app, past.clone(), Some("r")).await;
    for call in 1..=3 {
        let token = format!("token-{call}");
        provider.answer_token(Reply::json(json!({"access_token": token, "expires_at": past})));
        assert_eq!(app.token(&question()).await, token);
        assert_eq!(provider.refreshes().len(), call);
    }
}
