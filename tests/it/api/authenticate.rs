//! `POST /v2/auth/authenticate`: which token is given by user, provider and scope, and when consent is needed.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with, without};

both_databases! {
    without_a_token_a_person_is_asked,
    with_a_token_it_is_given_at_once,
    the_answer_says_whose_token_it_is,
    a_subset_of_the_granted_scopes_is_completed,
    a_superset_of_the_granted_scopes_is_pending,
    no_asked_scopes_are_a_subset_of_any,
    another_user_is_pending,
    another_provider_is_pending,
    asking_twice_gives_two_requests_that_both_work,
    a_grant_of_fewer_scopes_than_asked_is_stored_as_granted,
    a_pending_request_does_not_hide_an_existing_token,
    the_current_user_is_filled_in_for_later,
    the_users_other_name_in_the_body_is_kept,
    use_agent_builder_public_oauth_is_accepted,
    check_only_finds_a_token,
    check_only_begins_nothing,
    a_question_that_names_no_user_means_the_current_one,
}

async fn started(provider: &AuthorizationServer, app: &TestApp) -> Caller {
    app.register(provider).await;
    app.service_key().await.acting_for("alice")
}

async fn without_a_token_a_person_is_asked(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let pending = alice.begin(&asking("alice", &["read"])).await;
    assert!(pending.url.starts_with(&provider.at("/authorize?")));
    assert!(!pending.auth_id.is_empty());
    assert_eq!(provider.token_requests().len(), 0);
}

async fn with_a_token_it_is_given_at_once(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = asking("alice", &["read"]);
    let token = alice.connect(&provider, &question).await;
    assert!(token.starts_with("access-"));
    let answer = alice.authenticate(&question).await;
    assert_eq!(answer["status"], "completed");
    assert_eq!(answer["token"], token.as_str());
    assert!(answer["url"].is_null() && answer["auth_id"].is_null());
    assert_eq!(provider.token_requests().len(), 1);
}

async fn the_answer_says_whose_token_it_is(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = asking("alice", &["read"]);
    alice.connect(&provider, &question).await;
    assert_eq!(alice.authenticate(&question).await["user_id"], "alice");
}

async fn a_subset_of_the_granted_scopes_is_completed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let all = asking("alice", &["read", "write", "admin"]);
    let token = alice.connect(&provider, &all).await;
    for scopes in [vec!["read"], vec!["admin", "write"], vec!["write", "write"]] {
        assert_eq!(alice.token(&asking("alice", &scopes)).await, token);
    }
}

async fn a_superset_of_the_granted_scopes_is_pending(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let token = alice.connect(&provider, &asking("alice", &["read"])).await;
    let wider = asking("alice", &["read", "write"]);
    let pending = alice.begin(&wider).await;
    assert_eq!(pending.parameter("scope").as_deref(), Some("read write"));
    assert_eq!(alice.token(&asking("alice", &["read"])).await, token);
    alice.come_back(&provider.consent(&pending.url)).await;
    assert_ne!(alice.token(&wider).await, token);
}

async fn no_asked_scopes_are_a_subset_of_any(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let token = alice.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(alice.token(&asking("alice", &[])).await, token);
}

async fn another_user_is_pending(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    alice.begin(&asking("bob", &["read"])).await;
    alice.begin(&asking("Alice", &["read"])).await;
    alice.begin(&asking("alice ", &["read"])).await;
}

async fn another_provider_is_pending(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    app.register_as(provider.definition("other")).await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    let other = with(asking("alice", &["read"]), json!({"provider": "other"}));
    alice.begin(&other).await;
}

async fn asking_twice_gives_two_requests_that_both_work(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = asking("alice", &["read"]);
    let first = alice.begin(&question).await;
    let second = alice.begin(&question).await;
    alice.come_back(&provider.consent(&second.url)).await;
    alice.come_back(&provider.consent(&first.url)).await;
    for pending in [first, second] {
        let answer = alice.look(&pending.auth_id).await;
        assert_eq!(answer["status"], "completed", "{answer}");
    }
}

async fn a_grant_of_fewer_scopes_than_asked_is_stored_as_granted(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let both = asking("alice", &["read", "write"]);
    let pending = alice.begin(&both).await;
    let callback = provider.consent_to(&pending.url, "read");
    alice.come_back(&callback).await;
    assert_eq!(alice.tokens().await[0]["scopes"], json!(["read"]));
    alice.token(&asking("alice", &["read"])).await;
    alice.begin(&both).await;
}

async fn a_pending_request_does_not_hide_an_existing_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = asking("alice", &["read"]);
    let token = alice.connect(&provider, &question).await;
    alice.begin(&with(question.clone(), json!({"force_new": true}))).await;
    assert_eq!(alice.token(&question).await, token);
}

async fn the_current_user_is_filled_in_for_later(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let under_another_name = asking("account-7 of alice", &["read"]);
    alice.connect(&provider, &under_another_name).await;
    assert!(alice.has_token().await, "by ls_user_id");
    assert!(alice.acting_for("account-7 of alice").has_token().await);
    assert!(!alice.acting_for("bob").has_token().await);
}

async fn the_users_other_name_in_the_body_is_kept(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = with(asking("account-7", &["read"]), json!({"ls_user_id": "carol"}));
    alice.connect(&provider, &question).await;
    assert!(alice.acting_for("carol").has_token().await);
    assert!(alice.acting_for("account-7").has_token().await);
    assert!(!alice.has_token().await);
}

async fn use_agent_builder_public_oauth_is_accepted(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = with(asking("alice", &["read"]), json!({"use_agent_builder_public_oauth": true}));
    let token = alice.connect(&provider, &question).await;
    assert_eq!(alice.token(&question).await, token);
}

async fn check_only_finds_a_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let question = asking("alice", &["read"]);
    let token = alice.connect(&provider, &question).await;
    let check = with(question, json!({"check_only": true}));
    assert_eq!(alice.token(&check).await, token);
}

async fn check_only_begins_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let alice = started(&provider, &app).await;
    let check = with(asking("alice", &["read"]), json!({"check_only": true}));
    let answer = alice.authenticate(&check).await;
    assert_eq!(answer["status"], "connection_required");
    for field in ["auth_id", "token"] {
        assert!(answer[field].is_null(), "{answer}");
    }
    assert!(answer["url"].as_str().is_some_and(|url| url.contains("/connect/link/")), "a way on: {answer}");
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn a_question_that_names_no_user_means_the_current_one(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = without(asking("alice", &["read"]), "user_id");
    let token = app.connect(&provider, &question).await;
    assert_eq!(app.token(&question).await, token);
    assert!(app.has_token().await);
    let service = app.service_key().await;
    assert!(!service.acting_for("bob").has_token().await);
}
