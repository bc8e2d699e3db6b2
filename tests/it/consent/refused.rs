//! The callback with an error, or with parameters that belong to no request: what it must not do.

use std::time::{Duration, Instant};

use serde_json::json;
use url::{Position, Url};

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::{PUBLIC_URL, random_text};

both_databases! {
    a_denied_consent_ends_the_wait_at_once,
    a_denied_consent_leaves_an_existing_token_alone,
    a_denied_consent_cannot_be_followed_by_a_code,
    the_providers_own_words_are_passed_on,
    an_error_without_a_state_is_a_page,
    an_unknown_error_is_a_page,
    an_error_for_an_unknown_state_ends_nothing,
    html_in_an_error_description_is_escaped,
    a_long_error_description_is_cut,
    a_made_up_state_is_refused,
    a_changed_state_is_refused,
    a_missing_state_is_refused,
    a_missing_code_is_refused,
    an_expired_state_is_refused,
    a_state_of_another_provider_is_refused,
    the_address_of_an_unknown_provider_is_refused,
    an_oversized_code_or_state_is_refused,
    an_error_page_is_never_a_redirect,
}

async fn a_denied_consent_ends_the_wait_at_once(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let waiter = {
        let (waiter, auth_id) = (Caller::clone(&app), pending.auth_id.clone());
        tokio::spawn(async move { waiter.wait(&auth_id).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let denied = Instant::now();
    let page = app.visit(&provider.deny(&pending.url)).await;
    assert!(page.status.is_client_error(), "{page:?}");
    let answer = waiter.await.unwrap();
    assert!(denied.elapsed() < Duration::from_secs(2));
    assert_eq!(answer["status"], "not_found");
    assert_eq!(answer["error"], "access_denied");
    assert!(answer["token"].is_null());
    assert_eq!(provider.token_requests().len(), 0);
    assert_eq!(app.look(&pending.auth_id).await["error"], "access_denied");
}

async fn a_denied_consent_leaves_an_existing_token_alone(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let token = app.connect(&provider, &question).await;
    let forced = with(question.clone(), json!({"force_new": true}));
    let pending = app.begin(&forced).await;
    app.visit(&provider.deny(&pending.url)).await;
    assert_eq!(app.token(&question).await, token);
}

async fn a_denied_consent_cannot_be_followed_by_a_code(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    app.visit(&provider.deny(&pending.url)).await;
    let answer = app.visit(&provider.consent(&pending.url)).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(provider.token_requests().len(), 0);
}

async fn the_providers_own_words_are_passed_on(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let error = [("error", "invalid_scope"), ("error_description", "No such scope: read")];
    app.visit(&provider.send_back(&pending.url, &error)).await;
    let answer = app.look(&pending.auth_id).await;
    assert_eq!(answer["status"], "not_found");
    assert_eq!(answer["error"], "invalid_scope");
    assert_eq!(answer["error_description"], "No such scope: read");
}

/// A page that refuses; the provider is not called.
async fn is_refused(app: &TestApp, provider: &AuthorizationServer, callback: &Url) -> String {
    let answer = app.visit(callback).await;
    assert!(answer.status.is_client_error(), "{callback}: {answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(provider.token_requests().len(), 0);
    let status = answer.status.as_u16();
    answer.expect_html(status)
}

fn callback(query: &str) -> Url {
    Url::parse(&format!("{PUBLIC_URL}/host-oauth-callback/acme?{query}")).unwrap()
}

async fn an_error_without_a_state_is_a_page(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    is_refused(&app, &provider, &callback("error=access_denied")).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
}

async fn an_unknown_error_is_a_page(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for error in ["moon_phase", "", "%00", "%ff%fe", "a%0d%0ab"] {
        let pending = app.begin(&asking("alice", &["read"])).await;
        let query = format!("error={error}&state={}", pending.state());
        is_refused(&app, &provider, &callback(&query)).await;
    }
}

async fn an_error_for_an_unknown_state_ends_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let query = format!("error=access_denied&state={}", random_text("s"));
    is_refused(&app, &provider, &callback(&query)).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
}

async fn html_in_an_error_description_is_escaped(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let error = [
        ("error", "<b>access_denied</b>"),
        ("error_description", "<script>alert(1)</script><img src=x onerror=alert(2)>"),
    ];
    let callback = provider.send_back(&pending.url, &error);
    let page = is_refused(&app, &provider, &callback).await;
    for raw in ["<script>alert", "<img src=x", "<b>access_denied"] {
        assert!(!page.contains(raw), "{page}");
    }
}

async fn a_long_error_description_is_cut(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let long = "ü lengthy ".repeat(400);
    let error = [("error", "server_error"), ("error_description", &*long)];
    let callback = provider.send_back(&pending.url, &error);
    let page = is_refused(&app, &provider, &callback).await;
    assert!(page.matches("lengthy").count() < 150, "{}", page.len());
    let answer = app.look(&pending.auth_id).await;
    let told = answer["error_description"].as_str().unwrap_or_default();
    assert!(told.matches("lengthy").count() < 150, "{}", told.len());
}

async fn a_made_up_state_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    for state in [random_text("state"), "%27%20OR%201=1".to_owned(), pending.auth_id.clone(), String::new()] {
        let query = format!("code=a-code&state={state}");
        is_refused(&app, &provider, &callback(&query)).await;
    }
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
}

async fn a_changed_state_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let state = pending.state();
    let swapped: String = state.chars().rev().collect();
    for changed in [format!("{state}A"), state[..state.len() - 1].to_owned(), state.to_lowercase(), swapped] {
        let query = format!("code=a-code&state={changed}");
        is_refused(&app, &provider, &callback(&query)).await;
    }
    app.come_back(&provider.consent(&pending.url)).await;
}

async fn a_missing_state_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    is_refused(&app, &provider, &callback("code=a-code")).await;
    is_refused(&app, &provider, &callback("")).await;
}

async fn a_missing_code_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    for code in ["", "code=&"] {
        let query = format!("{code}state={}", pending.state());
        is_refused(&app, &provider, &callback(&query)).await;
    }
}

async fn an_expired_state_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let lifetime = u64::try_from(app.settings.authorization_ttl_seconds).unwrap();
    app.advance(lifetime + 1);
    is_refused(&app, &provider, &provider.consent(&pending.url)).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "not_found");
}

async fn a_state_of_another_provider_is_refused(app: TestApp) {
    let (honest, hostile) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register(&honest).await;
    app.register_as(hostile.definition("other")).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let mut callback = honest.consent(&pending.url);
    callback.set_path("/host-oauth-callback/other");
    is_refused(&app, &honest, &callback).await;
    assert_eq!(hostile.token_requests().len(), 0, "nor the other one");
}

async fn the_address_of_an_unknown_provider_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let mut callback = provider.consent(&pending.url);
    callback.set_path("/host-oauth-callback/nobody");
    is_refused(&app, &provider, &callback).await;
}

async fn an_oversized_code_or_state_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let longest = "a".repeat(15_000);
    is_refused(&app, &provider, &callback(&format!("code=c&state={longest}"))).await;
    let long = "a".repeat(40_000);
    app.visit(&callback(&format!("code=c&state={long}"))).await.expect_error(414, "uri_too_long");
    let pending = app.begin(&asking("alice", &["read"])).await;
    let query = format!("code={long}&state={}", pending.state());
    let answer = app.visit(&callback(&query)).await;
    assert!(answer.status.is_client_error() || answer.status.is_server_error());
    assert_ne!(app.look(&pending.auth_id).await["status"], "completed");
}

async fn an_error_page_is_never_a_redirect(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let mut callback = provider.deny(&pending.url);
    callback
        .query_pairs_mut()
        .append_pair("redirect_uri", "https://evil.example/")
        .append_pair("next", "https://evil.example/")
        .append_pair("error_uri", "https://evil.example/");
    let answer = app.visit(&callback).await;
    assert!(!answer.status.is_redirection());
    assert!(!answer.text().contains("evil.example"), "{}", answer.text());
    let path = &callback[Position::BeforePath..Position::AfterPath];
    assert_eq!(path, "/host-oauth-callback/acme");
}
