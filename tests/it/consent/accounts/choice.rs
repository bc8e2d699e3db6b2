//! Several accounts of one user at one provider: `force_new`, `token_id` and `is_default`.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    force_new_asks_a_person_although_there_is_a_token,
    a_second_account_stands_beside_the_first,
    the_same_account_again_replaces_its_token_and_keeps_its_id,
    token_id_picks_one_of_several_accounts,
    token_id_of_another_user_gives_nothing,
    an_unknown_token_id_gives_nothing,
    a_new_account_becomes_the_default_one,
    a_new_account_without_the_mark_leaves_the_default_where_it_is,
    among_accounts_without_a_mark_the_newest_wins,
    the_default_mark_is_only_among_accounts_of_one_user,
    patching_the_default_mark_moves_it,
    a_wider_account_is_given_when_the_default_one_lacks_the_scope,
}

async fn started(provider: &AuthorizationServer, app: &TestApp) -> Caller {
    app.register(provider).await;
    app.service_key().await.acting_for("alice")
}

/// Alice consents once more, at the provider as `account`; gives the access token.
async fn connect_account(alice: &Caller, provider: &AuthorizationServer, account: &str, more: Value) -> String {
    provider.answer_token_for_account(account);
    let question = with(asking("alice", &["read"]), json!({"force_new": true}));
    alice.connect(provider, &with(question, more)).await
}

async fn force_new_asks_a_person_although_there_is_a_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = asking("alice", &["read"]);
    let old = alice.connect(&provider, &question).await;
    let forced = with(question.clone(), json!({"force_new": true}));
    let new = alice.connect(&provider, &forced).await;
    assert_ne!(new, old);
    assert_eq!(alice.token(&question).await, new);
}

async fn a_second_account_stands_beside_the_first(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    connect_account(&alice, &provider, "work", json!({})).await;
    connect_account(&alice, &provider, "home", json!({})).await;
    assert_eq!(alice.tokens().await.len(), 2);
}

async fn the_same_account_again_replaces_its_token_and_keeps_its_id(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let old = connect_account(&alice, &provider, "work", json!({})).await;
    let before = alice.tokens().await;
    alice.connect_agent("helper", &before[0]["id"]).await;
    let new = connect_account(&alice, &provider, "work", json!({})).await;
    assert_ne!(old, new);
    let after = alice.tokens().await;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0]["id"], before[0]["id"]);
    let connected = with(asking("alice", &["read"]), json!({"agent_id": "helper"}));
    assert_eq!(alice.token(&connected).await, new);
}

async fn token_id_picks_one_of_several_accounts(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let work = connect_account(&alice, &provider, "work", json!({})).await;
    let work_id = alice.tokens().await[0]["id"].clone();
    let home = connect_account(&alice, &provider, "home", json!({})).await;
    let tokens = alice.tokens().await;
    let home_id = tokens.iter().find(|t| t["id"] != work_id).unwrap()["id"].clone();
    for (id, token) in [(work_id, work), (home_id, home)] {
        let picked = with(asking("alice", &["read"]), json!({"token_id": id}));
        assert_eq!(alice.token(&picked).await, token);
    }
}

async fn token_id_of_another_user_gives_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let token = alice.connect(&provider, &asking("alice", &["read"])).await;
    let id = alice.tokens().await[0]["id"].clone();
    let bob = alice.acting_for("bob");
    let foreign = with(asking("bob", &["read"]), json!({"token_id": id}));
    let unknown = with(foreign.clone(), json!({"token_id": Uuid::now_v7()}));
    let to_foreign = bob.try_authenticate(&foreign).await;
    let to_unknown = bob.try_authenticate(&unknown).await;
    assert!(!to_foreign.text().contains(&token));
    assert_ne!(to_foreign.json()["status"], "completed");
    assert_eq!(to_foreign.status, to_unknown.status);
    assert_eq!(to_foreign.json()["status"], to_unknown.json()["status"]);
}

async fn an_unknown_token_id_gives_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let token = alice.connect(&provider, &asking("alice", &["read"])).await;
    let unknown = json!({"token_id": Uuid::now_v7()});
    let answer = alice.try_authenticate(&with(asking("alice", &["read"]), unknown)).await;
    assert!(!answer.text().contains(&token), "{answer:?}");
    assert!(!answer.status.is_server_error());
}

async fn default_accounts(alice: &Caller) -> Vec<Value> {
    let tokens = alice.tokens().await;
    let defaults = tokens.iter().filter(|t| t["is_default"] == true);
    defaults.map(|t| t["id"].clone()).collect()
}

async fn a_new_account_becomes_the_default_one(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    connect_account(&alice, &provider, "work", json!({})).await;
    let work = alice.tokens().await[0]["id"].clone();
    assert_eq!(default_accounts(&alice).await, std::slice::from_ref(&work));
    let home = connect_account(&alice, &provider, "home", json!({})).await;
    let defaults = default_accounts(&alice).await;
    assert_eq!(defaults.len(), 1, "the mark has moved");
    assert_ne!(defaults[0], work);
    assert_eq!(alice.token(&asking("alice", &["read"])).await, home);
}

async fn a_new_account_without_the_mark_leaves_the_default_where_it_is(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let work = connect_account(&alice, &provider, "work", json!({})).await;
    let default = default_accounts(&alice).await;
    app.advance(60);
    connect_account(&alice, &provider, "home", json!({"is_default": false})).await;
    assert_eq!(default_accounts(&alice).await, default);
    let question = asking("alice", &["read"]);
    assert_eq!(alice.token(&question).await, work, "the default one wins");
}

async fn among_accounts_without_a_mark_the_newest_wins(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let unmarked = json!({"is_default": false});
    let work = connect_account(&alice, &provider, "work", unmarked.clone()).await;
    app.advance(60);
    let home = connect_account(&alice, &provider, "home", unmarked).await;
    let question = asking("alice", &["read"]);
    match default_accounts(&alice).await.len() {
        0 => assert_eq!(alice.token(&question).await, home),
        // A first account may take the mark that nobody else has; then it wins.
        marked => assert_eq!((marked, alice.token(&question).await), (1, work)),
    }
}

async fn the_default_mark_is_only_among_accounts_of_one_user(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let bob = alice.acting_for("bob");
    alice.connect(&provider, &asking("alice", &["read"])).await;
    bob.connect(&provider, &asking("bob", &["read"])).await;
    assert_eq!(default_accounts(&alice).await.len(), 1);
    assert_eq!(default_accounts(&bob).await.len(), 1);
}

async fn patching_the_default_mark_moves_it(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let work = connect_account(&alice, &provider, "work", json!({})).await;
    let work_id = alice.tokens().await[0]["id"].clone();
    connect_account(&alice, &provider, "home", json!({})).await;
    let path = format!("/v2/auth/tokens/{}/metadata", work_id.as_str().unwrap());
    let patched = alice.patch(&path, &json!({"is_default": true})).await.expect(200);
    assert_eq!(patched["is_default"], true);
    assert_eq!(default_accounts(&alice).await, [work_id]);
    assert_eq!(alice.token(&asking("alice", &["read"])).await, work);
}

async fn a_wider_account_is_given_when_the_default_one_lacks_the_scope(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    provider.answer_token_for_account("wide");
    let wide = asking("alice", &["read", "write"]);
    let wide_token = alice.connect(&provider, &wide).await;
    connect_account(&alice, &provider, "narrow", json!({})).await;
    assert_eq!(alice.token(&wide).await, wide_token);
}
