//! Providers over HTTP: create, read, change and delete them.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET};
use crate::support::both_databases;
use crate::support::caller::{asking, with, without};

both_databases! {
    a_created_provider_is_answered_with_every_published_field,
    a_created_provider_is_got_and_listed_as_it_was_answered,
    a_provider_needs_no_client_secret,
    without_options_a_provider_gets_the_published_defaults,
    every_published_provider_type_and_client_authentication_method_is_accepted,
    the_client_secret_is_never_shown,
    a_second_provider_of_the_same_id_is_a_conflict_and_changes_nothing,
    an_unknown_provider_is_not_found,
    a_patch_changes_only_what_it_names,
    a_patch_with_nulls_changes_nothing_that_is_required,
    an_empty_patch_changes_nothing,
    a_patch_replaces_lists_and_maps_whole,
    a_replaced_client_secret_is_used_at_the_next_exchange,
    a_patch_without_a_client_secret_keeps_it,
    a_patched_token_url_is_used_for_the_next_refresh,
    a_patch_is_judged_like_a_creation,
    a_patch_of_an_unknown_provider_is_not_found,
    a_patch_moves_updated_at_but_not_created_at,
    a_deleted_provider_is_gone,
    an_id_that_is_a_path_of_the_api_is_refused,
    deleting_an_unknown_provider_is_not_found,
    deleting_a_provider_deletes_its_tokens_and_connections,
    deleting_a_provider_ends_its_pending_authorization_requests,
    the_id_of_a_deleted_provider_is_free_again_and_inherits_nothing,
}

fn acme() -> Value {
    json!({
        "provider_id": "acme",
        "name": "Acme Inc.",
        "client_id": "client-1",
        "client_secret": "the-secret-of-client-1",
        "auth_url": "https://acme.example/authorize",
        "token_url": "https://acme.example/token",
        "uses_pkce": true,
        "token_endpoint_auth_method": "client_secret_basic",
        "authorization_params": {"prompt": "consent"},
        "allowed_redirect_uris": ["https://app.example/callback"],
    })
}

async fn a_created_provider_is_answered_with_every_published_field(app: TestApp) {
    let created = app.register_as(acme()).await;
    let sent = acme();
    for field in [
        "provider_id",
        "name",
        "client_id",
        "auth_url",
        "token_url",
        "uses_pkce",
        "token_endpoint_auth_method",
        "authorization_params",
        "allowed_redirect_uris",
    ] {
        assert_eq!(created[field], sent[field], "{field} in {created}");
    }
    assert_eq!(created["code_challenge_method"], "S256");
    assert_eq!(created["is_dynamic_client"], false);
    assert_eq!(created["provider_type"], Value::Null);
    assert_eq!(created["mcp_server_url"], Value::Null);
    for field in ["id", "organization_id"] {
        assert!(created[field].as_str().is_some_and(|id| !id.is_empty()));
    }
    for field in ["created_at", "updated_at"] {
        let at = created[field].as_str().unwrap();
        chrono::DateTime::parse_from_rfc3339(at).unwrap_or_else(|e| panic!("{field} {at}: {e}"));
    }
}

async fn a_created_provider_is_got_and_listed_as_it_was_answered(app: TestApp) {
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), json!([]));
    let created = app.register_as(acme()).await;
    let got = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(got, created);
    let listed = app.get("/v2/auth/providers").await.expect(200);
    assert_eq!(listed, json!([created]));
}

async fn a_provider_needs_no_client_secret(app: TestApp) {
    let acme = || with(acme(), json!({"token_endpoint_auth_method": "client_secret_post"}));
    app.register_as(without(acme(), "client_secret")).await;
    let other = with(acme(), json!({"provider_id": "other", "client_secret": null}));
    app.register_as(other).await;
}

async fn without_options_a_provider_gets_the_published_defaults(app: TestApp) {
    let created = app
        .register_as(json!({
            "provider_id": "plain",
            "name": "Plain",
            "client_id": "client",
            "auth_url": "https://plain.example/authorize",
            "token_url": "https://plain.example/token",
        }))
        .await;
    assert_eq!(created["uses_pkce"], false);
    assert_eq!(created["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(created["authorization_params"], json!({}));
    assert_eq!(created["allowed_redirect_uris"], json!([]));
}

async fn every_published_provider_type_and_client_authentication_method_is_accepted(app: TestApp) {
    let types = ["microsoft", "salesforce", "slack", "x"];
    for kind in types {
        let provider = json!({"provider_id": kind, "provider_type": kind});
        let created = app.register_as(with(acme(), provider)).await;
        assert_eq!(created["provider_type"], kind);
    }
    for method in ["none", "client_secret_basic", "client_secret_post"] {
        let provider = json!({"provider_id": method, "token_endpoint_auth_method": method});
        let created = app.register_as(with(acme(), provider)).await;
        assert_eq!(created["token_endpoint_auth_method"], method);
    }
}

async fn the_client_secret_is_never_shown(app: TestApp) {
    let secret = "the-secret-of-client-1";
    let answers = [
        app.post("/v2/auth/providers", &acme()).await,
        app.post("/v2/auth/providers", &acme()).await,
        app.get("/v2/auth/providers").await,
        app.get("/v2/auth/providers/acme").await,
        app.patch("/v2/auth/providers/acme", &json!({"client_secret": secret})).await,
    ];
    for answer in answers {
        assert!(!answer.text().contains(secret), "{}", answer.text());
        if answer.status.is_success() {
            assert!(!answer.text().contains("\"client_secret\":"));
        }
    }
}

async fn a_second_provider_of_the_same_id_is_a_conflict_and_changes_nothing(app: TestApp) {
    let first = app.register_as(acme()).await;
    let second = with(acme(), json!({"name": "Another"}));
    let answer = app.post("/v2/auth/providers", &second).await;
    answer.expect_error(409, "conflict");
    let listed = app.get("/v2/auth/providers").await.expect(200);
    assert_eq!(listed, json!([first]));
}

async fn an_unknown_provider_is_not_found(app: TestApp) {
    app.get("/v2/auth/providers/nobody").await.expect_error(404, "not_found");
    app.try_authenticate(&json!({"provider": "nobody", "scopes": [], "user_id": "alice"}))
        .await
        .expect_error(404, "not_found");
}

async fn a_patch_changes_only_what_it_names(app: TestApp) {
    let before = app.register_as(acme()).await;
    let patch = json!({"name": "Renamed", "uses_pkce": false});
    let after = app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    let mut expected = with(before, patch);
    expected["updated_at"] = after["updated_at"].clone();
    assert_eq!(after, expected);
    let got = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(got, after);
}

async fn a_patch_with_nulls_changes_nothing_that_is_required(app: TestApp) {
    let before = app.register_as(acme()).await;
    let patch = json!({
        "name": null, "client_id": null, "auth_url": null, "token_url": null, "uses_pkce": null,
    });
    let after = app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    assert_eq!(without(after, "updated_at"), without(before, "updated_at"), "null is no value for a required field");
}

async fn an_empty_patch_changes_nothing(app: TestApp) {
    let before = app.register_as(acme()).await;
    let after = app.patch("/v2/auth/providers/acme", &json!({})).await.expect(200);
    assert_eq!(without(after, "updated_at"), without(before, "updated_at"));
}

async fn a_patch_replaces_lists_and_maps_whole(app: TestApp) {
    app.register_as(acme()).await;
    let patch = json!({
        "authorization_params": {"access_type": "offline"},
        "allowed_redirect_uris": [],
    });
    let after = app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    assert_eq!(after["authorization_params"], json!({"access_type": "offline"}));
    assert_eq!(after["allowed_redirect_uris"], json!([]));
}

async fn a_replaced_client_secret_is_used_at_the_next_exchange(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let patch = json!({"client_secret": "a-new-secret"});
    app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(provider.exchange().value("client_secret"), Some("a-new-secret"));
}

async fn a_patch_without_a_client_secret_keeps_it(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let patch = json!({"name": "Renamed"});
    app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(provider.exchange().value("client_secret"), Some("acme-client-secret-3f9a"));
}

async fn a_patched_token_url_is_used_for_the_next_refresh(app: TestApp) {
    let (old, new) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register(&old).await;
    app.connect(&old, &asking("alice", &["read"])).await;
    let patch = json!({"token_url": new.at("/token"), "client_secret": CLIENT_SECRET});
    app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    app.advance(3600);
    app.token(&asking("alice", &["read"])).await;
    assert_eq!((old.refreshes().len(), new.refreshes().len()), (0, 1));
}

async fn a_patch_is_judged_like_a_creation(app: TestApp) {
    let before = app.register_as(acme()).await;
    let patch = json!({"auth_url": "javascript:alert(1)", "name": 7, "uses_pkce": []});
    let answer = app.patch("/v2/auth/providers/acme", &patch).await;
    for field in ["body.auth_url", "body.name", "body.uses_pkce"] {
        answer.expect_fault_at(field);
    }
    let after = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(after, before);
}

async fn a_patch_of_an_unknown_provider_is_not_found(app: TestApp) {
    app.patch("/v2/auth/providers/nobody", &json!({"name": "New"})).await.expect_error(404, "not_found");
}

async fn a_patch_moves_updated_at_but_not_created_at(app: TestApp) {
    let before = app.register_as(acme()).await;
    app.advance(60);
    let after = app.patch("/v2/auth/providers/acme", &json!({"name": "Renamed"})).await.expect(200);
    assert_eq!(after["created_at"], before["created_at"]);
    assert_ne!(after["updated_at"], before["updated_at"]);
}

async fn a_deleted_provider_is_gone(app: TestApp) {
    app.register_as(acme()).await;
    let answer = app.delete("/v2/auth/providers/acme").await.expect(200);
    assert!(answer["message"].is_string(), "{answer}");
    app.get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), json!([]));
}

async fn deleting_an_unknown_provider_is_not_found(app: TestApp) {
    app.delete("/v2/auth/providers/nobody").await.expect_error(404, "not_found");
}

async fn deleting_a_provider_deletes_its_tokens_and_connections(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.register_as(provider.definition("kept")).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    let kept = with(asking("alice", &["read"]), json!({"provider": "kept"}));
    app.connect(&provider, &kept).await;
    let tokens = app.tokens().await;
    let gone = tokens.iter().find(|t| t["provider_id"] == "acme").unwrap();
    app.connect_agent("helper", &gone["id"]).await;

    app.delete("/v2/auth/providers/acme").await.expect(200);

    let left = app.tokens().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["provider_id"], "kept");
    let connections = app.get("/v2/auth/agents/helper/connections").await;
    assert_eq!(connections.expect(200)["data"], json!([]));
}

async fn deleting_a_provider_ends_its_pending_authorization_requests(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    app.delete("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(app.look(&pending.auth_id).await["status"], "not_found");
    let answer = app.visit(&provider.consent(&pending.url)).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(provider.token_requests().len(), 0);
}

async fn the_id_of_a_deleted_provider_is_free_again_and_inherits_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.delete("/v2/auth/providers/acme").await.expect(200);
    app.register(&provider).await;
    app.begin(&asking("alice", &["read"])).await;
}

/// Every literal that takes the place of a provider's id in some path.
fn literals_in_place_of_an_id(paths: &[String]) -> Vec<String> {
    let ids = paths.iter().filter_map(|path| path.split_once("{provider_id}").map(|(before, _)| before));
    let literal = |before: &str, path: &str| {
        let after = path.strip_prefix(before)?.split('/').next()?;
        (!after.is_empty() && !after.contains('{')).then(|| after.to_owned())
    };
    ids.flat_map(|before| paths.iter().filter_map(move |path| literal(before, path))).collect()
}

async fn an_id_that_is_a_path_of_the_api_is_refused(app: TestApp) {
    let description = app.anonymous().get("/openapi.json").await.expect(200);
    let paths: Vec<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
    let reserved = literals_in_place_of_an_id(&paths);
    assert!(reserved.contains(&"mcp-discover".to_owned()), "{reserved:?}");
    for id in reserved {
        let body = with(acme(), json!({"provider_id": id}));
        app.post("/v2/auth/providers", &body).await.expect_fault("body.provider_id", "value_error");
        let server = json!({"provider_id": id, "name": "Tools", "mcp_server_url": "https://tools.example"});
        app.post("/v2/auth/providers/mcp-discover", &server).await.expect_fault("body.provider_id", "value_error");
    }
}
