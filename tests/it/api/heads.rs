//! What every request is checked for before its route sees it: Host, doubled headers and parameters, the path, the id.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;

both_databases! {
    a_request_without_a_host_is_refused,
    a_header_that_says_who_calls_is_refused_when_it_comes_twice,
    other_headers_may_come_twice,
    a_doubled_parameter_of_a_callback_is_refused_and_uses_nothing_up,
    a_doubled_parameter_of_an_operation_is_refused,
    a_path_that_is_not_utf8_is_refused_in_json,
    a_query_that_is_not_utf8_is_refused,
    a_very_long_url_is_refused_in_json,
    a_short_plain_request_id_is_taken_over,
    any_other_request_id_is_replaced,
    pages_of_other_origins_may_not_call_the_api,
    only_the_listed_origins_may_call_the_api,
}

async fn a_request_without_a_host_is_refused(app: TestApp) {
    app.without_header("host").get("/v2/auth/providers").await.expect_error(400, "bad_request");
    app.anonymous().without_header("host").get("/livez").await.expect_error(400, "bad_request");
}

async fn a_header_that_says_who_calls_is_refused_when_it_comes_twice(app: TestApp) {
    let key = app.database.bootstrap_key.clone();
    let bearer = format!("Bearer {key}");
    for (name, value) in [
        ("host", "agent-auth.example"),
        ("x-api-key", key.as_str()),
        ("authorization", bearer.as_str()),
        ("x-user-id", "alice"),
        ("x-tenant-id", "default"),
        ("x-service-key", "x"),
    ] {
        let twice = app.without_header(name).with_also(name, value.as_bytes()).with_also(name, value.as_bytes());
        let refused = twice.get("/v2/auth/providers").await.expect_error(400, "bad_request");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(name) && !detail.contains(&key), "{detail}");
    }
}

async fn other_headers_may_come_twice(app: TestApp) {
    let twice = app.with_also("accept", b"text/html").with_also("accept", b"*/*");
    twice.get("/v2/auth/providers").await.expect(200);
}

async fn a_doubled_parameter_of_a_callback_is_refused_and_uses_nothing_up(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let callback = provider.consent(&pending.url);
    for more in ["code=other", "state=other", "c%6Fde=other", "iss=a&iss=b", "error=a&error=b"] {
        let doubled = Url::parse(&format!("{callback}&{more}")).unwrap();
        app.visit(&doubled).await.expect_error(400, "bad_request");
    }
    assert!(provider.exchanges().is_empty());
    app.come_back(&callback).await;
    assert_eq!(app.wait(&pending.auth_id).await["status"], "completed");
}

async fn a_doubled_parameter_of_an_operation_is_refused(app: TestApp) {
    for path in ["/v2/auth/tokens?provider_id=a&provider_id=b", "/v2/auth/wait/x?timeout=0&timeout=1"] {
        app.get(path).await.expect_error(400, "bad_request");
    }
    app.delete("/v2/auth/tokens?provider_id=a&provider_id=b").await.expect_error(400, "bad_request");
    for name in ["event", "provider_id", "user_id", "agent_id", "actor", "from", "to", "limit", "cursor", "format"] {
        app.get(&format!("/v2/audit?{name}=1&{name}=1")).await.expect_error(400, "bad_request");
    }
}

async fn a_path_that_is_not_utf8_is_refused_in_json(app: TestApp) {
    for path in [
        "/v2/auth/providers/%ff",
        "/v2/auth/wait/%ff",
        "/api-host/v2/auth/tokens/%c3%28",
        "/host-oauth-callback/%ff?code=c&state=s",
        "/oauth/client-metadata.json/%ff",
        "/%ff",
    ] {
        let answer = app.get(path).await;
        answer.expect_error(400, "bad_request");
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
    }
}

async fn a_query_that_is_not_utf8_is_refused(app: TestApp) {
    for path in [
        "/v2/audit?actor=%ff",
        "/v2/audit?other=%ff",
        "/v2/auth/tokens?provider_id=%ff",
        "/v2/auth/tokens/exists?provider_id=%c3%28",
        "/v2/auth/wait/x?timeout=%ff",
    ] {
        app.get(path).await.expect_error(400, "bad_request");
    }
}

async fn a_very_long_url_is_refused_in_json(app: TestApp) {
    let long = "x".repeat(17 * 1024);
    for path in [format!("/v2/auth/wait/{long}"), format!("/v2/auth/tokens?provider_id={long}"), format!("/{long}")] {
        app.get(&path).await.expect_error(414, "uri_too_long");
    }
}

async fn a_short_plain_request_id_is_taken_over(app: TestApp) {
    for id in ["a", "req-1.2_3:4", &"f".repeat(64)] {
        let answer = app.with("x-request-id", id).get("/ok").await;
        assert_eq!(answer.header("x-request-id"), id);
    }
}

async fn any_other_request_id_is_replaced(app: TestApp) {
    let (long, huge) = ("f".repeat(65), "x".repeat(28 * 1024));
    for id in [b"".as_slice(), b"a b", b"a\"b", b"a{b}", "\u{e9}".as_bytes(), long.as_bytes(), huge.as_bytes()] {
        let answer = app.with_also("x-request-id", id).get("/ok").await;
        let given = answer.header("x-request-id");
        assert!(uuid::Uuid::parse_str(given).is_ok(), "{given}");
    }
    let twice = app.with_also("x-request-id", b"first").with_also("x-request-id", b"second");
    let answer = twice.get("/ok").await;
    assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
}

async fn pages_of_other_origins_may_not_call_the_api(app: TestApp) {
    let page = app.with("origin", "https://app.example.com");
    let answer = page.get("/v2/auth/providers").await;
    let asking = page.with("access-control-request-method", "GET");
    let preflight = asking.send(Method::OPTIONS, "/v2/auth/providers", Body::empty()).await;
    for answer in [answer, preflight] {
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{answer:?}");
    }
}

async fn only_the_listed_origins_may_call_the_api(database: Database) {
    let origins = "https://app.example.com, http://localhost:3000";
    let app = TestApp::start_with(database, |settings| settings.cors_origins = origins.into()).await;
    let preflight = |origin: &str| {
        let page = app
            .anonymous()
            .with("origin", origin)
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "x-api-key,content-type");
        async move { page.send(Method::OPTIONS, "/v2/auth/authenticate", Body::empty()).await }
    };
    let allowed = preflight("http://localhost:3000").await;
    assert_eq!(allowed.status.as_u16(), 200);
    assert_eq!(allowed.header("access-control-allow-origin"), "http://localhost:3000");
    assert!(allowed.header("access-control-allow-headers").contains("x-api-key"));
    assert!(allowed.header("access-control-allow-credentials").is_empty());
    for other in
        ["https://app.example.com.evil.example", "https://app.example.com:8443", "null", "http://app.example.com"]
    {
        let answer = preflight(other).await;
        assert!(answer.header("access-control-allow-origin").is_empty(), "{other}: {answer:?}");
    }
    let answer = app.with("origin", "https://app.example.com").post("/v2/auth/authenticate", &json!({})).await;
    answer.faults();
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com");
}
