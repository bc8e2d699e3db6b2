//! Paths and methods: errors that belong to no resource, and the same operations below `/api-host`.

use axum::body::Body;
use axum::http::Method;
use futures_util::stream;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{asking, with};

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
    every_operation_answers_below_the_prefix,
    what_is_made_below_one_prefix_is_seen_below_the_other,
    errors_below_the_prefix_are_json_too,
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

const PREFIX: &str = "/api-host/v2/auth";

async fn every_operation_answers_below_the_prefix(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let at = |path: &str| format!("{PREFIX}{path}");
    let own_callback = json!({"allowed_redirect_uris": ["https://app.example/callback"]});

    let definition = with(provider.definition("acme"), own_callback);
    app.post(&at("/providers"), &definition).await.expect(200);
    app.get(&at("/providers")).await.expect(200);
    app.get(&at("/providers/acme")).await.expect(200);
    app.patch(&at("/providers/acme"), &json!({"name": "New"})).await.expect(200);

    let question = json!({"provider": "acme", "scopes": ["read"], "user_id": "admin"});
    let answer = app.post(&at("/authenticate"), &question).await.expect(200);
    let (url, auth_id) = (answer["url"].as_str(), answer["auth_id"].as_str());
    let mut callback = provider.consent(url.unwrap());
    callback.set_path(&at("/callback/acme"));
    let page = app.visit(&callback).await;
    assert!([200, 303].contains(&page.status.as_u16()), "{page:?}");
    let wait = at(&format!("/wait/{}?timeout=5", auth_id.unwrap()));
    let answer = app.get(&wait).await.expect(200);
    assert_eq!(answer["status"], "completed");

    let by_app = json!({"redirect_uri": "https://app.example/callback", "force_new": true});
    let answer = app.post(&at("/authenticate"), &with(question, by_app)).await.expect(200);
    let callback = provider.consent(answer["url"].as_str().unwrap());
    let received: std::collections::HashMap<_, _> = callback.query_pairs().collect();
    app.post(&at("/callback/acme"), &json!(received)).await.expect(200);
    app.get(&at("/setup/acme?setup_action=update")).await.expect_html(200);

    let tokens = app.get(&at("/tokens")).await.expect(200);
    let token = tokens[0]["id"].as_str().unwrap();
    app.get(&at("/tokens/exists?provider_id=acme")).await.expect(200);
    app.post(&at("/tokens/exists/batch"), &json!({"provider_ids": ["acme"]})).await.expect(200);
    app.patch(&at(&format!("/tokens/{token}/metadata")), &json!({"provider_account_label": "work"})).await.expect(200);

    let body = json!({"oauth_token_id": token});
    let connections = at("/agents/helper/connections");
    let connection = app.post(&connections, &body).await.expect(201);
    app.get(&connections).await.expect(200);
    let connection = connection["id"].as_str().unwrap();
    app.delete(&format!("{connections}/{connection}")).await.expect(204);

    app.get(&at("/tokens/workspace/slack/exists")).await.expect(200);
    app.delete(&at("/tokens/workspace/slack")).await.expect(200);
    app.delete(&at(&format!("/tokens/{token}"))).await.expect(204);
    app.delete(&at("/tokens?provider_id=acme")).await.expect(200);
    app.delete(&at("/providers/acme")).await.expect(200);
}

async fn what_is_made_below_one_prefix_is_seen_below_the_other(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let made = app.post(&format!("{PREFIX}/providers"), &provider.definition("acme")).await.expect(200);
    let seen = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(seen, made);
}

async fn errors_below_the_prefix_are_json_too(app: TestApp) {
    app.get(&format!("{PREFIX}/providers/nobody")).await.expect_error(404, "not_found");
    app.anonymous().get(&format!("{PREFIX}/providers")).await.expect_error(401, "unauthorized");
    app.post(&format!("{PREFIX}/authenticate"), &json!({})).await.faults();
}
