//! Consent on another device (RFC 8628), for agents that have no browser.
//! Owns what the agent is told, how often the provider is asked, and what each of its answers leads to.
//! Must not know which providers offer it.

use std::time::{Duration, Instant};

use agent_auth::broker::{jobs::device_polls, limits::LimitKey};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{asking, with, without};
use crate::support::scripted::Scripted;
use crate::support::twin::{Asked, Twin};

both_databases! {
    an_agent_is_told_what_the_person_enters_where,
    a_consent_on_another_device_ends_the_wait_with_the_token,
    a_token_got_on_a_device_is_found_and_refreshed_like_any_other,
    the_provider_is_asked_no_oftener_than_it_says,
    a_provider_that_says_slow_down_is_asked_less_often,
    a_provider_that_fails_meanwhile_costs_nothing,
    a_person_who_says_no_ends_the_wait_with_the_reason,
    a_code_that_ran_out_ends_the_wait,
    a_code_without_a_person_is_not_asked_for_for_ever,
    a_client_that_is_refused_ends_the_wait,
    a_provider_that_begins_no_such_thing_is_named_with_its_reason,
    an_answer_that_would_send_people_astray_is_refused,
    googles_name_for_the_address_is_read,
    a_provider_without_such_an_endpoint_says_so,
    nothing_is_begun_where_there_is_a_token,
    many_devices_are_asked_for_side_by_side,
    a_server_that_died_while_it_asked_is_succeeded,
    a_token_that_comes_after_another_question_was_refused_is_kept,
    a_static_key_is_asked_for_on_its_page,
    both_names_of_the_address_may_be_there,
}

const HOUR: u64 = 3600;

fn definition(twin: &Twin) -> Value {
    json!({
        "provider_id": "acme",
        "name": "Acme Inc.",
        "client_id": "acme-client",
        "client_secret": "acme-secret",
        "auth_url": twin.at("/authorize"),
        "token_url": twin.at("/token"),
        "device_authorization_url": twin.at("/device"),
    })
}

fn question() -> Value {
    with(asking("alice", &["read", "write"]), json!({"grant": "device"}))
}

fn codes(twin: &Twin) -> Value {
    json!({
        "device_code": "the-device-code",
        "user_code": "WDJB-MJHT",
        "verification_uri": twin.at("/activate"),
        "verification_uri_complete": twin.at("/activate?user_code=WDJB-MJHT"),
        "expires_in": 900,
        "interval": 5,
    })
}

fn error(code: &str) -> Scripted {
    Scripted::json(json!({"error": code})).status(400)
}

fn granted() -> Scripted {
    Scripted::json(json!({"access_token": "t1", "refresh_token": "r1", "expires_in": HOUR, "token_type": "bearer"}))
}

async fn start(app: &TestApp) -> Twin {
    let twin = Twin::start().await;
    app.register_as(definition(&twin)).await;
    twin
}

/// Begins; gives the answer of authenticate.
async fn begun(app: &TestApp, twin: &Twin) -> Value {
    twin.answer("/device", Scripted::json(codes(twin)));
    let answer = app.authenticate(&question()).await;
    assert_eq!(answer["status"], "pending", "{answer}");
    answer
}

/// So much later; what was asked at the token endpoint by then, which is so many questions. All of them are answered, or
/// hang.
async fn later(app: &TestApp, twin: &Twin, seconds: u64, questions: usize) -> Vec<Asked> {
    app.advance(seconds);
    // The server does it by itself every second; here and now it is done by the test.
    device_polls::run_due(&app.app.broker).await.unwrap();
    if questions == 0 {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (begun, mut asked) = (Instant::now(), Vec::new());
    while asked.len() < questions && begun.elapsed() < Duration::from_secs(10) {
        asked.extend(twin.asked("/token"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while app.app.broker.limits.free(&LimitKey::DevicePoll) < LimitKey::DevicePoll.limit()
        && begun.elapsed() < Duration::from_secs(2)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    asked.extend(twin.asked("/token"));
    assert_eq!(asked.len(), questions, "{asked:?}");
    asked
}

fn id(answer: &Value) -> &str {
    answer["auth_id"].as_str().expect("an auth_id")
}

async fn an_agent_is_told_what_the_person_enters_where(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    assert_eq!(answer["user_code"], "WDJB-MJHT");
    assert_eq!(answer["verification_uri"], twin.at("/activate"));
    assert_eq!(answer["verification_uri_complete"], twin.at("/activate?user_code=WDJB-MJHT"));
    assert_eq!(answer["url"], answer["verification_uri_complete"], "who knows nothing of devices opens the url");
    assert_eq!(answer["expires_in"], 900);
    assert!(answer["device_code"].is_null() && !answer.to_string().contains("the-device-code"), "{answer}");
    let asked = twin.asked("/device");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].value("client_id").as_deref(), Some("acme-client"));
    assert_eq!(asked[0].value("scope").as_deref(), Some("read write"));
    assert_eq!(app.look(id(&answer)).await["status"], "pending");
}

async fn a_consent_on_another_device_ends_the_wait_with_the_token(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    let waiting = {
        let (caller, id) = (crate::support::caller::Caller::clone(&app), id(&answer).to_owned());
        tokio::spawn(async move { caller.wait(&id).await })
    };
    twin.answer("/token", error("authorization_pending"));
    twin.answer("/token", granted());
    later(&app, &twin, 6, 1).await;
    let asked = later(&app, &twin, 6, 1).await;
    assert_eq!(asked[0].value("grant_type").as_deref(), Some("urn:ietf:params:oauth:grant-type:device_code"));
    assert_eq!(asked[0].value("device_code").as_deref(), Some("the-device-code"));
    assert_eq!(asked[0].value("client_secret").as_deref(), Some("acme-secret"));
    let told = waiting.await.unwrap();
    assert_eq!((told["status"].as_str(), told["token"].as_str()), (Some("completed"), Some("t1")), "{told}");
    later(&app, &twin, 60, 0).await;
}

async fn a_token_got_on_a_device_is_found_and_refreshed_like_any_other(app: TestApp) {
    let twin = start(&app).await;
    begun(&app, &twin).await;
    twin.answer("/token", granted());
    later(&app, &twin, 6, 1).await;
    let plain = asking("alice", &["read"]);
    assert_eq!(app.token(&plain).await, "t1");
    twin.answer("/token", Scripted::json(json!({"access_token": "t2", "expires_in": HOUR})));
    app.advance(HOUR);
    assert_eq!(app.token(&plain).await, "t2");
    assert_eq!(twin.asked("/token")[0].value("refresh_token").as_deref(), Some("r1"));
}

async fn the_provider_is_asked_no_oftener_than_it_says(app: TestApp) {
    let twin = start(&app).await;
    twin.answer("/device", Scripted::json(with(codes(&twin), json!({"interval": 30}))));
    app.authenticate(&question()).await;
    for _ in 0..3 {
        twin.answer("/token", error("authorization_pending"));
    }
    later(&app, &twin, 20, 0).await;
    later(&app, &twin, 11, 1).await;
    later(&app, &twin, 20, 0).await;
    later(&app, &twin, 11, 1).await;
}

async fn a_provider_that_says_slow_down_is_asked_less_often(app: TestApp) {
    let twin = start(&app).await;
    begun(&app, &twin).await;
    twin.answer("/token", error("slow_down"));
    twin.answer("/token", error("authorization_pending"));
    twin.answer("/token", error("authorization_pending"));
    later(&app, &twin, 6, 1).await;
    later(&app, &twin, 5, 0).await;
    later(&app, &twin, 6, 1).await;
    later(&app, &twin, 5, 0).await;
    later(&app, &twin, 6, 1).await;
}

async fn a_provider_that_fails_meanwhile_costs_nothing(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    twin.answer("/token", Scripted::text("text/html", "<h1>Bad gateway</h1>").status(502));
    twin.answer("/token", Scripted::text("text/html", "<h1>Who are you?</h1>"));
    twin.answer("/token", error("authorization_pending").status(429).header("retry-after", "40"));
    twin.answer("/token", granted());
    for seconds in [6, 11, 21] {
        later(&app, &twin, seconds, 1).await;
        assert_eq!(app.look(id(&answer)).await["status"], "pending");
    }
    later(&app, &twin, 35, 0).await;
    later(&app, &twin, 10, 1).await;
    assert_eq!(app.look(id(&answer)).await["token"], "t1");
}

async fn a_person_who_says_no_ends_the_wait_with_the_reason(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    twin.answer("/token", error("access_denied"));
    later(&app, &twin, 6, 1).await;
    let told = app.wait(id(&answer)).await;
    assert_eq!((told["status"].as_str(), told["error"].as_str()), (Some("not_found"), Some("access_denied")), "{told}");
    later(&app, &twin, 60, 0).await;
}

async fn a_code_that_ran_out_ends_the_wait(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    twin.answer("/token", error("expired_token"));
    later(&app, &twin, 6, 1).await;
    assert_eq!(app.wait(id(&answer)).await["error"], "expired_token");
}

async fn a_code_without_a_person_is_not_asked_for_for_ever(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    later(&app, &twin, 901, 0).await;
    assert_eq!(app.look(id(&answer)).await["status"], "not_found");
}

async fn a_client_that_is_refused_ends_the_wait(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    twin.answer("/token", error("invalid_client"));
    later(&app, &twin, 6, 1).await;
    assert_eq!(app.wait(id(&answer)).await["error"], "invalid_client");
}

async fn a_provider_that_begins_no_such_thing_is_named_with_its_reason(app: TestApp) {
    let twin = start(&app).await;
    twin.answer("/device", error("unauthorized_client"));
    let refused = app.try_authenticate(&question()).await;
    let refused = refused.expect_error(502, "provider_misconfigured");
    assert!(refused["detail"].as_str().unwrap().contains("unauthorized_client"), "{refused}");
    app.try_authenticate(&question()).await.expect_error(502, "provider_error");
    twin.answer("/device", Scripted::json(json!({})).status(503));
    app.try_authenticate(&question()).await.expect_error(503, "provider_unavailable");
}

async fn an_answer_that_would_send_people_astray_is_refused(app: TestApp) {
    let twin = start(&app).await;
    for uri in ["javascript:alert(1)", "ftp://acme.example", "https://a:b@acme.example", ""] {
        let evil = with(codes(&twin), json!({"verification_uri": uri}));
        twin.answer("/device", Scripted::json(evil));
        app.try_authenticate(&question()).await.expect_error(502, "provider_error");
        let evil = with(codes(&twin), json!({"verification_uri_complete": uri}));
        twin.answer("/device", Scripted::json(evil));
        let answer = app.authenticate(&question()).await;
        assert_eq!(answer["url"], twin.at("/activate"), "the plain one is good");
        assert!(answer["verification_uri_complete"].is_null());
    }
}

async fn googles_name_for_the_address_is_read(app: TestApp) {
    let twin = start(&app).await;
    let google = with(
        without(without(codes(&twin), "verification_uri"), "verification_uri_complete"),
        json!({"verification_url": twin.at("/device-of-google"), "expires_in": "1800"}),
    );
    twin.answer("/device", Scripted::json(google));
    let answer = app.authenticate(&question()).await;
    assert_eq!((&answer["url"], &answer["expires_in"]), (&twin.at("/device-of-google").into(), &1800.into()));
}

async fn a_provider_without_such_an_endpoint_says_so(app: TestApp) {
    let twin = Twin::start().await;
    app.register_as(without(definition(&twin), "device_authorization_url")).await;
    let faults = app.try_authenticate(&question()).await.expect(422);
    assert_eq!(faults["detail"][0]["loc"], json!(["body", "grant"]));
    app.patch("/v2/auth/providers/acme", &json!({"device_authorization_url": twin.at("/device")})).await.expect(200);
    begun(&app, &twin).await;
    let unknown = app.try_authenticate(&with(question(), json!({"grant": "password"}))).await.expect(422);
    assert_eq!(unknown["detail"][0]["type"], "literal_error");
}

async fn nothing_is_begun_where_there_is_a_token(app: TestApp) {
    let twin = start(&app).await;
    begun(&app, &twin).await;
    twin.answer("/token", granted());
    later(&app, &twin, 6, 1).await;
    twin.asked_anywhere();
    assert_eq!(app.token(&question()).await, "t1");
    assert!(twin.asked_anywhere().is_empty());
}

async fn many_devices_are_asked_for_side_by_side(app: TestApp) {
    let twin = start(&app).await;
    let slow = Twin::start().await;
    app.register_as(with(definition(&slow), json!({"provider_id": "slow"}))).await;
    slow.answer("/device", Scripted::json(codes(&slow)));
    app.authenticate(&with(question(), json!({"provider": "slow"}))).await;
    slow.answer("/token", error("authorization_pending").after(Duration::from_secs(8)));
    let mut answers = Vec::new();
    for number in 0..10 {
        twin.answer("/device", Scripted::json(codes(&twin)));
        twin.answer("/token", granted());
        answers.push(app.authenticate(&with(question(), json!({"user_id": format!("user-{number}")}))).await);
    }
    later(&app, &twin, 6, 10).await;
    for answer in &answers {
        assert_eq!(app.wait(id(answer)).await["token"], "t1");
    }
}

async fn a_server_that_died_while_it_asked_is_succeeded(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    // What a server does before it asks; then it dies. The one under test may be faster, hears nothing of use, and asks
    // again some seconds later.
    let mut taken = Vec::new();
    while taken.is_empty() {
        app.advance(15);
        let now = app.app.broker.clock.now();
        taken = app.app.broker.store().take_due_polls(now, now + TimeDelta::seconds(40), 10).await.unwrap();
    }
    twin.asked_anywhere();
    later(&app, &twin, 30, 0).await;
    assert_eq!(app.look(id(&answer)).await["status"], "pending", "a waiter hears nothing of it");
    twin.answer("/token", granted());
    later(&app, &twin, 11, 1).await;
    assert_eq!(app.wait(id(&answer)).await["token"], "t1");
}

async fn a_token_that_comes_after_another_question_was_refused_is_kept(app: TestApp) {
    let twin = start(&app).await;
    let answer = begun(&app, &twin).await;
    // The provider takes its time, longer than anybody has reason to wait; another server asks, and hears that the code
    // is spent.
    twin.answer("/token", granted().after(Duration::from_secs(7)));
    twin.answer("/token", error("invalid_grant"));
    later(&app, &twin, 6, 1).await;
    later(&app, &twin, 61, 1).await;
    assert_eq!(app.wait(id(&answer)).await["error"], "invalid_grant");
    let begun = Instant::now();
    while app.look(id(&answer)).await["token"] != "t1" {
        assert!(begun.elapsed() < Duration::from_secs(15), "the token is not kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(app.token(&question()).await, "t1");
}

async fn a_static_key_is_asked_for_on_its_page(app: TestApp) {
    let twin = Twin::start().await;
    let key = json!({
        "provider_id": "acme", "name": "Acme", "grant_type": "api_key", "client_id": "c",
        "device_authorization_url": twin.at("/device"),
    });
    app.register_as(key).await;
    assert!(app.begin(&question()).await.url.contains("/host-api-key/acme?state="));
    assert!(twin.asked_anywhere().is_empty());
}

async fn both_names_of_the_address_may_be_there(app: TestApp) {
    let twin = start(&app).await;
    let both = with(codes(&twin), json!({"verification_url": twin.at("/old")}));
    twin.answer("/device", Scripted::json(both));
    assert_eq!(app.authenticate(&question()).await["verification_uri"], twin.at("/activate"));
}
