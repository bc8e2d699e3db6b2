//! Values of a provider with characters that such a value cannot have: a token like that is refused, anything else is
//! left out, and both databases take the rest.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, DEVICE, Reply, USERINFO};
use crate::support::both_databases;
use crate::support::caller::{asking, with};

both_databases! {
    an_access_token_that_does_not_fit_a_header_is_refused,
    a_refresh_token_with_control_characters_is_refused,
    a_refresh_that_brings_such_a_token_keeps_the_one_that_is_stored,
    a_client_credentials_token_like_that_is_refused,
    a_scope_that_is_not_one_grants_nothing,
    other_fields_with_control_characters_are_left_out,
    an_account_with_control_characters_is_unknown,
    device_codes_with_control_characters_are_refused,
}

const ODD: [&str; 9] = ["a\r\nX-Evil: 1", "a\0", "a\tb", "a\u{7f}", "tök", "a\u{200b}b", " a", "a ", "a\n"];

async fn provider(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider
}

fn question() -> Value {
    asking("alice", &["read"])
}

async fn is_refused(app: &TestApp, provider: &AuthorizationServer, response: Value, reason: &str) {
    let (pending, page) = app.exchange(provider, question(), Reply::json(response.clone())).await;
    assert_eq!(page.status, 502, "{response}");
    let answer = app.look(&pending.auth_id).await;
    assert_eq!((&answer["status"], &answer["error"]), (&json!("not_found"), &json!("provider_response")), "{response}");
    assert!(answer["error_description"].as_str().is_some_and(|text| text.contains(reason)), "{answer}");
    assert!(!app.has_token().await, "{response}");
}

async fn an_access_token_that_does_not_fit_a_header_is_refused(app: TestApp) {
    let provider = provider(&app).await;
    for odd in ODD {
        is_refused(&app, &provider, json!({"access_token": odd, "expires_in": 3600}), "access_token").await;
    }
    let inside = json!({"ok": true, "authed_user": {"access_token": "a\nb"}});
    is_refused(&app, &provider, inside, "access_token").await;
    let visible = json!({"access_token": "a b!\"\\~", "expires_in": 3600});
    let (pending, _) = app.exchange(&provider, question(), Reply::json(visible)).await;
    assert_eq!(app.look(&pending.auth_id).await["token"], "a b!\"\\~");
}

async fn a_refresh_token_with_control_characters_is_refused(app: TestApp) {
    let provider = provider(&app).await;
    for odd in ["r\r\n", "r\0", "\u{1b}", "é"] {
        is_refused(&app, &provider, json!({"access_token": "a", "refresh_token": odd}), "refresh_token").await;
    }
    // In a form every character of the set arrives, the outer spaces too.
    provider.answer_token(Reply::json(json!({"access_token": "a", "refresh_token": " r ", "expires_in": 60})));
    app.connect(&provider, &question()).await;
    app.advance(60);
    app.token(&question()).await;
    assert_eq!(provider.refreshes()[0].value("refresh_token"), Some(" r "));
}

async fn a_refresh_that_brings_such_a_token_keeps_the_one_that_is_stored(app: TestApp) {
    let provider = provider(&app).await;
    app.connect(&provider, &question()).await;
    app.advance(3600);
    for odd in ODD {
        provider.answer_token(Reply::json(json!({"access_token": odd, "refresh_token": "r", "expires_in": 3600})));
        let refused = app.try_authenticate(&question()).await;
        refused.expect_error(502, "provider_error");
        assert!(refused.text().contains("access_token"), "{}", refused.text());
        app.advance(60);
    }
    let sent: Vec<_> =
        provider.refreshes().iter().map(|request| request.value("refresh_token").map(str::to_owned)).collect();
    assert_eq!(sent.len(), ODD.len());
    assert!(sent.iter().all(|token| *token == sent[0]), "the stored one: {sent:?}");
    provider.answer_token(Reply::json(json!({"access_token": "new", "expires_in": 3600})));
    assert_eq!(app.token(&question()).await, "new");
}

async fn a_client_credentials_token_like_that_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"grant_type": "client_credentials"}))).await;
    for odd in ODD {
        provider.answer_token(Reply::json(json!({"access_token": odd, "expires_in": 3600})));
        app.try_authenticate(&question()).await.expect_error(502, "provider_error");
        app.advance(60);
    }
    assert!(!app.has_token().await);
}

async fn a_scope_that_is_not_one_grants_nothing(app: TestApp) {
    let provider = provider(&app).await;
    for odd in [json!("\0"), json!(["é", "\""]), json!("\u{1}\u{2}")] {
        is_refused(&app, &provider, json!({"access_token": "a", "scope": odd}), "scope").await;
    }
    let mixed = json!({"access_token": "a", "scope": ["read", "wri\0te", "\"", "x".repeat(513)], "expires_in": 3600});
    let (pending, _) = app.exchange(&provider, question(), Reply::json(mixed)).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
    assert_eq!(app.tokens().await[0]["scopes"], json!(["read"]));
}

async fn other_fields_with_control_characters_are_left_out(app: TestApp) {
    let provider = provider(&app).await;
    let odd = json!({
        "access_token": "a", "expires_in": 3600, "token_type": "Bea\0rer",
        "instance_url": "https://a.example\r\nX-Evil: 1", "team": {"id\0": 1}, "app_id": ["x", {"y": "\u{1b}[31m"}],
        "user_id": "u\0", "account_id": "kept",
    });
    let (pending, _) = app.exchange(&provider, question(), Reply::json(odd)).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
    let metadata = app.authenticate(&question()).await["metadata"].clone();
    assert_eq!(metadata["account_id"], "kept");
    for odd in ["instance_url", "team", "app_id", "user_id"] {
        assert!(metadata[odd].is_null(), "{odd} in {metadata}");
    }
}

async fn an_account_with_control_characters_is_unknown(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"userinfo_url": provider.at(USERINFO)}))).await;
    for person in [
        json!({"sub": "a\0b", "name": "x"}),
        json!({"sub": "a\r\nb", "name": "x"}),
        json!({"sub": "x".repeat(513), "name": "x"}),
        json!({"sub": "\u{1b}[31m", "name": "x"}),
    ] {
        provider.answer_userinfo(Reply::json(person.clone()));
        let (pending, _) = app.exchange(&provider, question(), Reply::json(json!({"access_token": "a"}))).await;
        assert_eq!(app.look(&pending.auth_id).await["status"], "completed", "{person}");
        assert!(app.tokens().await[0]["provider_account_label"].is_null(), "{person}");
    }
    provider.answer_userinfo(Reply::json(json!({"sub": "7", "name": "A\0l\r\nice"})));
    let (pending, _) = app.exchange(&provider, question(), Reply::json(json!({"access_token": "a"}))).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
    let labels: Vec<Value> = app.tokens().await.iter().map(|token| token["provider_account_label"].clone()).collect();
    assert!(labels.contains(&json!("Alice")), "{labels:?}");
}

async fn device_codes_with_control_characters_are_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"device_authorization_url": provider.at(DEVICE)}))).await;
    let question = with(question(), json!({"grant": "device"}));
    let codes = json!({"device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": provider.at("/activate")});
    for odd in [
        json!({"device_code": "a\0b"}),
        json!({"device_code": "a\r\nb"}),
        json!({"device_code": ""}),
        json!({"user_code": "WDJB\0"}),
        json!({"user_code": "WDJB\r\nMJHT"}),
        json!({"user_code": "x".repeat(65)}),
        json!({"user_code": " "}),
        json!({"verification_uri": provider.at("/acti\nvate")}),
        json!({"verification_uri": provider.at("/acti\0vate")}),
    ] {
        provider.answer(DEVICE, Reply::json(with(codes.clone(), odd.clone())));
        let answer = app.try_authenticate(&question).await;
        answer.expect_error(502, "provider_error");
        assert!(answer.text().contains("no codes"), "{odd}: {}", answer.text());
    }
    provider.answer(DEVICE, Reply::json(codes));
    assert_eq!(app.authenticate(&question).await["user_code"], "WDJB-MJHT");
}
