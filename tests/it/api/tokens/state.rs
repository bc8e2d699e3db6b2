//! `GET /v2/auth/tokens/{id}`: the state of a token, the reason, and what to do about it.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stage::{HOUR, an_hour, connected, moment, question, refused, unavailable};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::with;

both_databases! {
    a_token_that_is_well_is_told_as_active,
    no_secret_is_ever_told,
    a_viewer_may_look_and_an_agent_may_report,
    what_is_not_the_users_is_not_found,
    a_failing_provider_is_told_with_the_next_try,
    a_misconfigured_client_is_told_to_the_operator,
    a_dead_grant_is_told_with_its_reason,
    without_a_refresh_token_an_expired_token_needs_consent,
    a_refresh_under_way_is_told,
    the_end_of_the_refresh_token_is_told_and_kept,
}

async fn a_token_that_is_well_is_told_as_active(app: TestApp) {
    let stage = connected(&app, with(an_hour(), json!({"scope": "read more"}))).await;
    let state = stage.state().await;
    assert_eq!(state["id"], stage.id);
    assert_eq!(state["provider_id"], "acme");
    assert_eq!(state["state"], "active");
    assert_eq!(state["scopes"], json!(["read", "more"]));
    assert_eq!(state["has_refresh_token"], true);
    assert_eq!(state["refresh_failures"], 0);
    assert_eq!(state["is_default"], true);
    assert!(moment(&state["refresh_due_at"]) < moment(&state["expires_at"]));
    for nothing in ["why", "last_error", "last_error_at", "retry_at", "last_refreshed_at", "refresh_token_expires_at"] {
        assert_eq!(state[nothing], Value::Null, "{nothing}");
    }
    assert_eq!(state["provider_client_error"], Value::Null);
    assert!(state["what_to_do"].as_str().unwrap().starts_with("Nothing"));
    app.advance(HOUR);
    stage.alice.token(&question()).await;
    let later = stage.state().await;
    assert_eq!(later["state"], "active");
    assert!(moment(&later["last_refreshed_at"]) > moment(&state["created_at"]));
}

async fn no_secret_is_ever_told(app: TestApp) {
    let secret = json!({"access_token": "access-secret-77", "refresh_token": "refresh-secret-77", "expires_in": HOUR});
    let stage = connected(&app, secret).await;
    let told = stage.alice.get(&stage.path()).await.text();
    for secret in ["access-secret-77", "refresh-secret-77", "acme-client-secret"] {
        assert!(!told.contains(secret), "{told}");
    }
    stage.provider.answer_token(unavailable());
    let failed = stage.try_report(Some(json!({"token": "access-secret-77"}))).await.text();
    assert!(!failed.contains("secret-77"), "{failed}");
}

async fn a_viewer_may_look_and_an_agent_may_report(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    let key = async |role: &str| app.new_key(&["--role", role, "--kind", "service"]).await.acting_for("alice");
    let (viewer, agent) = (key("viewer").await, key("agent").await);
    let report = format!("{}/report-invalid", stage.path());
    assert_eq!(viewer.get(&stage.path()).await.expect(200)["state"], "active");
    viewer.post_text(&report, "").await.expect_error(403, "forbidden");
    assert_eq!(stage.provider.refreshes().len(), 0);
    assert_eq!(agent.post_text(&report, "").await.expect(200)["status"], "refreshed");
    app.anonymous().get(&stage.path()).await.expect_error(401, "unauthorized");
    app.anonymous().post_text(&report, "").await.expect_error(401, "unauthorized");
}

async fn what_is_not_the_users_is_not_found(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    let bob = stage.alice.acting_for("bob");
    let elsewhere = app.service_key_in("other", "place").await.acting_for("alice");
    let unknown = format!("/v2/auth/tokens/{}", Uuid::now_v7());
    let foreign = bob.get(&stage.path()).await.expect_error(404, "not_found");
    assert_eq!(foreign, bob.get(&unknown).await.expect_error(404, "not_found"));
    elsewhere.get(&stage.path()).await.expect_error(404, "not_found");
    stage.alice.get("/v2/auth/tokens/no-id").await.expect_error(404, "not_found");
    for (caller, path) in
        [(&elsewhere, stage.path()), (&stage.alice, unknown), (&stage.alice, "/v2/auth/tokens/x".into())]
    {
        caller.post_text(&format!("{path}/report-invalid"), "").await.expect_error(404, "not_found");
    }
    assert_eq!(stage.provider.refreshes().len(), 0);
    let nobody = app.service_key().await;
    nobody.get(&stage.path()).await.expect_fault("header.x-user-id", "missing");
}

async fn a_failing_provider_is_told_with_the_next_try(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    app.advance(HOUR);
    stage.provider.answer_token(unavailable());
    stage.alice.try_authenticate(&question()).await.expect(503);
    let state = stage.state().await;
    assert_eq!(state["state"], "failing");
    assert_eq!(state["last_error"], "provider_unavailable");
    assert_eq!(state["refresh_failures"], 1);
    assert!(state["why"].as_str().unwrap().contains("provider_unavailable"));
    let wait = moment(&state["retry_at"]) - moment(&state["last_error_at"]);
    assert!((6..=8).contains(&wait.num_seconds()), "{wait}");
    assert!(state["what_to_do"].as_str().unwrap().contains("grant is kept"));
    app.advance(8);
    stage.alice.token(&question()).await;
    let state = stage.state().await;
    assert_eq!(
        (&state["state"], &state["last_error"], &state["refresh_failures"]),
        (&json!("active"), &Value::Null, &json!(0))
    );
}

async fn a_misconfigured_client_is_told_to_the_operator(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    app.advance(HOUR);
    stage.provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    stage.alice.try_authenticate(&question()).await.expect(502);
    let state = stage.state().await;
    assert_eq!(state["state"], "failing");
    assert_eq!(state["provider_client_error"], "invalid_client");
    moment(&state["provider_client_error_at"]);
    let advice = state["what_to_do"].as_str().unwrap();
    assert!(advice.contains("client_secret") && advice.contains("acme"), "{advice}");
}

async fn a_dead_grant_is_told_with_its_reason(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    app.advance(HOUR);
    stage.provider.answer_token(refused());
    stage.alice.begin(&question()).await;
    let state = stage.state().await;
    assert_eq!((&state["state"], &state["last_error"]), (&json!("consent_needed"), &json!("invalid_grant")));
    assert!(state["why"].as_str().unwrap().contains("invalid_grant"));
    assert!(state["what_to_do"].as_str().unwrap().contains("authenticate"));
    stage.alice.connect(&stage.provider, &question()).await;
    let state = stage.state().await;
    assert_eq!((&state["state"], &state["why"], &state["last_error"]), (&json!("active"), &Value::Null, &Value::Null));
}

async fn without_a_refresh_token_an_expired_token_needs_consent(app: TestApp) {
    let stage = connected(&app, json!({"access_token": "first", "expires_in": HOUR})).await;
    let state = stage.state().await;
    assert_eq!((&state["state"], &state["has_refresh_token"]), (&json!("active"), &json!(false)));
    assert!(state["what_to_do"].as_str().unwrap().contains("consent again"));
    app.advance(HOUR + 1);
    let state = stage.state().await;
    assert_eq!(state["state"], "consent_needed");
    assert!(state["why"].as_str().unwrap().contains("no refresh token"));
    stage.alice.begin(&question()).await;
    assert_eq!(stage.provider.refreshes().len(), 0);
}

async fn a_refresh_under_way_is_told(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    app.advance(HOUR);
    stage.provider.answer_token(Reply::json(an_hour()).after(Duration::from_secs(3)));
    let alice = stage.alice.clone();
    let asking = tokio::spawn(async move { alice.token(&question()).await });
    let mut seen = Vec::new();
    while !asking.is_finished() {
        let state = stage.state().await["state"].as_str().unwrap().to_owned();
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    asking.await.unwrap();
    assert!(seen.contains(&"refreshing".to_owned()), "{seen:?}");
    assert_eq!(stage.state().await["state"], "active");
}

async fn the_end_of_the_refresh_token_is_told_and_kept(app: TestApp) {
    const DAY: u64 = 24 * HOUR;
    let stage = connected(&app, with(an_hour(), json!({"refresh_token_expires_in": 30 * DAY}))).await;
    let before = stage.state().await;
    let lifetime = moment(&before["refresh_token_expires_at"]) - moment(&before["created_at"]);
    assert!((lifetime - TimeDelta::days(30)).abs() < TimeDelta::seconds(5), "{lifetime}");
    assert!(before["what_to_do"].as_str().unwrap().starts_with("Nothing"));
    app.advance(20 * DAY);
    stage.alice.token(&question()).await;
    let after = stage.state().await;
    assert_eq!(after["refresh_token_expires_at"], before["refresh_token_expires_at"], "a refresh does not extend it");
    let day = &before["refresh_token_expires_at"].as_str().unwrap()[..10];
    let advice = after["what_to_do"].as_str().unwrap();
    assert!(advice.contains(day) && advice.contains("consent again"), "ten days before: {advice}");
}
