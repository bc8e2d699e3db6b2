//! Which events an operation leaves, and what they say of actor, subject, provider and result.

use agent_auth::model::audit::EventName;
use serde_json::{Value, json};

use super::{names, of_name, recorded, verified};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};
use crate::support::langsmith::{ORGANIZATION, WithLangSmith};

both_databases! {
    a_consent_is_recorded_from_its_begin_to_the_hand_out,
    a_refusal_and_a_failed_exchange_are_recorded,
    a_state_that_is_used_again_is_recorded,
    a_refresh_is_recorded_with_the_caller_who_caused_it,
    a_failed_refresh_and_a_dead_grant_are_recorded,
    every_deleted_token_is_recorded_and_so_is_its_revocation,
    a_change_of_a_provider_names_its_fields_and_no_values,
    changes_of_tokens_and_connections_are_recorded,
    a_reported_token_is_recorded,
    tokens_without_a_person_are_recorded,
    keys_are_recorded_with_the_command_line_as_actor,
    a_user_of_langsmith_is_recorded_as_the_actor,
    callers_without_a_valid_key_are_counted,
    a_start_is_recorded,
    what_changes_nothing_is_not_recorded,
}

#[test]
fn the_document_lists_every_event_and_no_other() {
    let document = include_str!("../../../docs/audit.md");
    let (_, table) = document.split_once("## Events").unwrap();
    let (table, _) = table.split_once("## Hand-outs").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let mut listed: Vec<&str> = rows.flat_map(|row| row.split(", ")).map(|name| name.trim_matches('`')).collect();
    listed.sort_unstable();
    let mut known = EventName::NAMES.to_vec();
    known.sort_unstable();
    assert_eq!(listed, known);
}

fn question() -> Value {
    asking("alice", &["read", "write"])
}

async fn with_provider(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider
}

/// With alice's token; the events so far are over.
async fn connected(app: &TestApp) -> (AuthorizationServer, usize) {
    let provider = with_provider(app).await;
    app.connect(&provider, &question()).await;
    let before = recorded(app).await.len();
    (provider, before)
}

async fn a_consent_is_recorded_from_its_begin_to_the_hand_out(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let caller = app.with("x-request-id", "request-7");
    caller.register(&provider).await;
    let before = recorded(&app).await.len();
    let pending = caller.begin(&with(question(), json!({"agent_id": "helper"}))).await;
    app.come_back(&provider.consent(&pending.url)).await;
    caller.wait(&pending.auth_id).await;
    let events = recorded(&app).await;
    let expected = ["consent.begun", "consent.returned", "consent.completed", "token.handed_out"];
    assert_eq!(names(&events, before), expected);
    let token = app.authenticate(&with(question(), json!({"agent_id": "helper"}))).await;
    for event in &events[before..] {
        assert_eq!(event["user_id"], "alice", "{event}");
        assert_eq!(event["agent_id"], "helper", "{event}");
        assert_eq!(event["provider_id"], "acme", "{event}");
        assert_eq!(event["result"], "ok", "{event}");
        assert_eq!(event["scopes"], json!(["read", "write"]), "{event}");
    }
    let [begun, returned, completed, handed_out] = &events[before..] else { panic!("four events") };
    assert_eq!(begun["auth_id"], pending.auth_id.as_str());
    assert_eq!((&begun["actor"], &begun["request_id"]), (&json!("api_key"), &json!("request-7")));
    let keys = app.database.number("SELECT count(*) FROM api_keys").await;
    assert_eq!(keys, 1, "so this is the id of the bootstrap key");
    assert!(uuid::Uuid::parse_str(begun["actor_id"].as_str().unwrap()).is_ok(), "{begun}");
    assert_eq!((&returned["actor"], &returned["actor_id"]), (&json!("browser"), &Value::Null));
    assert_eq!(completed["token_id"], token["metadata"]["token_id"]);
    assert_eq!(handed_out["token_id"], token["metadata"]["token_id"]);
    assert_eq!(handed_out["actor_id"], begun["actor_id"]);
    assert_eq!(of_name(&events, "provider.created")[0]["details"]["client_id"], "acme-client");
}

async fn a_refusal_and_a_failed_exchange_are_recorded(app: TestApp) {
    let provider = with_provider(&app).await;
    let before = recorded(&app).await.len();
    let pending = app.begin(&question()).await;
    app.visit(&provider.deny(&pending.url)).await;
    let answer = Reply::json(json!({"error": "invalid_client"})).status(401);
    app.exchange(&provider, question(), answer).await;
    let events = recorded(&app).await;
    let expected = ["consent.begun", "consent.refused", "consent.begun", "consent.returned", "consent.failed"];
    assert_eq!(names(&events, before), expected);
    let [_, refused, _, _, failed] = &events[before..] else { panic!("five events") };
    assert_eq!((&refused["result"], &refused["error"]), (&json!("refused"), &json!("access_denied")));
    assert_eq!((&failed["result"], &failed["error"]), (&json!("failed"), &json!("invalid_client")));
}

async fn a_state_that_is_used_again_is_recorded(app: TestApp) {
    let provider = with_provider(&app).await;
    let pending = app.begin(&question()).await;
    let callback = provider.consent(&pending.url);
    app.come_back(&callback).await;
    let before = recorded(&app).await.len();
    let mut other = callback.clone();
    other.set_query(Some(&format!("code=stolen&state={}", pending.state())));
    app.visit(&other).await.expect_html(400);
    let events = recorded(&app).await;
    assert_eq!(names(&events, before), ["consent.replayed"]);
    assert_eq!(events[before]["error"], "state_used");
    for _ in 0..50 {
        app.visit(&other).await.expect_html(400);
    }
    let events = recorded(&app).await;
    assert_eq!(names(&events, before + 1), ["consent.replayed"], "a loop is one event");
    assert_eq!(events[before + 1]["details"], json!({"count": "50"}));
    let before = before + 1;
    app.visit(&callback).await;
    assert_eq!(recorded(&app).await.len(), before + 1, "a reload is not a replay");
}

async fn a_refresh_is_recorded_with_the_caller_who_caused_it(app: TestApp) {
    let (_provider, before) = connected(&app).await;
    app.advance(3600);
    app.token(&question()).await;
    let events = recorded(&app).await;
    assert_eq!(names(&events, before), ["token.refreshed", "token.handed_out"]);
    assert_eq!(events[before]["actor"], "api_key");
    assert_eq!(events[before]["user_id"], "alice");
    assert_eq!(verified(&app).await.broken, None);
}

async fn a_failed_refresh_and_a_dead_grant_are_recorded(app: TestApp) {
    let (provider, before) = connected(&app).await;
    app.advance(3600);
    provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    assert_eq!(app.try_authenticate(&question()).await.status, 502);
    app.advance(60);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.begin(&question()).await;
    let events = recorded(&app).await;
    let expected = ["provider.failing", "token.refresh_failed", "token.consent_needed", "consent.begun"];
    assert_eq!(names(&events, before), expected);
    assert_eq!(events[before]["error"], "invalid_client");
    let before = before + 1;
    assert_eq!(events[before]["error"], "invalid_client");
    assert_eq!(
        (&events[before + 1]["result"], &events[before + 1]["error"]),
        (&json!("failed"), &json!("invalid_grant"))
    );
}

async fn every_deleted_token_is_recorded_and_so_is_its_revocation(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let definition = with(provider.definition("acme"), json!({"revocation_url": provider.at("/revoke")}));
    app.register_as(definition).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    let before = recorded(&app).await.len();
    app.delete("/v2/auth/providers/acme").await.expect(200);
    let events = recorded(&app).await;
    let mut after = names(&events, before);
    after.sort_unstable();
    let expected = ["provider.deleted", "token.deleted", "token.deleted", "token.revoked", "token.revoked"];
    assert_eq!(after, expected);
    assert_eq!(events[before]["event"], "provider.deleted");
    assert_eq!(events[before]["details"]["tokens"], "2");
    let mut deleted = of_name(&events, "token.deleted");
    deleted.sort_by_key(|event| event["user_id"].as_str().map(str::to_owned));
    assert_eq!(deleted.iter().map(|event| &event["user_id"]).collect::<Vec<_>>(), ["alice", "bob"]);
    let revoked = of_name(&events, "token.revoked");
    for event in &deleted {
        assert_eq!((&event["provider_id"], &event["actor"]), (&json!("acme"), &json!("api_key")));
        let revocation = &event["details"]["revocation_id"];
        assert!(revoked.iter().any(|event| event["details"]["revocation_id"] == *revocation), "{event}");
    }
    assert_eq!(revoked[0]["actor"], "service");
}

async fn a_change_of_a_provider_names_its_fields_and_no_values(app: TestApp) {
    let (_provider, before) = connected(&app).await;
    let patch = json!({"name": "Other", "client_secret": "another-secret-of-acme", "token_url": "https://other.example/t",
               "expose_grants": 1});
    app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    let events = recorded(&app).await;
    assert_eq!(names(&events, before), ["provider.changed"]);
    assert_eq!(events[before]["details"], json!({"fields": "name client_secret token_url"}));
}

async fn changes_of_tokens_and_connections_are_recorded(app: TestApp) {
    let (_provider, before) = connected(&app).await;
    let admin = app.service_key().await.acting_for("alice");
    let id = admin.tokens().await[0]["id"].clone();
    let path = format!("/v2/auth/tokens/{}/metadata", id.as_str().unwrap());
    admin.patch(&path, &json!({"provider_account_label": "work"})).await.expect(200);
    let connection = admin.connect_agent("helper", &id).await;
    admin.connect_agent("helper", &id).await;
    let path = format!("/v2/auth/agents/helper/connections/{}", connection["id"].as_str().unwrap());
    admin.delete(&path).await.expect(204);
    admin.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    let events = recorded(&app).await;
    let expected = ["api_key.created", "token.changed", "connection.created", "connection.deleted", "token.deleted"];
    assert_eq!(names(&events, before), expected);
    let [_, changed, created, deleted, token] = &events[before..] else { panic!("five events") };
    assert_eq!(changed["details"], json!({"account_label": "changed"}));
    for event in [changed, created, deleted, token] {
        assert_eq!((&event["user_id"], &event["token_id"]), (&json!("alice"), &id), "{event}");
    }
    assert_eq!((&created["agent_id"], &created["provider_id"]), (&json!("helper"), &json!("acme")));
    assert_eq!(created["details"]["connection_id"], connection["id"]);
    assert_eq!(deleted["details"]["connection_id"], connection["id"]);
}

async fn a_reported_token_is_recorded(app: TestApp) {
    let (_provider, before) = connected(&app).await;
    let id = app.tokens().await[0]["id"].as_str().unwrap().to_owned();
    app.post(&format!("/v2/auth/tokens/{id}/report-invalid"), &json!({})).await.expect(200);
    let events = recorded(&app).await;
    assert_eq!(names(&events, before), ["token.reported_invalid", "token.refreshed", "token.handed_out"]);
}

async fn tokens_without_a_person_are_recorded(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let definition = with(provider.definition("acme"), json!({"grant_type": "client_credentials"}));
    app.register_as(definition).await;
    let before = recorded(&app).await.len();
    provider.answer_token(Reply::json(json!({"access_token": "of-the-client", "expires_in": 3600})));
    app.token(&question()).await;
    assert_eq!(names(&recorded(&app).await, before), ["token.issued", "token.handed_out"]);
}

async fn keys_are_recorded_with_the_command_line_as_actor(app: TestApp) {
    app.new_key(&["--role", "viewer", "--kind", "personal", "--user", "ada"]).await;
    let events = recorded(&app).await;
    let created = of_name(&events, "api_key.created");
    let [bootstrap, viewer] = &created[..] else { panic!("two keys: {created:?}") };
    assert_eq!((&bootstrap["actor"], &viewer["actor"]), (&json!("service"), &json!("command_line")));
    assert_eq!(viewer["user_id"], "ada");
    assert_eq!((&viewer["details"]["role"], &viewer["details"]["kind"]), (&json!("viewer"), &json!("personal")));
    let id = viewer["details"]["api_key_id"].as_str().unwrap();
    let revoked = binary::run(&["api-key", "revoke", id], &app.database.environment()).await;
    assert!(revoked.status.success(), "{revoked:?}");
    let events = recorded(&app).await;
    assert_eq!(of_name(&events, "api_key.revoked")[0]["details"]["api_key_id"], id);
    assert_eq!(verified(&app).await.broken, None, "the command continues the server's chain");
}

async fn callers_without_a_valid_key_are_counted(app: TestApp) {
    for _ in 0..5 {
        app.with_key("aauth_not-a-key").get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    }
    app.anonymous().get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    agent_auth::broker::audit::record_refusals(&app.app.broker).await.unwrap();
    let refused = of_name(&recorded(&app).await, "api_key.refused");
    assert_eq!(refused.len(), 1, "one event, however many there were: {refused:?}");
    assert_eq!((&refused[0]["result"], &refused[0]["actor"]), (&json!("refused"), &json!("unknown")));
    assert_eq!(refused[0]["details"], json!({"count": "5"}), "a request without a key tries none");
}

async fn a_start_is_recorded(app: TestApp) {
    let started = of_name(&recorded(&app).await, "server.started");
    assert_eq!(started.len(), 1);
    assert_eq!(started[0]["details"]["version"], env!("CARGO_PKG_VERSION"));
    app.replica().await;
    assert_eq!(of_name(&recorded(&app).await, "server.started").len(), 2);
}

async fn what_changes_nothing_is_not_recorded(app: TestApp) {
    let (_provider, before) = connected(&app).await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    app.delete("/v2/auth/providers/unknown").await.expect_error(404, "not_found");
    app.delete(&format!("/v2/auth/tokens/{nobody}")).await.expect_error(404, "not_found");
    app.delete(&format!("/v2/auth/agents/helper/connections/{nobody}")).await.expect_error(404, "not_found");
    app.post("/v2/auth/providers", &json!({"provider_id": "acme"})).await.expect(422);
    app.authenticate(&with(question(), json!({"check_only": true, "user_id": "bob"}))).await;
    assert_eq!(names(&recorded(&app).await, before), Vec::<&str>::new());
}

async fn a_user_of_langsmith_is_recorded_as_the_actor(app: WithLangSmith) {
    app.alice().post("/v2/auth/providers", &acme()).await.expect(200);
    app.service().delete("/v2/auth/providers/acme").await.expect(200);
    let events = app.alice().get("/v2/audit").await.expect(200)["data"].clone();
    assert_eq!(names(events.as_array().unwrap(), 0), ["provider.deleted", "provider.created"]);
    let actor = |event: &Value| (event["actor"].clone(), event["actor_id"].clone());
    assert_eq!(actor(&events[1]), (json!("langsmith"), json!("ls-alice")));
    assert_eq!(actor(&events[0]), (json!("langsmith"), Value::Null), "a service key of LangSmith has no user");
    assert_eq!(events[0]["organization_id"], ORGANIZATION);
    let chain = agent_auth::broker::audit::verify(&app.app.broker, ORGANIZATION).await.unwrap().unwrap();
    assert_eq!((chain.broken, chain.events), (None, 2));
}
