//! Moving a provider's endpoints: the caller proves possession of the secret, or confirms how many grants go along.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET};
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with, without};
use crate::support::mcp_server::McpServer;

both_databases! {
    every_endpoint_of_a_provider_with_a_secret_moves_only_with_the_secret,
    the_refusal_says_how_many_grants_would_be_exposed,
    a_new_secret_exposes_no_old_one_but_the_grants_are_confirmed,
    the_grants_of_a_public_client_are_confirmed_by_their_number,
    a_number_that_is_no_longer_right_confirms_nothing,
    a_template_that_moves_endpoints_needs_the_secret_too,
    what_moves_no_endpoint_needs_no_secret,
    a_registered_client_does_not_follow_to_another_server,
    the_confirmation_is_a_number,
}

const PATH: &str = "/v2/auth/providers/acme";
const ENDPOINTS: [&str; 6] =
    ["auth_url", "token_url", "revocation_url", "userinfo_url", "refresh_url", "device_authorization_url"];

#[track_caller]
fn refused(answer: &Answer, grants: u64) -> String {
    let body = answer.expect_error(409, "confirmation_required");
    assert_eq!(body["grants"], grants, "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains(&format!("{grants} grants")), "{detail}");
    assert!(!detail.contains(CLIENT_SECRET) && !detail.contains("://"), "{detail}");
    detail.to_owned()
}

async fn every_endpoint_of_a_provider_with_a_secret_moves_only_with_the_secret(app: TestApp) {
    let (provider, thief) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    let before = app.register(&provider).await;
    for field in ENDPOINTS {
        let change = json!({field: thief.at("/elsewhere")});
        let detail = refused(&app.patch(PATH, &change).await, 0);
        assert!(detail.contains(field) && detail.contains("client_secret again"), "{detail}");
    }
    assert_eq!(app.get(PATH).await.expect(200), before, "nothing was changed");
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(thief.count_elsewhere(), 0);
    for field in ENDPOINTS {
        let change = json!({field: thief.at("/elsewhere"), "client_secret": CLIENT_SECRET});
        assert_eq!(app.patch(PATH, &change).await.expect(200)[field], thief.at("/elsewhere"));
    }
}

async fn the_refusal_says_how_many_grants_would_be_exposed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let service = app.service_key().await;
    service.register(&provider).await;
    for user in ["alice", "bob", "carol"] {
        service.connect(&provider, &asking(user, &["read"])).await;
    }
    let other = service.register_as(provider.definition("other")).await;
    assert_eq!(other["provider_id"], "other");
    let change = json!({"token_url": provider.at("/moved")});
    let detail = refused(&service.patch(PATH, &change).await, 3);
    assert!(detail.contains("its client secret and 3 grants"), "{detail}");
    refused(&service.patch("/v2/auth/providers/other", &change).await, 0);
    service.patch(PATH, &with(change, json!({"client_secret": CLIENT_SECRET}))).await.expect(200);
}

async fn a_new_secret_exposes_no_old_one_but_the_grants_are_confirmed(app: TestApp) {
    let (provider, moved) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register(&provider).await;
    let change = json!({"token_url": moved.at("/token"), "client_secret": "a-new-secret"});
    app.connect(&provider, &asking("alice", &["read"])).await;
    let detail = refused(&app.patch(PATH, &change).await, 1);
    assert!(detail.contains("not the stored one") && detail.contains("\"expose_grants\": 1"), "{detail}");
    // The number alone does not take the stored secret along.
    refused(&app.patch(PATH, &json!({"token_url": moved.at("/token"), "expose_grants": 1})).await, 1);
    app.patch(PATH, &with(change, json!({"expose_grants": 1}))).await.expect(200);
    app.advance(3600);
    app.token(&asking("alice", &["read"])).await;
    assert_eq!(moved.refreshes()[0].value("client_secret"), Some("a-new-secret"));
    app.delete(PATH).await.expect(200);

    app.register(&provider).await;
    let change = json!({"token_url": moved.at("/token"), "client_secret": "a-new-secret"});
    app.patch(PATH, &change).await.expect(200);
}

/// A public client that has the grants of two users.
async fn public(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register_as(without(provider.definition("acme"), "client_secret")).await;
    for user in ["alice", "bob"] {
        app.connect(&provider, &asking(user, &["read"])).await;
    }
    provider
}

async fn the_grants_of_a_public_client_are_confirmed_by_their_number(app: TestApp) {
    let provider = public(&app).await;
    let change = json!({"userinfo_url": provider.at("/moved")});
    let detail = refused(&app.patch(PATH, &change).await, 2);
    assert!(detail.contains("\"expose_grants\": 2") && !detail.contains("client"), "{detail}");
    refused(&app.patch(PATH, &with(change.clone(), json!({"client_secret": "made up"}))).await, 2);
    app.patch(PATH, &with(change, json!({"expose_grants": 2}))).await.expect(200);
}

async fn a_number_that_is_no_longer_right_confirms_nothing(app: TestApp) {
    let provider = public(&app).await;
    let change = json!({"token_url": provider.at("/moved"), "expose_grants": 2});
    app.connect(&provider, &asking("carol", &["read"])).await;
    refused(&app.patch(PATH, &change).await, 3);
    for user in ["alice", "bob", "carol"] {
        let owner = app.service_key().await.acting_for(user);
        owner.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    }
    app.patch(PATH, &change).await.expect(200);
}

async fn a_template_that_moves_endpoints_needs_the_secret_too(app: TestApp) {
    app.register_as(with(acme(), json!({"client_secret": CLIENT_SECRET}))).await;
    let before = app.get(PATH).await.expect(200);
    let detail = refused(&app.patch(PATH, &json!({"template": "github"})).await, 0);
    assert!(detail.contains("auth_url, token_url"), "{detail}");
    assert_eq!(app.get(PATH).await.expect(200), before);
    let change = json!({"template": "github", "client_secret": CLIENT_SECRET});
    assert_eq!(app.patch(PATH, &change).await.expect(200)["template"], "github");
}

async fn what_moves_no_endpoint_needs_no_secret(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let before = app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    for change in [
        json!({"auth_url": before["auth_url"], "token_url": before["token_url"]}),
        json!({"name": "Renamed", "default_scopes": ["read"], "client_id": "another"}),
        json!({"client_secret": "a-new-secret"}),
    ] {
        app.patch(PATH, &change).await.expect(200);
    }
    let unsecured = acme();
    app.register_as(with(unsecured, json!({"provider_id": "public"}))).await;
    let change = json!({"token_url": "https://acme.example/moved"});
    app.patch("/v2/auth/providers/public", &change).await.expect(200);
}

async fn a_registered_client_does_not_follow_to_another_server(app: TestApp) {
    let server = McpServer::start().await;
    app.post("/v2/auth/providers/mcp-discover", &server.connection()).await.expect(200);
    let pending = app.begin(&asking("alice", &[])).await;
    let client_id = pending.parameter("client_id");
    let thief = AuthorizationServer::start().await;
    let before = app.get(PATH).await.expect(200);
    let answer = app.patch(PATH, &json!({"token_url": thief.at("/token")})).await;
    refused(&answer, 0);
    assert_eq!(app.get(PATH).await.expect(200), before);
    assert_eq!(app.begin(&asking("alice", &[])).await.parameter("client_id"), client_id);
    // It is connected again by its URL, which changes no provider that exists.
    app.post("/v2/auth/providers/mcp-discover", &server.connection()).await.expect_error(409, "conflict");
}

async fn the_confirmation_is_a_number(app: TestApp) {
    app.register_as(acme()).await;
    for (wrong, kind) in [(json!("2"), "int_parsing"), (json!(-1), "greater_than_equal"), (json!([]), "int_type")] {
        app.patch(PATH, &json!({"expose_grants": wrong})).await.expect_fault("body.expose_grants", kind);
    }
    app.patch(PATH, &json!({"expose_grants": Value::Null})).await.expect(200);
}
