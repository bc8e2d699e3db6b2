//! Deletion of expired requests and dead tokens, by the server itself and by `agent-auth sweep`.
//! Covers what is deleted, when, and what must stay.

use std::time::{Duration, Instant};

use agent_auth::broker::{context::Broker, jobs::sweep};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::{Finished, run};
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::Database;

both_databases! {
    an_authorization_request_goes_an_hour_after_it_expired,
    requests_that_ended_go_too_and_their_tokens_stay,
    a_person_who_comes_back_after_that_gets_a_page,
    another_workspaces_requests_go_too,
    more_than_one_batch_goes_at_once,
    a_dead_token_goes_after_a_month,
    dead_tokens_stay_if_the_settings_say_so,
    a_token_that_was_revived_stays,
    a_living_token_stays_however_old,
    a_server_sweeps_by_itself,
    a_dry_run_says_what_would_go_and_changes_nothing,
    the_command_removes_what_is_over_and_says_so,
    the_command_keeps_to_the_settings,
    the_command_leaves_it_to_a_server_that_is_at_it,
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const LONG_AGO: &str = "'2020-01-01T00:00:00+00:00'";

fn question() -> Value {
    asking("alice", &["read"])
}

async fn with_provider(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider
}

/// Runs the job now. The server runs it as well; when it is doing so already, this waits for the next turn.
async fn swept(app: &TestApp) {
    let begun = Instant::now();
    while sweep::run_once(&app.app.broker).await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30), "somebody holds the job for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn tokens(app: &TestApp) -> i64 {
    app.database.row_counts().await["tokens"]
}

fn lifetime(app: &TestApp) -> u64 {
    u64::try_from(app.settings.authorization_ttl_seconds).unwrap()
}

/// Alice's grant, after the provider has answered that it is dead.
async fn dead_grant(app: &TestApp) -> AuthorizationServer {
    let provider = with_provider(app).await;
    app.connect(&provider, &question()).await;
    app.connect_agent("helper", &app.tokens().await[0]["id"]).await;
    app.advance(HOUR);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.begin(&question()).await;
    provider
}

async fn an_authorization_request_goes_an_hour_after_it_expired(app: TestApp) {
    let _provider = with_provider(&app).await;
    app.begin(&question()).await;
    app.advance(lifetime(&app) + HOUR - 60);
    let young = app.begin(&question()).await;
    swept(&app).await;
    assert_eq!(app.database.authorization_requests().await, 2);
    app.advance(120);
    swept(&app).await;
    assert_eq!(app.database.authorization_requests().await, 1);
    assert_eq!(app.look(&young.auth_id).await["status"], "pending");
}

async fn requests_that_ended_go_too_and_their_tokens_stay(app: TestApp) {
    let provider = with_provider(&app).await;
    let token = app.connect(&provider, &question()).await;
    let denied = app.begin(&with(question(), json!({"force_new": true}))).await;
    app.visit(&provider.deny(&denied.url)).await;
    app.advance(HOUR / 2);
    swept(&app).await;
    assert_eq!(app.database.authorization_requests().await, 2);
    assert_eq!(app.token(&question()).await, token);
    app.advance(2 * HOUR);
    swept(&app).await;
    assert_eq!(app.database.authorization_requests().await, 0);
    app.token(&question()).await;
    assert_eq!(app.tokens().await.len(), 1);
}

async fn a_person_who_comes_back_after_that_gets_a_page(app: TestApp) {
    let provider = with_provider(&app).await;
    let pending = app.begin(&question()).await;
    app.advance(lifetime(&app) + HOUR + 1);
    swept(&app).await;
    app.visit(&provider.consent(&pending.url)).await.expect_html(400);
    assert_eq!(app.look(&pending.auth_id).await["status"], "not_found");
    assert_eq!(provider.exchanges().len(), 0);
}

async fn another_workspaces_requests_go_too(app: TestApp) {
    let provider = with_provider(&app).await;
    let elsewhere = app.service_key_in("another", "elsewhere").await;
    elsewhere.register(&provider).await;
    elsewhere.begin(&question()).await;
    app.begin(&question()).await;
    app.advance(lifetime(&app) + HOUR + 1);
    swept(&app).await;
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn more_than_one_batch_goes_at_once(app: TestApp) {
    let _provider = with_provider(&app).await;
    app.begin(&question()).await;
    let (id, hash) = match app.database.postgres {
        Some(_) => ("gen_random_uuid()", "decode(md5(random()::text), 'hex')"),
        None => ("randomblob(16)", "randomblob(32)"),
    };
    app.database
        .tamper(&format!(
            "CREATE TABLE copies AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
                 SELECT r.* FROM authorization_requests r, n;
             UPDATE copies SET id = {id}, state_hash = {hash};
             INSERT INTO authorization_requests SELECT * FROM copies;
             DROP TABLE copies"
        ))
        .await;
    assert_eq!(app.database.authorization_requests().await, 1201);
    app.advance(lifetime(&app) + HOUR + 1);
    swept(&app).await;
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn a_dead_token_goes_after_a_month(app: TestApp) {
    let provider = dead_grant(&app).await;
    app.advance(30 * DAY - HOUR);
    swept(&app).await;
    assert_eq!(tokens(&app).await, 1);
    app.advance(2 * HOUR);
    swept(&app).await;
    assert_eq!(tokens(&app).await, 0);
    assert_eq!(app.tokens().await, Vec::<Value>::new());
    assert_eq!(app.database.row_counts().await["agent_connections"], 0);
    app.connect(&provider, &question()).await;
}

async fn dead_tokens_stay_if_the_settings_say_so(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.dead_token_days = 0).await;
    let _provider = dead_grant(&app).await;
    app.advance(1000 * DAY);
    swept(&app).await;
    assert_eq!(tokens(&app).await, 1);
}

async fn a_token_that_was_revived_stays(app: TestApp) {
    let provider = dead_grant(&app).await;
    let id = app.tokens().await[0]["id"].clone();
    app.advance(29 * DAY);
    app.connect(&provider, &question()).await;
    app.advance(29 * DAY);
    swept(&app).await;
    assert_eq!(app.tokens().await[0]["id"], id);
    app.token(&question()).await;
}

async fn a_living_token_stays_however_old(app: TestApp) {
    let provider = with_provider(&app).await;
    app.connect(&provider, &question()).await;
    app.advance(1000 * DAY);
    swept(&app).await;
    app.token(&question()).await;
}

async fn a_server_sweeps_by_itself(app: TestApp) {
    let _provider = dead_grant(&app).await;
    app.stop().await;
    app.advance(40 * DAY);
    assert_eq!(tokens(&app).await, 1);
    let _server = app.replica().await;
    let begun = Instant::now();
    while app.database.authorization_requests().await + tokens(&app).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(15), "not soon enough");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Three authorization requests and a dead token that are over by the clock of the system. No server runs.
async fn with_things_that_are_over(app: &TestApp) {
    let provider = dead_grant(app).await;
    app.begin(&question()).await;
    app.stop().await;
    let age = format!("UPDATE authorization_requests SET expires_at = {LONG_AGO}");
    assert_eq!(app.database.tamper(&age).await, 3, "a completed one and two pending");
    let age = format!("UPDATE tokens SET last_error_at = {LONG_AGO} WHERE state = 'consent_needed'");
    assert_eq!(app.database.tamper(&age).await, 1);
    drop(provider);
}

async fn command(app: &TestApp, arguments: &[&str], more: &[(&str, &str)]) -> Finished {
    let mut environment = app.database.environment();
    environment.extend(more.iter().map(|(name, value)| (format!("AGENT_AUTH_{name}"), (*value).to_owned())));
    run(arguments, &environment).await
}

async fn a_dry_run_says_what_would_go_and_changes_nothing(app: TestApp) {
    with_things_that_are_over(&app).await;
    let before = app.database.row_counts().await;
    for _ in 0..2 {
        let said = command(&app, &["sweep", "--dry-run"], &[]).await;
        assert!(said.status.success(), "{said:?}");
        assert_eq!(
            said.stdout,
            "Would delete 3 expired authorization requests.\nWould delete 1 dead tokens.\nWould delete 0 old webhook deliveries.\n\
             Would delete 0 old events.\nWould delete 0 expired connect links.\n",
            "{said:?}"
        );
        assert_eq!(app.database.row_counts().await, before);
    }
}

async fn the_command_removes_what_is_over_and_says_so(app: TestApp) {
    with_things_that_are_over(&app).await;
    for (requests, dead) in [(3, 1), (0, 0)] {
        let said = command(&app, &["sweep"], &[]).await;
        assert!(said.status.success(), "{said:?}");
        let expected = format!(
            "Deleted {requests} expired authorization requests.\nDeleted {dead} dead tokens.\nDeleted 0 old webhook deliveries.\nDeleted 0 old events.\nDeleted 0 expired connect links.\n"
        );
        assert_eq!(said.stdout, expected, "{said:?}");
        assert_eq!(app.database.authorization_requests().await, 0);
        assert_eq!(tokens(&app).await, 0);
    }
    let counts = app.database.row_counts().await;
    assert_eq!((counts["providers"], counts["api_keys"]), (1, 1), "the rest stays");
}

async fn the_command_keeps_to_the_settings(app: TestApp) {
    with_things_that_are_over(&app).await;
    let said = command(&app, &["sweep"], &[("DEAD_TOKEN_DAYS", "0")]).await;
    assert!(said.stdout.contains("Deleted 0 dead tokens"), "{said:?}");
    assert_eq!(tokens(&app).await, 1);
    for (name, wrong) in [
        ("DEAD_TOKEN_DAYS", "-1"),
        ("DEAD_TOKEN_DAYS", "9999999"),
        ("KEEP_ALIVE_IDLE_DAYS", "-1"),
        ("KEEP_ALIVE_USED_WITHIN_HOURS", "99999"),
    ] {
        let refused = command(&app, &["sweep"], &[(name, wrong)]).await;
        assert!(refused.expect_refusal().contains(name), "{refused:?}");
    }
    assert_eq!(tokens(&app).await, 1);
}

async fn the_command_leaves_it_to_a_server_that_is_at_it(app: TestApp) {
    with_things_that_are_over(&app).await;
    let id = if app.database.postgres.is_some() { "gen_random_uuid()" } else { "randomblob(16)" };
    let held = "(SELECT now_ms + 60000 FROM database_clock)";
    app.database.tamper("DELETE FROM jobs").await;
    app.database.tamper(&format!("INSERT INTO jobs (name, owner, until) VALUES ('sweep', {id}, {held})")).await;
    let refused = command(&app, &["sweep"], &[]).await;
    assert!(refused.expect_refusal().contains("server"), "{refused:?}");
    assert_eq!(app.database.authorization_requests().await, 3);
    let said = command(&app, &["sweep", "--dry-run"], &[]).await;
    assert!(said.status.success(), "looking is always possible: {said:?}");
}

/// A consent and the sweep want the same row; the consent was first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_revived_at_this_moment_stays() {
    let app = TestApp::start(Database::postgres().await).await;
    let _provider = dead_grant(&app).await;
    app.advance(31 * DAY);
    app.stop().await;
    let command = Broker::open(app.settings.clone(), app.clock.clone()).await.unwrap();
    let reviving = app.database.tamper(
        "BEGIN; UPDATE tokens SET state = 'active', last_error_at = NULL, updated_at = now() + interval '31 days';
         SELECT pg_sleep(1); COMMIT",
    );
    let sweeping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        let swept = sweep::run_once(&command).await.unwrap().expect("nobody else is at it");
        assert!(begun.elapsed() > Duration::from_millis(300), "it had to wait for the row");
        assert_eq!(swept.dead_tokens, 0);
    };
    tokio::join!(reviving, sweeping);
    assert_eq!(tokens(&app).await, 1);
}
