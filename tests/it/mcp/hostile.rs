//! Hostile or broken MCP servers: each is refused with a clear message and in time, and nothing is stored.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::with;
use crate::support::database::Database;
use crate::support::mcp_server::{McpServer, RESOURCE_METADATA, SERVER_METADATA};
use crate::support::trap::Trap;

both_databases! {
    metadata_of_something_else_is_refused,
    a_server_without_s256_is_refused_unless_it_only_forgot_to_say_so,
    endpoints_that_are_no_web_addresses_are_refused,
    private_addresses_are_refused_in_every_spelling_and_place,
    redirects_are_not_followed,
    documents_without_end_or_bottom_are_given_up,
    a_url_that_is_none_is_refused_before_anything_is_asked,
}

const DISCOVER: &str = "/v2/auth/providers/mcp-discover";
/// What is promised, and a little for a loaded machine.
const IN_TIME: Duration = Duration::from_secs(20);

/// Refused with a sentence, and nothing is kept.
async fn refused(app: &TestApp, connection: &Value) -> Answer {
    let begun = Instant::now();
    let answer = app.post(DISCOVER, connection).await;
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    assert!(matches!(answer.status.as_u16(), 422 | 502 | 504), "{answer:?}");
    assert!(!answer.json()["detail"].is_null(), "{answer:?}");
    app.get("/v2/auth/providers/acme").await.expect(404);
    answer
}

async fn metadata_of_something_else_is_refused(app: TestApp) {
    let server = McpServer::start().await;
    for resource in [json!("https://bank.example/mcp"), json!(server.at("/other")), json!(""), json!(7), Value::Null] {
        server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"resource": resource})));
        if resource.is_string() {
            refused(&app, &server.connection()).await;
        }
    }
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"authorization_servers": []})));
    refused(&app, &server.connection()).await;
    server.show(RESOURCE_METADATA, server.resource_metadata());
    for issuer in [json!("https://accounts.google.com"), json!(server.at("/x")), json!("")] {
        server.show(SERVER_METADATA, with(server.server_metadata(), json!({"issuer": issuer})));
        refused(&app, &server.connection()).await;
    }
    assert!(server.requests("/register").is_empty() && server.requests("/token").is_empty());
}

async fn a_server_without_s256_is_refused_unless_it_only_forgot_to_say_so(app: TestApp) {
    let server = McpServer::start().await;
    let allowed = server.connection_with(json!({"allow_missing_pkce": true}));
    for methods in [json!(["plain"]), json!([])] {
        let metadata = json!({"code_challenge_methods_supported": methods});
        server.show(SERVER_METADATA, with(server.server_metadata(), metadata));
        refused(&app, &allowed).await;
    }
    let silent = json!({"code_challenge_methods_supported": null});
    server.show(SERVER_METADATA, with(server.server_metadata(), silent));
    let answer = refused(&app, &server.connection()).await;
    assert!(answer.text().contains("allow_missing_pkce"), "{}", answer.text());
    assert_eq!(app.post(DISCOVER, &allowed).await.expect(200)["uses_pkce"], true);
}

async fn endpoints_that_are_no_web_addresses_are_refused(app: TestApp) {
    let server = McpServer::start().await;
    for name in ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"] {
        for url in [
            "javascript:alert(1)",
            "JaVaScRiPt://a.example/%0aalert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "https://user:secret@a.example/",
            "/authorize",
            "",
        ] {
            server.show(SERVER_METADATA, with(server.server_metadata(), json!({name: url})));
            let answer = refused(&app, &server.connection()).await;
            assert!(!answer.text().contains("alert"), "{}", answer.text());
        }
    }
    assert!(server.requests("/register").is_empty());
}

async fn private_addresses_are_refused_in_every_spelling_and_place(database: Database) {
    let server = McpServer::start().await;
    // The server itself is allowed, by its name; the rest of the machine is not.
    let listed = "mcp.localhost".to_owned();
    let app = TestApp::start_with(database, |settings| settings.allow_private_upstreams = listed).await;
    let here = |path: &str| format!("http://mcp.localhost:{}{path}", server.port());
    let renamed = |document: Value| -> Value {
        let text = document.to_string().replace(&server.at(""), &here(""));
        serde_json::from_str(&text).expect("JSON")
    };
    let connection = renamed(server.connection());
    let (resource, metadata) = (renamed(server.resource_metadata()), renamed(server.server_metadata()));
    server.challenge("Bearer");
    server.show(RESOURCE_METADATA, resource.clone());
    server.show(SERVER_METADATA, metadata.clone());
    let trap = Trap::set().await;
    let port = trap.port;
    let spellings = [
        format!("http://127.0.0.1:{port}/x"),
        format!("https://127.0.0.1:{port}/x"),
        format!("https://localhost:{port}/x"),
        format!("https://2130706433:{port}/x"),
        format!("https://0x7f.1:{port}/x"),
        format!("https://0177.0.0.1:{port}/x"),
        format!("https://[::1]:{port}/x"),
        format!("https://[::ffff:127.0.0.1]:{port}/x"),
        format!("https://[::ffff:7f00:1]:{port}/x"),
        format!("https://0.0.0.0:{port}/x"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/x".to_owned(),
        "https://metadata.google.internal/x".to_owned(),
    ];
    for url in &spellings {
        server.challenge(&format!(r#"Bearer resource_metadata="{url}""#));
        refused(&app, &connection).await;
        server.challenge("Bearer");
        server.show(RESOURCE_METADATA, with(resource.clone(), json!({"authorization_servers": [url]})));
        refused(&app, &connection).await;
        server.show(RESOURCE_METADATA, resource.clone());
        for name in ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"] {
            server.show(SERVER_METADATA, with(metadata.clone(), json!({name: url})));
            refused(&app, &connection).await;
        }
        server.show(SERVER_METADATA, metadata.clone());
        refused(&app, &with(connection.clone(), json!({"mcp_server_url": url}))).await;
    }
    assert_eq!(trap.connections(), 0);
}

async fn redirects_are_not_followed(app: TestApp) {
    let server = McpServer::start().await;
    let trap = Trap::set().await;
    let away = format!("http://127.0.0.1:{}/", trap.port);
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = || Reply::text("text/plain", "").status(status).header("location", &away);
        server.answer(SERVER_METADATA, elsewhere());
        refused(&app, &server.connection()).await;
        server.show(SERVER_METADATA, server.server_metadata());
        server.answer("/register", elsewhere());
        refused(&app, &server.connection()).await;
        server.hide("/register");
    }
    assert_eq!(trap.connections(), 0);
}

async fn documents_without_end_or_bottom_are_given_up(app: TestApp) {
    let server = McpServer::start().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for document in [
        Reply::flood(10_000_000_000),
        Reply::drip(),
        Reply::text("application/json", &deep),
        Reply::json(json!({})).after(Duration::from_mins(1)),
        Reply::text("application/json", "{\"issuer\":"),
    ] {
        server.answer(SERVER_METADATA, document);
        refused(&app, &server.connection()).await;
    }
    server.show(SERVER_METADATA, server.server_metadata());
    server.answer(RESOURCE_METADATA, Reply::drip());
    refused(&app, &server.connection()).await;
}

async fn a_url_that_is_none_is_refused_before_anything_is_asked(app: TestApp) {
    let server = McpServer::start().await;
    for url in ["", "mcp", "ftp://a.example/", "javascript:alert(1)", "http://public.example/mcp\u{0}"] {
        let answer = refused(&app, &server.connection_with(json!({"mcp_server_url": url}))).await;
        assert_eq!(answer.status, 422, "{url}");
    }
    let nothing = app.post(DISCOVER, &json!({})).await.expect(422);
    let missing: Vec<_> = nothing["detail"].as_array().expect("faults").iter().map(|fault| &fault["loc"][1]).collect();
    assert_eq!(missing, ["provider_id", "name", "mcp_server_url"]);
    assert!(server.requests("/public/mcp").is_empty());
}
