//! Callers who may not do what they asked for: recorded, and in a bounded number of rows.

use agent_auth::broker::audit::record_refusals;
use serde_json::{Value, json};

use super::{break_audit, mend_audit, of_name, recorded, verified};
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};
use crate::support::database::Database;
use crate::support::langsmith::WithLangSmith;

both_databases! {
    a_refusal_by_role_is_recorded_with_who_asked_for_what,
    a_refusal_by_the_limits_of_a_key_is_recorded,
    a_loop_of_refused_calls_is_one_event,
    a_refused_caller_of_langsmith_is_recorded_in_its_own_organization,
    refusals_that_cannot_be_recorded_are_recorded_later,
    a_stop_records_the_refusals_of_the_last_minute,
}

async fn denials(app: &TestApp) -> Vec<Value> {
    record_refusals(&app.app.broker).await.unwrap();
    let mut denials = of_name(&recorded(app).await, "access.denied");
    denials.sort_by_key(|event| event["details"].to_string());
    denials
}

async fn a_refusal_by_role_is_recorded_with_who_asked_for_what(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.trusted_proxies = "10.0.0.0/8".into()).await;
    let viewer = app.new_key(&["--role", "viewer", "--kind", "service"]).await;
    let created = of_name(&recorded(&app).await, "api_key.created");
    let key = &created.last().unwrap()["details"]["api_key_id"];
    let viewer = viewer.at_address("10.0.0.1").with("x-forwarded-for", "203.0.113.7").with("x-request-id", "call-1");
    viewer.post("/api-host/v2/auth/providers", &acme()).await.expect_error(403, "forbidden");
    let denials = denials(&app).await;
    let [denied] = &denials[..] else { panic!("one event: {denials:?}") };
    assert_eq!((&denied["actor"], &denied["actor_id"]), (&json!("api_key"), key));
    assert_eq!((&denied["result"], &denied["error"]), (&json!("refused"), &json!("forbidden")));
    let details = json!({"request": "POST /api-host/v2/auth/providers", "outside": "role", "count": "1"});
    assert_eq!(denied["details"], details);
    assert_eq!((&denied["request_id"], &denied["address"]), (&json!("call-1"), &json!("203.0.113.7")));
    assert_eq!(verified(&app).await.broken, None);
}

async fn a_refusal_by_the_limits_of_a_key_is_recorded(app: TestApp) {
    let all = ["--only-provider", "github", "--only-agent", "helper", "--only-user", "alice"];
    let limited = app.new_key(&[&["--role", "admin", "--kind", "service"], &all[..]].concat()).await;
    let of = async |user: &str, more| limited.try_authenticate(&with(asking(user, &["read"]), more)).await;
    for (answer, outside) in [
        (of("alice", json!({"agent_id": "helper"})).await, "provider"),
        (of("alice", json!({"provider": "github", "agent_id": "other"})).await, "agent"),
        (of("bob", json!({"provider": "github", "agent_id": "helper"})).await, "user"),
        (limited.post("/v2/auth/providers", &acme()).await, "everyone"),
        (limited.get("/v2/audit").await, "audit_log"),
    ] {
        answer.expect_error(403, "outside_key_limits");
        let found = denials(&app).await;
        let found = found.iter().find(|event| event["details"]["outside"] == outside);
        let found = found.unwrap_or_else(|| panic!("{outside} is not recorded"));
        assert_eq!(found["error"], "outside_key_limits");
    }
    for refused in [limited.acting_for("bob"), limited.with("x-tenant-id", "another")] {
        assert_eq!(refused.get("/v2/auth/tokens").await.status, 403);
    }
    let found = denials(&app).await;
    assert_eq!(found.len(), 7, "{found:?}");
    let text = json!(found).to_string();
    assert!(!text.contains("bob") && !text.contains("acme"), "it repeats no input: {text}");
}

async fn a_loop_of_refused_calls_is_one_event(app: TestApp) {
    let viewer = app.new_key(&["--role", "viewer", "--kind", "service"]).await;
    for number in 0..200 {
        let path = format!("/v2/auth/providers/{number}");
        viewer.with("x-request-id", &format!("call-{number}")).delete(&path).await.expect_error(403, "forbidden");
    }
    let other = app.new_key(&["--role", "agent", "--kind", "service"]).await;
    other.delete("/v2/auth/providers/acme").await.expect_error(403, "forbidden");
    let found = denials(&app).await;
    let counts: Vec<_> = found.iter().map(|event| event["details"]["count"].as_str().unwrap()).collect();
    assert_eq!(counts, ["1", "200"], "{found:?}");
    assert_eq!(found[1]["request_id"], "call-0", "the first of them");
    assert_eq!(denials(&app).await.len(), 2, "they are counted once");
}

async fn a_refused_caller_of_langsmith_is_recorded_in_its_own_organization(database: Database) {
    let app = WithLangSmith::start_with(database, |settings| settings.langsmith_role = "agent".into()).await;
    app.alice().post("/v2/auth/providers", &acme()).await.expect_error(403, "forbidden");
    record_refusals(&app.app.broker).await.unwrap();
    let lines = crate::support::binary::run(&["audit", "export"], &app.database.environment()).await.stdout;
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let denied = of_name(&events, "access.denied");
    let [denied] = &denied[..] else { panic!("one event: {events:?}") };
    assert_eq!((&denied["actor"], &denied["actor_id"]), (&json!("langsmith"), &json!("ls-alice")));
    let (organization, workspace) = (crate::support::langsmith::ORGANIZATION, crate::support::langsmith::WORKSPACE);
    assert_eq!((&denied["organization_id"], &denied["workspace_id"]), (&json!(organization), &json!(workspace)));
}

async fn refusals_that_cannot_be_recorded_are_recorded_later(app: TestApp) {
    let viewer = app.new_key(&["--role", "viewer", "--kind", "service"]).await;
    let refuse = async || viewer.delete("/v2/auth/providers/acme").await.expect_error(403, "forbidden");
    refuse().await;
    break_audit(&app.database).await;
    assert!(record_refusals(&app.app.broker).await.is_err());
    refuse().await;
    mend_audit(&app.database).await;
    assert_eq!(denials(&app).await[0]["details"]["count"], "2");
}

async fn a_stop_records_the_refusals_of_the_last_minute(app: TestApp) {
    let there = app.replica().await;
    let viewer = app.new_key(&["--role", "viewer", "--kind", "service"]).await;
    there.with_key(&viewer.key()).delete("/v2/auth/providers/acme").await.expect_error(403, "forbidden");
    there.stop().await;
    assert_eq!(of_name(&recorded(&app).await, "access.denied").len(), 1);
}
