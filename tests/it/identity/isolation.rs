//! Records of another workspace or organization are answered exactly like records that do not exist.
//! Checked for every operation that takes an id, always with administrator keys.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::random_text;

both_databases! {
    another_workspace_sees_nothing_that_exists,
    another_organization_sees_nothing_that_exists,
    two_workspaces_may_use_the_same_provider_id,
    the_slack_operations_stay_in_their_workspace,
    a_users_token_is_not_another_users,
    deleting_the_tokens_of_one_user_leaves_those_of_another,
    two_organizations_may_have_workspaces_of_the_same_name,
}

/// Everything that can be named in a request.
struct Names {
    provider: String,
    token: String,
    connection: String,
    auth_id: String,
    state: String,
}

impl Names {
    fn of_nothing() -> Self {
        Self {
            provider: "acmf".to_owned(),
            token: Uuid::now_v7().to_string(),
            connection: Uuid::now_v7().to_string(),
            auth_id: Uuid::new_v4().to_string(),
            state: random_text("state"),
        }
    }
}

/// Asks every operation for those names; gives what was asked with the answer.
async fn asks_for_all(caller: &Caller, names: &Names) -> Vec<(String, Answer)> {
    let Names { provider, token, connection, auth_id, state } = names;
    let mut answers = Vec::new();
    let question = with(asking("alice", &["read"]), json!({"provider": provider}));
    for (path, body) in [
        ("/v2/auth/authenticate".to_owned(), question),
        ("/v2/auth/tokens/exists/batch".to_owned(), json!({"provider_ids": [provider]})),
        ("/v2/auth/agents/intruder/connections".to_owned(), json!({"oauth_token_id": token})),
        (format!("/v2/auth/callback/{provider}"), json!({"code": "a-code", "state": state})),
    ] {
        let answer = caller.post(&path, &body).await;
        answers.push((format!("POST {path}"), answer));
    }
    for path in [
        format!("/v2/auth/providers/{provider}"),
        format!("/v2/auth/wait/{auth_id}?timeout=0"),
        format!("/v2/auth/tokens?provider_id={provider}"),
        format!("/v2/auth/tokens/exists?provider_id={provider}"),
        "/v2/auth/agents/helper/connections".to_owned(),
    ] {
        let answer = caller.get(&path).await;
        answers.push((format!("GET {path}"), answer));
    }
    for (path, body) in [
        (format!("/v2/auth/providers/{provider}"), json!({"name": "Mine now"})),
        (format!("/v2/auth/tokens/{token}/metadata"), json!({"provider_account_label": "mine now"})),
    ] {
        let answer = caller.patch(&path, &body).await;
        answers.push((format!("PATCH {path}"), answer));
    }
    for path in [
        format!("/v2/auth/agents/helper/connections/{connection}"),
        format!("/v2/auth/tokens?provider_id={provider}"),
        format!("/v2/auth/tokens/{token}"),
        format!("/v2/auth/providers/{provider}"),
    ] {
        let answer = caller.delete(&path).await;
        answers.push((format!("DELETE {path}"), answer));
    }
    answers
}

/// The answer, with the names of existing records replaced by those of missing ones.
fn disguised(answer: &Answer, real: &Names, nothing: &Names) -> (u16, String) {
    let text = answer
        .text()
        .replace(&real.provider, &nothing.provider)
        .replace(&real.token, &nothing.token)
        .replace(&real.connection, &nothing.connection)
        .replace(&real.auth_id, &nothing.auth_id);
    (answer.status.as_u16(), text)
}

async fn sees_nothing(app: TestApp, intruder: Caller) {
    let provider = AuthorizationServer::start().await;
    let owner = app.service_key_in("org-a", "space-1").await;
    let alice = owner.acting_for("alice");
    owner.register(&provider).await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    let token = alice.tokens().await[0]["id"].clone();
    let connection = alice.connect_agent("helper", &token).await;
    let pending = alice.begin(&asking("bob", &["read"])).await;
    let real = Names {
        provider: "acme".to_owned(),
        token: token.as_str().unwrap().to_owned(),
        connection: connection["id"].as_str().unwrap().to_owned(),
        auth_id: pending.auth_id.clone(),
        state: pending.state(),
    };
    let nothing = Names::of_nothing();

    let before = belongings(&alice).await;
    let intruder = intruder.acting_for("alice");
    let about_real = asks_for_all(&intruder, &real).await;
    let about_nothing = asks_for_all(&intruder, &nothing).await;

    for ((asked, to_real), (_, to_nothing)) in about_real.iter().zip(&about_nothing) {
        assert_eq!(
            disguised(to_real, &real, &nothing),
            (to_nothing.status.as_u16(), to_nothing.text()),
            "{asked} tells that it exists"
        );
        let body = to_real.json();
        let empty = body == json!([]) || body == json!({"data": []});
        let absent = body["status"] == "not_found" || body["has_token"] == false || body["has_token"]["acme"] == false;
        let refused = to_real.status.as_u16() == 404 || body["code"] == "invalid_state";
        assert!(refused || empty || absent, "{asked}: {to_real:?}");
    }
    assert_eq!(belongings(&alice).await, before, "nothing is touched, whatever was answered");
    alice.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(alice.look(&pending.auth_id).await["status"], "completed");
}

/// Everything of Alice that an intruder could have changed.
async fn belongings(alice: &Caller) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/v2/auth/providers", "/v2/auth/tokens", "/v2/auth/agents/helper/connections"] {
        all.push(alice.get(path).await.expect(200));
    }
    all
}

async fn another_workspace_sees_nothing_that_exists(app: TestApp) {
    let intruder = app.service_key_in("org-a", "space-2").await;
    sees_nothing(app, intruder).await;
}

async fn another_organization_sees_nothing_that_exists(app: TestApp) {
    let intruder = app.service_key_in("org-b", "space-9").await;
    sees_nothing(app, intruder).await;
}

async fn two_organizations_may_have_workspaces_of_the_same_name(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let here = app.service_key_in("org-a", "main").await;
    let there = app.service_key_in("org-b", "main").await;
    here.register(&provider).await;
    there.get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
    there.register(&provider).await;
    here.connect(&provider, &asking("alice", &["read"])).await;
    there.begin(&asking("alice", &["read"])).await;
}

async fn two_workspaces_may_use_the_same_provider_id(app: TestApp) {
    let (first, second) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    let here = app.service_key_in("org-a", "space-1").await;
    let there = app.service_key_in("org-a", "space-2").await;
    here.register(&first).await;
    there.register(&second).await;
    let question = asking("alice", &["read"]);
    let here_token = here.connect(&first, &question).await;
    let there_token = there.connect(&second, &question).await;
    assert_ne!(here_token, there_token);
    assert_eq!(here.token(&question).await, here_token);
    assert_eq!(there.token(&question).await, there_token);
    assert_eq!(first.exchanges().len(), 1);
    assert_eq!(second.exchanges().len(), 1);
}

async fn the_slack_operations_stay_in_their_workspace(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let here = app.service_key_in("org-a", "space-1").await;
    let there = app.service_key_in("org-a", "space-2").await;
    let slack = with(provider.definition("acme"), json!({"provider_type": "slack"}));
    here.register_as(slack).await;
    here.connect(&provider, &asking("alice", &["read"])).await;
    let exists = "/v2/auth/tokens/workspace/slack/exists";
    assert_eq!(there.get(exists).await.expect(200)["has_token"], false);
    there.delete("/v2/auth/tokens/workspace/slack").await.expect(200);
    assert_eq!(here.get(exists).await.expect(200)["has_token"], true);
}

async fn a_users_token_is_not_another_users(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let service = app.service_key().await;
    let (alice, bob) = (service.acting_for("alice"), service.acting_for("bob"));
    service.register(&provider).await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    let token = alice.tokens().await[0]["id"].clone();
    let token = token.as_str().unwrap();
    let before = belongings(&alice).await;
    assert_eq!(bob.tokens().await, Vec::<Value>::new());
    let label = json!({"provider_account_label": "mine now", "is_default": false});
    let path = format!("/v2/auth/tokens/{token}/metadata");
    bob.patch(&path, &label).await.expect_error(404, "not_found");
    let never = bob.delete(&format!("/v2/auth/tokens/{}", Uuid::now_v7())).await;
    let foreign = bob.delete(&format!("/v2/auth/tokens/{token}")).await;
    never.expect_error(404, "not_found");
    foreign.expect_error(404, "not_found");
    assert_eq!(belongings(&alice).await, before);
    bob.begin(&asking("bob", &["read"])).await;
}

async fn deleting_the_tokens_of_one_user_leaves_those_of_another(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let service = app.service_key().await;
    let (alice, bob) = (service.acting_for("alice"), service.acting_for("bob"));
    service.register(&provider).await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    bob.connect(&provider, &asking("bob", &["read"])).await;
    alice.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    assert!(!alice.has_token().await);
    assert!(bob.has_token().await);
}
