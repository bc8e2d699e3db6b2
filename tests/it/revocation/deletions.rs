//! Tokens are deleted here at once, and revoked at the provider as soon as it can be reached.
//! Covers which deletions revoke what, what the caller is told, and that no revocation is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET, Reply};
use crate::support::binary;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    a_deleted_token_is_revoked_at_the_provider,
    the_tokens_of_a_user_are_revoked_and_nobody_elses,
    a_deleted_provider_has_all_its_tokens_revoked,
    the_slack_tokens_of_a_workspace_are_revoked,
    an_agent_that_is_disconnected_costs_no_token,
    a_provider_without_the_endpoint_keeps_its_grants_and_the_answer_says_so,
    the_endpoint_can_be_set_later_and_is_shown,
    the_endpoint_is_checked_like_the_others,
    a_failing_provider_is_told_again_later,
    a_provider_that_asks_for_time_gets_it,
    a_provider_that_is_away_is_told_again_later,
    wrong_client_credentials_are_tried_again,
    each_failure_is_followed_by_a_longer_pause,
    after_many_attempts_it_is_given_up,
    a_slow_provider_holds_nobody_up,
    what_is_queued_survives_a_restart,
    nothing_queued_can_be_read_in_the_database,
    a_renewed_grant_is_kept_for_the_next_attempt,
    a_token_that_cannot_be_opened_can_be_deleted,
    a_provider_removed_on_the_command_line_is_told_by_the_server,
    a_provider_removed_on_the_command_line_is_revoked_at_once,
}

pub fn question() -> Value {
    asking("alice", &["read"])
}

pub fn numbered(number: usize) -> Value {
    json!({"access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"), "expires_in": 3600})
}

/// A provider under these ids, whose grants are revoked at `/revoke`.
pub async fn revoking(app: &TestApp, ids: &[&str]) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    for id in ids {
        let definition = with(provider.definition(id), json!({"revocation_url": provider.at("/revoke")}));
        app.register_as(definition).await;
    }
    provider
}

/// Alice's token at `acme`: `access-1` and `refresh-1`.
pub async fn connected(app: &TestApp) -> AuthorizationServer {
    let provider = revoking(app, &["acme"]).await;
    provider.answer_token(Reply::json(numbered(1)));
    app.connect(&provider, &question()).await;
    provider
}

pub async fn delete(caller: &Caller) -> Value {
    caller.delete("/v2/auth/tokens?provider_id=acme").await.expect(200)
}

pub async fn queued(app: &TestApp) -> i64 {
    app.database.row_counts().await["revocations"]
}

pub async fn soon_none_is_queued(app: &TestApp) {
    let begun = Instant::now();
    while queued(app).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "still queued");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the background does next, done now: a server looks for what is due when it starts.
async fn background(app: &TestApp) -> TestApp {
    let other = app.replica().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    other
}

async fn a_deleted_token_is_revoked_at_the_provider(app: TestApp) {
    let provider = connected(&app).await;
    let path = format!("/v2/auth/tokens/{}", app.tokens().await[0]["id"].as_str().unwrap());
    let deleted = app.delete(&path).await;
    assert_eq!((deleted.status.as_u16(), deleted.header("x-upstream-revoked")), (204, "true"));
    assert_eq!(provider.revoked("token"), ["refresh-1", "access-1"]);
    assert_eq!(queued(&app).await, 0);
    app.begin(&question()).await;
    app.delete(&path).await.expect_error(404, "not_found");
    assert_eq!(provider.revocations().len(), 2);
}

async fn the_tokens_of_a_user_are_revoked_and_nobody_elses(app: TestApp) {
    let provider = revoking(&app, &["acme", "other"]).await;
    let service = app.service_key().await;
    let (alice, bob) = (service.acting_for("alice"), service.acting_for("bob"));
    for (number, question) in [question(), with(question(), json!({"agent_id": "helper"}))].into_iter().enumerate() {
        provider.answer_token(Reply::json(numbered(number)));
        alice.connect(&provider, &question).await;
    }
    alice.connect(&provider, &with(question(), json!({"provider": "other"}))).await;
    bob.connect(&provider, &asking("bob", &["read"])).await;
    let answer = delete(&alice).await;
    assert_eq!((&answer["tokens"], &answer["upstream_revoked"]), (&json!(2), &json!(true)), "{answer}");
    let mut told = provider.revoked("token");
    told.sort();
    assert_eq!(told, ["access-0", "access-1", "refresh-0", "refresh-1"]);
    assert_eq!((alice.tokens().await.len(), bob.tokens().await.len()), (1, 1));
    let nothing_left = delete(&alice).await;
    assert_eq!((&nothing_left["tokens"], &nothing_left["revocation_queued"]), (&json!(0), &json!(0)));
}

async fn a_deleted_provider_has_all_its_tokens_revoked(app: TestApp) {
    let provider = revoking(&app, &["acme"]).await;
    for number in 0..20 {
        provider.answer_token(Reply::json(numbered(number)));
        app.connect(&provider, &asking(&format!("user-{number}"), &["read"])).await;
    }
    let answer = app.delete("/v2/auth/providers/acme").await.expect(200);
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(true), &json!(0)), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("acme"));
    let mut told = provider.revoked("token");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 40);
    app.delete("/v2/auth/providers/acme").await.expect_error(404, "not_found");
}

async fn the_slack_tokens_of_a_workspace_are_revoked(app: TestApp) {
    let provider = revoking(&app, &["acme"]).await;
    provider.revoke_at("/api/auth.revoke");
    for id in ["slack", "another-slack"] {
        let slack = json!({"provider_type": "slack", "revocation_url": provider.at("/api/auth.revoke")});
        app.register_as(with(provider.definition(id), slack)).await;
    }
    for (number, id) in ["slack", "another-slack", "acme"].into_iter().enumerate() {
        provider.answer_token(Reply::json(numbered(number)));
        app.connect(&provider, &with(question(), json!({"provider": id}))).await;
    }
    let answer = app.delete("/v2/auth/tokens/workspace/slack").await.expect(200);
    assert_eq!((&answer["tokens"], &answer["upstream_revoked"]), (&json!(2), &json!(true)), "{answer}");
    let requests = provider.revoked_times(2).await;
    let mut told: Vec<_> = requests.iter().map(|request| request.header("authorization")).collect();
    told.sort_unstable();
    assert_eq!(told, ["Bearer access-0", "Bearer access-1"]);
}

async fn an_agent_that_is_disconnected_costs_no_token(app: TestApp) {
    let provider = connected(&app).await;
    let connection = app.connect_agent("helper", &app.tokens().await[0]["id"]).await;
    let path = format!("/v2/auth/agents/helper/connections/{}", connection["id"].as_str().unwrap());
    assert_eq!(app.delete(&path).await.status.as_u16(), 204);
    assert_eq!(app.token(&question()).await, "access-1");
    provider.revoked_times(0).await;
}

async fn a_provider_without_the_endpoint_keeps_its_grants_and_the_answer_says_so(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let registered = app.register(&provider).await;
    assert!(registered["revocation_url"].is_null(), "{registered}");
    app.connect(&provider, &question()).await;
    let path = format!("/v2/auth/tokens/{}", app.tokens().await[0]["id"].as_str().unwrap());
    let deleted = app.delete(&path).await;
    assert_eq!((deleted.status.as_u16(), deleted.header("x-upstream-revoked")), (204, "false"));
    app.connect(&provider, &question()).await;
    let answer = delete(&app).await;
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(false), &json!(0)));
    app.connect(&provider, &question()).await;
    let answer = app.delete("/v2/auth/providers/acme").await.expect(200);
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(false), &json!(0)));
    assert_eq!((provider.count_elsewhere(), queued(&app).await), (0, 0));
}

async fn the_endpoint_can_be_set_later_and_is_shown(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    let path = "/v2/auth/providers/acme";
    let change = json!({"revocation_url": provider.at("/revoke"), "client_secret": CLIENT_SECRET});
    let changed = app.patch(path, &change).await.expect(200);
    assert_eq!(changed["revocation_url"], provider.at("/revoke"));
    app.patch(path, &json!({"name": "Acme"})).await.expect(200);
    assert_eq!(app.get(path).await.expect(200)["revocation_url"], provider.at("/revoke"));
    assert_eq!(delete(&app).await["upstream_revoked"], true);
    provider.revoked_times(2).await;
}

async fn the_endpoint_is_checked_like_the_others(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    for (url, kind) in [
        (json!("ftp://acme.example/revoke"), "url_scheme"),
        (json!("http://acme.example/revoke"), "url_scheme"),
        (json!("not a URL"), "url_parsing"),
        (json!("https://u:p@acme.example/revoke"), "value_error"),
        (json!(7), "string_type"),
    ] {
        let definition = with(provider.definition("acme"), json!({"revocation_url": url}));
        app.post("/v2/auth/providers", &definition).await.expect_fault("body.revocation_url", kind);
    }
}

async fn a_failing_provider_is_told_again_later(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::text("text/plain", "busy").status(500));
    let path = format!("/v2/auth/tokens/{}", app.tokens().await[0]["id"].as_str().unwrap());
    let deleted = app.delete(&path).await;
    assert_eq!((deleted.status.as_u16(), deleted.header("x-upstream-revoked")), (204, "false"));
    app.begin(&question()).await;
    assert_eq!(queued(&app).await, 1);
    let _too_early = background(&app).await;
    provider.revoked_times(1).await;
    app.advance(40);
    let _in_time = background(&app).await;
    soon_none_is_queued(&app).await;
    assert_eq!(provider.revoked("token"), ["refresh-1", "refresh-1", "access-1"]);
}

async fn a_provider_that_asks_for_time_gets_it(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::text("text/plain", "").status(429).header("retry-after", "600"));
    let answer = delete(&app).await;
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(false), &json!(1)));
    app.advance(590);
    let _too_early = background(&app).await;
    provider.revoked_times(1).await;
    app.advance(20);
    let _in_time = background(&app).await;
    soon_none_is_queued(&app).await;
    provider.revoked_times(3).await;
}

async fn a_provider_that_is_away_is_told_again_later(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let nobody = format!("http://127.0.0.1:{}/revoke", binary::free_port());
    app.register_as(with(provider.definition("acme"), json!({"revocation_url": nobody}))).await;
    app.connect(&provider, &question()).await;
    let answer = delete(&app).await;
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(false), &json!(1)));
    app.begin(&question()).await;
}

async fn wrong_client_credentials_are_tried_again(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::json(json!({"error": "invalid_client"})).status(401));
    assert_eq!(delete(&app).await["revocation_queued"], 1);
    app.advance(40);
    let _later = background(&app).await;
    soon_none_is_queued(&app).await;
}

async fn each_failure_is_followed_by_a_longer_pause(app: TestApp) {
    let provider = connected(&app).await;
    for _ in 0..3 {
        provider.answer_revocation(Reply::text("text/plain", "busy").status(503));
    }
    delete(&app).await;
    // Half a minute, a minute, two: up to a tenth more each.
    for (times, pause) in [(2, 34), (3, 67)] {
        app.advance(pause);
        let _attempt = background(&app).await;
        provider.revoked_times(times).await;
    }
    app.advance(67);
    let _too_early = background(&app).await;
    provider.revoked_times(3).await;
    app.advance(67);
    let _in_time = background(&app).await;
    soon_none_is_queued(&app).await;
}

async fn after_many_attempts_it_is_given_up(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::text("text/plain", "busy").status(500));
    delete(&app).await;
    assert_eq!(app.database.tamper("UPDATE revocations SET attempts = 19").await, 1);
    app.advance(40);
    provider.answer_revocation(Reply::text("text/plain", "busy").status(500));
    let _last = background(&app).await;
    provider.revoked_times(2).await;
    assert_eq!(queued(&app).await, 1);
    app.advance(7 * 3600);
    let _gives_up = background(&app).await;
    soon_none_is_queued(&app).await;
    provider.revoked_times(2).await;
}

async fn a_slow_provider_holds_nobody_up(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::json(json!({})).after(Duration::from_secs(7)));
    let begun = Instant::now();
    let answer = delete(&app).await;
    assert!((4..7).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(false), &json!(1)));
    provider.revoked_times(2).await;
    soon_none_is_queued(&app).await;
}

async fn what_is_queued_survives_a_restart(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::text("text/plain", "busy").status(500));
    // The provider's record is gone with all it knew; the queue has its own copy.
    let answer = app.delete("/v2/auth/providers/acme").await.expect(200);
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(false), &json!(1)));
    app.advance(40);
    let after_restart = app.replica().await;
    soon_none_is_queued(&after_restart).await;
    let requests = provider.revoked_times(3).await;
    assert_eq!(provider.revoked("token")[1..], ["refresh-1", "access-1"]);
    assert_eq!(requests[2].value("client_secret").unwrap(), "acme-client-secret-3f9a");
}

async fn nothing_queued_can_be_read_in_the_database(app: TestApp) {
    let provider = revoking(&app, &["acme"]).await;
    let grant = json!({"access_token": "the-access-token-of-alice", "refresh_token": "the-refresh-token-of-alice"});
    provider.answer_token(Reply::json(grant));
    app.connect(&provider, &question()).await;
    let said = "the provider repeats the-refresh-token-of-alice";
    provider.answer_revocation(Reply::text("text/plain", said).status(500));
    assert_eq!(delete(&app).await["revocation_queued"], 1);
    let everything = app.database.everything_at_rest().await;
    let find = |text: &str| everything.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(find(&provider.at("/revoke")), "the search sees the row");
    for secret in ["the-access-token-of-alice", "the-refresh-token-of-alice", "acme-client-secret-3f9a"] {
        assert!(!find(secret), "{secret} can be read");
    }
    let columns = app.database.byte_columns("revocations").await;
    assert_eq!(columns.len(), 3, "{columns:?}");
}

async fn a_renewed_grant_is_kept_for_the_next_attempt(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    provider.revoke_at("/api/auth.revoke");
    let slack = json!({"revocation_url": provider.at("/api/auth.revoke")});
    app.register_as(with(provider.definition("acme"), slack)).await;
    provider.answer_token(Reply::json(numbered(1)));
    app.connect(&provider, &question()).await;
    provider.answer_revocation(Reply::json(json!({"ok": false, "error": "token_expired"})));
    provider.answer_revocation(Reply::text("text/plain", "busy").status(500));
    provider.answer_token(Reply::json(numbered(2)));
    assert_eq!(delete(&app).await["revocation_queued"], 1);
    app.advance(40);
    let _later = background(&app).await;
    soon_none_is_queued(&app).await;
    let requests = provider.revoked_times(3).await;
    let told: Vec<_> = requests.iter().map(|request| request.header("authorization")).collect();
    assert_eq!(told, ["Bearer access-1", "Bearer access-2", "Bearer access-2"]);
    assert_eq!(provider.refreshes().len(), 1, "a refresh token that works once is not spent twice");
}

async fn a_token_that_cannot_be_opened_can_be_deleted(app: TestApp) {
    let provider = connected(&app).await;
    let id = app.tokens().await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.database.tamper("UPDATE tokens SET access_token = refresh_token").await, 1);
    let deleted = app.delete(&format!("/v2/auth/tokens/{id}")).await;
    assert_eq!((deleted.status.as_u16(), deleted.header("x-upstream-revoked")), (204, "false"));
    assert!(app.tokens().await.is_empty());
    provider.revoked_times(0).await;
}

async fn a_provider_removed_on_the_command_line_is_told_by_the_server(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::text("text/plain", "busy").status(503));
    let removed = binary::run(&["provider", "remove", "acme"], &app.database.environment()).await;
    assert!(removed.status.success(), "{removed:?}");
    assert!(removed.stdout.contains("1 grants are still to be revoked"), "{removed:?}");
    app.advance(40);
    let _server = background(&app).await;
    soon_none_is_queued(&app).await;
    assert_eq!(provider.revoked("token"), ["refresh-1", "refresh-1", "access-1"]);
}

async fn a_provider_removed_on_the_command_line_is_revoked_at_once(app: TestApp) {
    let provider = connected(&app).await;
    let removed = binary::run(&["provider", "remove", "acme"], &app.database.environment()).await;
    assert!(removed.status.success(), "{removed:?}");
    assert!(removed.stdout.contains("Revoked 1 grants"), "{removed:?}");
    assert_eq!(provider.revoked("token"), ["refresh-1", "access-1"]);
}
