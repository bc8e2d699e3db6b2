//! Every operation also answers below `/api-host`, for ingresses that do not strip it.
//! Owns one walk through all operations below that prefix.
//! Must not know the operations' details; the other suites do.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::with;
use crate::support::fake_provider::FakeProvider;

both_databases! {
    every_operation_answers_below_the_prefix,
    what_is_made_below_one_prefix_is_seen_below_the_other,
    errors_below_the_prefix_are_json_too,
}

const PREFIX: &str = "/api-host/v2/auth";

async fn every_operation_answers_below_the_prefix(app: TestApp) {
    let provider = FakeProvider::start().await;
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
    let provider = FakeProvider::start().await;
    let made = app.post(&format!("{PREFIX}/providers"), &provider.definition("acme")).await.expect(200);
    let seen = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(seen, made);
}

async fn errors_below_the_prefix_are_json_too(app: TestApp) {
    app.get(&format!("{PREFIX}/providers/nobody")).await.expect_error(404, "not_found");
    app.anonymous().get(&format!("{PREFIX}/providers")).await.expect_error(401, "unauthorized");
    app.post(&format!("{PREFIX}/authenticate"), &json!({})).await.faults();
}
