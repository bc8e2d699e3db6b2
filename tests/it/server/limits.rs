//! Limits on what a client may send, and what it gets beyond them: 429 with `Retry-After` and a code.

use std::time::Duration;

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    a_key_beyond_its_rate_is_told_to_wait,
    an_address_beyond_its_rate_is_told_to_wait,
    the_addresses_of_one_ipv6_network_count_together,
    a_forwarded_address_counts_only_from_a_trusted_proxy,
    too_many_wrong_keys_are_throttled_and_a_valid_key_is_not,
    requests_without_a_key_are_not_wrong_keys,
    pending_requests_of_a_user_are_limited,
    pending_requests_of_a_workspace_are_limited,
    a_request_that_has_ended_makes_room_for_another,
    waits_of_a_key_are_limited,
}

#[track_caller]
fn expect_too_many(answer: &Answer, code: &str) {
    answer.expect_error(429, code);
    let wait: u64 = answer.header("retry-after").parse().unwrap_or_else(|_| panic!("Retry-After: {answer:?}"));
    assert!(wait > 0);
}

/// Sends until it is refused. (How many are accepted before depends on how fast the machine is.)
async fn until_refused(caller: &Caller, path: &str) -> Answer {
    for _ in 0..10_000 {
        let answer = caller.get(path).await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("it was never refused");
}

async fn a_key_beyond_its_rate_is_told_to_wait(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.key_requests_per_second = 1).await;
    expect_too_many(&until_refused(&app, "/v2/auth/providers").await, "rate_limited");
    app.service_key().await.get("/v2/auth/providers").await.expect(200);
}

async fn an_address_beyond_its_rate_is_told_to_wait(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.address_requests_per_second = 1).await;
    let here = app.at_address("192.0.2.1");
    expect_too_many(&until_refused(&here, "/v2/auth/providers").await, "rate_limited");
    app.at_address("192.0.2.2").get("/v2/auth/providers").await.expect(200);
    for path in ["/livez", "/readyz", "/ok", "/metrics"] {
        assert_eq!(here.get(path).await.status, 200, "{path} is for monitors");
    }
}

async fn the_addresses_of_one_ipv6_network_count_together(database: Database) {
    // A minute and not a second, so that a slow machine sees the same.
    let app = TestApp::start_with(database, |settings| settings.failed_keys_per_minute = 2).await;
    let wrong = app.with_key("aauth_wrong");
    for address in ["2001:db8:1:2::1", "2001:db8:1:2:3::4"] {
        wrong.at_address(address).get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    }
    let third = wrong.at_address("2001:db8:1:2:ffff::").get("/v2/auth/providers").await;
    expect_too_many(&third, "too_many_failed_keys");
    wrong.at_address("2001:db8:1:3::1").get("/v2/auth/providers").await.expect_error(401, "unauthorized");
}

async fn a_forwarded_address_counts_only_from_a_trusted_proxy(database: Database) {
    let app = TestApp::start_with(database, |settings| {
        settings.failed_keys_per_minute = 1;
        settings.trusted_proxies = "10.0.0.0/8".into();
    })
    .await;
    let wrong = app.with_key("aauth_wrong");
    let try_from = async |peer: &str, forwarded: &str| {
        let caller = wrong.at_address(peer).with("x-forwarded-for", forwarded);
        caller.get("/v2/auth/providers").await.status.as_u16()
    };
    assert_eq!(try_from("10.0.0.1", "203.0.113.1").await, 401);
    assert_eq!(try_from("10.0.0.2", "203.0.113.1").await, 429, "the same client over another proxy");
    assert_eq!(try_from("10.0.0.1", "203.0.113.2").await, 401, "another client");
    assert_eq!(try_from("10.0.0.1", "203.0.113.9, 203.0.113.2").await, 429, "what a client puts in front is ignored");
    assert_eq!(try_from("192.0.2.1", "203.0.113.3").await, 401);
    assert_eq!(try_from("192.0.2.1", "203.0.113.4").await, 429, "a client is not a proxy");
}

async fn too_many_wrong_keys_are_throttled_and_a_valid_key_is_not(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.failed_keys_per_minute = 3).await;
    let here = app.at_address("192.0.2.1");
    for _ in 0..3 {
        here.with_key("aauth_wrong").get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    }
    let throttled = here.with_key("aauth_wrong").get("/v2/auth/providers").await;
    expect_too_many(&throttled, "too_many_failed_keys");
    let bearer = here.without_header("x-api-key").with("authorization", "Bearer aauth_wrong");
    expect_too_many(&bearer.get("/v2/auth/providers").await, "too_many_failed_keys");
    for _ in 0..20 {
        here.get("/v2/auth/providers").await.expect(200);
    }
    app.service_key().await.at_address("192.0.2.1").get("/v2/auth/providers").await.expect(200);
}

async fn requests_without_a_key_are_not_wrong_keys(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.failed_keys_per_minute = 1).await;
    for _ in 0..5 {
        app.anonymous().at_address("192.0.2.1").get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    }
}

async fn pending_requests_of_a_user_are_limited(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.pending_requests_per_user = 2).await;
    app.register(&AuthorizationServer::start().await).await;
    for _ in 0..2 {
        app.begin(&asking("alice", &["read"])).await;
    }
    let begun = app.database.authorization_requests().await;
    expect_too_many(&app.try_authenticate(&asking("alice", &["read"])).await, "too_many_pending_requests");
    assert_eq!(app.database.authorization_requests().await, begun);
    app.begin(&asking("bob", &["read"])).await;
    app.advance(u64::try_from(app.settings.authorization_ttl_seconds).unwrap() + 1);
    app.begin(&asking("alice", &["read"])).await;
}

async fn pending_requests_of_a_workspace_are_limited(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.pending_requests_per_workspace = 2).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for user in ["alice", "bob"] {
        app.begin(&asking(user, &["read"])).await;
    }
    expect_too_many(&app.try_authenticate(&asking("carol", &["read"])).await, "too_many_pending_requests");
    let elsewhere = app.service_key_in("org-b", "space-2").await;
    elsewhere.register(&provider).await;
    elsewhere.begin(&asking("carol", &["read"])).await;
}

async fn a_request_that_has_ended_makes_room_for_another(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.pending_requests_per_user = 1).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = with(asking("alice", &["read"]), json!({"force_new": true}));
    let pending = app.begin(&question).await;
    expect_too_many(&app.try_authenticate(&question).await, "too_many_pending_requests");
    app.come_back(&provider.consent(&pending.url)).await;
    let pending = app.begin(&question).await;
    app.visit(&provider.deny(&pending.url)).await;
    app.begin(&question).await;
}

async fn waits_of_a_key_are_limited(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.waits_per_key = 2).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let path = format!("/v2/auth/wait/{}", pending.auth_id);
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let (caller, path) = (Caller::clone(&app), format!("{path}?timeout=60"));
            tokio::spawn(async move {
                loop {
                    let answer = caller.get(&path).await;
                    // The looks below need a place for a moment, too.
                    if answer.status != 429 {
                        return answer.expect(200);
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    eventually(Duration::from_secs(20), async || app.get(&format!("{path}?timeout=0")).await.status == 429).await;
    expect_too_many(&app.get(&format!("{path}?timeout=0")).await, "too_many_waits");
    app.service_key().await.get(&format!("{path}?timeout=0")).await.expect(200);
    app.come_back(&provider.consent(&pending.url)).await;
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap()["status"], "completed");
    }
    assert_eq!(app.wait(&pending.auth_id).await["status"], "completed", "there is room again");
}
