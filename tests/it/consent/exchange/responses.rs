//! Token responses that real providers give, many of them not by the standard: what is understood and kept.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{Pending, asking, with};

both_databases! {
    we_ask_for_json,
    a_null_error_beside_a_token_is_no_error,
    a_form_body_is_understood,
    a_form_body_called_plain_text_is_understood,
    a_json_body_called_html_or_javascript_or_nothing_is_understood,
    json_with_white_space_or_a_byte_order_mark_is_understood,
    scopes_separated_by_commas_are_understood,
    scopes_in_a_list_are_understood,
    scopes_separated_by_several_spaces_are_understood,
    a_missing_scope_means_what_was_asked,
    an_empty_scope_means_what_was_asked,
    an_expiry_in_a_text_is_understood,
    an_impossible_expiry_means_unknown,
    a_missing_expiry_means_a_usable_token_without_refreshing,
    a_missing_token_type_is_fine,
    any_spelling_of_the_token_type_is_fine,
    the_token_of_an_authorized_slack_user_is_found,
    of_a_slack_bot_and_user_one_is_given,
    what_else_the_provider_tells_is_kept_as_metadata,
    no_secret_is_in_the_metadata,
    an_unexpected_id_token_does_no_harm,
    a_very_long_access_token_is_kept_whole,
}

/// Alice's browser comes back and the exchange is answered like that.
async fn exchanged(app: &TestApp, answer: Reply) -> (AuthorizationServer, Pending) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = exchanged_at(app, &provider, answer).await;
    (provider, pending)
}

async fn exchanged_at(app: &TestApp, provider: &AuthorizationServer, answer: Reply) -> Pending {
    let question = asking("alice", &["read", "write"]);
    app.exchange(provider, question, answer).await.0
}

/// The exchange succeeds and `tok-1` is the access token; gives the stored token's summary.
async fn completes(app: &TestApp, answer: Reply) -> Value {
    let (_provider, pending) = exchanged(app, answer).await;
    let answer = app.look(&pending.auth_id).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    assert_eq!(answer["token"], "tok-1");
    app.tokens().await.remove(0)
}

fn token(more: Value) -> Reply {
    let by_the_book = json!({"access_token": "tok-1", "token_type": "Bearer", "expires_in": 3600});
    Reply::json(with(by_the_book, more))
}

async fn we_ask_for_json(app: TestApp) {
    let (provider, _) = exchanged(&app, token(json!({}))).await;
    let accepted = provider.exchange().header("accept").to_owned();
    assert!(accepted.contains("application/json"), "{accepted}");
}

async fn a_null_error_beside_a_token_is_no_error(app: TestApp) {
    completes(&app, token(json!({"error": null, "ok": true}))).await;
}

const FORM: &str = "access_token=tok-1&scope=read%2Cwrite&token_type=bearer&expires_in=3600";

async fn a_form_body_is_understood(app: TestApp) {
    let answer = Reply::text("application/x-www-form-urlencoded; charset=utf-8", FORM);
    let stored = completes(&app, answer).await;
    assert_eq!(stored["scopes"], json!(["read", "write"]));
    assert!(stored["expires_at"].is_string());
}

async fn a_form_body_called_plain_text_is_understood(app: TestApp) {
    completes(&app, Reply::text("text/plain", FORM)).await;
}

async fn a_json_body_called_html_or_javascript_or_nothing_is_understood(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let body = json!({"access_token": "tok-1", "expires_in": 3600}).to_string();
    for answer in [
        Reply::text("text/html; charset=utf-8", &body),
        Reply::text("text/javascript", &body),
        Reply::text("text/plain", &body),
        Reply::text("application/vnd.api+json", &body),
        Reply::text("", &body),
        Reply::text("", &body).without_content_type(),
    ] {
        let described = format!("{answer:?}");
        let pending = exchanged_at(&app, &provider, answer).await;
        let answer = app.look(&pending.auth_id).await;
        assert_eq!(answer["token"], "tok-1", "{described}");
    }
}

async fn json_with_white_space_or_a_byte_order_mark_is_understood(app: TestApp) {
    let body = "\u{feff}\n  {\"access_token\": \"tok-1\"}\n\n";
    completes(&app, Reply::text("application/json", body)).await;
}

async fn scopes_separated_by_commas_are_understood(app: TestApp) {
    let stored = completes(&app, token(json!({"scope": "read,write"}))).await;
    assert_eq!(stored["scopes"], json!(["read", "write"]));
    app.token(&asking("alice", &["write"])).await;
}

async fn scopes_in_a_list_are_understood(app: TestApp) {
    let stored = completes(&app, token(json!({"scope": ["read", "write"]}))).await;
    assert_eq!(stored["scopes"], json!(["read", "write"]));
}

async fn scopes_separated_by_several_spaces_are_understood(app: TestApp) {
    let stored = completes(&app, token(json!({"scope": " read   write "}))).await;
    assert_eq!(stored["scopes"], json!(["read", "write"]));
}

async fn a_missing_scope_means_what_was_asked(app: TestApp) {
    let stored = completes(&app, token(json!({}))).await;
    assert_eq!(stored["scopes"], json!(["read", "write"]));
    app.token(&asking("alice", &["read", "write"])).await;
}

async fn an_empty_scope_means_what_was_asked(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for empty in [json!(""), json!([]), json!(null), json!("  ")] {
        exchanged_at(&app, &provider, token(json!({"scope": empty}))).await;
        let stored = app.tokens().await.remove(0);
        assert_eq!(stored["scopes"], json!(["read", "write"]), "{empty}");
    }
}

fn lifetime(stored: &Value) -> Option<TimeDelta> {
    let at = stored["expires_at"].as_str()?;
    let at = DateTime::parse_from_rfc3339(at).expect("a point in time");
    Some(at.with_timezone(&Utc) - Utc::now())
}

async fn an_expiry_in_a_text_is_understood(app: TestApp) {
    let stored = completes(&app, token(json!({"expires_in": "3600"}))).await;
    let lifetime = lifetime(&stored).expect("an expiry").num_seconds();
    assert!((3500..=3600).contains(&lifetime), "{lifetime}");
}

async fn an_impossible_expiry_means_unknown(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for odd in [
        r"0",
        r"-1",
        r#""-1""#,
        r"1000000000000",
        r"1e300",
        r"99999999999999999999999999",
        r#""soon""#,
        r#""""#,
        r"null",
        r"true",
        r"[]",
        r"{}",
    ] {
        let body = format!(r#"{{"access_token":"tok-1","refresh_token":"r","expires_in":{odd}}}"#);
        let answer = Reply::text("application/json", &body);
        let pending = exchanged_at(&app, &provider, answer).await;
        let answer = app.look(&pending.auth_id).await;
        assert_eq!(answer["token"], "tok-1", "expires_in {odd}: {answer}");
        for token in app.tokens().await {
            assert!(token["expires_at"].is_null(), "expires_in {odd}: {token}");
        }
        assert_eq!(app.token(&asking("alice", &["read"])).await, "tok-1");
    }
    assert_eq!(provider.refreshes().len(), 0, "unknown is not expired");
    let fraction = token(json!({"expires_in": 3599.5}));
    let pending = exchanged_at(&app, &provider, fraction).await;
    assert_eq!(app.look(&pending.auth_id).await["token"], "tok-1");
}

async fn a_missing_expiry_means_a_usable_token_without_refreshing(app: TestApp) {
    let body = json!({"access_token": "tok-1", "refresh_token": "r", "token_type": "bearer"});
    let (provider, _) = exchanged(&app, Reply::json(body)).await;
    assert!(app.tokens().await[0]["expires_at"].is_null());
    for days in [0, 1, 365] {
        app.advance(days * 86_400);
        assert_eq!(app.token(&asking("alice", &["read"])).await, "tok-1");
    }
    assert_eq!(provider.token_requests().len(), 1);
}

async fn a_missing_token_type_is_fine(app: TestApp) {
    completes(&app, Reply::json(json!({"access_token": "tok-1"}))).await;
}

async fn any_spelling_of_the_token_type_is_fine(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for spelling in [json!("bearer"), json!("BEARER"), json!("bot"), json!(null)] {
        let answer = token(json!({"token_type": spelling}));
        let pending = exchanged_at(&app, &provider, answer).await;
        let answer = app.look(&pending.auth_id).await;
        assert_eq!(answer["token"], "tok-1", "{spelling}");
    }
}

async fn register_slack(app: &TestApp, provider: &AuthorizationServer) {
    let slack = json!({"provider_type": "slack"});
    app.register_as(with(provider.definition("acme"), slack)).await;
}

async fn the_token_of_an_authorized_slack_user_is_found(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    register_slack(&app, &provider).await;
    let answer = json!({
        "ok": true,
        "app_id": "A1",
        "team": {"id": "T1", "name": "Team"},
        "authed_user": {
            "id": "U1", "scope": "read,write", "access_token": "xoxp-user", "token_type": "user",
        },
    });
    let pending = exchanged_at(&app, &provider, Reply::json(answer)).await;
    assert_eq!(app.look(&pending.auth_id).await["token"], "xoxp-user");
    assert_eq!(app.tokens().await[0]["scopes"], json!(["read", "write"]));
}

async fn of_a_slack_bot_and_user_one_is_given(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    register_slack(&app, &provider).await;
    let answer = json!({
        "ok": true,
        "access_token": "xoxb-bot",
        "token_type": "bot",
        "scope": "read,write",
        "team": {"id": "T1", "name": "Team"},
        "authed_user": {"id": "U1", "scope": "search", "access_token": "xoxp-user"},
    });
    let pending = exchanged_at(&app, &provider, Reply::json(answer)).await;
    let given = app.look(&pending.auth_id).await["token"].clone();
    assert!(given == "xoxb-bot" || given == "xoxp-user", "{given}");
    app.token(&asking("alice", &["read"])).await;
}

async fn what_else_the_provider_tells_is_kept_as_metadata(app: TestApp) {
    let told = json!({
        "instance_url": "https://acme.my.salesforce.example",
        "team": {"id": "T1", "name": "Team"},
        "workspace_name": "Space",
    });
    completes(&app, token(told.clone())).await;
    let answer = app.authenticate(&asking("alice", &["read"])).await;
    for (field, value) in told.as_object().unwrap() {
        assert_eq!(&answer["metadata"][field], value, "{answer}");
    }
}

async fn no_secret_is_in_the_metadata(app: TestApp) {
    let told = json!({
        "refresh_token": "secret-refresh",
        "id_token": "secret-id",
        "instance_url": "https://acme.example",
        "authed_user": {"id": "U1", "access_token": "secret-user", "refresh_token": "secret-user-r"},
    });
    completes(&app, token(told)).await;
    let answer = app.authenticate(&asking("alice", &["read"])).await;
    assert_eq!(answer["token"], "tok-1");
    let metadata = answer["metadata"].to_string();
    for secret in ["secret-", "tok-1"] {
        assert!(!metadata.contains(secret), "{metadata}");
    }
}

async fn an_unexpected_id_token_does_no_harm(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for odd in [
        json!("junk"),
        json!(""),
        json!("a.b.c"),
        json!("..."),
        json!("eyJhbGciOiJub25lIn0.eyJzdWIiOjd9."),
        json!("eyJhbGciOiJub25lIn0.W10."),
        json!(7),
        json!({"sub": "x"}),
        json!(null),
    ] {
        let answer = token(json!({"id_token": odd}));
        let pending = exchanged_at(&app, &provider, answer).await;
        let answer = app.look(&pending.auth_id).await;
        assert_eq!(answer["token"], "tok-1", "id_token {odd}: {answer}");
    }
}

async fn a_very_long_access_token_is_kept_whole(app: TestApp) {
    let long = "t".repeat(16_000);
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let answer = token(json!({"access_token": long}));
    let pending = exchanged_at(&app, &provider, answer).await;
    assert_eq!(app.look(&pending.auth_id).await["token"], long.as_str());
}
