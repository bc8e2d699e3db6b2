//! Agents: tokens of their own, and tokens connected to them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    an_agents_token_is_not_the_users,
    a_users_token_is_not_an_agents,
    one_agents_token_is_not_anothers,
    a_connected_token_serves_the_agent,
    a_connected_token_serves_only_its_own_user,
    a_connected_token_of_too_few_scopes_asks_for_a_connection,
    a_connection_at_another_provider_does_not_count,
    a_created_connection_is_answered_with_every_published_field,
    connections_are_listed_by_agent,
    connecting_the_same_token_twice_leaves_one_connection,
    an_unknown_token_cannot_be_connected,
    a_removed_connection_leaves_the_token,
    removing_an_unknown_connection_is_not_found,
    a_connection_of_another_agent_is_not_found,
    deleting_the_token_removes_its_connections,
    without_connections_an_agent_is_sent_to_consent,
    an_agent_id_with_odd_characters_works,
}

async fn started(provider: &AuthorizationServer, app: &TestApp) -> Caller {
    app.register(provider).await;
    app.service_key().await.acting_for("alice")
}

fn asking_as(agent: &str, scopes: &[&str]) -> Value {
    with(asking("alice", scopes), json!({"agent_id": agent}))
}

/// A token of Alice without an agent, connected to `helper`; gives the access token and the connection.
async fn connected(alice: &Caller, provider: &AuthorizationServer) -> (String, Value) {
    let token = alice.connect(provider, &asking("alice", &["read"])).await;
    let id = alice.tokens().await[0]["id"].clone();
    (token, alice.connect_agent("helper", &id).await)
}

async fn connections(caller: &Caller, agent: &str) -> Vec<Value> {
    let path = format!("/v2/auth/agents/{agent}/connections");
    let answer = caller.get(&path).await.expect(200);
    answer["data"].as_array().expect("a list").clone()
}

async fn expect_connection_required(app: &TestApp, caller: &Caller, question: &Value) {
    let begun = app.database.authorization_requests().await;
    let answer = caller.authenticate(question).await;
    assert_eq!(answer["status"], "connection_required", "{answer}");
    for field in ["auth_id", "token"] {
        assert!(answer[field].is_null(), "{answer}");
    }
    assert!(answer["url"].as_str().is_some_and(|url| url.contains("/connect/link/")), "a way on: {answer}");
    assert_eq!(app.database.authorization_requests().await, begun, "no flow is begun");
}

async fn an_agents_token_is_not_the_users(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = asking_as("helper", &["read"]);
    let token = alice.connect(&provider, &question).await;
    assert_eq!(alice.token(&question).await, token);
    alice.begin(&asking("alice", &["read"])).await;
}

async fn a_users_token_is_not_an_agents(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    alice.begin(&asking_as("helper", &["read"])).await;
}

async fn one_agents_token_is_not_anothers(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    alice.connect(&provider, &asking_as("helper", &["read"])).await;
    alice.begin(&asking_as("other", &["read"])).await;
}

async fn a_connected_token_serves_the_agent(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let (token, _) = connected(&alice, &provider).await;
    let question = asking_as("helper", &["read"]);
    assert_eq!(alice.token(&question).await, token);
    let check = with(question, json!({"check_only": true}));
    assert_eq!(alice.token(&check).await, token);
}

async fn a_connected_token_serves_only_its_own_user(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    connected(&alice, &provider).await;
    let bob = alice.acting_for("bob");
    let question = with(asking("bob", &["read"]), json!({"agent_id": "helper"}));
    expect_connection_required(&app, &bob, &question).await;
}

async fn a_connected_token_of_too_few_scopes_asks_for_a_connection(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    connected(&alice, &provider).await;
    let question = asking_as("helper", &["read", "write"]);
    expect_connection_required(&app, &alice, &question).await;
}

async fn a_connection_at_another_provider_does_not_count(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    connected(&alice, &provider).await;
    app.register_as(provider.definition("other")).await;
    let question = with(asking_as("helper", &["read"]), json!({"provider": "other"}));
    alice.begin(&question).await;
}

async fn a_created_connection_is_answered_with_every_published_field(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let (_, connection) = connected(&alice, &provider).await;
    let token = alice.tokens().await.remove(0);
    assert_eq!(connection["agent_id"], "helper");
    assert_eq!(connection["oauth_token_id"], token["id"]);
    assert_eq!(connection["provider_id"], "acme");
    assert_eq!(connection["scopes"], json!(["read"]));
    assert_eq!(connection["expires_at"], token["expires_at"]);
    for field in ["id", "created_by", "created_at"] {
        assert!(connection[field].is_string(), "{field}: {connection}");
    }
    assert!(connection.get("provider_account_label").is_some());
    assert!(!connection.to_string().contains("access-"));
}

async fn connections_are_listed_by_agent(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    assert_eq!(connections(&alice, "helper").await, Vec::<Value>::new());
    let (_, connection) = connected(&alice, &provider).await;
    assert_eq!(connections(&alice, "helper").await, [connection]);
    assert_eq!(connections(&alice, "other").await, Vec::<Value>::new());
}

async fn connecting_the_same_token_twice_leaves_one_connection(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let (_, connection) = connected(&alice, &provider).await;
    let again = json!({"oauth_token_id": connection["oauth_token_id"]});
    let answer = alice.post("/v2/auth/agents/helper/connections", &again).await;
    assert!([200, 201, 409].contains(&answer.status.as_u16()), "{answer:?}");
    assert_eq!(connections(&alice, "helper").await.len(), 1);
}

async fn an_unknown_token_cannot_be_connected(app: TestApp) {
    let path = "/v2/auth/agents/helper/connections";
    let unknown = json!({"oauth_token_id": Uuid::now_v7()});
    app.post(path, &unknown).await.expect_error(404, "not_found");
    let no_id = json!({"oauth_token_id": "no-id"});
    let answer = app.post(path, &no_id).await;
    assert!([404, 422].contains(&answer.status.as_u16()), "{answer:?}");
    assert_eq!(connections(&app, "helper").await, Vec::<Value>::new());
}

async fn a_removed_connection_leaves_the_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let (token, connection) = connected(&alice, &provider).await;
    let id = connection["id"].as_str().unwrap();
    let path = format!("/v2/auth/agents/helper/connections/{id}");
    let answer = alice.delete(&path).await;
    answer.expect(204);
    assert!(answer.body.is_empty());
    assert_eq!(connections(&alice, "helper").await, Vec::<Value>::new());
    assert_eq!(alice.token(&asking("alice", &["read"])).await, token);
    alice.begin(&asking_as("helper", &["read"])).await;
}

async fn removing_an_unknown_connection_is_not_found(app: TestApp) {
    let path = format!("/v2/auth/agents/helper/connections/{}", Uuid::now_v7());
    app.delete(&path).await.expect_error(404, "not_found");
}

async fn a_connection_of_another_agent_is_not_found(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let (_, connection) = connected(&alice, &provider).await;
    let id = connection["id"].as_str().unwrap();
    alice.delete(&format!("/v2/auth/agents/other/connections/{id}")).await.expect_error(404, "not_found");
    assert_eq!(connections(&alice, "helper").await.len(), 1);
}

async fn deleting_the_token_removes_its_connections(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let (_, connection) = connected(&alice, &provider).await;
    let id = connection["oauth_token_id"].as_str().unwrap();
    alice.delete(&format!("/v2/auth/tokens/{id}")).await.expect(204);
    assert_eq!(connections(&alice, "helper").await, Vec::<Value>::new());
    alice.begin(&asking_as("helper", &["read"])).await;
}

async fn without_connections_an_agent_is_sent_to_consent(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    alice.begin(&asking_as("helper", &["read"])).await;
}

async fn an_agent_id_with_odd_characters_works(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    let id = alice.tokens().await[0]["id"].clone();
    let in_path = "team%2Fhelper%20%C3%BC%3F..%2F";
    alice.connect_agent(in_path, &id).await;
    assert_eq!(connections(&alice, in_path).await[0]["agent_id"], "team/helper ü?../");
    alice.token(&asking_as("team/helper ü?../", &["read"])).await;
}
