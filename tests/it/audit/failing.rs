//! Nothing is done that cannot be recorded: with an audit log that cannot be written, every act fails and changes nothing.

use std::collections::BTreeMap;

use agent_auth::broker::jobs::sweep;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{break_audit, mend_audit, names, recorded, verified};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};
use crate::support::database::Database;

both_databases! {
    acts_fail_and_change_nothing,
    a_code_is_not_spent_when_its_return_cannot_be_recorded,
    a_refresh_is_kept_when_the_audit_log_works_again,
    in_strict_no_token_is_handed_out,
    in_strict_no_token_is_handed_out_when_the_database_leaves_out_the_event,
    in_batched_tokens_are_handed_out_and_recorded_later,
    an_end_of_the_chain_that_was_changed_stops_every_act,
    the_command_line_fails_too,
    dead_tokens_stay_when_their_deletion_cannot_be_recorded,
}

fn question() -> Value {
    asking("alice", &["read"])
}

/// Every row that an act could change.
async fn rows(database: &Database) -> BTreeMap<String, i64> {
    let mut rows = database.row_counts().await;
    rows.retain(|table, _| !table.starts_with("audit") && table != "jobs");
    rows
}

async fn acts_fail_and_change_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    let id = app.tokens().await[0]["id"].as_str().unwrap().to_owned();
    let connection = app.connect_agent("helper", &json!(id)).await;
    let pending = app.begin(&asking("bob", &["read"])).await;
    let metadata = format!("/v2/auth/tokens/{id}/metadata");
    let connection = format!("/v2/auth/agents/helper/connections/{}", connection["id"].as_str().unwrap());
    let kept = (rows(&app.database).await, app.get("/v2/auth/providers").await.json(), app.tokens().await);
    recorded(&app).await;

    break_audit(&app.database).await;
    let other = with(acme(), json!({"provider_id": "other"}));
    let answers = [
        app.post("/v2/auth/providers", &other).await,
        app.patch("/v2/auth/providers/acme", &json!({"name": "Other"})).await,
        app.delete("/v2/auth/providers/acme").await,
        app.try_authenticate(&asking("carol", &["read"])).await,
        app.patch(&metadata, &json!({"provider_account_label": "other"})).await,
        app.post("/v2/auth/agents/other/connections", &json!({"oauth_token_id": id})).await,
        app.delete(&connection).await,
        app.delete(&format!("/v2/auth/tokens/{id}")).await,
        app.delete("/v2/auth/tokens?provider_id=acme").await,
        app.post(&format!("/v2/auth/tokens/{id}/report-invalid"), &json!({})).await,
    ];
    for answer in answers {
        answer.expect_error(503, "audit_unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    app.visit(&provider.deny(&pending.url)).await.expect_html(503);
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    assert_eq!(provider.refreshes().len() + provider.revocations().len(), 0);

    mend_audit(&app.database).await;
    let now = (rows(&app.database).await, app.get("/v2/auth/providers").await.json(), app.tokens().await);
    assert_eq!(kept, now);
    assert_eq!(verified(&app).await.broken, None);
    app.delete("/v2/auth/providers/acme").await.expect(200);
}

async fn a_code_is_not_spent_when_its_return_cannot_be_recorded(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&question()).await;
    let callback = provider.consent(&pending.url);
    break_audit(&app.database).await;
    app.visit(&callback).await.expect_html(503);
    assert_eq!(provider.exchanges().len(), 0);
    mend_audit(&app.database).await;
    app.come_back(&callback).await;
    assert_eq!(app.wait(&pending.auth_id).await["status"], "completed");
}

async fn a_refresh_is_kept_when_the_audit_log_works_again(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    let before = recorded(&app).await.len();
    app.advance(3600);
    break_audit(&app.database).await;
    let refreshed = async { app.token(&question()).await };
    let mended = async {
        provider.until_held(1).await;
        provider.release();
        // The provider has issued the new token by now; it is tried to be stored again and again.
        while provider.refreshes().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        mend_audit(&app.database).await;
    };
    provider.hold();
    let (token, ()) = tokio::join!(refreshed, mended);
    assert_eq!(app.token(&question()).await, token);
    assert_eq!(provider.refreshes().len(), 1);
    let events = recorded(&app).await;
    assert_eq!(names(&events, before), ["token.refreshed", "token.handed_out", "token.handed_out"]);
}

/// PostgreSQL refuses to add events, as after `REVOKE INSERT ON audit_events` (which does not bind the owner of the tests).
#[tokio::test]
async fn a_missing_right_to_the_audit_log_is_a_failure_of_the_audit_log_on_every_route() {
    let app = TestApp::start_with(Database::postgres().await, |settings| {
        settings.audit_handouts = "strict".into();
    })
    .await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("bob", &["read"])).await;
    let token = app.connect(&provider, &question()).await;
    let id = app.tokens().await[0]["id"].as_str().unwrap().to_owned();
    app.database
        .tamper(
            "CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE insufficient_privilege USING MESSAGE = 'permission denied for table audit_events'; END $$;
             CREATE TRIGGER deny BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION deny()",
        )
        .await;
    for answer in [
        app.try_authenticate(&question()).await,
        app.try_authenticate(&asking("carol", &["read"])).await,
        app.post("/v2/auth/providers", &with(acme(), json!({"provider_id": "other"}))).await,
        app.patch("/v2/auth/providers/acme", &json!({"name": "Other"})).await,
        app.delete("/v2/auth/providers/acme").await,
        app.post(&format!("/v2/auth/tokens/{id}/report-invalid"), &json!({})).await,
        app.delete(&format!("/v2/auth/tokens/{id}")).await,
    ] {
        answer.expect_error(503, "audit_unavailable");
    }
    app.visit(&provider.consent(&pending.url)).await.expect_html(503);
    app.database.tamper("DROP TRIGGER deny ON audit_events").await;
    assert_eq!(app.token(&question()).await, token);
}

async fn in_strict_no_token_is_handed_out(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.audit_handouts = "strict".into()).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&question()).await;
    app.come_back(&provider.consent(&pending.url)).await;
    let token = app.token(&question()).await;
    let id = app.tokens().await[0]["id"].as_str().unwrap().to_owned();
    let before = recorded(&app).await.len();
    break_audit(&app.database).await;
    for _ in 0..50 {
        let answer = app.try_authenticate(&question()).await;
        answer.expect_error(503, "audit_unavailable");
        assert!(!answer.text().contains(&token));
    }
    app.get(&format!("/v2/auth/wait/{}?timeout=0", pending.auth_id)).await.expect_error(503, "audit_unavailable");
    let report = app.post(&format!("/v2/auth/tokens/{id}/report-invalid"), &json!({"token": "an older one"})).await;
    report.expect_error(503, "audit_unavailable");
    mend_audit(&app.database).await;
    assert_eq!(recorded(&app).await.len(), before, "what was not handed out is not recorded either");
    assert_eq!(app.token(&question()).await, token);
    assert_eq!(names(&recorded(&app).await, before), ["token.handed_out"]);
}

async fn in_strict_no_token_is_handed_out_when_the_database_leaves_out_the_event(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.audit_handouts = "strict".into()).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let token = app.connect(&provider, &question()).await;
    let before = recorded(&app).await.len();
    let leave_out = match app.database.postgres {
        Some(_) => {
            "CREATE FUNCTION leave_out() RETURNS trigger AS $$ BEGIN RETURN NULL; END $$ LANGUAGE plpgsql;
             CREATE TRIGGER leave_out BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION leave_out()"
        }
        None => "CREATE TRIGGER leave_out BEFORE INSERT ON audit_events BEGIN SELECT RAISE(IGNORE); END",
    };
    app.database.tamper(leave_out).await;
    // One by one, and as many at a time as make up a batch.
    app.try_authenticate(&question()).await.expect_error(503, "audit_unavailable");
    let many = futures_util::future::join_all((0..60).map(|_| async { app.try_authenticate(&question()).await })).await;
    for answer in many {
        answer.expect_error(503, "audit_unavailable");
    }
    app.delete("/v2/auth/providers/acme").await.expect_error(503, "audit_unavailable");
    app.database
        .tamper(match app.database.postgres {
            Some(_) => "DROP TRIGGER leave_out ON audit_events",
            None => "DROP TRIGGER leave_out",
        })
        .await;
    assert_eq!(recorded(&app).await.len(), before);
    assert_eq!(verified(&app).await.broken, None);
    assert_eq!(app.token(&question()).await, token);
}

async fn in_batched_tokens_are_handed_out_and_recorded_later(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let token = app.connect(&provider, &question()).await;
    let before = recorded(&app).await.len();
    break_audit(&app.database).await;
    for _ in 0..20 {
        assert_eq!(app.token(&question()).await, token);
    }
    assert!(app.app.broker.handouts.write().await.is_err());
    mend_audit(&app.database).await;
    assert_eq!(names(&recorded(&app).await, before), vec!["token.handed_out"; 20]);
    assert_eq!(verified(&app).await.broken, None);
}

async fn an_end_of_the_chain_that_was_changed_stops_every_act(app: TestApp) {
    app.post("/v2/auth/providers", &acme()).await.expect(200);
    app.database.tamper("DELETE FROM audit_events WHERE sequence = (SELECT sequence FROM audit_heads)").await;
    let cut = "UPDATE audit_heads SET sequence = sequence - 1,
               hash = (SELECT e.hash FROM audit_events e ORDER BY e.sequence DESC LIMIT 1)";
    app.database.tamper(cut).await;
    app.delete("/v2/auth/providers/acme").await.expect_error(503, "audit_unavailable");
    let broken = verified(&app).await.broken.expect("it is noticed");
    assert!(broken.problem.contains("end of the chain"), "{broken:?}");
}

async fn the_command_line_fails_too(app: TestApp) {
    break_audit(&app.database).await;
    let made = binary::run(&["api-key", "create", "--name", "x"], &app.database.environment()).await;
    let line = made.stderr.lines().last().unwrap_or_default().to_owned();
    assert!(!made.status.success() && line.contains("the audit log cannot be written"), "{made:?}");
    assert_eq!(made.stdout, "", "no key");
    mend_audit(&app.database).await;
    assert_eq!(app.database.number("SELECT count(*) FROM api_keys").await, 1);
}

async fn dead_tokens_stay_when_their_deletion_cannot_be_recorded(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    app.database.tamper("UPDATE tokens SET state = 'consent_needed'").await;
    app.advance(40 * 24 * 3600);
    break_audit(&app.database).await;
    // Another run may be at it, which finds the same.
    assert!(!matches!(sweep::run_once(&app.app.broker).await, Ok(Some(_))));
    assert_eq!(app.database.number("SELECT count(*) FROM tokens").await, 1);
    mend_audit(&app.database).await;
    assert_eq!(app.get("/v2/auth/providers").await.status, StatusCode::OK);
}
