//! The addresses that a provider may be registered with.
//! Owns which URLs are taken at all; where connections may really go is `address_guard`.
//! Must not know about any request to those addresses.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{acme, with};
use crate::support::database::Database;

both_databases! {
    an_address_with_a_dangerous_scheme_is_refused,
    an_address_that_is_no_url_is_refused,
    an_address_with_credentials_or_a_fragment_is_refused,
    plain_http_to_the_open_internet_is_refused,
    an_authorization_address_may_have_a_query,
}

async fn refuses_everywhere(app: &TestApp, wrong: &str) {
    for field in ["auth_url", "token_url"] {
        let body = with(acme(), json!({field: wrong}));
        let answer = app.post("/v2/auth/providers", &body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
    let body = with(acme(), json!({"allowed_redirect_uris": [wrong]}));
    let answer = app.post("/v2/auth/providers", &body).await;
    answer.expect_fault_at("body.allowed_redirect_uris.0");
    let stored = app.get("/v2/auth/providers").await.expect(200);
    assert_eq!(stored, json!([]));
}

async fn an_address_with_a_dangerous_scheme_is_refused(app: TestApp) {
    for wrong in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "javascript://acme.example/%0aalert(1)",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox(1)",
        "ftp://acme.example/",
        "ws://acme.example/",
        "blob:https://acme.example/1",
    ] {
        refuses_everywhere(&app, wrong).await;
    }
}

async fn an_address_that_is_no_url_is_refused(app: TestApp) {
    for wrong in [
        "",
        "acme.example/authorize",
        "//acme.example/authorize",
        "/authorize",
        "https://",
        "https:// acme.example/",
        "https://[::1",
    ] {
        refuses_everywhere(&app, wrong).await;
    }
}

async fn an_address_with_credentials_or_a_fragment_is_refused(app: TestApp) {
    for wrong in ["https://user:password@acme.example/", "https://user@acme.example/", "https://acme.example/#fragment"]
    {
        refuses_everywhere(&app, wrong).await;
    }
}

async fn plain_http_to_the_open_internet_is_refused(database: Database) {
    let app = TestApp::start_with(database, |settings| {
        "127.0.0.1".clone_into(&mut settings.allow_private_upstreams);
    })
    .await;
    for field in ["auth_url", "token_url"] {
        let body = with(acme(), json!({field: "http://acme.example/"}));
        let answer = app.post("/v2/auth/providers", &body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
}

async fn an_authorization_address_may_have_a_query(app: TestApp) {
    let url = "https://acme.example/authorize?tenant=7&x=a%20b";
    let created = app.register_as(with(acme(), json!({"auth_url": url}))).await;
    assert_eq!(created["auth_url"], url);
}
