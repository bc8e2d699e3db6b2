//! A browser sends its cookies by itself, even if a page of another site makes the request.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::both_databases;
use crate::support::caller::{Caller, acme};
use crate::support::langsmith::{ALICES_KEY, COOKIE, WORKSPACE, WithLangSmith, service_jwt};

both_databases! {
    a_form_of_another_site_changes_nothing,
    a_request_of_another_site_changes_nothing,
    a_request_of_the_same_origin_is_accepted,
    without_a_browser_a_cookie_with_json_is_accepted,
    reading_with_a_cookie_is_always_accepted,
    a_cookie_beside_a_key_needs_nothing_more,
}

async fn creates(caller: &Caller, content_type: Option<&str>) -> u16 {
    let caller = content_type.map_or_else(|| caller.clone(), |value| caller.with("content-type", value));
    let answer = caller.send(Method::POST, "/v2/auth/providers", Body::from(acme().to_string())).await;
    if answer.status.as_u16() == 403 {
        let refused = answer.expect_error(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("cookie"), "{refused}");
    }
    answer.status.as_u16()
}

/// What a form can send, and a script that may not read the answer.
const SIMPLE: [Option<&str>; 4] =
    [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data; boundary=x")];

async fn a_form_of_another_site_changes_nothing(app: WithLangSmith) {
    let browser = app.anonymous().with("cookie", COOKIE);
    for content_type in SIMPLE {
        assert_eq!(creates(&browser, content_type).await, 403, "{content_type:?}");
        let with_password = browser.with("authorization", "Basic YWxpY2U6cGFzc3dvcmQ=");
        assert_eq!(creates(&with_password, content_type).await, 403, "{content_type:?}");
    }
    assert_eq!(app.langsmith.count(), 0);
    assert_eq!(app.alice().get("/v2/auth/providers").await.expect(200), json!([]));
}

async fn a_request_of_another_site_changes_nothing(app: WithLangSmith) {
    app.alice().register_as(acme()).await;
    for site in ["cross-site", "same-site", "surprise"] {
        let browser = app.anonymous().with("cookie", COOKIE).with("sec-fetch-site", site);
        assert_eq!(creates(&browser, Some("application/json")).await, 403, "{site}");
        browser.delete("/v2/auth/providers/acme").await.expect_error(403, "forbidden");
        browser.patch("/v2/auth/providers/acme", &json!({"name": "New"})).await.expect_error(403, "forbidden");
    }
    assert_eq!(app.alice().get("/v2/auth/providers/acme").await.expect(200)["name"], "Acme Inc.");
}

async fn a_request_of_the_same_origin_is_accepted(app: WithLangSmith) {
    let browser = app.anonymous().with("cookie", COOKIE).with("sec-fetch-site", "same-origin");
    assert_eq!(creates(&browser, None).await, 200);
    browser.delete("/v2/auth/providers/acme").await.expect(200);
}

async fn without_a_browser_a_cookie_with_json_is_accepted(app: WithLangSmith) {
    let program = app.anonymous().with("cookie", COOKIE);
    assert_eq!(creates(&program, Some("application/json; charset=utf-8")).await, 200);
    program.delete("/v2/auth/providers/acme").await.expect(200);
}

async fn reading_with_a_cookie_is_always_accepted(app: WithLangSmith) {
    let browser = app.anonymous().with("cookie", COOKIE).with("sec-fetch-site", "cross-site");
    browser.get("/v2/auth/providers").await.expect(200);
}

async fn a_cookie_beside_a_key_needs_nothing_more(app: WithLangSmith) {
    let bearer = format!("Bearer {ALICES_KEY}");
    let jwt = service_jwt("ls-alice", WORKSPACE);
    for (name, value) in [("x-api-key", ALICES_KEY), ("authorization", &bearer), ("x-service-key", &jwt)] {
        let caller = app.anonymous().with("cookie", COOKIE).with("sec-fetch-site", "cross-site").with(name, value);
        assert_eq!(creates(&caller, None).await, 200, "{name}");
        caller.delete("/v2/auth/providers/acme").await.expect(200);
    }
}
