//! The pages that a person sees after consent: what they never contain, and their security headers.

use serde_json::json;
use url::Url;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::PUBLIC_URL;

both_databases! {
    every_page_is_guarded_by_its_headers,
    every_page_is_whole_and_loads_nothing_from_elsewhere,
    the_page_of_success_contains_nothing_secret,
    the_redirect_to_the_clean_address_is_not_cached_and_sends_no_referrer,
    the_name_of_a_provider_is_escaped,
    the_page_of_an_unknown_request_is_refused,
    an_answer_with_a_token_is_not_cached,
    api_answers_are_not_sniffed,
    the_start_page_says_what_this_server_is,
}

/// One page of each kind.
async fn all_pages(app: &TestApp) -> Vec<(&'static str, Answer)> {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let success = app.begin(&asking("alice", &["read"])).await;
    let callback = provider.consent(&success.url);
    let redirected = app.visit(&callback).await;
    let clean = Url::parse(redirected.header("location")).unwrap();
    let denied = app.begin(&asking("bob", &["read"])).await;
    let update = format!("{PUBLIC_URL}/v2/auth/setup/acme?setup_action=update");
    vec![
        ("start", app.browser().get("/").await),
        ("success", app.visit(&clean).await),
        ("another code", app.visit(&provider.consent(&success.url)).await),
        ("denied", app.visit(&provider.deny(&denied.url)).await),
        ("update", app.visit(&Url::parse(&update).unwrap()).await),
    ]
}

async fn every_page_is_guarded_by_its_headers(app: TestApp) {
    for (kind, page) in all_pages(&app).await {
        assert_eq!(page.header("cache-control"), "no-store", "{kind}");
        assert_eq!(page.header("referrer-policy"), "no-referrer", "{kind}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{kind}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{kind}");
        let policy = page.header("content-security-policy");
        for rule in ["default-src 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{kind}: {policy}");
        }
        assert!(!policy.contains("script-src 'unsafe"), "{kind}: {policy}");
    }
}

async fn every_page_is_whole_and_loads_nothing_from_elsewhere(app: TestApp) {
    for (kind, page) in all_pages(&app).await {
        let html = page.text().to_lowercase();
        assert!(html.starts_with("<!doctype html>"), "{kind}");
        assert!(html.contains("<title>"), "{kind}");
        for loading in ["<script", "src=\"http", "@import", "<link", "<iframe", " onload="] {
            assert!(!html.contains(loading), "{kind}: {loading}");
        }
    }
}

async fn the_page_of_success_contains_nothing_secret(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let callback = provider.consent(&pending.url);
    let page = app.come_back(&callback).await.text();
    let exchange = provider.exchange();
    for secret in [
        exchange.value("code").unwrap(),
        exchange.value("code_verifier").unwrap(),
        exchange.value("client_secret").unwrap(),
        &pending.state(),
        &app.token(&asking("alice", &["read"])).await,
    ] {
        assert!(!page.contains(secret), "{secret} in {page}");
    }
    assert!(page.contains("Acme Inc."), "it says what was connected");
}

async fn the_redirect_to_the_clean_address_is_not_cached_and_sends_no_referrer(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let redirect = app.visit(&provider.consent(&pending.url)).await;
    assert_eq!(redirect.status.as_u16(), 303);
    assert_eq!(redirect.header("cache-control"), "no-store");
    assert_eq!(redirect.header("referrer-policy"), "no-referrer");
}

async fn the_name_of_a_provider_is_escaped(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let evil = json!({"name": "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"});
    app.register_as(with(provider.definition("acme"), evil)).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let page = app.come_back(&provider.consent(&pending.url)).await.text();
    for raw in ["<script>alert", "<img src=x"] {
        assert!(!page.contains(raw), "{page}");
    }
}

async fn the_page_of_an_unknown_request_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    for unknown in ["0190f3c8-0000-7000-8000-000000000000", "not-an-id", "%00", "..%2F..", &pending.auth_id] {
        let url = format!("{PUBLIC_URL}/host-oauth-callback/acme/{unknown}");
        let answer = app.visit(&Url::parse(&url).unwrap()).await;
        assert!(answer.status.is_client_error(), "{unknown}: {answer:?}");
    }
}

async fn an_answer_with_a_token_is_not_cached(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let pending = app.begin(&question).await;
    app.come_back(&provider.consent(&pending.url)).await;
    let path = format!("/v2/auth/wait/{}", pending.auth_id);
    for answer in [app.try_authenticate(&question).await, app.get(&path).await] {
        assert_eq!(answer.json()["status"], "completed");
        let caching = answer.header("cache-control");
        assert!(caching.contains("no-store"), "{caching:?}");
    }
}

async fn api_answers_are_not_sniffed(app: TestApp) {
    for path in ["/v2/auth/providers", "/v2/auth/providers/nobody"] {
        let answer = app.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
}

async fn the_start_page_says_what_this_server_is(app: TestApp) {
    let page = app.browser().get("/").await;
    page.expect_html(200);
    assert!(page.text().contains("agent-auth is running") && page.text().contains("/docs"), "{}", page.text());
}
