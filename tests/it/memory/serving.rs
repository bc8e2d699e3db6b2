//! What is served from memory, for how long, and what every hand-out keeps doing.

use serde_json::json;
use sqlx::postgres::PgListener;

use super::{
    SOON, change_quietly, is_remembered, label, label_quietly, question, until_remembered, until_reported,
    without_memory,
};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    a_token_that_is_asked_for_again_comes_from_memory,
    with_off_every_call_reads_the_database,
    every_hand_out_from_memory_is_recorded_and_noted,
    a_token_that_is_due_does_not_come_from_memory,
    a_longer_lifetime_than_the_remembered_token_has_left_is_obtained,
    scopes_and_names_are_looked_at_in_memory_too,
    what_is_not_there_is_not_remembered,
}

async fn connected(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    provider
}

async fn a_token_that_is_asked_for_again_comes_from_memory(app: TestApp) {
    connected(&app).await;
    until_remembered(&app, &app, &question()).await;
}

async fn with_off_every_call_reads_the_database(database: Database) {
    let app = TestApp::start_with(database, without_memory).await;
    connected(&app).await;
    // Time enough to begin to listen.
    until_reported(&app, &app).await;
    for _ in 0..20 {
        assert!(!is_remembered(&app, &app, &question()).await);
    }
}

async fn every_hand_out_from_memory_is_recorded_and_noted(database: Database) {
    let app = TestApp::start_with(database, |settings| "strict".clone_into(&mut settings.audit_handouts)).await;
    connected(&app).await;
    until_remembered(&app, &app, &question()).await;
    app.database.tamper("UPDATE tokens SET last_used_at = NULL").await;
    let recorded = "SELECT count(*) FROM audit_events WHERE event = 'token.handed_out'";
    let before = app.database.number(recorded).await;
    for _ in 0..50 {
        app.token(&question()).await;
    }
    assert_eq!(app.database.number(recorded).await - before, 50);
    app.stop().await;
    assert_eq!(app.database.number("SELECT count(*) FROM tokens WHERE last_used_at IS NOT NULL").await, 1);
}

async fn a_token_that_is_due_does_not_come_from_memory(app: TestApp) {
    let provider = connected(&app).await;
    until_remembered(&app, &app, &question()).await;
    let old = app.token(&question()).await;
    app.advance(3600);
    let new = app.token(&question()).await;
    assert_ne!(new, old);
    assert_eq!(app.token(&question()).await, new);
    assert_eq!(provider.refreshes().len(), 1);
}

async fn a_longer_lifetime_than_the_remembered_token_has_left_is_obtained(app: TestApp) {
    let provider = connected(&app).await;
    app.advance(1200);
    until_remembered(&app, &app, &question()).await;
    let old = app.token(&question()).await;
    let new = app.token(&with(question(), json!({"min_ttl": 3000}))).await;
    assert_ne!(new, old);
    assert_eq!(app.token(&question()).await, new);
    assert_eq!(provider.refreshes().len(), 1);
}

async fn scopes_and_names_are_looked_at_in_memory_too(app: TestApp) {
    connected(&app).await;
    until_remembered(&app, &app, &question()).await;
    for other in [
        asking("alice", &["read", "write"]),
        asking("bob", &["read"]),
        with(question(), json!({"agent_id": "helper"})),
        with(question(), json!({"force_new": true})),
    ] {
        app.begin(&other).await;
    }
    let named = app.try_authenticate(&with(question(), json!({"token_id": uuid::Uuid::new_v4()}))).await;
    assert_eq!(named.status, 404);
    assert_eq!(app.try_authenticate(&with(question(), json!({"provider": "acme2"}))).await.status, 404);
}

async fn what_is_not_there_is_not_remembered(app: TestApp) {
    let provider = connected(&app).await;
    until_remembered(&app, &app, &question()).await;
    let bob = asking("bob", &["read"]);
    let pending = app.begin(&bob).await;
    // Moved to another user behind the server's back: if nothing were remembered of Bob, this would not be found.
    change_quietly(&app.database, "UPDATE tokens SET user_id = 'bob'").await;
    app.token(&bob).await;
    drop((provider, pending));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_change_by_another_program_counts_after_a_moment() {
    let app = TestApp::start(Database::sqlite()).await;
    connected(&app).await;
    until_remembered(&app, &app, &question()).await;
    label_quietly(&app.database, "by another program").await;
    eventually(SOON, async || label(&app.authenticate(&question()).await) == "by another program").await;
    change_quietly(&app.database, "DELETE FROM tokens").await;
    eventually(SOON, async || app.authenticate(&question()).await["status"] == "pending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_statement_is_reported_too() {
    let app = TestApp::start(Database::postgres().await).await;
    connected(&app).await;
    until_remembered(&app, &app, &question()).await;
    app.database.tamper("UPDATE tokens SET account_label = 'by hand'").await;
    until_reported(&app, &app).await;
    assert_eq!(label(&app.authenticate(&question()).await), "by hand");
    app.database.tamper("DELETE FROM providers").await;
    until_reported(&app, &app).await;
    assert_eq!(app.try_authenticate(&question()).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_read_makes_everything_outdated() {
    let app = TestApp::start(Database::postgres().await).await;
    connected(&app).await;
    until_remembered(&app, &app, &question()).await;
    for payload in ["", "hello", "12345", "-1"] {
        label_quietly(&app.database, payload).await;
        app.database.tamper(&format!("SELECT pg_notify('agent_auth_tokens', '{payload}')")).await;
        until_reported(&app, &app).await;
        assert_eq!(label(&app.authenticate(&question()).await), payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_short_and_name_nobody_and_uses_and_leases_make_none() {
    let database = Database::postgres().await;
    let url = database.postgres.as_ref().expect("PostgreSQL").url.clone();
    let app = TestApp::start(database).await;
    let mut listener = PgListener::connect(&url).await.expect("connects");
    listener.listen("agent_auth_tokens").await.expect("listens");
    let provider = connected(&app).await;
    let mut reports = Vec::new();
    let mut read = async |listener: &mut PgListener| {
        listener.listen("end").await.expect("listens");
        app.database.tamper("NOTIFY \"end\"").await;
        let mut count = 0;
        loop {
            let report = listener.recv().await.expect("a report");
            if report.channel() == "end" {
                return count;
            }
            reports.push(report.payload().to_owned());
            count += 1;
        }
    };
    assert!(read(&mut listener).await >= 1, "a consent is reported");
    app.database.tamper("UPDATE tokens SET last_used_at = created_at").await;
    app.database.tamper("UPDATE tokens SET refresh_owner = id, refresh_until = 1").await;
    app.database.tamper("UPDATE tokens SET access_token = access_token, refresh_token = refresh_token").await;
    app.database.tamper("UPDATE providers SET name = 'Other'").await;
    assert_eq!(read(&mut listener).await, 0, "a hand-out does not depend on these");
    app.database.tamper("UPDATE tokens SET refresh_owner = NULL, refresh_until = NULL").await;
    provider.answer_token(Reply::json(json!({"error": "server_error"})).status(503));
    app.advance(3600);
    app.try_authenticate(&question()).await;
    assert!(read(&mut listener).await >= 1, "a refresh is reported");
    for report in reports {
        assert!(report.len() == 4 && report.bytes().all(|byte| byte.is_ascii_hexdigit()), "{report}");
    }
}
