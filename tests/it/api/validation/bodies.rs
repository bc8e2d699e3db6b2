//! Bodies and queries with missing fields, wrong types or broken JSON: every fault is named at once.
//! Nothing of such a request is stored or repeated in the answer.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with, without};

both_databases! {
    every_missing_field_of_a_provider_is_named_at_once,
    each_missing_field_of_a_provider_is_named_alone,
    each_wrongly_typed_field_of_a_provider_is_named_with_its_type,
    all_kinds_of_faults_are_told_in_one_answer,
    a_nested_fault_names_the_place_in_the_list_or_map,
    every_missing_field_of_authenticate_is_named_at_once,
    each_wrongly_typed_field_of_authenticate_is_named_with_its_type,
    the_other_bodies_name_their_missing_fields,
    the_other_bodies_name_their_wrong_types,
    broken_json_is_told_with_its_position,
    a_body_that_is_no_object_is_refused,
    an_empty_body_is_refused,
    text_that_is_no_unicode_is_refused,
    a_deep_nest_is_refused_without_harm,
    a_missing_query_parameter_is_named,
    a_wrong_type_of_secret_is_not_repeated,
    broken_json_is_not_repeated,
}

/// What is answered to a provider that must not be stored.
pub async fn create(app: &TestApp, body: &Value) -> Answer {
    let answer = app.post("/v2/auth/providers", body).await;
    let stored = app.get("/v2/auth/providers").await.expect(200);
    assert_eq!(stored, json!([]), "nothing is stored of {body}");
    answer
}

fn sorted(mut faults: Vec<(String, String)>) -> Vec<(String, String)> {
    faults.sort();
    faults
}

async fn every_missing_field_of_a_provider_is_named_at_once(app: TestApp) {
    let faults = sorted(create(&app, &json!({})).await.faults());
    let expected = ["auth_url", "client_id", "name", "provider_id", "token_url"].map(missing);
    assert_eq!(faults, expected);
}

fn missing(field: &str) -> (String, String) {
    (format!("body.{field}"), "missing".to_owned())
}

async fn each_missing_field_of_a_provider_is_named_alone(app: TestApp) {
    for field in ["provider_id", "name", "client_id", "auth_url", "token_url"] {
        let answer = create(&app, &without(acme(), field)).await;
        answer.expect_fault(&format!("body.{field}"), "missing");
    }
}

async fn each_wrongly_typed_field_of_a_provider_is_named_with_its_type(app: TestApp) {
    for (field, wrong, kind) in [
        ("provider_id", json!(7), "string_type"),
        ("provider_id", json!(null), "string_type"),
        ("name", json!(["Acme"]), "string_type"),
        ("client_id", json!({"id": 1}), "string_type"),
        ("client_secret", json!(true), "string_type"),
        ("auth_url", json!(7), "string_type"),
        ("token_url", json!(false), "string_type"),
        ("uses_pkce", json!("maybe"), "bool_parsing"),
        ("uses_pkce", json!([]), "bool_type"),
        ("provider_type", json!("myspace"), "literal_error"),
        ("token_endpoint_auth_method", json!("magic"), "literal_error"),
        ("authorization_params", json!("a=b"), "dict_type"),
        ("authorization_params", json!([]), "dict_type"),
        ("allowed_redirect_uris", json!("https://a"), "list_type"),
        ("allowed_redirect_uris", json!({}), "list_type"),
    ] {
        let body = with(acme(), json!({field: wrong}));
        create(&app, &body).await.expect_fault(&format!("body.{field}"), kind);
    }
}

async fn all_kinds_of_faults_are_told_in_one_answer(app: TestApp) {
    let body = json!({
        "provider_id": "../acme",
        "name": 7,
        "auth_url": "javascript:alert(1)",
        "token_url": [],
        "uses_pkce": "maybe",
        "provider_type": "myspace",
        "authorization_params": [],
        "allowed_redirect_uris": ["https://app.example/cb", 5],
    });
    let answer = create(&app, &body).await;
    for place in [
        "body.provider_id",
        "body.name",
        "body.client_id",
        "body.auth_url",
        "body.token_url",
        "body.uses_pkce",
        "body.provider_type",
        "body.authorization_params",
        "body.allowed_redirect_uris.1",
    ] {
        answer.expect_fault_at(place);
    }
}

async fn a_nested_fault_names_the_place_in_the_list_or_map(app: TestApp) {
    let body = with(acme(), json!({"allowed_redirect_uris": ["https://app.example/cb", 5]}));
    create(&app, &body).await.expect_fault("body.allowed_redirect_uris.1", "string_type");
    let body = with(acme(), json!({"authorization_params": {"max_age": 5}}));
    create(&app, &body).await.expect_fault("body.authorization_params.max_age", "string_type");
    let body = json!({"provider": "acme", "scopes": ["read", 1, "write", null]});
    let faults = sorted(app.try_authenticate(&body).await.faults());
    let expected = ["body.scopes.1", "body.scopes.3"].map(|at| (at.into(), "string_type".into()));
    assert_eq!(faults, expected);
}

async fn every_missing_field_of_authenticate_is_named_at_once(app: TestApp) {
    let faults = sorted(app.try_authenticate(&json!({})).await.faults());
    assert_eq!(faults, ["provider", "scopes"].map(missing));
}

async fn each_wrongly_typed_field_of_authenticate_is_named_with_its_type(app: TestApp) {
    app.register_as(acme()).await;
    for (field, wrong, kind) in [
        ("provider", json!(7), "string_type"),
        ("scopes", json!("read"), "list_type"),
        ("scopes", json!(null), "list_type"),
        ("user_id", json!(7), "string_type"),
        ("ls_user_id", json!({}), "string_type"),
        ("agent_id", json!([]), "string_type"),
        ("redirect_uri", json!(1), "string_type"),
        ("token_id", json!("not-a-uuid"), "uuid_parsing"),
        ("force_new", json!("maybe"), "bool_parsing"),
        ("force_new", json!({}), "bool_type"),
        ("is_default", json!("maybe"), "bool_parsing"),
        ("check_only", json!([]), "bool_type"),
        ("use_agent_builder_public_oauth", json!("maybe"), "bool_parsing"),
    ] {
        let body = with(asking("alice", &["read"]), json!({field: wrong}));
        app.try_authenticate(&body).await.expect_fault(&format!("body.{field}"), kind);
    }
    let number = with(asking("alice", &["read"]), json!({"token_id": 7}));
    app.try_authenticate(&number).await.expect_fault_at("body.token_id");
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn the_other_bodies_name_their_missing_fields(app: TestApp) {
    for (path, fields) in [
        ("/v2/auth/tokens/exists/batch", vec!["provider_ids"]),
        ("/v2/auth/agents/helper/connections", vec!["oauth_token_id"]),
        ("/v2/auth/callback/acme", vec!["code", "state"]),
    ] {
        let answer = app.post(path, &json!({})).await;
        let expected: Vec<_> = fields.into_iter().map(missing).collect();
        assert_eq!(sorted(answer.faults()), expected, "{path}");
    }
}

async fn the_other_bodies_name_their_wrong_types(app: TestApp) {
    for (path, body, place, kind) in [
        ("/v2/auth/tokens/exists/batch", json!({"provider_ids": "acme"}), "body.provider_ids", "list_type"),
        ("/v2/auth/tokens/exists/batch", json!({"provider_ids": [1]}), "body.provider_ids.0", "string_type"),
        ("/v2/auth/agents/helper/connections", json!({"oauth_token_id": 7}), "body.oauth_token_id", "string_type"),
        ("/v2/auth/callback/acme", json!({"code": 1, "state": "s"}), "body.code", "string_type"),
    ] {
        app.post(path, &body).await.expect_fault(place, kind);
    }
    let path = format!("/v2/auth/tokens/{}/metadata", Uuid::new_v4());
    let answer = app.patch(&path, &json!({"provider_account_label": 7})).await;
    answer.expect_fault("body.provider_account_label", "string_type");
    let answer = app.patch(&path, &json!({"is_default": "maybe"})).await;
    answer.expect_fault("body.is_default", "bool_parsing");
}

async fn broken_json_is_told_with_its_position(app: TestApp) {
    let broken = r#"{"provider": "acme", "scopes": [}"#;
    let answer = app.post_text("/v2/auth/authenticate", broken).await;
    let body = answer.expect(422);
    assert_eq!(answer.faults().len(), 1);
    assert_eq!(body["detail"][0]["type"], "json_invalid");
    assert_eq!(body["detail"][0]["loc"][0], "body");
    let position = body["detail"][0]["loc"][1].as_u64().expect("a position");
    assert!((30..=33).contains(&position), "{body}");
}

async fn a_body_that_is_no_object_is_refused(app: TestApp) {
    for body in ["[]", "\"text\"", "7", "true"] {
        for path in ["/v2/auth/providers", "/v2/auth/authenticate"] {
            let answer = app.post_text(path, body).await;
            answer.expect_fault("body", "model_attributes_type");
        }
    }
}

async fn an_empty_body_is_refused(app: TestApp) {
    for body in ["", " ", "null"] {
        for path in ["/v2/auth/providers", "/v2/auth/authenticate"] {
            app.post_text(path, body).await.expect_fault_at("body");
        }
    }
}

async fn text_that_is_no_unicode_is_refused(app: TestApp) {
    let bytes = b"{\"provider\": \"acme\xff\", \"scopes\": []}".to_vec();
    let answer = app
        .with("content-type", "application/json")
        .send(Method::POST, "/v2/auth/authenticate", Body::from(bytes))
        .await;
    answer.faults();
    let lone_surrogate = r#"{"provider": "\ud800", "scopes": []}"#;
    let answer = app.post_text("/v2/auth/authenticate", lone_surrogate).await;
    answer.faults();
}

async fn a_deep_nest_is_refused_without_harm(app: TestApp) {
    let nest = "[".repeat(100_000);
    app.post_text("/v2/auth/authenticate", &nest).await.faults();
    let inside = format!(r#"{{"provider": "acme", "scopes": {nest}"#);
    app.post_text("/v2/auth/authenticate", &inside).await.faults();
}

async fn a_missing_query_parameter_is_named(app: TestApp) {
    for answer in [app.get("/v2/auth/tokens/exists").await, app.delete("/v2/auth/tokens").await] {
        answer.expect_fault("query.provider_id", "missing");
    }
}

async fn a_wrong_type_of_secret_is_not_repeated(app: TestApp) {
    for wrong in [
        json!(["hunter2-hunter2"]),
        json!({"hunter2-hunter2": "hunter2-hunter2"}),
        json!("hunter2-hunter2\0"),
        json!("hunter2-hunter2".repeat(1000)),
    ] {
        let body = with(acme(), json!({"client_secret": wrong}));
        let answer = create(&app, &body).await;
        answer.expect_fault_at("body.client_secret");
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    }
    let in_another_place = with(acme(), json!({"auth_url": "hunter2-hunter2"}));
    let answer = create(&app, &in_another_place).await;
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
}

async fn broken_json_is_not_repeated(app: TestApp) {
    let broken = r#"{"client_secret": "hunter2-hunter2" "name"}"#;
    let answer = app.post_text("/v2/auth/providers", broken).await;
    answer.faults();
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
}
