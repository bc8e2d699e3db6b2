//! The two operations on all Slack tokens of a workspace: what counts as a Slack token, for any owner.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{asking, with};

both_databases! {
    without_slack_tokens_there_are_none,
    a_slack_token_of_any_user_counts,
    revoking_takes_the_slack_tokens_of_all_users_and_nothing_else,
    revoking_where_nothing_is_does_no_harm,
    no_user_needs_to_be_named,
}

const EXISTS: &str = "/v2/auth/tokens/workspace/slack/exists";
const ALL: &str = "/v2/auth/tokens/workspace/slack";

async fn with_slack(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for id in ["slack", "another-slack"] {
        let slack = with(provider.definition(id), json!({"provider_type": "slack"}));
        app.register_as(slack).await;
    }
    provider
}

async fn without_slack_tokens_there_are_none(app: TestApp) {
    let provider = with_slack(&app).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(app.get(EXISTS).await.expect(200)["has_token"], false);
}

async fn a_slack_token_of_any_user_counts(app: TestApp) {
    let provider = with_slack(&app).await;
    let service = app.service_key().await.acting_for("bob");
    let question = with(asking("bob", &["read"]), json!({"provider": "slack"}));
    service.connect(&provider, &question).await;
    assert_eq!(app.get(EXISTS).await.expect(200)["has_token"], true);
}

async fn revoking_takes_the_slack_tokens_of_all_users_and_nothing_else(app: TestApp) {
    let provider = with_slack(&app).await;
    let service = app.service_key().await;
    for (user, at) in [("alice", "slack"), ("bob", "another-slack"), ("alice", "acme")] {
        let question = with(asking(user, &["read"]), json!({"provider": at}));
        service.acting_for(user).connect(&provider, &question).await;
    }
    app.delete(ALL).await.expect(200);
    assert_eq!(app.get(EXISTS).await.expect(200)["has_token"], false);
    let left = service.acting_for("alice").tokens().await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["provider_id"], "acme");
    assert!(service.acting_for("bob").tokens().await.is_empty());
    assert_eq!(app.get("/v2/auth/providers").await.json().as_array().unwrap().len(), 3, "the providers stay");
}

async fn revoking_where_nothing_is_does_no_harm(app: TestApp) {
    app.delete(ALL).await.expect(200);
}

async fn no_user_needs_to_be_named(app: TestApp) {
    let service = app.service_key().await;
    service.get(EXISTS).await.expect(200);
    service.delete(ALL).await.expect(200);
}
