//! `last_used_at`: what counts as a use, and that it is written in batches rather than with each call.

use agent_auth::broker::jobs::usage;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::asking;

both_databases! {
    a_token_that_is_handed_out_is_noted_and_written_later,
    a_later_use_counts_and_an_earlier_one_does_not_come_back,
    what_is_not_handed_out_is_not_used,
    what_was_noted_is_written_at_the_end,
    what_could_not_be_written_is_written_the_next_time,
    a_use_is_no_change_of_the_token,
    a_token_in_steady_use_is_not_written_again_and_again,
}

async fn used_tokens(app: &TestApp) -> i64 {
    app.database.number("SELECT count(*) FROM tokens WHERE last_used_at IS NOT NULL").await
}

async fn used_since_made(app: &TestApp) -> i64 {
    app.database.number("SELECT count(*) FROM tokens WHERE last_used_at > created_at").await
}

/// The person of this user has consented, and nobody has asked for the token yet.
async fn consented(app: &TestApp, provider: &AuthorizationServer, user: &str) {
    let pending = app.begin(&asking(user, &["read"])).await;
    app.come_back(&provider.consent(&pending.url)).await;
}

async fn with_provider(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider
}

async fn a_token_that_is_handed_out_is_noted_and_written_later(app: TestApp) {
    let provider = with_provider(&app).await;
    consented(&app, &provider, "alice").await;
    consented(&app, &provider, "bob").await;
    let pending = app.begin(&asking("carol", &["read"])).await;
    app.come_back(&provider.consent(&pending.url)).await;
    usage::write(&app.app.broker).await.unwrap();
    assert_eq!(used_tokens(&app).await, 0, "a consent alone is no use");
    app.token(&asking("alice", &["read"])).await;
    app.wait(&pending.auth_id).await;
    assert_eq!(used_tokens(&app).await, 0, "handing out writes nothing");
    usage::write(&app.app.broker).await.unwrap();
    assert_eq!(used_tokens(&app).await, 2, "alice's by authenticate, carol's by wait");
}

async fn a_later_use_counts_and_an_earlier_one_does_not_come_back(app: TestApp) {
    let provider = with_provider(&app).await;
    let question = asking("alice", &["read"]);
    app.connect(&provider, &question).await;
    usage::write(&app.app.broker).await.unwrap();
    app.advance(600);
    app.token(&question).await;
    usage::write(&app.app.broker).await.unwrap();
    let is_late = "SELECT count(*) FROM tokens WHERE last_used_at > updated_at AND last_used_at > created_at";
    assert_eq!(app.database.number(is_late).await, 1);
    // Another replica noted it before this one, and writes after it.
    app.database.tamper("UPDATE tokens SET last_used_at = '2999-01-01T00:00:00+00:00'").await;
    app.token(&question).await;
    usage::write(&app.app.broker).await.unwrap();
    let in_the_future = "SELECT count(*) FROM tokens WHERE last_used_at >= '2999-01-01T00:00:00+00:00'";
    assert_eq!(app.database.number(in_the_future).await, 1);
}

async fn what_is_not_handed_out_is_not_used(app: TestApp) {
    let provider = with_provider(&app).await;
    consented(&app, &provider, "alice").await;
    app.advance(3600);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.begin(&asking("alice", &["read"])).await;
    consented(&app, &provider, "bob").await;
    app.begin(&asking("bob", &["write"])).await;
    usage::write(&app.app.broker).await.unwrap();
    assert_eq!(used_tokens(&app).await, 0);
}

async fn what_was_noted_is_written_at_the_end(app: TestApp) {
    let provider = with_provider(&app).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(used_since_made(&app).await, 0);
    app.stop().await;
    assert_eq!(used_since_made(&app).await, 1);
}

async fn what_could_not_be_written_is_written_the_next_time(app: TestApp) {
    let provider = with_provider(&app).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    app.database.tamper("ALTER TABLE tokens RENAME TO away").await;
    usage::write(&app.app.broker).await.expect_err("there is no such table");
    app.database.tamper("ALTER TABLE away RENAME TO tokens").await;
    assert_eq!(used_tokens(&app).await, 0);
    usage::write(&app.app.broker).await.unwrap();
    assert_eq!(used_tokens(&app).await, 2);
}

async fn a_use_is_no_change_of_the_token(app: TestApp) {
    let provider = with_provider(&app).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    let before = app.tokens().await;
    app.advance(60);
    app.token(&asking("alice", &["read"])).await;
    usage::write(&app.app.broker).await.unwrap();
    assert_eq!(app.tokens().await, before);
}

async fn a_token_in_steady_use_is_not_written_again_and_again(app: TestApp) {
    let provider = with_provider(&app).await;
    let question = asking("alice", &["read"]);
    app.connect(&provider, &question).await;
    usage::write(&app.app.broker).await.unwrap();
    app.database.tamper("CREATE TABLE noted AS SELECT last_used_at FROM tokens").await;
    let rewritten = "SELECT count(*) FROM tokens WHERE last_used_at NOT IN (SELECT last_used_at FROM noted)";
    app.advance(599);
    app.token(&question).await;
    usage::write(&app.app.broker).await.unwrap();
    assert_eq!(app.database.number(rewritten).await, 0);
    app.advance(1);
    app.token(&question).await;
    usage::write(&app.app.broker).await.unwrap();
    assert_eq!(app.database.number(rewritten).await, 1);
}
