//! Refusals of a refresh whose error code says nothing: what counts as a dead grant, and what costs nothing.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{asking, with};

both_databases! {
    a_provider_that_says_in_plain_words_that_the_refresh_token_is_dead_is_believed,
    other_words_cost_no_grant,
    plain_words_of_a_server_that_is_not_well_cost_no_grant,
    plain_words_end_no_grant_of_a_client,
    plain_words_in_a_code_exchange_are_a_refusal,
}

const HOUR: u64 = 3600;

fn question() -> Value {
    asking("alice", &["read"])
}

/// Alice's token has expired.
async fn expired(app: &TestApp, provider: &AuthorizationServer) {
    app.connect(provider, &with(question(), json!({"force_new": true}))).await;
    app.advance(HOUR);
}

async fn provider(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider
}

async fn a_provider_that_says_in_plain_words_that_the_refresh_token_is_dead_is_believed(app: TestApp) {
    let provider = provider(&app).await;
    for (status, body) in [
        (400, json!({"error": "invalid_request", "error_description": "Invalid refresh token"})),
        (400, json!({"error": "invalid_request", "error_description": "The refresh token is invalid or has expired."})),
        (401, json!({"error": "unauthorized", "error_description": "The provided refresh_token was revoked."})),
        (400, json!({"error": "Invalid refresh token"})),
        (401, json!({"error": "invalid_refresh_token"})),
        (400, json!({"error": "bad_request", "error_description": "Error 17: Refresh token expired. Sign in again."})),
        (400, json!({"error": {"code": 400, "message": "Token has been revoked"}})),
        (401, json!({"message": "Invalid refresh token"})),
    ] {
        expired(&app, &provider).await;
        let asked = provider.refreshes().len();
        provider.answer_token(Reply::json(body.clone()).status(status));
        let pending = app.authenticate(&question()).await;
        assert_eq!(pending["status"], "pending", "{body}: {pending}");
        assert_eq!(provider.refreshes().len(), asked + 1, "{body}");
        app.begin(&question()).await;
        assert_eq!(provider.refreshes().len(), asked + 1, "it is not asked again: {body}");
    }
}

async fn costs_nothing(app: &TestApp, provider: &AuthorizationServer, answer: Reply, what: &str) {
    for _ in 0..3 {
        provider.answer_token(answer.clone());
    }
    let failed = app.try_authenticate(&question()).await;
    assert!([502, 503].contains(&failed.status.as_u16()), "{what}: {failed:?}");
    provider.forget_answers();
    app.advance(60);
    app.token(&question()).await;
    app.advance(HOUR);
}

async fn other_words_cost_no_grant(app: TestApp) {
    let provider = provider(&app).await;
    expired(&app, &provider).await;
    for text in [
        "Invalid refresh token request",
        "Invalid refresh token format, expected a JWT",
        "Could not check whether the refresh token is expired",
        "The refresh token is not expired",
        "refresh_token is required",
        "No refresh token provided",
        "The refresh token is invalid for this client",
        "Token service temporarily unavailable",
        "invalid token",
        "",
    ] {
        let body = json!({"error": "invalid_request", "error_description": text});
        costs_nothing(&app, &provider, Reply::json(body).status(400), text).await;
    }
    // Codes that say what they mean count, whatever the words are.
    for code in ["invalid_client", "temporarily_unavailable", "slow_down"] {
        let body = json!({"error": code, "error_description": "Invalid refresh token"});
        costs_nothing(&app, &provider, Reply::json(body).status(400), code).await;
    }
}

async fn plain_words_of_a_server_that_is_not_well_cost_no_grant(app: TestApp) {
    let provider = provider(&app).await;
    expired(&app, &provider).await;
    for status in [200, 403, 404, 408, 429, 500, 502, 503] {
        let body = json!({"error": "invalid_request", "error_description": "Invalid refresh token"});
        costs_nothing(&app, &provider, Reply::json(body).status(status), &status.to_string()).await;
    }
}

async fn plain_words_end_no_grant_of_a_client(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"grant_type": "client_credentials"}))).await;
    provider.answer_token(Reply::json(json!({"access_token": "first", "expires_in": HOUR})));
    app.token(&question()).await;
    app.advance(HOUR);
    let body = json!({"error": "invalid_request", "error_description": "Token has been revoked"});
    provider.answer_token(Reply::json(body).status(400));
    app.try_authenticate(&question()).await.expect_error(502, "provider_error");
    assert_eq!(app.tokens().await.len(), 1);
    app.advance(60);
    provider.answer_token(Reply::json(json!({"access_token": "second", "expires_in": HOUR})));
    assert_eq!(app.token(&question()).await, "second");
}

async fn plain_words_in_a_code_exchange_are_a_refusal(app: TestApp) {
    let provider = provider(&app).await;
    let first = app.connect(&provider, &question()).await;
    let body = json!({"error": "invalid_request", "error_description": "Invalid refresh token"});
    let (pending, page) = app.exchange(&provider, question(), Reply::json(body).status(400)).await;
    assert_eq!(page.status, 502);
    assert_eq!(app.look(&pending.auth_id).await["error"], "invalid_request");
    assert_eq!(app.token(&question()).await, first);
}
