//! API keys: their roles and kinds, how long they work, and the headers that say for whom a call is made.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking};

both_databases! {
    an_agent_key_may_authenticate_wait_and_ask_for_tokens,
    an_agent_key_may_not_administer,
    a_viewer_key_may_only_look,
    a_personal_key_acts_for_its_own_user,
    a_personal_key_may_name_its_own_user,
    a_personal_key_cannot_act_for_somebody_else,
    a_service_key_acts_for_the_user_it_names,
    a_service_key_that_names_no_user_is_told_so,
    a_service_key_needs_no_user_to_administer_providers,
    the_workspace_of_the_key_may_be_named,
    a_workspace_beyond_the_key_is_refused,
    an_expired_key_is_unauthorized,
    an_ill_formed_user_header_is_refused,
    a_key_of_langsmith_is_refused_with_the_reason,
    a_user_header_that_cannot_be_read_is_refused_and_connects_nothing,
    a_workspace_header_that_cannot_be_read_is_refused,
    a_key_header_that_cannot_be_read_is_unauthorized,
    without_the_role_admin_only_connections_of_the_own_user_are_listed,
}

async fn a_key_of_langsmith_is_refused_with_the_reason(app: TestApp) {
    let key = "lsv2_pt_0123456789abcdef0123456789abcdef_0123456789";
    let refused = app.with_key(key).get("/v2/auth/tokens").await.expect_error(401, "unauthorized");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("LangSmith") && detail.contains("api-key create"), "{detail}");
    assert!(!detail.contains(key), "{detail}");
}

const ADMINISTRATION: [(&str, &str, &str); 8] = [
    ("POST", "/v2/auth/providers", "{}"),
    ("PATCH", "/v2/auth/providers/acme", "{}"),
    ("DELETE", "/v2/auth/providers/acme", ""),
    ("DELETE", "/v2/auth/tokens?provider_id=acme", ""),
    ("DELETE", "/v2/auth/tokens/workspace/slack", ""),
    ("POST", "/v2/auth/agents/helper/connections", "{}"),
    ("DELETE", "/v2/auth/tokens/0190f3c8-0000-7000-8000-000000000000", ""),
    ("PATCH", "/v2/auth/tokens/0190f3c8-0000-7000-8000-000000000000/metadata", "{}"),
];

async fn is_forbidden(caller: &Caller, method: &str, path: &str, body: &'static str) {
    let answer = caller
        .with("content-type", "application/json")
        .send(method.parse::<Method>().unwrap(), path, Body::from(body))
        .await;
    assert_eq!(answer.status.as_u16(), 403, "{method} {path}");
    answer.expect_error(403, "forbidden");
}

async fn an_agent_key_may_authenticate_wait_and_ask_for_tokens(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let agent = app.new_key(&["--role", "agent", "--kind", "service"]).await.acting_for("alice");
    agent.connect(&provider, &asking("alice", &["read"])).await;
    assert!(agent.has_token().await);
    assert_eq!(agent.tokens().await.len(), 1);
    let batch = json!({"provider_ids": ["acme"]});
    let answer = agent.post("/v2/auth/tokens/exists/batch", &batch).await;
    assert_eq!(answer.expect(200)["has_token"]["acme"], true);
}

async fn an_agent_key_may_not_administer(app: TestApp) {
    app.register(&AuthorizationServer::start().await).await;
    let agent = app.new_key(&["--role", "agent", "--kind", "service"]).await.acting_for("alice");
    for (method, path, body) in ADMINISTRATION {
        is_forbidden(&agent, method, path, body).await;
    }
    app.get("/v2/auth/providers/acme").await.expect(200);
}

async fn a_viewer_key_may_only_look(app: TestApp) {
    app.register(&AuthorizationServer::start().await).await;
    let viewer = app.new_key(&["--role", "viewer", "--kind", "service"]).await.acting_for("alice");
    viewer.get("/v2/auth/providers").await.expect(200);
    viewer.get("/v2/auth/providers/acme").await.expect(200);
    viewer.get("/v2/auth/tokens").await.expect(200);
    let question = r#"{"provider": "acme", "scopes": []}"#;
    is_forbidden(&viewer, "POST", "/v2/auth/authenticate", question).await;
    for (method, path, body) in ADMINISTRATION {
        is_forbidden(&viewer, method, path, body).await;
    }
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn a_personal_key_acts_for_its_own_user(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let alice = personal(&app, "alice").await;
    let bob = personal(&app, "bob").await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    assert!(alice.has_token().await);
    assert!(!bob.has_token().await);
    assert!(!app.has_token().await, "the bootstrap key's user is `admin`");
}

async fn personal(app: &TestApp, user: &str) -> Caller {
    let options = ["--role", "admin", "--kind", "personal", "--user", user];
    app.new_key(&options).await
}

async fn a_personal_key_may_name_its_own_user(app: TestApp) {
    personal(&app, "alice").await.acting_for("alice").get("/v2/auth/tokens").await.expect(200);
}

async fn a_personal_key_cannot_act_for_somebody_else(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let alice = personal(&app, "alice").await;
    alice.connect(&provider, &asking("alice", &["read"])).await;
    let bob_as_alice = personal(&app, "bob").await.acting_for("alice");
    let listed = bob_as_alice.get("/v2/auth/tokens").await;
    assert!(listed.status.is_client_error() || listed.json() == json!([]), "{listed:?}");
    bob_as_alice.delete("/v2/auth/tokens?provider_id=acme").await;
    assert!(alice.has_token().await, "the token of alice is still there");
}

async fn a_service_key_acts_for_the_user_it_names(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let service = app.service_key().await;
    let alice = service.acting_for("alice");
    alice.connect(&provider, &asking("alice", &["read"])).await;
    assert!(alice.has_token().await);
    assert!(!service.acting_for("bob").has_token().await);
}

async fn a_service_key_that_names_no_user_is_told_so(app: TestApp) {
    app.register(&AuthorizationServer::start().await).await;
    let service = app.service_key().await;
    for answer in [
        service.get("/v2/auth/tokens").await,
        service.get("/v2/auth/tokens/exists?provider_id=acme").await,
        service.post("/v2/auth/tokens/exists/batch", &json!({"provider_ids": ["acme"]})).await,
        service.delete("/v2/auth/tokens?provider_id=acme").await,
        service.delete("/v2/auth/tokens/0190f3c8-0000-7000-8000-000000000000").await,
    ] {
        let faults = answer.faults();
        let place = faults[0].0.to_lowercase();
        assert!(place.starts_with("header."), "{faults:?}");
        assert!(answer.text().to_lowercase().contains("x-user-id"), "it says what to send: {}", answer.text());
    }
}

async fn a_service_key_needs_no_user_to_administer_providers(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let service = app.service_key().await;
    service.register(&provider).await;
    service.get("/v2/auth/providers").await.expect(200);
    service.patch("/v2/auth/providers/acme", &json!({"name": "New"})).await.expect(200);
    service.connect(&provider, &asking("alice", &["read"])).await;
    service.delete("/v2/auth/providers/acme").await.expect(200);
}

async fn the_workspace_of_the_key_may_be_named(app: TestApp) {
    let key = app.service_key_in("org-a", "space-1").await;
    let named = key.with("x-tenant-id", "space-1");
    named.get("/v2/auth/providers").await.expect(200);
}

async fn a_workspace_beyond_the_key_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let owner = app.service_key_in("org-b", "space-2").await;
    owner.register(&provider).await;
    let key = app.service_key_in("org-a", "space-1").await;
    for workspace in ["space-2", "space-1 ", "", "*", "no-such-space"] {
        let caller = key.with("x-tenant-id", workspace);
        let answer = caller.get("/v2/auth/providers").await;
        if answer.status.is_success() {
            assert_eq!(answer.json(), json!([]), "X-Tenant-Id: {workspace:?}");
            assert_ne!(workspace, "space-2", "a foreign workspace is refused");
            continue;
        }
        assert!([401, 403, 404].contains(&answer.status.as_u16()));
        let body = answer.json();
        assert!(body["detail"].is_string() && body["code"].is_string());
    }
}

async fn an_expired_key_is_unauthorized(app: TestApp) {
    let options = ["--kind", "service", "--expires-in-days", "1"];
    let caller = app.new_key(&options).await.acting_for("alice");
    caller.get("/v2/auth/tokens").await.expect(200);
    app.advance(23 * 3600);
    caller.get("/v2/auth/tokens").await.expect(200);
    app.advance(2 * 3600);
    caller.get("/v2/auth/tokens").await.expect_error(401, "unauthorized");
}

async fn an_ill_formed_user_header_is_refused(app: TestApp) {
    let service = app.service_key().await;
    for user in ["", &"u".repeat(513)] {
        let answer = service.acting_for(user).get("/v2/auth/tokens").await;
        answer.faults();
    }
}

/// Bytes that a header may have and that are not visible ASCII.
const UNREADABLE: [&[u8]; 3] = [b"j\xc3\xb6rg", b"\xff", b"alice\xa0"];

async fn a_user_header_that_cannot_be_read_is_refused_and_connects_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let service = app.service_key().await;
    let bob = service.acting_for("bob");
    bob.connect(&provider, &asking("bob", &["read"])).await;
    let token = bob.tokens().await[0]["id"].clone();
    for user in UNREADABLE {
        let caller = service.with_also("x-user-id", user);
        let body = json!({"oauth_token_id": token});
        caller.post("/v2/auth/agents/x/connections", &body).await.expect_fault("header.x-user-id", "value_error");
        caller.get("/v2/auth/tokens").await.expect_fault("header.x-user-id", "value_error");
        let question = json!({"provider": "acme", "scopes": ["read"], "user_id": "bob"});
        caller.try_authenticate(&question).await.expect_fault("header.x-user-id", "value_error");
    }
    let listed = service.get("/v2/auth/agents/x/connections").await.expect(200);
    assert_eq!(listed["data"], json!([]));
}

async fn a_workspace_header_that_cannot_be_read_is_refused(app: TestApp) {
    for workspace in UNREADABLE {
        let caller = app.with_also("x-tenant-id", workspace);
        caller.get("/v2/auth/providers").await.expect_fault("header.x-tenant-id", "value_error");
    }
}

async fn a_key_header_that_cannot_be_read_is_unauthorized(app: TestApp) {
    for key in UNREADABLE {
        let by_key = app.anonymous().with_also("x-api-key", key).get("/v2/auth/providers").await;
        let refused = by_key.expect_error(401, "unauthorized");
        assert!(refused["detail"].as_str().unwrap().contains("X-Api-Key"), "{refused}");
        let bearer = [b"Bearer ", key].concat();
        let by_bearer = app.anonymous().with_also("authorization", &bearer).get("/v2/auth/providers").await;
        let refused = by_bearer.expect_error(401, "unauthorized");
        assert!(refused["detail"].as_str().unwrap().contains("Authorization"), "{refused}");
    }
}

async fn without_the_role_admin_only_connections_of_the_own_user_are_listed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let admin = app.service_key().await;
    for user in ["alice", "bob"] {
        let caller = admin.acting_for(user);
        caller.connect(&provider, &asking(user, &["read"])).await;
        caller.connect_agent("helper", &caller.tokens().await[0]["id"]).await;
    }
    let listed = async |caller: &Caller| {
        let answer = caller.get("/v2/auth/agents/helper/connections").await.expect(200);
        let connections = answer["data"].as_array().unwrap().clone();
        connections.into_iter().map(|connection| connection["oauth_token_id"].clone()).collect::<Vec<_>>()
    };
    let of_alice = admin.acting_for("alice").tokens().await[0]["id"].clone();
    assert_eq!(listed(&admin).await.len(), 2);
    for role in ["viewer", "agent"] {
        let service = app.new_key(&["--role", role, "--kind", "service"]).await;
        assert_eq!(listed(&service.acting_for("alice")).await, std::slice::from_ref(&of_alice), "{role}");
        assert_eq!(listed(&service.acting_for("carol")).await.len(), 0, "{role}");
        service.get("/v2/auth/agents/helper/connections").await.expect_fault("header.x-user-id", "missing");
        let personal = app.new_key(&["--role", role, "--kind", "personal", "--user", "alice"]).await;
        assert_eq!(listed(&personal).await, std::slice::from_ref(&of_alice), "{role}");
    }
}
