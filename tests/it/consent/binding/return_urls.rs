//! Where the browser goes after a consent, and the account that the provider is asked for.

use serde_json::json;
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{asking, with};

both_databases! {
    after_success_the_browser_goes_to_the_application,
    only_a_listed_address_is_taken_byte_for_byte,
    after_a_failure_the_browser_stays_with_us,
    the_account_is_passed_on_to_the_provider,
    the_callers_account_counts_more_than_the_providers,
}

const RETURN: &str = "https://app.example/connected";

async fn start(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"return_urls": [RETURN, "http://127.0.0.1:9/x"]}))).await;
    provider
}

async fn after_success_the_browser_goes_to_the_application(app: TestApp) {
    let provider = start(&app).await;
    let pending = app.begin(&with(asking("alice", &["read"]), json!({"return_url": RETURN}))).await;
    let callback = provider.consent(&pending.url);
    for _ in 0..2 {
        let answer = app.visit(&callback).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (303, "no-store"));
        assert_eq!(answer.header("location"), format!("{RETURN}?auth_id={}", pending.auth_id));
    }
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
    let plain = app.begin(&asking("bob", &["read"])).await;
    app.come_back(&provider.consent(&plain.url)).await;
}

async fn only_a_listed_address_is_taken_byte_for_byte(app: TestApp) {
    start(&app).await;
    for other in [
        "https://app.example/connected/",
        "https://app.example/connected?next=https://evil.example",
        "https://APP.example/connected",
        "https://evil.example/connected",
        "https://app.example.evil.example/connected",
    ] {
        let asked = with(asking("alice", &["read"]), json!({"return_url": other}));
        app.try_authenticate(&asked).await.expect_fault("body.return_url", "value_error");
    }
    for unfit in ["javascript:alert(1)", "http://app.example/connected", "//evil.example"] {
        let asked = with(asking("alice", &["read"]), json!({"return_url": unfit}));
        app.try_authenticate(&asked).await.expect_fault_at("body.return_url");
    }
}

async fn after_a_failure_the_browser_stays_with_us(app: TestApp) {
    let provider = start(&app).await;
    let pending = app.begin(&with(asking("alice", &["read"]), json!({"return_url": RETURN}))).await;
    app.visit(&provider.deny(&pending.url)).await.expect_html(400);
}

async fn the_account_is_passed_on_to_the_provider(app: TestApp) {
    start(&app).await;
    let hint = "ada+1@example.com";
    let pending = app.begin(&with(asking("alice", &["read"]), json!({"login_hint": hint}))).await;
    assert_eq!(pending.parameter("login_hint").as_deref(), Some(hint));
    let without = app.begin(&asking("alice", &["read"])).await;
    assert_eq!(without.parameter("login_hint"), None);
    let wrong = with(asking("alice", &["read"]), json!({"login_hint": "a\nb"}));
    app.try_authenticate(&wrong).await.expect_fault("body.login_hint", "value_error");
    assert!(Url::parse(&pending.url).is_ok());
}

async fn the_callers_account_counts_more_than_the_providers(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let params = json!({"authorization_params": {"login_hint": "of-the-provider", "hd": "example.com"}});
    app.register_as(with(provider.definition("acme"), params)).await;
    let named = app.begin(&with(asking("alice", &["read"]), json!({"login_hint": "of-the-caller"}))).await;
    assert_eq!(named.parameter("login_hint").as_deref(), Some("of-the-caller"));
    assert_eq!(named.parameter("hd").as_deref(), Some("example.com"));
    let unnamed = app.begin(&asking("alice", &["read"])).await;
    assert_eq!(unnamed.parameter("login_hint").as_deref(), Some("of-the-provider"));
}
