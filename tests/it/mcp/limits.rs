//! Limits of MCP discovery: the requests of one discovery, and how many discoveries run at once.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::{Caller, acme, with};
use crate::support::mcp_server::{McpServer, RESOURCE_METADATA};

both_databases! {
    a_server_whose_metadata_is_at_the_last_place_of_all_is_connected,
    the_ninth_request_is_refused_in_words,
    a_fifth_discovery_at_a_time_is_refused_while_another_workspace_goes_on,
    an_issuer_is_discovered_within_the_same_limits,
}

const DISCOVER: &str = "/v2/auth/providers/mcp-discover";
const PROVIDERS: &str = "/v2/auth/providers";
/// Long enough to begin a few more meanwhile.
const SLOWLY: Duration = Duration::from_secs(3);

async fn a_server_whose_metadata_is_at_the_last_place_of_all_is_connected(app: TestApp) {
    let server = McpServer::silent().await;
    let issuer = server.at("/tenant1");
    server.challenge(&format!(r#"Bearer resource_metadata="{}""#, server.at("/dead")));
    let resource = json!({"resource": server.at(""), "authorization_servers": [issuer]});
    server.show("/.well-known/oauth-protected-resource", with(server.resource_metadata(), resource));
    let metadata = with(server.server_metadata(), json!({"issuer": issuer}));
    server.show("/tenant1/.well-known/openid-configuration", metadata);
    app.post(DISCOVER, &server.connection()).await.expect(200);
    let registrations = server.requests("/register").len();
    assert_eq!((server.count(), registrations), (7 + 1, 1));
}

async fn the_ninth_request_is_refused_in_words(app: TestApp) {
    let server = McpServer::start().await;
    let issuers: Vec<_> = ["/a", "/b", "/c"].map(|path| server.at(path)).to_vec();
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"authorization_servers": issuers})));
    let answer = app.post(DISCOVER, &server.connection()).await;
    answer.expect_fault("body.mcp_server_url", "discovery_failed");
    assert!(answer.text().contains("8 requests"), "{}", answer.text());
    assert_eq!(server.count(), 8);
    app.get("/v2/auth/providers/acme").await.expect(404);
}

/// Asks for so many at once, each under a name of its own, and gives the statuses.
async fn at_once(caller: &Caller, path: &str, body: &Value, names: &[&str]) -> Vec<u16> {
    let bodies: Vec<_> = names.iter().map(|name| with(body.clone(), json!({"provider_id": name}))).collect();
    let answers = join_all(bodies.iter().map(|body| caller.post(path, body))).await;
    answers.iter().map(|answer| answer.status.as_u16()).collect()
}

async fn until_asked(server: &McpServer, path: &str, times: usize) {
    let begun = Instant::now();
    while server.requests(path).len() < times {
        assert!(begun.elapsed() < SLOWLY, "asked {} times", server.requests(path).len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_fifth_discovery_at_a_time_is_refused_while_another_workspace_goes_on(app: TestApp) {
    let server = McpServer::start().await;
    let elsewhere = app.service_key_in("acme", "other").await;
    let challenge = format!(r#"Bearer resource_metadata="{}""#, server.at(RESOURCE_METADATA));
    let slow = Reply::text("text/plain", "").status(401).header("www-authenticate", &challenge).after(SLOWLY);
    server.answer("/public/mcp", slow);
    let connection = server.connection();
    let four = at_once(&app, DISCOVER, &connection, &["one", "two", "three", "four"]);
    let meanwhile = async {
        until_asked(&server, "/public/mcp", 4).await;
        let answer = app.post(DISCOVER, &connection).await;
        answer.expect_error(429, "too_many_discoveries");
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{answer:?}");
        assert!(answer.text().contains("try again"), "{}", answer.text());
        let by_issuer = json!({"provider_id": "five", "name": "5", "client_id": "c", "issuer": server.at("")});
        app.post(PROVIDERS, &by_issuer).await.expect_error(429, "too_many_discoveries");
        at_once(&elsewhere, DISCOVER, &connection, &["one"]).await
    };
    assert_eq!(join(four, meanwhile).await, (vec![200; 4], vec![200]));
    app.post(DISCOVER, &connection).await.expect(200);
}

async fn an_issuer_is_discovered_within_the_same_limits(app: TestApp) {
    let server = McpServer::start().await;
    let metadata = Reply::json(server.server_metadata()).after(SLOWLY);
    server.answer("/.well-known/oauth-authorization-server", metadata);
    let by_issuer = json!({"name": "Acme", "client_id": "c", "client_secret": "s", "issuer": server.at("")});
    let four = at_once(&app, PROVIDERS, &by_issuer, &["one", "two", "three", "four"]);
    let meanwhile = async {
        until_asked(&server, "/.well-known/oauth-authorization-server", 4).await;
        app.post(DISCOVER, &server.connection()).await.expect_error(429, "too_many_discoveries");
        // What asks nobody is not held up.
        app.register_as(acme()).await;
    };
    assert_eq!(join(four, meanwhile).await.0, [200; 4]);
}
