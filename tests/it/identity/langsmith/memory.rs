//! How long LangSmith's word counts, and how often it is asked for it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};
use crate::support::eventually::eventually;
use crate::support::langsmith::{OTHER_WORKSPACE, WORKSPACE, WithLangSmith, alice};

both_databases! {
    a_caller_is_remembered_for_a_minute,
    a_revoked_key_works_for_at_most_a_minute,
    a_key_that_is_revoked_while_its_caller_waits_gets_no_token,
    a_refusal_is_not_remembered,
    other_headers_are_another_caller,
    a_hundred_calls_at_once_are_one_request,
    a_hundred_calls_at_once_share_a_refusal,
    a_caller_who_leaves_leaves_the_request_to_the_next,
    another_organization_on_the_second_call_is_the_new_answer,
}

async fn a_caller_is_remembered_for_a_minute(app: WithLangSmith) {
    for _ in 0..3 {
        app.alice().get("/v2/auth/providers").await.expect(200);
    }
    app.advance(59);
    app.alice().get("/v2/auth/providers").await.expect(200);
    assert_eq!(app.langsmith.count(), 1);
    app.advance(1);
    app.alice().get("/v2/auth/providers").await.expect(200);
    app.alice().get("/v2/auth/providers").await.expect(200);
    assert_eq!(app.langsmith.count(), 2);
}

async fn a_revoked_key_works_for_at_most_a_minute(app: WithLangSmith) {
    app.alice().get("/v2/auth/providers").await.expect(200);
    app.langsmith.show(Reply::json(json!({"detail": "Invalid token"})).status(401));
    app.advance(59);
    app.alice().get("/v2/auth/providers").await.expect(200);
    app.advance(1);
    app.alice().get("/v2/auth/providers").await.expect_error(401, "unauthorized");
}

async fn a_key_that_is_revoked_while_its_caller_waits_gets_no_token(app: WithLangSmith) {
    let provider = AuthorizationServer::start().await;
    app.alice().register(&provider).await;
    let pending = app.alice().begin(&asking("ls-alice", &["read"])).await;
    let waiting = tokio::spawn({
        // Another header is another request to LangSmith, which shows that this call has begun.
        let (caller, path) =
            (app.alice().with("cookie", "a=b"), format!("/v2/auth/wait/{}?timeout=60", pending.auth_id));
        async move { caller.get(&path).await }
    });
    eventually(Duration::from_secs(30), async || app.langsmith.count() == 2).await;
    app.langsmith.show(Reply::json(json!({"detail": "Invalid token"})).status(401));
    app.advance(60);
    app.bob().come_back(&provider.consent(&pending.url)).await;
    let answer = waiting.await.unwrap();
    answer.expect_error(401, "unauthorized");
    assert!(!answer.text().contains("access-"), "{}", answer.text());
}

async fn a_refusal_is_not_remembered(app: WithLangSmith) {
    app.langsmith.answer_next(Reply::json(json!({})).status(401));
    app.langsmith.answer_next(Reply::json(json!({})).status(403));
    app.langsmith.answer_next(Reply::json(json!({})).status(500));
    for status in [401, 403, 503, 200] {
        assert_eq!(app.alice().get("/v2/auth/providers").await.status.as_u16(), status);
    }
    assert_eq!(app.langsmith.count(), 4);
}

async fn other_headers_are_another_caller(app: WithLangSmith) {
    let alice = app.alice();
    for caller in [
        alice.clone(),
        alice.with("x-tenant-id", WORKSPACE),
        alice.acting_for("ls-alice"),
        alice.with("cookie", "a=b"),
        app.bob(),
    ] {
        caller.get("/v2/auth/tokens").await.expect(200);
        caller.with("x-other", "header").get("/v2/auth/tokens").await.expect(200);
    }
    assert_eq!(app.langsmith.count(), 5);
}

async fn a_hundred_calls_at_once_are_one_request(app: WithLangSmith) {
    app.langsmith.show(Reply::json(alice()).after(Duration::from_millis(300)));
    let caller = app.alice();
    let answers = join_all((0..100).map(|_| caller.get("/v2/auth/providers"))).await;
    assert!(answers.iter().all(|answer| answer.status.as_u16() == 200));
    assert_eq!(app.langsmith.count(), 1);
}

async fn a_hundred_calls_at_once_share_a_refusal(app: WithLangSmith) {
    app.langsmith.show(Reply::json(json!({})).status(401).after(Duration::from_millis(1500)));
    let caller = app.alice();
    let answers = join_all((0..100).map(|_| caller.get("/v2/auth/providers"))).await;
    assert!(answers.iter().all(|answer| answer.status.as_u16() == 401));
    // A call that begins after the refusal makes a request of its own.
    assert!(app.langsmith.count() < 50, "{} requests", app.langsmith.count());
}

async fn a_caller_who_leaves_leaves_the_request_to_the_next(app: WithLangSmith) {
    app.langsmith.answer_next(Reply::json(alice()).after(Duration::from_mins(1)));
    let caller = app.alice();
    let leaving = tokio::spawn(async move { caller.get("/v2/auth/providers").await });
    eventually(Duration::from_secs(30), async || app.langsmith.count() == 1).await;
    let staying = tokio::spawn({
        let caller = app.alice();
        async move { caller.get("/v2/auth/providers").await }
    });
    leaving.abort();
    staying.await.unwrap().expect(200);
    assert_eq!(app.langsmith.count(), 2);
}

async fn another_organization_on_the_second_call_is_the_new_answer(app: WithLangSmith) {
    app.alice().register_as(acme()).await;
    let moved = json!({"organization_id": "another-organization", "tenant_id": OTHER_WORKSPACE});
    app.langsmith.show(Reply::json(with(alice(), moved)));
    app.alice().get("/v2/auth/providers/acme").await.expect(200);
    app.advance(60);
    app.alice().get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
    assert_eq!(app.alice().register_as(acme()).await["organization_id"], "another-organization");
    app.langsmith.recover();
    app.advance(60);
    app.alice().get("/v2/auth/providers/acme").await.expect(200);
}
