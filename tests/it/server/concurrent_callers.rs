//! Many callers at the same time: each gets the token it would get alone.

use std::collections::HashMap;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    in_a_crowd_everyone_gets_his_own_tokens,
    in_a_crowd_two_workspaces_are_kept_apart,
    in_a_crowd_the_default_comes_first_for_each,
    callers_who_go_away_take_nothing_from_the_others,
    a_provider_that_was_deleted_and_made_again_is_known_by_its_new_tokens,
}

const USERS: usize = 12;
const CROWD: usize = 150;

fn user(number: usize) -> String {
    format!("user \"{number}\" öß,{{}}")
}

/// All at once; gives the answers in the order of the questions.
async fn all_at_once(questions: Vec<(Caller, Value)>) -> Vec<Value> {
    let asked: Vec<_> = questions
        .into_iter()
        .map(|(caller, question)| tokio::spawn(async move { caller.authenticate(&question).await }))
        .collect();
    join_all(asked).await.into_iter().map(Result::unwrap).collect()
}

async fn in_a_crowd_everyone_gets_his_own_tokens(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let mut tokens = HashMap::new();
    for number in 0..USERS {
        tokens.insert(number, app.connect(&provider, &asking(&user(number), &["read"])).await);
    }
    // Every fourth question is one that no token answers: half of them for a scope, half for a stranger.
    let question = |n: usize| match n % 8 {
        3 => asking(&user(n % USERS), &["write"]),
        7 => asking("stranger", &["read"]),
        _ => asking(&user(n % USERS), &["read"]),
    };
    let answers = all_at_once((0..CROWD).map(|n| (Caller::clone(&app), question(n))).collect()).await;
    for (n, answer) in answers.iter().enumerate() {
        if n % 4 == 3 {
            assert_eq!(answer["status"], "pending", "question {n}: {answer}");
        } else {
            assert_eq!(answer["token"], tokens[&(n % USERS)].as_str(), "question {n}: {answer}");
        }
    }
}

async fn in_a_crowd_two_workspaces_are_kept_apart(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let workspaces = [app.service_key_in("org", "one").await, app.service_key_in("org", "two").await];
    let mut tokens = Vec::new();
    for workspace in &workspaces {
        workspace.register(&provider).await;
        tokens.push(workspace.connect(&provider, &asking("alice", &["read"])).await);
    }
    let crowd = (0..CROWD).map(|n| (workspaces[n % 2].clone(), asking("alice", &["read"]))).collect();
    for (n, answer) in all_at_once(crowd).await.iter().enumerate() {
        assert_eq!(answer["token"], tokens[n % 2].as_str(), "question {n}: {answer}");
    }
}

async fn in_a_crowd_the_default_comes_first_for_each(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let mut defaults = Vec::new();
    for number in 0..4 {
        let another =
            |is_default| with(asking(&user(number), &["read"]), json!({"force_new": true, "is_default": is_default}));
        for (account, is_default) in [("first", false), ("second", true), ("third", false)] {
            provider.answer_token_for_account(account);
            let token = app.connect(&provider, &another(is_default)).await;
            if is_default {
                defaults.push(token);
            }
        }
    }
    let crowd = (0..CROWD).map(|n| (Caller::clone(&app), asking(&user(n % 4), &["read"]))).collect();
    for (n, answer) in all_at_once(crowd).await.iter().enumerate() {
        assert_eq!(answer["token"], defaults[n % 4].as_str(), "question {n}: {answer}");
    }
}

async fn callers_who_go_away_take_nothing_from_the_others(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let token = app.connect(&provider, &asking("alice", &["read"])).await;
    for _ in 0..5 {
        let asked: Vec<_> = (0..CROWD)
            .map(|_| {
                let caller = Caller::clone(&app);
                tokio::spawn(async move { caller.token(&asking("alice", &["read"])).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let mut stay = Vec::new();
        for (n, asked) in asked.into_iter().enumerate() {
            if n % 3 == 0 {
                asked.abort();
            } else {
                stay.push(asked);
            }
        }
        for answered in join_all(stay).await {
            assert_eq!(answered.unwrap(), token);
        }
    }
    assert_eq!(app.token(&asking("alice", &["read"])).await, token, "the next one is read for as ever");
}

async fn a_provider_that_was_deleted_and_made_again_is_known_by_its_new_tokens(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let old = app.connect(&provider, &question).await;
    // On PostgreSQL the change happens at another replica.
    let replica = if app.app.broker.is_shared() { Some(app.replica().await) } else { None };
    let there = replica.as_ref().unwrap_or(&app);
    there.delete("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(app.try_authenticate(&question).await.status.as_u16(), 404);
    there.register(&provider).await;
    let new = there.connect(&provider, &question).await;
    assert_ne!(new, old);
    assert_eq!(app.token(&question).await, new);
}
