//! The stored tokens of the current user: list, check, label and delete them. No answer shows an access token.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with, without};

both_databases! {
    a_stored_token_is_listed_with_every_published_field,
    the_list_never_shows_a_token,
    the_list_can_be_narrowed_to_a_provider,
    without_tokens_the_list_is_empty,
    exists_tells_whether_there_is_a_token,
    a_batch_tells_for_each_provider,
    an_empty_batch_is_answered_empty,
    deleting_for_the_user_deletes_all_of_one_provider,
    deleting_where_nothing_is_does_no_harm,
    a_single_token_is_deleted_without_a_body,
    deleting_it_again_is_not_found,
    an_id_that_is_no_id_is_refused,
    a_label_is_set_changed_and_cleared,
    an_empty_patch_changes_nothing,
    a_patch_of_an_unknown_token_is_not_found,
    a_label_shows_up_in_the_connections,
    a_label_survives_a_refresh,
}

async fn connected(app: &TestApp) -> (AuthorizationServer, Caller) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.register_as(provider.definition("other")).await;
    let alice = app.service_key().await.acting_for("alice");
    alice.connect(&provider, &asking("alice", &["read"])).await;
    (provider, alice)
}

fn asking_other() -> Value {
    with(asking("alice", &["read"]), json!({"provider": "other"}))
}

async fn a_stored_token_is_listed_with_every_published_field(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let tokens = alice.tokens().await;
    assert_eq!(tokens.len(), 1);
    let token = &tokens[0];
    Uuid::parse_str(token["id"].as_str().unwrap()).expect("the id is a UUID");
    assert_eq!(token["provider_id"], "acme");
    assert_eq!(token["provider_account_label"], Value::Null);
    assert_eq!(token["scopes"], json!(["read"]));
    assert_eq!(token["is_default"], true);
    for field in ["expires_at", "created_at", "updated_at"] {
        let at = token[field].as_str().unwrap_or_else(|| panic!("{field}"));
        chrono::DateTime::parse_from_rfc3339(at).unwrap_or_else(|e| panic!("{field}: {e}"));
    }
}

async fn the_list_never_shows_a_token(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let listed = alice.get("/v2/auth/tokens").await.text();
    assert!(!listed.contains("access-"), "{listed}");
    assert!(!listed.contains("refresh-"), "{listed}");
}

async fn the_list_can_be_narrowed_to_a_provider(app: TestApp) {
    let (provider, alice) = connected(&app).await;
    alice.connect(&provider, &asking_other()).await;
    assert_eq!(alice.tokens().await.len(), 2);
    let only = alice.get("/v2/auth/tokens?provider_id=other").await;
    let only = only.expect(200);
    assert_eq!(only.as_array().unwrap().len(), 1);
    assert_eq!(only[0]["provider_id"], "other");
}

async fn without_tokens_the_list_is_empty(app: TestApp) {
    assert_eq!(app.tokens().await, Vec::<Value>::new());
}

async fn exists_tells_whether_there_is_a_token(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let ask = async |provider: &str| {
        let path = format!("/v2/auth/tokens/exists?provider_id={provider}");
        alice.get(&path).await.expect(200)
    };
    assert_eq!(ask("acme").await["has_token"], true);
    assert_eq!(ask("other").await["has_token"], false);
}

async fn a_batch_tells_for_each_provider(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let asked = json!({"provider_ids": ["acme", "other", "acme", "never-was"]});
    let answer = alice.post("/v2/auth/tokens/exists/batch", &asked).await;
    assert_eq!(answer.expect(200)["has_token"], json!({"acme": true, "other": false, "never-was": false}));
}

async fn an_empty_batch_is_answered_empty(app: TestApp) {
    let asked = json!({"provider_ids": []});
    let answer = app.post("/v2/auth/tokens/exists/batch", &asked).await;
    assert_eq!(answer.expect(200)["has_token"], json!({}));
}

async fn deleting_for_the_user_deletes_all_of_one_provider(app: TestApp) {
    let (provider, alice) = connected(&app).await;
    alice.connect(&provider, &asking_other()).await;
    let as_agent = with(asking("alice", &["read"]), json!({"agent_id": "helper"}));
    alice.connect(&provider, &as_agent).await;
    let answer = alice.delete("/v2/auth/tokens?provider_id=acme").await;
    let answer = answer.expect(200);
    assert!(answer["message"].is_string(), "{answer}");
    assert_eq!(answer["provider_id"], "acme");
    let left = alice.tokens().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["provider_id"], "other");
    alice.begin(&asking("alice", &["read"])).await;
    alice.begin(&as_agent).await;
}

async fn deleting_where_nothing_is_does_no_harm(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let answer = alice.delete("/v2/auth/tokens?provider_id=other").await;
    assert!([200, 404].contains(&answer.status.as_u16()), "{answer:?}");
    assert!(alice.has_token().await);
}

async fn token_path(alice: &Caller) -> String {
    let tokens = alice.tokens().await;
    format!("/v2/auth/tokens/{}", tokens[0]["id"].as_str().unwrap())
}

async fn a_single_token_is_deleted_without_a_body(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let answer = alice.delete(&token_path(&alice).await).await;
    answer.expect(204);
    assert!(answer.body.is_empty());
    assert!(!alice.has_token().await);
    alice.begin(&asking("alice", &["read"])).await;
}

async fn deleting_it_again_is_not_found(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let path = token_path(&alice).await;
    alice.delete(&path).await.expect(204);
    alice.delete(&path).await.expect_error(404, "not_found");
}

async fn an_id_that_is_no_id_is_refused(app: TestApp) {
    for answer in [
        app.delete("/v2/auth/tokens/no-id").await,
        app.patch("/v2/auth/tokens/no-id/metadata", &json!({})).await,
        app.delete("/v2/auth/agents/helper/connections/no-id").await,
    ] {
        assert!([404, 422].contains(&answer.status.as_u16()), "{answer:?}");
    }
}

async fn a_label_is_set_changed_and_cleared(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let path = format!("{}/metadata", token_path(&alice).await);
    for label in [json!("work"), json!("hôme <b>"), Value::Null] {
        let change = json!({"provider_account_label": label});
        let answer = alice.patch(&path, &change).await.expect(200);
        assert_eq!(answer["provider_account_label"], label);
        assert_eq!(alice.tokens().await, [answer]);
    }
}

async fn an_empty_patch_changes_nothing(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let path = format!("{}/metadata", token_path(&alice).await);
    let change = json!({"provider_account_label": "work"});
    let before = alice.patch(&path, &change).await.expect(200);
    for nothing in [json!({}), json!({"is_default": null})] {
        let after = alice.patch(&path, &nothing).await.expect(200);
        let before = without(before.clone(), "updated_at");
        assert_eq!(without(after, "updated_at"), before);
    }
}

async fn a_patch_of_an_unknown_token_is_not_found(app: TestApp) {
    let path = format!("/v2/auth/tokens/{}/metadata", Uuid::now_v7());
    app.patch(&path, &json!({"provider_account_label": "work"})).await.expect_error(404, "not_found");
}

async fn a_label_shows_up_in_the_connections(app: TestApp) {
    let (_provider, alice) = connected(&app).await;
    let token = alice.tokens().await[0]["id"].clone();
    alice.connect_agent("helper", &token).await;
    let path = format!("{}/metadata", token_path(&alice).await);
    let change = json!({"provider_account_label": "work"});
    alice.patch(&path, &change).await.expect(200);
    let connections = alice.get("/v2/auth/agents/helper/connections").await;
    let connections = connections.expect(200);
    assert_eq!(connections["data"][0]["provider_account_label"], "work");
}

async fn a_label_survives_a_refresh(app: TestApp) {
    let (provider, alice) = connected(&app).await;
    let path = format!("{}/metadata", token_path(&alice).await);
    let change = json!({"provider_account_label": "work"});
    alice.patch(&path, &change).await.expect(200);
    app.advance(3600);
    alice.token(&asking("alice", &["read"])).await;
    assert_eq!(provider.refreshes().len(), 1);
    assert_eq!(alice.tokens().await[0]["provider_account_label"], "work");
}
