//! A code exchange that fails: the provider is down, slow or hostile, or its answer is an error.
//! Such an attempt stores nothing, and the waiting caller is told the reason.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::free_port;
use crate::support::both_databases;
use crate::support::caller::{Caller, Pending, asking, with};

both_databases! {
    a_provider_that_fails_ends_the_request,
    a_provider_that_is_busy_is_not_asked_again_with_the_same_code,
    a_provider_that_is_not_there_ends_the_request,
    a_provider_that_hangs_or_drips_is_given_up_after_ten_seconds,
    a_redirecting_token_endpoint_is_not_followed,
    a_flood_is_cut_off,
    a_compressed_body_is_not_inflated_without_bound,
    a_failed_exchange_leaves_an_existing_token_alone,
    a_failed_exchange_shows_nothing_of_the_providers_page,
    after_a_failure_a_new_attempt_works,
    one_slow_provider_does_not_hold_up_another,
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

async fn exchanged(app: &TestApp, provider: &AuthorizationServer, answer: Reply) -> (Pending, Answer) {
    app.exchange(provider, asking("alice", &["read"]), answer).await
}

/// A page, not success; the waiting caller is told, and nothing is stored.
async fn is_failure(app: &TestApp, pending: &Pending, page: &Answer) {
    let status = page.status.as_u16();
    assert!((400..=504).contains(&status) && status != 500, "{page:?}");
    page.expect_html(status);
    let answer = app.look(&pending.auth_id).await;
    assert_eq!(answer["status"], "not_found", "{answer}");
    assert!(answer["error"].is_string(), "{answer}");
    assert!(!app.has_token().await);
}

async fn a_provider_that_fails_ends_the_request(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for status in [500, 502, 501, 404, 401] {
        let answer = Reply::text("text/plain", "out of order").status(status);
        let (pending, page) = exchanged(&app, &provider, answer).await;
        is_failure(&app, &pending, &page).await;
    }
}

async fn a_provider_that_is_busy_is_not_asked_again_with_the_same_code(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for status in [429, 503] {
        let before = provider.exchanges().len();
        let answer = Reply::json(json!({"error": "temporarily_unavailable"})).status(status);
        let answer = answer.header("retry-after", "1");
        let (pending, page) = exchanged(&app, &provider, answer).await;
        is_failure(&app, &pending, &page).await;
        assert_eq!(provider.exchanges().len(), before + 1);
    }
}

async fn a_provider_that_is_not_there_ends_the_request(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let nobody = json!({"token_url": format!("http://127.0.0.1:{}/token", free_port())});
    app.register_as(with(provider.definition("acme"), nobody)).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let page = app.visit(&provider.consent(&pending.url)).await;
    is_failure(&app, &pending, &page).await;
    let text = page.text();
    assert!(text.contains("is not available") && !text.contains("answered"), "no answer is reported: {text}");
    assert!(!page.header("x-request-id").is_empty(), "{page:?}");
    assert!(text.contains(page.header("x-request-id")), "the page can be found in the log: {text}");
}

/// Silence before the answer, and an answer that drips without end: both at once, because they take their time.
async fn a_provider_that_hangs_or_drips_is_given_up_after_ten_seconds(app: TestApp) {
    let (silent, dripping) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register(&silent).await;
    app.register_as(dripping.definition("dripping")).await;
    let late = Reply::json(json!({"access_token": "too-late"})).after(Duration::from_secs(30));
    let other = with(asking("alice", &["read"]), json!({"provider": "dripping"}));
    let begun = Instant::now();
    let ((first, first_page), (second, second_page)) =
        tokio::join!(exchanged(&app, &silent, late), app.exchange(&dripping, other, Reply::drip()));
    let took = begun.elapsed();
    assert!((8..18).contains(&took.as_secs()), "{took:?}");
    is_failure(&app, &first, &first_page).await;
    is_failure(&app, &second, &second_page).await;
    assert_eq!((silent.exchanges().len(), dripping.exchanges().len()), (1, 1));
}

async fn a_redirecting_token_endpoint_is_not_followed(app: TestApp) {
    let (provider, elsewhere) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register(&provider).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = Reply::text("text/plain", "").status(status).header("location", &elsewhere.at("/token"));
        let (pending, page) = exchanged(&app, &provider, answer).await;
        is_failure(&app, &pending, &page).await;
    }
    assert_eq!(elsewhere.token_requests().len(), 0);
    assert_eq!(elsewhere.count_elsewhere(), 0);
}

const MEGABYTE: u64 = 1024 * 1024;

async fn a_flood_is_cut_off(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let begun = Instant::now();
    let flood = Reply::flood(50 * MEGABYTE);
    let (pending, page) = exchanged(&app, &provider, flood).await;
    is_failure(&app, &pending, &page).await;
    assert!(begun.elapsed() < Duration::from_secs(8));
    // What lies in the buffers of two sockets was sent without being read.
    assert!(provider.bytes_sent() < 16 * MEGABYTE);
}

async fn a_compressed_body_is_not_inflated_without_bound(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let claimed = Reply::text("application/json", "\u{1f}\u{8b}\u{8}no real gzip").header("content-encoding", "gzip");
    let (pending, page) = exchanged(&app, &provider, claimed).await;
    is_failure(&app, &pending, &page).await;
}

async fn a_failed_exchange_leaves_an_existing_token_alone(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let token = app.connect(&provider, &question).await;
    let before = app.tokens().await;
    let answer = Reply::json(json!({"error": "invalid_grant"})).status(400);
    exchanged(&app, &provider, answer).await;
    assert_eq!(app.token(&question).await, token);
    assert_eq!(app.tokens().await, before);
    app.advance(3600);
    assert_ne!(app.token(&question).await, token, "it can be refreshed");
}

async fn a_failed_exchange_shows_nothing_of_the_providers_page(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let answer = "<h1>Stack trace</h1> secret=hunter2";
    let answer = Reply::text("text/html", answer).status(500);
    let (pending, page) = exchanged(&app, &provider, answer).await;
    let told = app.look(&pending.auth_id).await.to_string();
    for text in [page.text(), told] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("Stack trace"), "{text}");
    }
}

async fn after_a_failure_a_new_attempt_works(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let broken = Reply::text("text/plain", "").status(500);
    exchanged(&app, &provider, broken).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
}

async fn one_slow_provider_does_not_hold_up_another(app: TestApp) {
    let (slow, quick) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register_as(slow.definition("slow")).await;
    app.register(&quick).await;
    let question = with(asking("alice", &["read"]), json!({"provider": "slow"}));
    for _ in 0..20 {
        let pending = app.begin(&question).await;
        let late = Reply::json(json!({"access_token": "late"}));
        slow.answer_token(late.after(Duration::from_secs(5)));
        let callback = slow.consent(&pending.url);
        let browser = Caller::clone(&app);
        tokio::spawn(async move { browser.visit(&callback).await });
    }
    while slow.exchanges().len() < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begun = Instant::now();
    app.connect(&quick, &asking("alice", &["read"])).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "no connection is held");
}

/// The exchange fails, with this error if one is given, and nothing is stored.
async fn fails(app: &TestApp, answer: Reply, error: Option<&str>) {
    let provider = AuthorizationServer::start().await;
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
    fails(&app, Reply::json(answer), Some("bad_verification_code")).await;
}

async fn a_slack_error_under_status_200_is_a_failure(app: TestApp) {
    let answer = json!({"ok": false, "error": "invalid_code"});
    fails(&app, Reply::json(answer), Some("invalid_code")).await;
    fails(&app, Reply::json(json!({"ok": false})), None).await;
    let with_token = json!({"ok": false, "access_token": "tok-1"});
    fails(&app, Reply::json(with_token), None).await;
}

async fn an_error_in_a_form_body_under_status_200_is_a_failure(app: TestApp) {
    let form = "error=bad_verification_code&error_description=The+code+is+wrong";
    let answer = Reply::text("application/x-www-form-urlencoded", form);
    fails(&app, answer, Some("bad_verification_code")).await;
}

async fn an_oauth_error_under_status_400_is_a_failure(app: TestApp) {
    let answer = json!({"error": "invalid_grant", "error_description": "Code expired"});
    let answer = Reply::json(answer).status(400);
    fails(&app, answer, Some("invalid_grant")).await;
}

async fn a_body_that_is_no_object_is_a_failure(app: TestApp) {
    for body in ["[]", "\"access_token\"", "7", "null", "{broken", "[1"] {
        fails(&app, Reply::text("application/json", body), None).await;
    }
}

async fn a_response_without_an_access_token_is_a_failure(app: TestApp) {
    let without = json!({"token_type": "Bearer", "refresh_token": "r", "expires_in": 3600});
    fails(&app, Reply::json(without), None).await;
    fails(&app, Reply::json(json!({})), None).await;
}

async fn an_access_token_that_is_no_text_is_a_failure(app: TestApp) {
    for odd in [json!(""), json!(null), json!(7), json!({}), json!(["t"])] {
        fails(&app, Reply::json(json!({"access_token": odd})), None).await;
    }
}

async fn html_is_a_failure(app: TestApp) {
    let html = "<html><body>access_token=tok-1&amp;token_type=bearer</body></html>";
    fails(&app, Reply::text("text/html", html), None).await;
    fails(&app, Reply::text("application/json", html), None).await;
}

async fn an_empty_body_is_a_failure(app: TestApp) {
    fails(&app, Reply::text("application/json", ""), None).await;
    fails(&app, Reply::text("text/plain", "").status(204), None).await;
}

async fn nul_bytes_from_the_provider_do_no_harm(app: TestApp) {
    let provider = AuthorizationServer::start().await;
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
        let (pending, _) = app.exchange(&provider, question, Reply::json(answer)).await;
        let answer = app.look(&pending.auth_id).await;
        assert_ne!(answer["status"], "pending", "{odd}: {answer}");
    }
}
