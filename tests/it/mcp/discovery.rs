//! Connecting an MCP server by its URL: where metadata is looked for, and the requests that follow.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::{Pending, asking, with};
use crate::support::mcp_server::{McpServer, RESOURCE_METADATA, SERVER_METADATA};

both_databases! {
    the_url_of_a_server_is_enough_to_connect_it,
    resource_metadata_is_found_wherever_it_may_be,
    server_metadata_is_found_wherever_it_may_be,
    a_server_of_the_first_revision_is_connected_with_and_without_metadata,
    the_scopes_of_the_challenge_come_before_those_of_the_metadata,
    a_resource_is_named_byte_for_byte_or_not_at_all,
    a_token_that_lacks_scopes_is_followed_by_consent_for_more,
    a_name_that_is_taken_registers_no_client,
    a_provider_is_described_by_its_issuer,
}

const DISCOVER: &str = "/v2/auth/providers/mcp-discover";

/// The provider that becomes of `server`.
async fn discovered(app: &TestApp, server: &McpServer) -> Value {
    app.post(DISCOVER, &server.connection()).await.expect(200)
}

/// Connects the server and removes the provider again, so that it can be connected once more.
async fn discovered_again(app: &TestApp, server: &McpServer) -> Value {
    let provider = discovered(app, server).await;
    app.delete("/v2/auth/providers/acme").await.expect(200);
    provider
}

/// Alice's consent: the page she is sent to, and her way back.
async fn consent(app: &TestApp, scopes: &[&str]) -> Pending {
    let pending = app.begin(&asking("alice", scopes)).await;
    let state = pending.state();
    let back = format!("{}?code=a-code&state={state}", pending.parameter("redirect_uri").expect("a way back"));
    app.come_back(&back.parse().expect("a URL")).await;
    pending
}

async fn the_url_of_a_server_is_enough_to_connect_it(app: TestApp) {
    let server = McpServer::start().await;
    let provider = discovered(&app, &server).await;
    assert_eq!(provider["mcp_server_url"], server.url());
    assert_eq!(provider["is_dynamic_client"], true);
    assert_eq!(provider["token_url"], server.at("/token"));
    let registration: Value = server.requests("/register")[0].json();
    assert_eq!(registration["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(registration["application_type"], "web");
    assert_eq!(registration["token_endpoint_auth_method"], "client_secret_post");

    let pending = consent(&app, &[]).await;
    assert_eq!(registration["redirect_uris"], json!([pending.parameter("redirect_uri")]));
    assert_eq!(pending.parameter("resource"), Some(server.url()));
    assert_eq!(pending.parameter("scope").as_deref(), Some("read write"));
    assert_eq!(pending.parameter("code_challenge_method").as_deref(), Some("S256"));
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
    let exchange = &server.requests("/token")[0];
    assert_eq!(exchange.value("resource"), Some(&*server.url()));
    assert!(exchange.value("code_verifier").is_some());
    assert_eq!(exchange.value("client_id"), provider["client_id"].as_str());

    app.advance(3600);
    app.token(&asking("alice", &[])).await;
    let refresh = &server.requests("/token")[1];
    assert_eq!(refresh.value("grant_type"), Some("refresh_token"));
    assert_eq!(refresh.value("resource"), Some(&*server.url()), "a refresh names the resource too");
}

async fn resource_metadata_is_found_wherever_it_may_be(app: TestApp) {
    let server = McpServer::start().await;
    // Only where the header says, at an address of its own.
    server.hide(RESOURCE_METADATA);
    server.show("/metadata", server.resource_metadata());
    server.challenge(&format!("Basic realm=x, bearer resource_metadata = '{}'", server.at("/metadata")));
    discovered_again(&app, &server).await;
    // The first of two that the header names is dead.
    let (dead, alive) = (server.at("/dead"), server.at("/metadata"));
    server.challenge(&format!(r#"Bearer resource_metadata="{dead}", resource_metadata="{alive}""#));
    discovered_again(&app, &server).await;
    // No header, whatever the status.
    server.show(RESOURCE_METADATA, server.resource_metadata());
    for status in [401, 403, 405, 200, 404] {
        server.answer("/public/mcp", Reply::text("text/html", "<h1>MCP</h1>").status(status));
        discovered_again(&app, &server).await;
    }
    // Only at the root, for the whole origin, and a page where nothing is.
    server.answer(RESOURCE_METADATA, Reply::text("text/html", "<h1>An app</h1>"));
    let whole = with(server.resource_metadata(), json!({"resource": server.at("")}));
    server.show("/.well-known/oauth-protected-resource", whole);
    discovered_again(&app, &server).await;
    for miss in [301, 401, 403, 405, 502] {
        server.answer(RESOURCE_METADATA, Reply::text("text/plain", "").status(miss).header("location", "/x"));
        discovered_again(&app, &server).await;
    }
}

async fn server_metadata_is_found_wherever_it_may_be(app: TestApp) {
    let server = McpServer::start().await;
    server.hide(SERVER_METADATA);
    server.show("/.well-known/openid-configuration", server.server_metadata());
    discovered_again(&app, &server).await;
    server.hide("/.well-known/openid-configuration");

    let issuer = server.at("/tenant1");
    let named = json!({"authorization_servers": [server.at("/nothing"), issuer]});
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), named));
    let of_tenant = with(server.server_metadata(), json!({"issuer": issuer}));
    for place in [
        "/.well-known/oauth-authorization-server/tenant1",
        "/.well-known/openid-configuration/tenant1",
        "/tenant1/.well-known/openid-configuration",
    ] {
        server.show(place, of_tenant.clone());
        discovered_again(&app, &server).await;
        server.hide(place);
    }
}

async fn a_server_of_the_first_revision_is_connected_with_and_without_metadata(app: TestApp) {
    let server = McpServer::silent().await;
    server.challenge("Bearer");
    let provider = discovered_again(&app, &server).await;
    assert_eq!(provider["auth_url"], server.at("/authorize"));
    assert_eq!(server.requests("/register").len(), 1);
    let elsewhere = json!({"authorization_endpoint": server.at("/go"), "token_endpoint": server.at("/give")});
    server.show(SERVER_METADATA, with(server.server_metadata(), elsewhere));
    let provider = discovered(&app, &server).await;
    assert_eq!(provider["auth_url"], server.at("/go"));
    let pending = app.begin(&asking("alice", &[])).await;
    assert_eq!(pending.parameter("resource"), None, "it knows of none");
    assert_eq!(pending.parameter("scope"), None, "nobody named one");
}

async fn the_scopes_of_the_challenge_come_before_those_of_the_metadata(app: TestApp) {
    let server = McpServer::start().await;
    let metadata = server.at(RESOURCE_METADATA);
    server.challenge(&format!(r#"Bearer resource_metadata="{metadata}", scope="tools:call""#));
    let offline = json!({"scopes_supported": ["tools:call", "offline_access"]});
    server.show(SERVER_METADATA, with(server.server_metadata(), offline));
    discovered(&app, &server).await;
    let pending = app.begin(&asking("alice", &[])).await;
    assert_eq!(pending.parameter("scope").as_deref(), Some("tools:call offline_access"));
}

async fn a_resource_is_named_byte_for_byte_or_not_at_all(app: TestApp) {
    let server = McpServer::start().await;
    let shouted = server.url().replace("http://", "HTTP://");
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"resource": shouted})));
    discovered_again(&app, &server).await;
    discovered(&app, &server).await;
    let pending = app.begin(&asking("alice", &[])).await;
    assert_eq!(pending.parameter("resource"), Some(shouted));
    app.delete("/v2/auth/providers/acme").await.expect(200);
    app.post(DISCOVER, &server.connection_with(json!({"omit_resource": true}))).await.expect(200);
    let pending = consent(&app, &[]).await;
    assert_eq!(pending.parameter("resource"), None);
    assert_eq!(server.requests("/token")[0].value("resource"), None);
}

async fn a_token_that_lacks_scopes_is_followed_by_consent_for_more(app: TestApp) {
    let server = McpServer::start().await;
    discovered(&app, &server).await;
    consent(&app, &["read"]).await;
    let challenge = r#"Bearer error="insufficient_scope", scope="read admin:x""#;
    let refused = with(asking("alice", &["read"]), json!({"challenge": challenge}));
    let pending = app.begin(&refused).await;
    assert_eq!(pending.parameter("scope").as_deref(), Some("read admin:x"));
    app.token(&with(asking("alice", &["read"]), json!({"challenge": r#"Bearer scope="read""#}))).await;
}

async fn a_name_that_is_taken_registers_no_client(app: TestApp) {
    let server = McpServer::start().await;
    discovered(&app, &server).await;
    let answer = app.post(DISCOVER, &server.connection()).await.expect(409);
    assert_eq!(answer["code"], "conflict");
    assert_eq!(server.requests("/register").len(), 1);
}

async fn a_provider_is_described_by_its_issuer(app: TestApp) {
    let server = McpServer::start().await;
    let definition = json!({
        "provider_id": "acme", "name": "Acme", "client_id": "by-hand", "client_secret": "a-secret-made-by-hand",
        "issuer": server.at(""), "token_url": server.at("/another-token"),
    });
    let provider = app.register_as(definition.clone()).await;
    assert_eq!(provider["auth_url"], server.at("/authorize"));
    assert_eq!(provider["revocation_url"], server.at("/revoke"));
    assert_eq!(provider["token_url"], server.at("/another-token"), "what the body says counts");
    assert_eq!((&provider["uses_pkce"], &provider["issuer"]), (&json!(true), &json!(server.at(""))));
    assert_eq!(provider["token_endpoint_auth_method"], "client_secret_post");
    let unsaid = with(definition.clone(), json!({"provider_id": "unsaid", "uses_pkce": null}));
    assert_eq!(app.register_as(unsaid).await["uses_pkce"], true, "null says nothing");
    for issuer in [json!(server.at("/nothing")), json!("nonsense"), json!("javascript:alert(1)"), json!(7)] {
        let body = with(definition.clone(), json!({"provider_id": "other", "issuer": issuer}));
        let answer = app.post("/v2/auth/providers", &body).await.expect(422);
        assert_eq!(answer["detail"][0]["loc"], json!(["body", "issuer"]), "{answer}");
        app.get("/v2/auth/providers/other").await.expect(404);
    }
}
