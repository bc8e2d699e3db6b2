//! Programs that call with LangSmith's credentials, with exactly the bodies and headers that they send.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, with};
use crate::support::langsmith::{ALICES_KEY, SERVICE_KEY, WORKSPACE, WithLangSmith, service_jwt};

both_databases! {
    the_tool_server_gets_a_token_for_the_user_of_the_forwarded_headers,
    the_tool_server_gets_a_token_for_the_user_that_it_names,
    the_tool_server_hands_on_why_there_is_no_token,
    open_swe_gets_a_token_with_a_service_jwt,
    open_swe_gets_a_token_with_an_api_key,
}

/// LangChain's tool server: it forwards five headers, and calls without `/api-host`.
fn tool_server(app: &WithLangSmith, key: &str) -> Caller {
    app.anonymous()
        .with("authorization", &format!("Bearer {key}"))
        .with("x-api-key", key)
        .with("x-tenant-id", WORKSPACE)
        .with("x-user-id", "ls-alice")
        .with("x-service-key", &service_jwt("ls-alice", WORKSPACE))
}

fn tool_servers_body(user: &Value) -> Value {
    json!({"user_id": user, "provider": "acme", "scopes": ["read"], "use_agent_builder_public_oauth": true})
}

async fn the_tool_server_gets_a_token_for_the_user_of_the_forwarded_headers(app: WithLangSmith) {
    let provider = AuthorizationServer::start().await;
    app.alice().register(&provider).await;
    let caller = tool_server(&app, ALICES_KEY);
    let token = caller.connect(&provider, &tool_servers_body(&Value::Null)).await;
    let answer = caller.authenticate(&tool_servers_body(&Value::Null)).await;
    assert_eq!((&answer["status"], &answer["token"]), (&json!("completed"), &json!(token)));
    assert_eq!(answer["user_id"], "ls-alice");
}

async fn the_tool_server_gets_a_token_for_the_user_that_it_names(app: WithLangSmith) {
    let provider = AuthorizationServer::start().await;
    app.alice().register(&provider).await;
    let caller = tool_server(&app, SERVICE_KEY);
    let token = caller.connect(&provider, &tool_servers_body(&json!("ls-alice"))).await;
    assert_eq!(app.alice().token(&tool_servers_body(&Value::Null)).await, token);
}

async fn the_tool_server_hands_on_why_there_is_no_token(app: WithLangSmith) {
    let explains = |answer: &Answer, status, code| {
        let body = answer.expect_error(status, code);
        assert!(body["detail"].as_str().unwrap().ends_with('.'), "a sentence: {body}");
    };
    let unknown = tool_server(&app, ALICES_KEY).try_authenticate(&tool_servers_body(&Value::Null)).await;
    explains(&unknown, 404, "not_found");
    let refused = tool_server(&app, "lsv2_pt_unknown").try_authenticate(&tool_servers_body(&Value::Null)).await;
    explains(&refused, 401, "unauthorized");
    let nobody = tool_server(&app, SERVICE_KEY).try_authenticate(&tool_servers_body(&Value::Null)).await;
    nobody.expect_fault("body.user_id", "missing");
}

/// Open SWE, with the header that proves who it is.
fn open_swe(app: &WithLangSmith, name: &str, value: &str) -> Caller {
    app.anonymous().with("x-tenant-id", WORKSPACE).with("x-user-id", "ls-alice").with(name, value)
}

async fn gets_a_token(app: &WithLangSmith, caller: &Caller) {
    let provider = AuthorizationServer::start().await;
    app.alice().register_as(provider.definition("github")).await;
    let body = json!({"provider": "github", "scopes": ["repo"], "user_id": "ls-alice", "ls_user_id": "ls-alice"});
    let token = caller.connect(&provider, &body).await;
    assert_eq!(caller.token(&body).await, token);
    let alices = app.alice().token(&json!({"provider": "github", "scopes": ["repo"]})).await;
    assert_eq!(alices, token, "it is the token of alice");
    let others = with(body, json!({"user_id": "ls-bob", "ls_user_id": "ls-bob"}));
    assert_eq!(caller.authenticate(&others).await["status"], "pending");
}

async fn open_swe_gets_a_token_with_a_service_jwt(app: WithLangSmith) {
    let caller = open_swe(&app, "x-service-key", &service_jwt("ls-alice", WORKSPACE));
    gets_a_token(&app, &caller).await;
}

async fn open_swe_gets_a_token_with_an_api_key(app: WithLangSmith) {
    let caller = open_swe(&app, "x-api-key", SERVICE_KEY);
    gets_a_token(&app, &caller).await;
}
