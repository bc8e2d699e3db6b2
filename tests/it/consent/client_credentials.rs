//! Tokens of our own client, without a person (RFC 6749 section 4.4): when one is fetched, renewed and deleted.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, REVOKE, Reply, Request, TOKEN};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with, without};

both_databases! {
    an_agent_gets_a_token_without_a_person,
    the_token_is_kept_and_found_again,
    an_expired_token_is_got_anew_once_for_all_who_ask,
    other_scopes_are_asked_for_together_with_those_there_are,
    scopes_the_service_does_not_grant_are_refused_in_words,
    a_refused_client_is_told_and_nothing_is_kept,
    a_failing_service_costs_no_token_that_still_works,
    checking_begins_nothing,
    a_new_one_can_be_forced,
    a_deleted_token_is_revoked_and_got_anew,
    an_agent_bound_to_other_connections_gets_none,
    it_needs_a_secret_and_no_authorization_endpoint,
    a_provider_cannot_change_from_persons_to_clients,
    a_scope_that_was_withdrawn_does_not_keep_the_others_back,
    a_refusing_service_is_not_asked_at_the_speed_of_agents,
    a_dead_token_is_got_anew_for_the_agents_connected_to_it,
}

const HOUR: u64 = 3600;

fn definition(server: &AuthorizationServer) -> Value {
    json!({
        "provider_id": "acme",
        "name": "Acme Inc.",
        "grant_type": "client_credentials",
        "client_id": "acme-client",
        "client_secret": "acme-secret",
        "token_url": server.at("/token"),
        "revocation_url": server.at("/revoke"),
        "token_endpoint_auth_method": "client_secret_basic",
    })
}

fn granted(token: &str) -> Reply {
    Reply::json(json!({"access_token": token, "expires_in": HOUR, "token_type": "Bearer"}))
}

async fn start(app: &TestApp) -> AuthorizationServer {
    let server = AuthorizationServer::silent().await;
    let provider = app.register_as(definition(&server)).await;
    assert_eq!(provider["grant_type"], "client_credentials");
    server
}

fn one(mut asked: Vec<Request>) -> Request {
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked.remove(0)
}

async fn an_agent_gets_a_token_without_a_person(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    let answer = app.authenticate(&asking("alice", &["read", "write"])).await;
    assert_eq!((&answer["status"], &answer["token"]), (&"completed".into(), &"t1".into()), "{answer}");
    assert!(answer["url"].is_null());
    assert_eq!(answer["metadata"]["scopes"], json!(["read", "write"]));
    let asked = one(server.take_all_requests());
    assert_eq!(asked.value("grant_type"), Some("client_credentials"));
    assert_eq!(asked.value("scope"), Some("read write"));
    assert_eq!(asked.raw_basic().as_deref(), Some("acme-client:acme-secret"));
    assert_eq!(app.database.authorization_requests().await, 0, "nobody has to come back");
}

async fn the_token_is_kept_and_found_again(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    for _ in 0..3 {
        assert_eq!(app.token(&asking("alice", &["read"])).await, "t1");
    }
    assert_eq!(server.take_requests(TOKEN).len(), 1);
    let listed = app.tokens().await;
    assert_eq!((listed.len(), &listed[0]["provider_id"]), (1, &"acme".into()));
}

async fn an_expired_token_is_got_anew_once_for_all_who_ask(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    app.token(&asking("alice", &["read"])).await;
    server.take_all_requests();
    server.answer_token(granted("t2"));
    app.advance(HOUR);
    let asking_at_once = (0..20).map(|_| {
        let caller = Caller::clone(&app);
        tokio::spawn(async move { caller.token(&asking("alice", &["read"])).await })
    });
    for answered in futures_util::future::join_all(asking_at_once).await {
        assert_eq!(answered.unwrap(), "t2");
    }
    let asked = one(server.take_requests(TOKEN));
    assert_eq!(asked.value("grant_type"), Some("client_credentials"));
    assert_eq!((asked.value("scope"), asked.value("refresh_token")), (Some("read"), None));
}

async fn other_scopes_are_asked_for_together_with_those_there_are(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    app.token(&asking("alice", &["read"])).await;
    server.answer_token(granted("t2"));
    assert_eq!(app.token(&asking("alice", &["write"])).await, "t2");
    assert_eq!(server.take_requests(TOKEN)[1].value("scope"), Some("write read"));
    assert_eq!(app.token(&asking("alice", &["read"])).await, "t2", "one token, good for both");
    assert_eq!(app.tokens().await.len(), 1);
}

async fn scopes_the_service_does_not_grant_are_refused_in_words(app: TestApp) {
    let server = start(&app).await;
    let less = json!({"access_token": "t1", "expires_in": HOUR, "scope": "read"});
    server.answer_token(Reply::json(less));
    let refused = app.try_authenticate(&asking("alice", &["read", "admin"])).await.expect_error(502, "provider_error");
    assert!(refused["detail"].as_str().unwrap().contains("insufficient_scope"), "{refused}");
}

async fn a_refused_client_is_told_and_nothing_is_kept(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    let refused = app.try_authenticate(&asking("alice", &["read"])).await;
    let refused = refused.expect_error(502, "provider_misconfigured");
    assert!(refused["detail"].as_str().unwrap().contains("invalid_client"), "{refused}");
    assert!(app.tokens().await.is_empty());
    let provider = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(provider["client_error"], "invalid_client");
    app.advance(2);
    server.answer_token(granted("t1"));
    assert_eq!(app.token(&asking("alice", &["read"])).await, "t1");
    assert!(app.get("/v2/auth/providers/acme").await.expect(200)["client_error"].is_null());
}

async fn a_failing_service_costs_no_token_that_still_works(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    app.token(&asking("alice", &["read"])).await;
    app.advance(HOUR - 10);
    for _ in 0..3 {
        server.answer_token(Reply::text("text/plain", "down").status(503));
    }
    assert_eq!(app.token(&asking("alice", &["read"])).await, "t1");
    app.advance(60);
    server.answer_token(granted("t2"));
    assert_eq!(app.token(&asking("alice", &["read"])).await, "t2");
}

async fn checking_begins_nothing(app: TestApp) {
    let server = start(&app).await;
    let answer = app.authenticate(&with(asking("alice", &["read"]), json!({"check_only": true}))).await;
    assert_eq!(answer["status"], "connection_required");
    assert!(server.take_all_requests().is_empty());
}

async fn a_new_one_can_be_forced(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    server.answer_token(granted("t2"));
    app.token(&asking("alice", &["read"])).await;
    assert_eq!(app.token(&with(asking("alice", &["read"]), json!({"force_new": true}))).await, "t2");
    assert_eq!(app.tokens().await.len(), 1, "the client has one account");
}

async fn a_deleted_token_is_revoked_and_got_anew(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    app.token(&asking("alice", &["read"])).await;
    server.take_all_requests();
    for _ in 0..2 {
        server.answer_revocation(Reply::json(json!({})));
    }
    let answer = app.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    assert_eq!(answer["upstream_revoked"], true, "{answer}");
    assert!(server.take_requests(REVOKE).iter().all(|asked| asked.value("token") == Some("t1")));
    server.answer_token(granted("t2"));
    assert_eq!(app.token(&asking("alice", &["read"])).await, "t2");
}

async fn an_agent_bound_to_other_connections_gets_none(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    app.token(&asking("alice", &["read"])).await;
    let token = app.tokens().await[0]["id"].clone();
    app.connect_agent("helper", &token).await;
    server.take_all_requests();
    let other = with(asking("bob", &["read"]), json!({"agent_id": "helper"}));
    assert_eq!(app.authenticate(&other).await["status"], "connection_required");
    assert!(server.take_all_requests().is_empty());
}

async fn it_needs_a_secret_and_no_authorization_endpoint(app: TestApp) {
    let server = AuthorizationServer::silent().await;
    let faults = app.post("/v2/auth/providers", &without(definition(&server), "client_secret")).await.expect(422);
    assert_eq!(faults["detail"][0]["loc"], json!(["body", "client_secret"]));
    let faults = app.post("/v2/auth/providers", &without(definition(&server), "token_url")).await.expect(422);
    assert_eq!(faults["detail"][0]["loc"], json!(["body", "token_url"]));
    let faults = app.post("/v2/auth/providers", &with(definition(&server), json!({"grant_type": "password"}))).await;
    assert_eq!(faults.expect(422)["detail"][0]["loc"], json!(["body", "grant_type"]));
    app.register_as(definition(&server)).await;
}

async fn a_provider_cannot_change_from_persons_to_clients(app: TestApp) {
    let server = start(&app).await;
    let change = json!({"grant_type": "authorization_code"});
    let faults = app.patch("/v2/auth/providers/acme", &change).await.expect(422);
    assert_eq!(faults["detail"][0]["loc"], json!(["body", "grant_type"]));
    let same = json!({"grant_type": "client_credentials", "name": "Other"});
    assert_eq!(app.patch("/v2/auth/providers/acme", &same).await.expect(200)["name"], "Other");
    assert!(server.take_all_requests().is_empty());
}

async fn a_scope_that_was_withdrawn_does_not_keep_the_others_back(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    app.token(&asking("alice", &["read", "write"])).await;
    app.advance(HOUR);
    server.answer_token(Reply::json(json!({"error": "invalid_scope"})).status(400));
    server.answer_token(granted("t2"));
    assert_eq!(app.token(&asking("alice", &["read"])).await, "t2");
    assert_eq!(server.take_requests(TOKEN)[2].value("scope"), Some("read"));
}

async fn a_refusing_service_is_not_asked_at_the_speed_of_agents(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(Reply::json(json!({})).status(429).header("retry-after", "120"));
    for _ in 0..5 {
        let refused = app.try_authenticate(&asking("alice", &["read"])).await;
        refused.expect_error(503, "provider_unavailable");
        let wait: u64 = refused.header("retry-after").parse().unwrap();
        assert!((110..=121).contains(&wait), "{wait}");
    }
    app.advance(100);
    app.try_authenticate(&asking("bob", &["read"])).await.expect(503);
    assert_eq!(server.take_requests(TOKEN).len(), 1, "the client is one, whoever asks");
    server.answer_token(granted("t1"));
    app.advance(21);
    assert_eq!(app.token(&asking("alice", &["read"])).await, "t1");
    server.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    app.try_authenticate(&asking("bob", &["read"])).await.expect(502);
    app.patch("/v2/auth/providers/acme", &json!({"client_secret": "corrected"})).await.expect(200);
    server.answer_token(granted("t2"));
    assert_eq!(app.token(&asking("bob", &["read"])).await, "t2", "a corrected record counts at once");
}

async fn a_dead_token_is_got_anew_for_the_agents_connected_to_it(app: TestApp) {
    let server = start(&app).await;
    server.answer_token(granted("t1"));
    app.token(&asking("alice", &["read"])).await;
    let token = app.tokens().await[0]["id"].clone();
    app.connect_agent("helper", &token).await;
    let helper = with(asking("alice", &["read"]), json!({"agent_id": "helper"}));
    assert_eq!(app.token(&helper).await, "t1");
    app.advance(HOUR);
    server.answer_token(Reply::json(json!({"error": "invalid_scope"})).status(400));
    server.answer_token(granted("t2"));
    assert_eq!(app.token(&helper).await, "t2");
    let tokens = app.tokens().await;
    assert_eq!((tokens.len(), &tokens[0]["id"]), (1, &token));
    app.advance(HOUR);
    server.answer_token(Reply::json(json!({"error": "invalid_scope"})).status(400));
    server.answer_token(granted("t3"));
    assert_eq!(app.token(&with(helper, json!({"token_id": token}))).await, "t3", "also when it is named");
}
