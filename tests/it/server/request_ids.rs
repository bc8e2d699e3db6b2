//! The id of a request: in each of its log lines, on each page that says what failed, and in its response.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use url::{Position, Url};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::{Database, PUBLIC_URL};
use crate::support::eventually::eventually;

both_databases! {
    every_log_line_of_a_request_has_its_id_at_the_top,
    every_page_that_says_what_failed_shows_the_id,
}

const SOON: Duration = Duration::from_secs(20);

/// A server, whose requests have ids.
struct Stage {
    server: Server,
    key: String,
}

impl Stage {
    async fn send(&self, id: &str, method: Method, path: &str, body: &Value) -> (u16, String) {
        let request = self.server.http.request(method, self.server.url(path)).header("x-api-key", &self.key);
        let request = request.header("content-type", "application/json").header("x-request-id", id);
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    async fn authenticate(&self, id: &str, user: &str, more: Value) -> (u16, Value) {
        let question = with(asking(user, &["read"]), more);
        let (status, body) = self.send(id, Method::POST, "/v2/auth/authenticate", &question).await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    async fn come_back(&self, id: &str, callback: &Url) -> u16 {
        self.send(id, Method::GET, &callback[Position::BeforePath..], &Value::Null).await.0
    }

    async fn until_logged(&self, event: &str) {
        eventually(SOON, async || self.server.said_so_far().contains(&format!("\"{event}\""))).await;
    }
}

/// The lines that a server logged at this level, after it did what is logged in the course of a request: at once, in a
/// task of its own, and after the response.
async fn lines(database: Database, log: &str) -> Vec<Value> {
    let mut environment = database.environment();
    environment.push(("AGENT_AUTH_LOG".to_owned(), log.to_owned()));
    let stage = Stage { server: Server::start(&environment).await, key: database.bootstrap_key.clone() };
    let provider = AuthorizationServer::start().await;
    let definition = with(provider.definition("acme"), json!({"revocation_url": provider.at("/revoke")}));
    stage.send("id-register", Method::POST, "/v2/auth/providers", &definition).await;
    let url = |pending: &Value| pending["url"].as_str().expect("a url").to_owned();

    // A task of its own: an exchange that fails.
    let (_, pending) = stage.authenticate("id-begin", "alice", json!({})).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    assert_eq!(stage.come_back("id-failed", &provider.consent(&url(&pending))).await, 502);
    // A refresh that fails after its caller has got the token: it is valid for a while, but due.
    let (_, pending) = stage.authenticate("id-begin", "bob", json!({})).await;
    provider.answer_token(Reply::json(json!({"access_token": "a", "refresh_token": "r", "expires_in": 40})));
    assert_eq!(stage.come_back("id-connected", &provider.consent(&url(&pending))).await, 303);
    database.tamper("UPDATE tokens SET refresh_due_at = created_at").await;
    provider.show("/token", Reply::json(json!({"error": "temporarily_unavailable"})).status(503));
    assert_eq!(stage.authenticate("id-background", "bob", json!({})).await.0, 200);
    stage.until_logged("token.refresh_failed").await;
    // A revocation that fails, in a task of its own too.
    provider.show("/revoke", Reply::text("text/plain", "no").status(500));
    let (_, token) = stage.authenticate("id-token", "bob", json!({})).await;
    let path = format!("/v2/auth/tokens/{}", token["metadata"]["token_id"].as_str().expect("an id"));
    stage.send("id-delete", Method::DELETE, &path, &Value::Null).await;
    stage.until_logged("revocation.failed").await;
    // Refused before any route.
    stage.send("id-nowhere", Method::GET, "/nowhere", &Value::Null).await;
    let twice = "/host-oauth-callback/acme?code=a&code=b";
    stage.send("id-twice", Method::GET, twice, &Value::Null).await;

    let (_, said) = stage.server.stop().await;
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
}

async fn every_log_line_of_a_request_has_its_id_at_the_top(database: Database) {
    let quiet = if database.postgres.is_some() { Database::postgres().await } else { Database::sqlite() };
    let expected = [
        ("consent.failed", "id-failed"),
        ("token.refresh_failed", "id-background"),
        ("revocation.failed", "id-delete"),
    ];
    // Also where only warnings are logged.
    for (database, log) in [(database, "info,agent_auth=debug"), (quiet, "warn")] {
        let lines = lines(database, log).await;
        for (event, id) in expected {
            let found: Vec<&Value> = lines.iter().filter(|line| line["event"] == event).collect();
            assert!(!found.is_empty(), "{event} is not logged: {lines:#?}");
            assert!(found.iter().all(|line| line["request_id"] == id), "{found:#?}");
        }
        for line in &lines {
            let span = line.get("span");
            assert_eq!(line.get("request_id").is_some(), span.is_some(), "{line}");
            assert!(line.get("spans").is_none() && span.is_none_or(|span| span.get("request_id").is_none()), "{line}");
            assert!(span.is_none_or(|span| span["method"].is_string() && span["route"].is_string()), "{line}");
        }
        let finished = lines.iter().filter(|line| line["event"] == "request.finished");
        let finished: BTreeSet<&str> = finished.filter_map(|line| line["request_id"].as_str()).collect();
        if log != "warn" {
            for id in ["id-register", "id-begin", "id-failed", "id-background", "id-delete", "id-nowhere", "id-twice"] {
                assert!(finished.contains(id), "{id} in {finished:?}");
            }
        }
    }
}

async fn shows_its_id(browser: &Caller, method: Method, path: &str, form: &str) {
    let id = format!("shown-{}", path.len());
    let browser = browser.with("x-request-id", &id).with("content-type", "application/x-www-form-urlencoded");
    let answer = browser.send(method, path, form.to_owned().into()).await;
    let status = answer.status.as_u16();
    assert!(status >= 400, "{path}: {answer:?}");
    answer.expect_html(status);
    assert_eq!(answer.header("x-request-id"), id, "{path}");
    let text = answer.text();
    let said = text.contains("equest ID") || text.contains("request id");
    assert!(said && text.contains(&format!(">{id}</code>")), "{path}: {text}");
}

async fn every_page_that_says_what_failed_shows_the_id(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let browser = app.browser();
    for path in [
        "/host-oauth-callback/acme",
        "/host-oauth-callback/acme?state=unknown&code=x",
        "/host-oauth-callback/acme?state=unknown",
        "/host-oauth-callback/no+id?state=unknown&code=x",
        "/host-oauth-callback/acme/at/elsewhere?state=unknown&code=x",
        "/host-oauth-callback/acme/0190f3c8-0000-4000-8000-000000000000",
        "/v2/auth/callback/acme?state=unknown&error=access_denied",
        "/api-host/v2/auth/setup/acme?state=unknown&code=x",
        "/connect/unknown",
        "/connect/link/unknown",
        "/host-api-key/acme",
        "/host-api-key/acme?state=unknown",
    ] {
        shows_its_id(&browser, Method::GET, path, "").await;
    }
    for path in ["/connect/unknown", "/connect/link/unknown"] {
        shows_its_id(&browser, Method::POST, path, "decision=continue").await;
    }
    shows_its_id(&browser, Method::POST, "/host-api-key/acme", "state=unknown&key=k").await;
    // Denied, refused, and the provider's failures of each kind.
    let begin = async || app.begin(&asking("alice", &["read"])).await.url;
    let path = |callback: Url| callback[Position::BeforePath..].to_owned();
    shows_its_id(&browser, Method::GET, &path(provider.deny(&begin().await)), "").await;
    let refused = provider.send_back(&begin().await, &[("error", "server_error")]);
    shows_its_id(&browser, Method::GET, &path(refused), "").await;
    for (status, error) in [(503, "temporarily_unavailable"), (401, "invalid_client"), (400, "invalid_grant")] {
        let callback = provider.consent(&begin().await);
        provider.answer_token(Reply::json(json!({"error": error})).status(status));
        shows_its_id(&browser, Method::GET, &path(callback), "").await;
    }
    // Pages of people and of the console, without a session; forms of other sites, and keys that sign nobody in.
    for path in [
        "/connections",
        "/connections/unknown",
        "/connections/held/unknown",
        "/connections/held/unknown/revoke",
        "/connections/requested/unknown",
        "/console/nowhere",
        "/console/sign-in/openid",
        "/console/sign-in/openid/callback",
    ] {
        shows_its_id(&browser, Method::GET, path, "").await;
    }
    for path in [
        "/connections/unknown",
        "/connections/leave",
        "/connections/connect/acme",
        "/connections/held/unknown/reconnect",
        "/connections/held/unknown/revoke",
    ] {
        shows_its_id(&browser, Method::POST, path, "").await;
    }
    let foreign = browser.with("origin", "https://elsewhere.example");
    shows_its_id(&foreign, Method::POST, "/connections/unknown", "browser=x").await;
    shows_its_id(&foreign, Method::POST, "/console/sign-in", "key=x").await;
    let own = browser.with("origin", PUBLIC_URL);
    shows_its_id(&own, Method::POST, "/connections/unknown", "browser=x").await;
    shows_its_id(&own, Method::POST, "/console/sign-in", "key=unknown").await;
    let form = app.browser().get("/console/sign-in").await.expect_html(200);
    assert!(!form.contains("Request ID"), "nothing failed: {form}");
    // And this server's own.
    let callback = provider.consent(&begin().await);
    app.database.tamper("ALTER TABLE authorization_requests RENAME TO authorization_requests_away").await;
    shows_its_id(&browser, Method::GET, &path(callback), "").await;
    shows_its_id(&browser, Method::GET, "/connect/unknown", "").await;
    app.database.tamper("ALTER TABLE connect_links RENAME TO connect_links_away").await;
    shows_its_id(&browser, Method::GET, &format!("/connections/{}", "a".repeat(43)), "").await;
    app.database.tamper("ALTER TABLE console_sessions RENAME TO console_sessions_away").await;
    let signed_in = format!("__Host-agent-auth-console={}", "A".repeat(43));
    shows_its_id(&browser.with("cookie", &signed_in), Method::GET, "/console/settings", "").await;
}
