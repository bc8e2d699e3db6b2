//! Device authorization (RFC 8628): what the agent gets, how often the provider is polled, and its answers.

use std::time::{Duration, Instant};

use agent_auth::broker::{jobs::device_polls, limits::LimitKey};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, DEVICE, Reply, Request, TOKEN};
use crate::support::both_databases;
use crate::support::caller::{asking, with, without};

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

fn definition(server: &AuthorizationServer) -> Value {
    json!({
        "provider_id": "acme",
        "name": "Acme Inc.",
        "client_id": "acme-client",
        "client_secret": "acme-secret",
        "auth_url": server.at("/authorize"),
        "token_url": server.at("/token"),
        "device_authorization_url": server.at("/device"),
    })
}

fn question() -> Value {
    with(asking("alice", &["read", "write"]), json!({"grant": "device"}))
}

fn codes(server: &AuthorizationServer) -> Value {
    json!({
        "device_code": "the-device-code",
        "user_code": "WDJB-MJHT",
        "verification_uri": server.at("/activate"),
        "verification_uri_complete": server.at("/activate?user_code=WDJB-MJHT"),
        "expires_in": 900,
        "interval": 5,
    })
}

fn error(code: &str) -> Reply {
    Reply::json(json!({"error": code})).status(400)
}

fn granted() -> Reply {
    Reply::json(json!({"access_token": "t1", "refresh_token": "r1", "expires_in": HOUR, "token_type": "bearer"}))
}

async fn start(app: &TestApp) -> AuthorizationServer {
    let server = AuthorizationServer::silent().await;
    app.register_as(definition(&server)).await;
    server
}

/// Begins; gives the answer of authenticate.
async fn begun(app: &TestApp, server: &AuthorizationServer) -> Value {
    server.answer(DEVICE, Reply::json(codes(server)));
    let answer = app.authenticate(&question()).await;
    assert_eq!(answer["status"], "pending", "{answer}");
    answer
}

/// So much later; what was asked at the token endpoint by then, which is so many questions. All of them are answered, or
/// hang.
async fn later(app: &TestApp, server: &AuthorizationServer, seconds: u64, questions: usize) -> Vec<Request> {
    app.advance(seconds);
    // The server does this every second; here the test does it at once.
    device_polls::run_due(&app.app.broker).await.unwrap();
    if questions == 0 {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (begun, mut asked) = (Instant::now(), Vec::new());
    while asked.len() < questions && begun.elapsed() < Duration::from_secs(10) {
        asked.extend(server.take_requests(TOKEN));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while app.app.broker.limits.free(&LimitKey::DevicePoll) < LimitKey::DevicePoll.limit()
        && begun.elapsed() < Duration::from_secs(2)
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    asked.extend(server.take_requests(TOKEN));
    assert_eq!(asked.len(), questions, "{asked:?}");
    asked
}

fn id(answer: &Value) -> &str {
    answer["auth_id"].as_str().expect("an auth_id")
}

async fn an_agent_is_told_what_the_person_enters_where(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    assert_eq!(answer["user_code"], "WDJB-MJHT");
    assert_eq!(answer["verification_uri"], server.at("/activate"));
    assert_eq!(answer["verification_uri_complete"], server.at("/activate?user_code=WDJB-MJHT"));
    assert_eq!(answer["url"], answer["verification_uri_complete"], "who knows nothing of devices opens the url");
    assert_eq!(answer["expires_in"], 900);
    assert!(answer["device_code"].is_null() && !answer.to_string().contains("the-device-code"), "{answer}");
    let asked = server.take_requests(DEVICE);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].value("client_id"), Some("acme-client"));
    assert_eq!(asked[0].value("scope"), Some("read write"));
    assert_eq!(app.look(id(&answer)).await["status"], "pending");
}

async fn a_consent_on_another_device_ends_the_wait_with_the_token(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    let waiting = {
        let (caller, id) = (crate::support::caller::Caller::clone(&app), id(&answer).to_owned());
        tokio::spawn(async move { caller.wait(&id).await })
    };
    server.answer_token(error("authorization_pending"));
    server.answer_token(granted());
    later(&app, &server, 6, 1).await;
    let asked = later(&app, &server, 6, 1).await;
    assert_eq!(asked[0].value("grant_type"), Some("urn:ietf:params:oauth:grant-type:device_code"));
    assert_eq!(asked[0].value("device_code"), Some("the-device-code"));
    assert_eq!(asked[0].value("client_secret"), Some("acme-secret"));
    let told = waiting.await.unwrap();
    assert_eq!((told["status"].as_str(), told["token"].as_str()), (Some("completed"), Some("t1")), "{told}");
    later(&app, &server, 60, 0).await;
}

async fn a_token_got_on_a_device_is_found_and_refreshed_like_any_other(app: TestApp) {
    let server = start(&app).await;
    begun(&app, &server).await;
    server.answer_token(granted());
    later(&app, &server, 6, 1).await;
    let plain = asking("alice", &["read"]);
    assert_eq!(app.token(&plain).await, "t1");
    server.answer_token(Reply::json(json!({"access_token": "t2", "expires_in": HOUR})));
    app.advance(HOUR);
    assert_eq!(app.token(&plain).await, "t2");
    assert_eq!(server.take_requests(TOKEN)[0].value("refresh_token"), Some("r1"));
}

async fn the_provider_is_asked_no_oftener_than_it_says(app: TestApp) {
    let server = start(&app).await;
    server.answer(DEVICE, Reply::json(with(codes(&server), json!({"interval": 30}))));
    app.authenticate(&question()).await;
    for _ in 0..3 {
        server.answer_token(error("authorization_pending"));
    }
    later(&app, &server, 20, 0).await;
    later(&app, &server, 11, 1).await;
    later(&app, &server, 20, 0).await;
    later(&app, &server, 11, 1).await;
}

async fn a_provider_that_says_slow_down_is_asked_less_often(app: TestApp) {
    let server = start(&app).await;
    begun(&app, &server).await;
    server.answer_token(error("slow_down"));
    server.answer_token(error("authorization_pending"));
    server.answer_token(error("authorization_pending"));
    later(&app, &server, 6, 1).await;
    later(&app, &server, 5, 0).await;
    later(&app, &server, 6, 1).await;
    later(&app, &server, 5, 0).await;
    later(&app, &server, 6, 1).await;
}

async fn a_provider_that_fails_meanwhile_costs_nothing(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    server.answer_token(Reply::text("text/html", "<h1>Bad gateway</h1>").status(502));
    server.answer_token(Reply::text("text/html", "<h1>Who are you?</h1>"));
    server.answer_token(error("authorization_pending").status(429).header("retry-after", "40"));
    server.answer_token(granted());
    for seconds in [6, 11, 21] {
        later(&app, &server, seconds, 1).await;
        assert_eq!(app.look(id(&answer)).await["status"], "pending");
    }
    later(&app, &server, 35, 0).await;
    later(&app, &server, 10, 1).await;
    assert_eq!(app.look(id(&answer)).await["token"], "t1");
}

async fn a_person_who_says_no_ends_the_wait_with_the_reason(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    server.answer_token(error("access_denied"));
    later(&app, &server, 6, 1).await;
    let told = app.wait(id(&answer)).await;
    assert_eq!((told["status"].as_str(), told["error"].as_str()), (Some("not_found"), Some("access_denied")), "{told}");
    later(&app, &server, 60, 0).await;
}

async fn a_code_that_ran_out_ends_the_wait(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    server.answer_token(error("expired_token"));
    later(&app, &server, 6, 1).await;
    assert_eq!(app.wait(id(&answer)).await["error"], "expired_token");
}

async fn a_code_without_a_person_is_not_asked_for_for_ever(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    later(&app, &server, 901, 0).await;
    assert_eq!(app.look(id(&answer)).await["status"], "not_found");
}

async fn a_client_that_is_refused_ends_the_wait(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    server.answer_token(error("invalid_client"));
    later(&app, &server, 6, 1).await;
    assert_eq!(app.wait(id(&answer)).await["error"], "invalid_client");
}

async fn a_provider_that_begins_no_such_thing_is_named_with_its_reason(app: TestApp) {
    let server = start(&app).await;
    server.answer(DEVICE, error("unauthorized_client"));
    let refused = app.try_authenticate(&question()).await;
    let refused = refused.expect_error(502, "provider_misconfigured");
    assert!(refused["detail"].as_str().unwrap().contains("unauthorized_client"), "{refused}");
    app.try_authenticate(&question()).await.expect_error(502, "provider_error");
    server.answer(DEVICE, Reply::json(json!({})).status(503));
    app.try_authenticate(&question()).await.expect_error(503, "provider_unavailable");
}

async fn an_answer_that_would_send_people_astray_is_refused(app: TestApp) {
    let server = start(&app).await;
    for uri in ["javascript:alert(1)", "ftp://acme.example", "https://a:b@acme.example", ""] {
        let evil = with(codes(&server), json!({"verification_uri": uri}));
        server.answer(DEVICE, Reply::json(evil));
        app.try_authenticate(&question()).await.expect_error(502, "provider_error");
        let evil = with(codes(&server), json!({"verification_uri_complete": uri}));
        server.answer(DEVICE, Reply::json(evil));
        let answer = app.authenticate(&question()).await;
        assert_eq!(answer["url"], server.at("/activate"), "the plain one is good");
        assert!(answer["verification_uri_complete"].is_null());
    }
}

async fn googles_name_for_the_address_is_read(app: TestApp) {
    let server = start(&app).await;
    let google = with(
        without(without(codes(&server), "verification_uri"), "verification_uri_complete"),
        json!({"verification_url": server.at("/device-of-google"), "expires_in": "1800"}),
    );
    server.answer(DEVICE, Reply::json(google));
    let answer = app.authenticate(&question()).await;
    assert_eq!((&answer["url"], &answer["expires_in"]), (&server.at("/device-of-google").into(), &1800.into()));
}

async fn a_provider_without_such_an_endpoint_says_so(app: TestApp) {
    let server = AuthorizationServer::silent().await;
    app.register_as(without(definition(&server), "device_authorization_url")).await;
    let faults = app.try_authenticate(&question()).await.expect(422);
    assert_eq!(faults["detail"][0]["loc"], json!(["body", "grant"]));
    app.patch(
        "/v2/auth/providers/acme",
        &json!({"device_authorization_url": server.at("/device"), "client_secret": "acme-secret"}),
    )
    .await
    .expect(200);
    begun(&app, &server).await;
    let unknown = app.try_authenticate(&with(question(), json!({"grant": "password"}))).await.expect(422);
    assert_eq!(unknown["detail"][0]["type"], "literal_error");
}

async fn nothing_is_begun_where_there_is_a_token(app: TestApp) {
    let server = start(&app).await;
    begun(&app, &server).await;
    server.answer_token(granted());
    later(&app, &server, 6, 1).await;
    server.take_all_requests();
    assert_eq!(app.token(&question()).await, "t1");
    assert!(server.take_all_requests().is_empty());
}

async fn many_devices_are_asked_for_side_by_side(app: TestApp) {
    let server = start(&app).await;
    let slow = AuthorizationServer::silent().await;
    app.register_as(with(definition(&slow), json!({"provider_id": "slow"}))).await;
    slow.answer(DEVICE, Reply::json(codes(&slow)));
    app.authenticate(&with(question(), json!({"provider": "slow"}))).await;
    slow.answer_token(error("authorization_pending").after(Duration::from_secs(8)));
    let mut answers = Vec::new();
    for number in 0..10 {
        server.answer(DEVICE, Reply::json(codes(&server)));
        server.answer_token(granted());
        answers.push(app.authenticate(&with(question(), json!({"user_id": format!("user-{number}")}))).await);
    }
    later(&app, &server, 6, 10).await;
    for answer in &answers {
        assert_eq!(app.wait(id(answer)).await["token"], "t1");
    }
}

async fn a_server_that_died_while_it_asked_is_succeeded(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    // What a server does before it asks; then it dies. The one under test may be faster, hears nothing of use, and asks
    // again some seconds later.
    let mut taken = Vec::new();
    while taken.is_empty() {
        app.advance(15);
        let now = app.app.broker.clock.now();
        taken = app.app.broker.store().take_due_polls(now, now + TimeDelta::seconds(40), 10).await.unwrap();
    }
    server.take_all_requests();
    later(&app, &server, 30, 0).await;
    assert_eq!(app.look(id(&answer)).await["status"], "pending", "a waiter hears nothing of it");
    server.answer_token(granted());
    later(&app, &server, 11, 1).await;
    assert_eq!(app.wait(id(&answer)).await["token"], "t1");
}

async fn a_token_that_comes_after_another_question_was_refused_is_kept(app: TestApp) {
    let server = start(&app).await;
    let answer = begun(&app, &server).await;
    // The provider takes its time, longer than anybody has reason to wait; another server asks, and hears that the code
    // is spent.
    server.answer_token(granted().after(Duration::from_secs(7)));
    server.answer_token(error("invalid_grant"));
    later(&app, &server, 6, 1).await;
    later(&app, &server, 61, 1).await;
    assert_eq!(app.wait(id(&answer)).await["error"], "invalid_grant");
    let begun = Instant::now();
    while app.look(id(&answer)).await["token"] != "t1" {
        assert!(begun.elapsed() < Duration::from_secs(15), "the token is not kept");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(app.token(&question()).await, "t1");
}

async fn a_static_key_is_asked_for_on_its_page(app: TestApp) {
    let server = AuthorizationServer::silent().await;
    let key = json!({
        "provider_id": "acme", "name": "Acme", "grant_type": "api_key", "client_id": "c",
        "device_authorization_url": server.at("/device"),
    });
    app.register_as(key).await;
    assert!(app.begin(&question()).await.url.contains("/host-api-key/acme?state="));
    assert!(server.take_all_requests().is_empty());
}

async fn both_names_of_the_address_may_be_there(app: TestApp) {
    let server = start(&app).await;
    let both = with(codes(&server), json!({"verification_url": server.at("/old")}));
    server.answer(DEVICE, Reply::json(both));
    assert_eq!(app.authenticate(&question()).await["verification_uri"], server.at("/activate"));
}
