//! What a server says of itself passes the rules of a body: a text that breaks one is refused by the name of its field,
//! on both databases, and nothing of it is stored or repeated.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with, without};
use crate::support::mcp_server::{McpServer, RESOURCE_METADATA, SERVER_METADATA};

both_databases! {
    an_endpoint_that_breaks_a_rule_is_refused_by_name,
    an_endpoint_of_an_issuer_that_breaks_a_rule_is_refused_by_name,
    an_issuer_or_a_resource_with_control_characters_is_refused,
    a_scope_that_breaks_a_rule_is_refused,
    several_scopes_in_one_text_are_several,
    a_registration_with_characters_that_no_client_has_is_refused,
    a_client_that_is_registered_again_with_such_characters_is_not_kept,
}

const DISCOVER: &str = "/v2/auth/providers/mcp-discover";

async fn refused(app: &TestApp, answer: Answer, field: &str, named: &str) {
    answer.expect_fault(&format!("body.{field}"), "discovery_failed");
    assert!(answer.text().contains(&format!("`{named}`")), "it names {named}: {}", answer.text());
    assert!(!answer.text().contains("evil"), "it repeats nothing: {}", answer.text());
    app.get("/v2/auth/providers/acme").await.expect(404);
}

fn odd(server: &McpServer) -> [String; 9] {
    [
        server.at("/evil\0"),
        server.at("/ev\r\nil"),
        server.at("/evil\n"),
        server.at("/evil#fragment"),
        server.at("/evil\u{1b}"),
        server.at("/evil/{tenant}"),
        server.at("/evil/\u{85}"),
        format!("\t{}", server.at("/evil")),
        server.at(&"/evil".repeat(500)),
    ]
}

const ENDPOINTS: [&str; 5] = [
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
];

async fn an_endpoint_that_breaks_a_rule_is_refused_by_name(app: TestApp) {
    let server = McpServer::start().await;
    for name in ENDPOINTS {
        for url in odd(&server) {
            server.show(SERVER_METADATA, with(server.server_metadata(), json!({name: url})));
            let answer = app.post(DISCOVER, &server.connection()).await;
            // What is longer than any URL is not looked at.
            if url.len() <= 2048 {
                refused(&app, answer, "mcp_server_url", name).await;
            } else {
                answer.expect_fault("body.mcp_server_url", "discovery_failed");
            }
        }
    }
    assert!(server.requests("/register").is_empty());
}

async fn an_endpoint_of_an_issuer_that_breaks_a_rule_is_refused_by_name(app: TestApp) {
    let server = McpServer::start().await;
    let draft = without(without(acme(), "auth_url"), "token_url");
    let draft = with(draft, json!({"issuer": server.at("")}));
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"] {
        for url in odd(&server).iter().filter(|url| url.len() <= 2048) {
            server.show(SERVER_METADATA, with(server.server_metadata(), json!({name: url})));
            let answer = app.post("/v2/auth/providers", &draft).await;
            refused(&app, answer, "issuer", name).await;
        }
    }
}

async fn an_issuer_or_a_resource_with_control_characters_is_refused(app: TestApp) {
    let server = McpServer::start().await;
    for end in ["/\n", "/\r\n", "/\t"] {
        let issuer = server.at(end);
        server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"authorization_servers": [issuer]})));
        server.show(SERVER_METADATA, with(server.server_metadata(), json!({"issuer": issuer})));
        refused(&app, app.post(DISCOVER, &server.connection()).await, "mcp_server_url", "issuer").await;
    }
    server.show(SERVER_METADATA, server.server_metadata());
    for end in ["\n", "\r\n", "\t", "\u{0}"] {
        let resource = format!("{}{end}", server.url());
        server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"resource": resource})));
        let answer = app.post(DISCOVER, &server.connection()).await;
        answer.expect_fault("body.mcp_server_url", "discovery_failed");
    }
}

async fn a_scope_that_breaks_a_rule_is_refused(app: TestApp) {
    let server = McpServer::start().await;
    for scope in ["evil\0", "ev\r\nil", "evil\"", "evil\\", "ëvil", &"evil".repeat(200)] {
        let scopes = json!({"scopes_supported": ["read", scope]});
        server.show(RESOURCE_METADATA, with(server.resource_metadata(), scopes.clone()));
        refused(&app, app.post(DISCOVER, &server.connection()).await, "mcp_server_url", "scopes_supported").await;
        server.show(RESOURCE_METADATA, server.resource_metadata());
        server.show(SERVER_METADATA, with(server.server_metadata(), scopes));
        refused(&app, app.post(DISCOVER, &server.connection()).await, "mcp_server_url", "scopes_supported").await;
        server.show(SERVER_METADATA, server.server_metadata());
    }
    assert!(server.requests("/register").is_empty());
}

async fn several_scopes_in_one_text_are_several(app: TestApp) {
    let server = McpServer::start().await;
    let scopes = json!({"scopes_supported": ["read write", "read", ""]});
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), scopes));
    app.post(DISCOVER, &server.connection()).await.expect(200);
    assert_eq!(app.begin(&asking("alice", &[])).await.parameter("scope").as_deref(), Some("read write"));
}

fn odd_clients() -> Vec<Value> {
    let long = "evil".repeat(3000);
    let mut clients = Vec::new();
    for text in ["evil\0", "ev\r\nil", "evil\u{7f}", "ëvil", long.as_str()] {
        clients.push(json!({"client_id": text, "client_secret": "s"}));
        clients.push(json!({"client_id": "c", "client_secret": text}));
    }
    clients.push(json!({"client_id": ""}));
    clients
}

async fn a_registration_with_characters_that_no_client_has_is_refused(app: TestApp) {
    let server = McpServer::start().await;
    for client in odd_clients() {
        server.answer("/register", Reply::json(client.clone()).status(201));
        let answer = app.post(DISCOVER, &server.connection()).await;
        answer.expect_error(502, "provider_error");
        assert!(answer.text().contains("its client_"), "{client}: {}", answer.text());
        assert!(!answer.text().contains("evil"), "{}", answer.text());
        app.get("/v2/auth/providers/acme").await.expect(404);
    }
}

async fn a_client_that_is_registered_again_with_such_characters_is_not_kept(app: TestApp) {
    let server = McpServer::start().await;
    let client_id = app.post(DISCOVER, &server.connection()).await.expect(200)["client_id"].clone();
    let pending = app.begin(&asking("alice", &[])).await;
    let unknown = Reply::json(json!({"error": "invalid_client"})).status(401);
    server.answer("/token", unknown);
    server.answer("/register", Reply::json(json!({"client_id": "evil\0"})).status(201));
    let back =
        format!("{}?code=a-code&state={}", pending.parameter("redirect_uri").expect("a way back"), pending.state());
    assert_eq!(app.visit(&back.parse().expect("a URL")).await.status, 502);
    assert_eq!(server.requests("/register").len(), 2);
    assert_eq!(app.get("/v2/auth/providers/acme").await.expect(200)["client_id"], client_id);
}
