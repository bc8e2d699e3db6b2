//! `POST /v2/auth/tokens/{id}/report-invalid`: an agent reports that an API refused its token.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::stage::{HOUR, an_hour, connected, moment, question, refused, unavailable};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::Caller;

both_databases! {
    a_report_refreshes_a_token_that_is_not_due,
    a_report_of_the_current_token_refreshes_it,
    a_late_report_of_an_older_token_gives_the_current_one,
    reports_in_a_row_refresh_once,
    a_report_of_a_token_just_refreshed_does_not_refresh_again,
    many_agents_that_report_at_once_make_one_refresh,
    a_report_about_a_dead_grant_needs_consent,
    without_a_refresh_token_a_report_needs_consent_at_once,
    after_a_new_consent_a_late_report_does_no_harm,
    a_provider_that_fails_after_a_report_costs_no_grant,
    a_report_that_makes_no_sense_is_refused,
    an_agent_ends_a_grant_only_with_the_token_that_was_rejected,
    an_agent_refreshes_a_token_by_a_report_without_it,
}

async fn a_report_refreshes_a_token_that_is_not_due(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    let answer = stage.try_report(None).await.expect(200);
    assert_eq!(answer["status"], "refreshed");
    let token = answer["token"].as_str().expect("a token");
    assert_ne!(token, "first");
    assert!(moment(&answer["expires_at"]) > app.clock.now());
    assert_eq!(stage.alice.token(&question()).await, token);
    assert_eq!(stage.provider.refreshes().len(), 1);
    assert_eq!(stage.state().await["id"], stage.id, "healed, and still the same token");
}

async fn a_report_of_the_current_token_refreshes_it(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    let token = stage.refreshed(Some(json!({"token": "first"}))).await;
    assert_eq!(stage.alice.token(&question()).await, token);
    assert_eq!(stage.provider.refreshes().len(), 1);
}

async fn a_late_report_of_an_older_token_gives_the_current_one(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    let current = stage.refreshed(Some(json!({"token": "first"}))).await;
    app.advance(HOUR / 2);
    for older in ["first", "never-was-one"] {
        assert_eq!(stage.refreshed(Some(json!({"token": older}))).await, current);
    }
    assert_eq!(stage.provider.refreshes().len(), 1);
    app.advance(HOUR);
    let fresh = stage.refreshed(Some(json!({"token": "first"}))).await;
    assert_ne!(fresh, current, "an expired one is not given");
}

async fn reports_in_a_row_refresh_once(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    let token = stage.refreshed(None).await;
    for _ in 0..5 {
        app.advance(5);
        assert_eq!(stage.refreshed(Some(json!({}))).await, token);
    }
    assert_eq!(stage.provider.refreshes().len(), 1);
    app.advance(6);
    assert_ne!(stage.refreshed(None).await, token, "half a minute later it may be another trouble");
    assert_eq!(stage.provider.refreshes().len(), 2);
}

async fn a_report_of_a_token_just_refreshed_does_not_refresh_again(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    let mut token = "first".to_owned();
    for _ in 0..10 {
        token = stage.refreshed(Some(json!({"token": token}))).await;
    }
    assert_eq!(stage.provider.refreshes().len(), 1, "an agent that loops makes no storm");
    for (body, said) in [
        (Some(json!({"token": token})), "was issued less than 30 seconds ago"),
        (None, "was issued less than 30 seconds ago"),
        (Some(json!({"token": "first"})), "was replaced before this report"),
    ] {
        let answer = stage.try_report(body).await.expect(200);
        assert!(answer["detail"].as_str().unwrap().contains(said), "{answer}");
    }
    assert_eq!(stage.state().await["state"], "active", "and costs no grant");
}

async fn many_agents_that_report_at_once_make_one_refresh(app: TestApp) {
    let stage = Arc::new(connected(&app, an_hour()).await);
    stage.provider.answer_token(
        Reply::json(json!({"access_token": "second", "refresh_token": "refresh-2", "expires_in": HOUR}))
            .after(Duration::from_millis(300)),
    );
    let reports = (0..20).map(|n| {
        let stage = Arc::clone(&stage);
        let body = (n % 2 == 0).then(|| json!({"token": "first"}));
        tokio::spawn(async move { stage.refreshed(body).await })
    });
    for token in join_all(reports).await {
        assert_eq!(token.unwrap(), "second");
    }
    assert_eq!(stage.provider.refreshes().len(), 1);
}

async fn a_report_about_a_dead_grant_needs_consent(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    stage.provider.answer_token(refused());
    stage.needs_consent(Some(json!({"token": "first"}))).await;
    for body in [None, Some(json!({"token": "first"}))] {
        stage.needs_consent(body).await;
    }
    assert_eq!(stage.provider.refreshes().len(), 1, "a dead grant stays dead");
    assert_eq!(stage.state().await["last_error"], "invalid_grant");
    let token = stage.alice.connect(&stage.provider, &question()).await;
    assert_eq!(stage.alice.token(&question()).await, token, "consent revives it");
    assert_eq!(stage.alice.tokens().await.len(), 1);
}

async fn without_a_refresh_token_a_report_needs_consent_at_once(app: TestApp) {
    let stage = connected(&app, json!({"access_token": "first"})).await;
    stage.needs_consent(None).await;
    assert_eq!(stage.provider.token_requests().len(), 1, "nothing but the exchange");
    let state = stage.state().await;
    assert_eq!((&state["state"], &state["last_error"]), (&json!("consent_needed"), &json!("reported_invalid")));
    assert!(state["why"].as_str().unwrap().contains("no refresh token"));
    stage.alice.begin(&question()).await;
}

async fn after_a_new_consent_a_late_report_does_no_harm(app: TestApp) {
    let stage = connected(&app, json!({"access_token": "first"})).await;
    stage.needs_consent(Some(json!({"token": "first"}))).await;
    stage.provider.answer_token(Reply::json(json!({"access_token": "second"})));
    stage.alice.connect(&stage.provider, &question()).await;
    assert_eq!(stage.state().await["state"], "active", "the same token");
    for late in [None, Some(json!({"token": "first"}))] {
        assert_eq!(stage.refreshed(late).await, "second");
    }
    app.advance(HOUR);
    assert_eq!(stage.refreshed(Some(json!({"token": "first"}))).await, "second");
    assert_eq!(stage.alice.token(&question()).await, "second");
    stage.needs_consent(Some(json!({"token": "second"}))).await;
}

async fn a_provider_that_fails_after_a_report_costs_no_grant(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    stage.provider.answer_token(unavailable());
    let answer = stage.try_report(None).await;
    answer.expect_error(503, "provider_unavailable");
    let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((7..=9).contains(&seconds), "{seconds}");
    stage.try_report(None).await.expect_error(503, "provider_unavailable");
    assert_eq!(stage.provider.refreshes().len(), 1, "it is not asked again yet");
    assert_eq!(stage.state().await["state"], "failing");
    assert_eq!(stage.alice.token(&question()).await, "first", "it may be good for other APIs");
    app.advance(8);
    assert_ne!(stage.refreshed(None).await, "first");
}

async fn a_report_that_makes_no_sense_is_refused(app: TestApp) {
    let stage = connected(&app, an_hour()).await;
    stage.try_report(Some(json!({"token": 7}))).await.expect_fault("body.token", "string_type");
    stage.try_report(Some(json!([]))).await.expect_fault("body", "model_attributes_type");
    let answer = stage.alice.post_text(&format!("{}/report-invalid", stage.path()), "{").await;
    assert_eq!(answer.faults()[0].1, "json_invalid");
    stage.alice.get(&format!("{}/report-invalid", stage.path())).await.expect_error(405, "method_not_allowed");
    assert_eq!(stage.provider.refreshes().len(), 0);
}

async fn agent_of(app: &TestApp) -> Caller {
    app.new_key(&["--role", "agent", "--kind", "service"]).await.acting_for("alice")
}

async fn an_agent_ends_a_grant_only_with_the_token_that_was_rejected(app: TestApp) {
    let mut stage = connected(&app, json!({"access_token": "first"})).await;
    stage.alice = agent_of(&app).await;
    for body in [None, Some(json!({})), Some(json!({"token": null}))] {
        stage.try_report(body).await.expect_fault("body.token", "missing");
    }
    assert_eq!(stage.refreshed(Some(json!({"token": "guessed"}))).await, "first", "nothing has ended");
    assert_eq!(stage.state().await["state"], "active");
    stage.needs_consent(Some(json!({"token": "first"}))).await;
}

async fn an_agent_refreshes_a_token_by_a_report_without_it(app: TestApp) {
    let mut stage = connected(&app, an_hour()).await;
    stage.alice = agent_of(&app).await;
    assert_ne!(stage.refreshed(None).await, "first");
}
