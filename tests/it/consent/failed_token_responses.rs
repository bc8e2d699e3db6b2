//! Token responses that are failures, whatever their status says.
//! Owns that the error reaches the waiting caller and that nothing is stored.
//! Must not know the odd responses that are good; those are `token_responses`.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::fake_provider::FakeProvider;
use crate::support::scripted::Scripted;

both_databases! {
    an_error_under_status_200_is_a_failure,
    a_slack_error_under_status_200_is_a_failure,
    an_error_in_a_form_body_under_status_200_is_a_failure,
    an_oauth_error_under_status_400_is_a_failure,
    a_body_that_is_no_object_is_a_failure,
    a_response_without_an_access_token_is_a_failure,
    an_access_token_that_is_no_text_is_a_failure,
    html_is_a_failure,
    an_empty_body_is_a_failure,
    nul_bytes_from_the_provider_do_no_harm,
}

/// The exchange fails, with this error if one is given, and nothing is stored.
async fn fails(app: &TestApp, answer: Scripted, error: Option<&str>) {
    let provider = FakeProvider::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read", "write"]);
    let (pending, page) = app.exchange(&provider, question, answer).await;
    assert!(page.status.is_client_error() || page.status.is_server_error(), "{page:?}");
    let answer = app.look(&pending.auth_id).await;
    assert_eq!(answer["status"], "not_found", "{answer}");
    assert!(answer["error"].is_string(), "{answer}");
    if let Some(error) = error {
        assert_eq!(answer["error"], error);
    }
    assert_eq!(app.tokens().await, Vec::<Value>::new());
    app.begin(&asking("alice", &["read"])).await;
    assert_eq!(provider.exchanges().len(), 1, "a code is never sent twice");
    app.delete("/v2/auth/providers/acme").await.expect(200);
}

async fn an_error_under_status_200_is_a_failure(app: TestApp) {
    let answer = json!({"error": "bad_verification_code", "error_description": "The code passed is incorrect."});
    fails(&app, Scripted::json(answer), Some("bad_verification_code")).await;
}

async fn a_slack_error_under_status_200_is_a_failure(app: TestApp) {
    let answer = json!({"ok": false, "error": "invalid_code"});
    fails(&app, Scripted::json(answer), Some("invalid_code")).await;
    fails(&app, Scripted::json(json!({"ok": false})), None).await;
    let with_token = json!({"ok": false, "access_token": "tok-1"});
    fails(&app, Scripted::json(with_token), None).await;
}

async fn an_error_in_a_form_body_under_status_200_is_a_failure(app: TestApp) {
    let form = "error=bad_verification_code&error_description=The+code+is+wrong";
    let answer = Scripted::text("application/x-www-form-urlencoded", form);
    fails(&app, answer, Some("bad_verification_code")).await;
}

async fn an_oauth_error_under_status_400_is_a_failure(app: TestApp) {
    let answer = json!({"error": "invalid_grant", "error_description": "Code expired"});
    let answer = Scripted::json(answer).status(400);
    fails(&app, answer, Some("invalid_grant")).await;
}

async fn a_body_that_is_no_object_is_a_failure(app: TestApp) {
    for body in ["[]", "\"access_token\"", "7", "null", "{broken", "[1"] {
        fails(&app, Scripted::text("application/json", body), None).await;
    }
}

async fn a_response_without_an_access_token_is_a_failure(app: TestApp) {
    let without = json!({"token_type": "Bearer", "refresh_token": "r", "expires_in": 3600});
    fails(&app, Scripted::json(without), None).await;
    fails(&app, Scripted::json(json!({})), None).await;
}

async fn an_access_token_that_is_no_text_is_a_failure(app: TestApp) {
    for odd in [json!(""), json!(null), json!(7), json!({}), json!(["t"])] {
        fails(&app, Scripted::json(json!({"access_token": odd})), None).await;
    }
}

async fn html_is_a_failure(app: TestApp) {
    let html = "<html><body>access_token=tok-1&amp;token_type=bearer</body></html>";
    fails(&app, Scripted::text("text/html", html), None).await;
    fails(&app, Scripted::text("application/json", html), None).await;
}

async fn an_empty_body_is_a_failure(app: TestApp) {
    fails(&app, Scripted::text("application/json", ""), None).await;
    fails(&app, Scripted::text("text/plain", "").status(204), None).await;
}

async fn nul_bytes_from_the_provider_do_no_harm(app: TestApp) {
    let provider = FakeProvider::start().await;
    app.register(&provider).await;
    for odd in [
        json!({"scope": "read\0 write"}),
        json!({"instance_url": "https://a\0b"}),
        json!({"nested": {"key\0": ["a\0b"]}}),
        json!({"access_token": "tok\0"}),
        json!({"error": "inv\0alid", "access_token": null}),
    ] {
        let answer = with(json!({"access_token": "tok-1", "expires_in": 3600}), odd.clone());
        let question = asking("alice", &["read"]);
        let (pending, _) = app.exchange(&provider, question, Scripted::json(answer)).await;
        let answer = app.look(&pending.auth_id).await;
        assert_ne!(answer["status"], "pending", "{odd}: {answer}");
    }
}
