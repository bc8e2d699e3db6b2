//! Consents, deletions and changes at the same moment: one of them wins and nothing is left half done.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    of_simultaneous_creations_of_a_provider_one_wins,
    simultaneous_consents_of_many_accounts_leave_one_default,
    simultaneous_consents_of_one_account_leave_one_token,
    simultaneous_marks_leave_one_default,
    simultaneous_connections_leave_one,
    of_simultaneous_deletions_of_a_token_one_wins,
    a_provider_deleted_during_an_exchange_leaves_no_token,
    a_token_deleted_during_its_refresh_stays_deleted,
    a_request_that_expires_during_its_exchange_harms_nothing,
}

async fn at_once<F>(number: usize, ask: impl Fn(usize) -> F) -> Vec<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let asked: Vec<_> = (0..number).map(|n| tokio::spawn(ask(n))).collect();
    join_all(asked).await.into_iter().map(Result::unwrap).collect()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut all: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    all.sort_unstable();
    all
}

async fn of_simultaneous_creations_of_a_provider_one_wins(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let answers = at_once(8, |n| {
        let (caller, name) = (Caller::clone(&app), format!("Number {n}"));
        let definition = with(provider.definition("acme"), json!({"name": name}));
        async move { caller.post("/v2/auth/providers", &definition).await }
    })
    .await;
    assert_eq!(statuses(&answers), [200, 409, 409, 409, 409, 409, 409, 409]);
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    let stored = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(stored, winner.json());
}

/// Ten browsers come back at once; each says with its `id_token` whose account it is.
async fn consents(app: &TestApp, provider: &AuthorizationServer, account: impl Fn(usize) -> String) {
    let question = with(asking("alice", &["read"]), json!({"force_new": true}));
    let mut callbacks = Vec::new();
    for n in 0..10 {
        provider.answer_token_for_account(&account(n));
        let pending = app.begin(&question).await;
        callbacks.push(provider.consent(&pending.url));
    }
    let answers = at_once(10, |n| {
        let (browser, callback) = (Caller::clone(app), callbacks[n].clone());
        async move { browser.visit(&callback).await }
    })
    .await;
    assert_eq!(statuses(&answers), [303; 10]);
}

async fn default_tokens(app: &TestApp) -> usize {
    let tokens = app.tokens().await;
    tokens.iter().filter(|token| token["is_default"] == true).count()
}

async fn simultaneous_consents_of_many_accounts_leave_one_default(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    consents(&app, &provider, |n| format!("account-{n}")).await;
    assert_eq!(app.tokens().await.len(), 10);
    assert_eq!(default_tokens(&app).await, 1);
}

async fn simultaneous_consents_of_one_account_leave_one_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    consents(&app, &provider, |_| "the same".to_owned()).await;
    assert_eq!(app.tokens().await.len(), 1);
    app.token(&asking("alice", &["read"])).await;
}

async fn simultaneous_marks_leave_one_default(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    consents(&app, &provider, |n| format!("account-{n}")).await;
    let ids: Vec<_> = app.tokens().await.iter().map(|token| token["id"].clone()).collect();
    let answers = at_once(10, |n| {
        let path = format!("/v2/auth/tokens/{}/metadata", ids[n].as_str().unwrap());
        let caller = Caller::clone(&app);
        async move { caller.patch(&path, &json!({"is_default": true})).await }
    })
    .await;
    assert_eq!(statuses(&answers), [200; 10]);
    assert_eq!(default_tokens(&app).await, 1);
}

async fn simultaneous_connections_leave_one(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    let body = json!({"oauth_token_id": app.tokens().await[0]["id"]});
    let path = "/v2/auth/agents/helper/connections";
    let answers = at_once(8, |_| {
        let (caller, body) = (Caller::clone(&app), body.clone());
        async move { caller.post(path, &body).await }
    })
    .await;
    assert!(answers.iter().all(|answer| !answer.status.is_server_error()), "{answers:?}");
    let listed = app.get(path).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

async fn of_simultaneous_deletions_of_a_token_one_wins(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    let id = app.tokens().await[0]["id"].clone();
    let path = format!("/v2/auth/tokens/{}", id.as_str().unwrap());
    let answers = at_once(4, |_| {
        let (caller, path) = (Caller::clone(&app), path.clone());
        async move { caller.delete(&path).await }
    })
    .await;
    assert_eq!(statuses(&answers), [204, 404, 404, 404]);
}

/// Waits until the provider has been asked so often.
async fn asked(provider: &AuthorizationServer, times: usize) {
    while provider.token_requests().len() < times {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_provider_deleted_during_an_exchange_leaves_no_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let pending = app.begin(&question).await;
    let late = json!({"access_token": "too-late", "expires_in": 3600});
    provider.answer_token(Reply::json(late).after(Duration::from_millis(500)));
    let (browser, callback) = (Caller::clone(&app), provider.consent(&pending.url));
    let visit = tokio::spawn(async move { browser.visit(&callback).await });
    asked(&provider, 1).await;
    app.delete("/v2/auth/providers/acme").await.expect(200);
    let page = visit.await.unwrap();
    assert!(page.status.as_u16() >= 400 && page.status != 500, "{page:?}");
    assert_eq!(app.look(&pending.auth_id).await["status"], "not_found");
    app.register(&provider).await;
    assert_eq!(app.tokens().await, Vec::<Value>::new());
    app.begin(&question).await;
}

async fn a_token_deleted_during_its_refresh_stays_deleted(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    app.connect(&provider, &question).await;
    app.advance(3600);
    let late = json!({"access_token": "too-late", "refresh_token": "r", "expires_in": 3600});
    provider.answer_token(Reply::json(late).after(Duration::from_millis(500)));
    let asking_for_it = {
        let (caller, question) = (Caller::clone(&app), question.clone());
        tokio::spawn(async move { caller.try_authenticate(&question).await })
    };
    asked(&provider, 2).await;
    app.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    let answer = asking_for_it.await.unwrap();
    assert_ne!(answer.status, 500, "{answer:?}");
    assert!(!answer.text().contains("too-late"), "{answer:?}");
    assert_eq!(app.tokens().await, Vec::<Value>::new());
    app.begin(&question).await;
}

async fn a_request_that_expires_during_its_exchange_harms_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let late = json!({"access_token": "just-in-time", "expires_in": 3600});
    provider.answer_token(Reply::json(late).after(Duration::from_millis(500)));
    let app = Arc::new(app);
    let (browser, callback) = (Caller::clone(&app), provider.consent(&pending.url));
    let visit = tokio::spawn(async move { browser.visit(&callback).await });
    asked(&provider, 1).await;
    app.advance(u64::try_from(app.settings.authorization_ttl_seconds).unwrap());
    let page = visit.await.unwrap();
    assert!(page.status == 303 || page.status.is_client_error(), "{page:?}");
    let stored = !app.tokens().await.is_empty();
    assert_eq!(stored, page.status == 303, "the page tells the truth");
}
