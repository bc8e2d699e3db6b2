//! How a token stands, as its user is told, and what an agent achieves by reporting that an API refused it.
//! Owns `GET /v2/auth/tokens/{id}` and `POST /v2/auth/tokens/{id}/report-invalid`.
//! Must not know how a refresh is done; that is `refresh`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::fake_provider::FakeProvider;
use crate::support::scripted::Scripted;

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
}

const HOUR: u64 = 3600;

fn question() -> Value {
    asking("alice", &["read"])
}

fn an_hour() -> Value {
    json!({"access_token": "first", "refresh_token": "refresh-1", "expires_in": HOUR})
}

struct Stage {
    provider: FakeProvider,
    alice: Caller,
    id: String,
}

/// Alice's token, as this token response gave it.
async fn connected(app: &TestApp, answer: Value) -> Stage {
    let provider = FakeProvider::start().await;
    app.register(&provider).await;
    let alice = app.service_key().await.acting_for("alice");
    provider.answer_next(Scripted::json(answer));
    alice.connect(&provider, &question()).await;
    let id = alice.tokens().await[0]["id"].as_str().unwrap().to_owned();
    Stage { provider, alice, id }
}

impl Stage {
    fn path(&self) -> String {
        format!("/v2/auth/tokens/{}", self.id)
    }

    async fn state(&self) -> Value {
        self.alice.get(&self.path()).await.expect(200)
    }

    async fn try_report(&self, body: Option<Value>) -> Answer {
        let text = body.map(|body| body.to_string()).unwrap_or_default();
        self.alice.post_text(&format!("{}/report-invalid", self.path()), &text).await
    }

    /// Reports; gives the token to go on with.
    async fn refreshed(&self, body: Option<Value>) -> String {
        let answer = self.try_report(body).await.expect(200);
        assert_eq!(answer["status"], "refreshed", "{answer}");
        answer["token"].as_str().expect("a token").to_owned()
    }

    async fn needs_consent(&self, body: Option<Value>) {
        let answer = self.try_report(body).await.expect(200);
        assert_eq!(answer["status"], "consent_needed", "{answer}");
        assert!(answer.get("token").is_none(), "{answer}");
    }
}

fn moment(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("a moment: {value}"));
    DateTime::parse_from_rfc3339(text).expect("RFC 3339").to_utc()
}

fn refused() -> Scripted {
    Scripted::json(json!({"error": "invalid_grant"})).status(400)
}

fn unavailable() -> Scripted {
    Scripted::text("text/plain", "").status(503).header("retry-after", "7")
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
    stage.provider.answer_next(unavailable());
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
    stage.provider.answer_next(unavailable());
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
    stage.provider.answer_next(Scripted::json(json!({"error": "invalid_client"})).status(401));
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
    stage.provider.answer_next(refused());
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
    stage.provider.answer_next(Scripted::json(an_hour()).after(Duration::from_secs(3)));
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
    assert_eq!(stage.state().await["state"], "active", "and costs no grant");
}

async fn many_agents_that_report_at_once_make_one_refresh(app: TestApp) {
    let stage = Arc::new(connected(&app, an_hour()).await);
    stage.provider.answer_next(
        Scripted::json(json!({"access_token": "second", "refresh_token": "refresh-2", "expires_in": HOUR}))
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
    stage.provider.answer_next(refused());
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
    stage.provider.answer_next(Scripted::json(json!({"access_token": "second"})));
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
    stage.provider.answer_next(unavailable());
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
