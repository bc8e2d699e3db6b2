//! The errors that belong to no resource: no key, no such path, wrong method, too much.
//! Owns their shape, which clients read.
//! Must not know about faults in bodies; those are `validation`.

use axum::body::Body;
use axum::http::Method;
use futures_util::stream;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::asking;

both_databases! {
    a_request_without_a_key_is_unauthorized,
    an_unknown_key_is_unauthorized,
    a_malformed_key_is_unauthorized,
    without_a_key_not_even_the_body_is_judged,
    an_unknown_path_is_not_found_in_json,
    a_wrong_method_is_told_in_json_with_the_right_ones,
    a_body_beyond_the_limit_is_told_in_json,
    a_body_without_a_length_is_limited_as_well,
    api_paths_never_redirect,
    the_unauthenticated_pages_of_operations_answer,
    an_error_is_json_and_not_cached,
}

const OPERATIONS: [(&str, &str); 19] = [
    ("GET", "/v2/auth/providers"),
    ("POST", "/v2/auth/providers"),
    ("GET", "/v2/auth/providers/acme"),
    ("PATCH", "/v2/auth/providers/acme"),
    ("DELETE", "/v2/auth/providers/acme"),
    ("POST", "/v2/auth/authenticate"),
    ("GET", "/v2/auth/wait/7?timeout=0"),
    ("POST", "/v2/auth/callback/acme"),
    ("GET", "/v2/auth/tokens"),
    ("DELETE", "/v2/auth/tokens?provider_id=acme"),
    ("GET", "/v2/auth/tokens/exists?provider_id=acme"),
    ("POST", "/v2/auth/tokens/exists/batch"),
    ("DELETE", "/v2/auth/tokens/7"),
    ("PATCH", "/v2/auth/tokens/7/metadata"),
    ("GET", "/v2/auth/tokens/workspace/slack/exists"),
    ("DELETE", "/v2/auth/tokens/workspace/slack"),
    ("GET", "/v2/auth/agents/helper/connections"),
    ("POST", "/v2/auth/agents/helper/connections"),
    ("DELETE", "/v2/auth/agents/helper/connections/7"),
];

async fn a_request_without_a_key_is_unauthorized(app: TestApp) {
    for (method, path) in OPERATIONS {
        let method: Method = method.parse().unwrap();
        let answer =
            app.anonymous().with("content-type", "application/json").send(method, path, Body::from("{}")).await;
        assert_eq!(answer.status.as_u16(), 401, "{path}");
        answer.expect_error(401, "unauthorized");
    }
}

async fn an_unknown_key_is_unauthorized(app: TestApp) {
    let known = app.database.bootstrap_key.clone();
    let mut almost = known.clone();
    almost.pop();
    for key in [&format!("{known}x"), &almost, &known.to_uppercase()] {
        app.with_key(key).get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    }
}

async fn a_malformed_key_is_unauthorized(app: TestApp) {
    for key in ["", " ", "null", "' OR 1=1 --", &"k".repeat(8000)] {
        app.with_key(key).get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    }
}

async fn without_a_key_not_even_the_body_is_judged(app: TestApp) {
    for body in ["{}", "{broken", ""] {
        app.anonymous().post_text("/v2/auth/authenticate", body).await.expect_error(401, "unauthorized");
    }
}

async fn an_unknown_path_is_not_found_in_json(app: TestApp) {
    for path in ["/nothing", "/v2/auth/nothing", "/v2/auth", "/api-host/v2/auth/nothing", "/v3/auth/providers"] {
        app.get(path).await.expect_error(404, "not_found");
    }
}

async fn a_wrong_method_is_told_in_json_with_the_right_ones(app: TestApp) {
    for (method, path, right) in [
        (Method::PUT, "/v2/auth/providers", "POST"),
        (Method::GET, "/v2/auth/authenticate", "POST"),
        (Method::POST, "/v2/auth/tokens", "DELETE"),
        (Method::PUT, "/v2/auth/providers/acme", "PATCH"),
        (Method::DELETE, "/v2/auth/wait/7", "GET"),
    ] {
        let answer = app.send(method, path, Body::empty()).await;
        answer.expect_error(405, "method_not_allowed");
        let allowed = answer.header("allow");
        assert!(allowed.contains(right), "{path}: Allow: {allowed}");
    }
}

async fn a_body_beyond_the_limit_is_told_in_json(app: TestApp) {
    let filler = "a".repeat(300 * 1024);
    let body = json!({"provider": "acme", "scopes": [], "user_id": filler});
    app.try_authenticate(&body).await.expect_error(413, "payload_too_large");
}

async fn a_body_without_a_length_is_limited_as_well(app: TestApp) {
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 16 * 1024]));
    let body = Body::from_stream(stream::iter(chunks));
    app.with("content-type", "application/json")
        .send(Method::POST, "/v2/auth/authenticate", body)
        .await
        .expect_error(413, "payload_too_large");
}

async fn api_paths_never_redirect(app: TestApp) {
    for (method, path) in OPERATIONS {
        let (plain, query) = path.split_once('?').unwrap_or((path, ""));
        for variant in [
            format!("{plain}/?{query}"),
            format!("/{plain}?{query}"),
            format!("{plain}?{query}&next=https://evil.example"),
            plain.to_uppercase(),
            format!("/api-host{plain}/?{query}"),
        ] {
            let method: Method = method.parse().unwrap();
            let answer = app.send(method, &variant, Body::empty()).await;
            assert!(!answer.status.is_redirection(), "{variant}: {answer:?}");
        }
    }
}

async fn the_unauthenticated_pages_of_operations_answer(app: TestApp) {
    for path in ["/livez", "/readyz", "/metrics", "/openapi.json"] {
        let answer = app.anonymous().get(path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text());
    }
    let ok = app.anonymous().get("/ok").await.expect(200);
    assert_eq!(ok, json!({"ok": true}));
}

async fn an_error_is_json_and_not_cached(app: TestApp) {
    for answer in [
        app.anonymous().get("/v2/auth/providers").await,
        app.get("/v2/auth/providers/nobody").await,
        app.try_authenticate(&json!({})).await,
        app.try_authenticate(&asking("alice", &["read"])).await,
        app.get("/nothing").await,
    ] {
        assert!(answer.status.is_client_error());
        assert_eq!(answer.header("content-type"), "application/json");
    }
}
