//! A connection without a refresh token ends by itself: that it needs a new consent is reported once for each end.

use agent_auth::broker::jobs::ended::report;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Hook, with_provider};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;

both_databases! {
    the_end_of_a_token_without_a_refresh_token_is_reported_once_and_again_after_a_new_consent,
    what_is_renewed_without_a_person_is_not_reported,
    an_upgrade_reports_only_what_ended_in_the_last_day,
    a_report_about_a_token_that_has_ended_reports_nothing_more,
    more_ends_than_one_batch_are_each_reported_once_by_all_replicas_together,
}

const HOUR: u64 = 3600;
/// Of an end, and a little longer.
const THEN: u64 = HOUR + 30;

/// Connects `user` for so many seconds, without a refresh token.
async fn connect(app: &TestApp, provider: &AuthorizationServer, user: &str, seconds: u64) {
    let pending = app.begin(&asking(user, &["read"])).await;
    let token = crate::support::database::random_text("token-");
    provider.answer_token(Reply::json(json!({"access_token": token, "expires_in": seconds, "token_type": "bearer"})));
    app.come_back(&provider.consent(&pending.url)).await;
}

/// What `GET /v2/events` has of this type.
async fn events(app: &TestApp, kind: &str) -> Vec<Value> {
    let text = app.get("/v2/events?after=0&timeout=0").await.text();
    let bodies = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).expect("JSON"));
    bodies.filter(|body| body["type"] == kind).map(|body| body["data"].clone()).collect()
}

async fn users_who_need_consent(app: &TestApp) -> Vec<String> {
    let events = events(app, "token.consent_needed").await;
    let mut users: Vec<String> = events.iter().map(|data| data["user_id"].as_str().unwrap().to_owned()).collect();
    users.sort_unstable();
    users
}

async fn the_end_of_a_token_without_a_refresh_token_is_reported_once_and_again_after_a_new_consent(app: TestApp) {
    let (provider, hook) =
        (with_provider(&app).await, Hook::add(&app.database, &["--events", "token.consent_needed"]).await);
    connect(&app, &provider, "alice", HOUR).await;
    report(&app.app.broker).await.unwrap();
    assert_eq!(users_who_need_consent(&app).await, [""; 0], "it has not ended");
    app.advance(THEN);
    for _ in 0..2 {
        report(&app.app.broker).await.unwrap();
    }
    hook.received(1).await;
    let data = &hook.bodies()[0]["data"];
    assert_eq!(hook.types(), ["token.consent_needed"]);
    assert_eq!((&data["user_id"], &data["provider_id"]), (&json!("alice"), &json!("acme")));
    assert_eq!(data["error"], "access_token_expired");
    assert_eq!(data["reason"], "the access token expired, and the provider issued no refresh token");
    assert!(data["what_to_do"].as_str().unwrap().contains("connect again"), "{data}");
    let token = format!("/v2/auth/tokens/{}", data["token_id"].as_str().unwrap());
    let state = app.acting_for("alice").get(&token).await.expect(200);
    assert_eq!(state["state"], "consent_needed");
    assert_eq!(state["last_error"], Value::Null, "the same state as without the report: {state}");

    connect(&app, &provider, "alice", HOUR).await;
    report(&app.app.broker).await.unwrap();
    assert_eq!(users_who_need_consent(&app).await, ["alice"], "it is renewed");
    app.advance(THEN);
    for _ in 0..2 {
        report(&app.app.broker).await.unwrap();
    }
    hook.received(2).await;
    assert_eq!(users_who_need_consent(&app).await, ["alice", "alice"]);
    let recorded = "SELECT count(*) FROM audit_events WHERE event = 'token.consent_needed'";
    assert_eq!(app.database.number(recorded).await, 2);
}

async fn what_is_renewed_without_a_person_is_not_reported(app: TestApp) {
    let provider = with_provider(&app).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    let robot = json!({
        "provider_id": "robot", "name": "Robot", "grant_type": "client_credentials", "client_id": "robot",
        "client_secret": "robot-secret", "token_url": provider.at("/token"),
        "token_endpoint_auth_method": "client_secret_basic",
    });
    app.post("/v2/auth/providers", &robot).await.expect(200);
    let question = json!({"provider": "robot", "scopes": ["read"], "user_id": "robot"});
    provider.answer_token(Reply::json(json!({"access_token": "r1", "expires_in": HOUR, "token_type": "bearer"})));
    app.token(&question).await;
    connect(&app, &provider, "alice", HOUR).await;
    app.advance(THEN);
    report(&app.app.broker).await.unwrap();
    assert_eq!(users_who_need_consent(&app).await, ["alice"]);
    provider.answer_token(Reply::json(json!({"access_token": "r2", "expires_in": HOUR, "token_type": "bearer"})));
    assert_eq!(app.token(&question).await, "r2");
}

async fn an_upgrade_reports_only_what_ended_in_the_last_day(app: TestApp) {
    let provider = with_provider(&app).await;
    // Before it, nothing looks.
    app.database.tamper("ALTER TABLE ended_tokens_reported RENAME TO away").await;
    connect(&app, &provider, "long-ago", HOUR).await;
    connect(&app, &provider, "yesterday", 30 * HOUR).await;
    connect(&app, &provider, "tomorrow", 90 * HOUR).await;
    app.advance(50 * HOUR);
    app.database.tamper("UPDATE away SET expires_at = NULL, token = NULL").await;
    app.database.tamper("ALTER TABLE away RENAME TO ended_tokens_reported").await;
    report(&app.app.broker).await.unwrap();
    assert_eq!(users_who_need_consent(&app).await, ["yesterday"]);
    app.advance(60 * HOUR);
    report(&app.app.broker).await.unwrap();
    assert_eq!(users_who_need_consent(&app).await, ["tomorrow", "yesterday"], "however long nobody looked");
}

async fn a_report_about_a_token_that_has_ended_reports_nothing_more(app: TestApp) {
    let provider = with_provider(&app).await;
    connect(&app, &provider, "alice", HOUR).await;
    let id = app.tokens_of("alice").await[0]["id"].as_str().unwrap().to_owned();
    app.advance(THEN);
    let invalid = format!("/v2/auth/tokens/{id}/report-invalid");
    for _ in 0..2 {
        let answer = app.acting_for("alice").post(&invalid, &json!({})).await.expect(200);
        assert_eq!(answer["status"], "consent_needed", "{answer}");
        report(&app.app.broker).await.unwrap();
    }
    assert_eq!(users_who_need_consent(&app).await, ["alice"]);
}

async fn more_ends_than_one_batch_are_each_reported_once_by_all_replicas_together(app: TestApp) {
    let provider = with_provider(&app).await;
    connect(&app, &provider, "alice", HOUR).await;
    multiply(&app.database, 500).await;
    let replica = if app.database.postgres.is_some() { Some(app.replica().await) } else { None };
    app.advance(THEN);
    let brokers = [Some(&app.app.broker), replica.as_ref().map(|replica| &replica.app.broker)];
    let looks = brokers.into_iter().flatten().flat_map(|broker| [report(broker), report(broker)]);
    join_all(looks).await.into_iter().for_each(|look| look.unwrap());
    let mut tokens: Vec<String> = Vec::new();
    let mut page = app.get("/v2/events?after=0&timeout=0").await.text();
    while let Some(last) = page.lines().filter_map(|line| line.strip_prefix("id: ")).next_back() {
        let bodies = page.lines().filter_map(|line| line.strip_prefix("data: "));
        let bodies = bodies.map(|body| serde_json::from_str::<Value>(body).expect("JSON"));
        let ended = bodies.filter(|body| body["type"] == "token.consent_needed");
        tokens.extend(ended.map(|body| body["data"]["token_id"].as_str().unwrap().to_owned()));
        page = app.get(&format!("/v2/events?after={last}&timeout=0")).await.text();
    }
    assert_eq!(tokens.len(), 501);
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 501, "none twice");
}

/// So many more tokens that end at the same moment as the one that there is.
async fn multiply(database: &Database, many: u64) {
    let id = if database.postgres.is_some() { "gen_random_uuid()" } else { "randomblob(16)" };
    let columns =
        "organization_id, workspace_id, provider, agent_id, access_token, scopes, metadata, is_default, state,
        expires_at, refresh_due_at, generation, created_at, updated_at";
    let copy = format!(
        "INSERT INTO tokens (id, user_id, {columns})
         SELECT {id}, 'user-' || n, {columns} FROM tokens,
            (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {many})
             SELECT n FROM numbers) AS numbers"
    );
    assert_eq!(database.tamper(&copy).await, many);
}
