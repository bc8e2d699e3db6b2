//! Who a caller is: what LangSmith says becomes the organization, the workspace, the user and the role.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{Caller, acme, asking, with};
use crate::support::database::Database;
use crate::support::langsmith::{
    ALICES_KEY, COOKIE, FOREIGN_KEY, ORGANIZATION, OTHER_WORKSPACE, SERVICE_KEY, WORKSPACE, WithLangSmith, alice,
    service_jwt,
};

both_databases! {
    a_personal_key_acts_as_its_user_in_its_workspace,
    a_user_without_an_ls_user_id_is_known_by_the_user_id,
    a_service_key_serves_the_user_that_the_body_names,
    a_service_key_is_nobody_even_if_it_names_a_user,
    a_service_jwt_is_forwarded_and_never_validated_here,
    a_bearer_token_is_enough,
    a_cookie_is_enough,
    keys_of_this_server_keep_working_and_are_never_forwarded,
    a_key_of_this_server_decides_if_langsmith_headers_come_with_it,
    without_a_credential_langsmith_is_not_called,
    only_the_listed_headers_are_forwarded,
    the_workspace_that_langsmith_names_may_be_named,
    a_workspace_that_langsmith_does_not_name_is_refused,
    only_the_listed_workspaces_are_accepted,
    by_default_langsmith_users_administer_their_workspace,
    with_the_role_agent_providers_are_managed_with_keys_of_this_server,
}

async fn a_personal_key_acts_as_its_user_in_its_workspace(app: WithLangSmith) {
    let provider = AuthorizationServer::start().await;
    let created = app.alice().register_as(provider.definition("acme")).await;
    assert_eq!(created["organization_id"], ORGANIZATION);
    let question = json!({"provider": "acme", "scopes": ["read"]});
    let token = app.alice().connect(&provider, &question).await;
    let answer = app.alice().authenticate(&question).await;
    assert_eq!((&answer["token"], &answer["user_id"]), (&json!(token), &json!("ls-alice")));
    assert!(app.alice().has_token().await);

    assert!(!app.bob().has_token().await, "bob is in the same workspace, and has no token");
    assert_eq!(app.bob().authenticate(&question).await["status"], "pending");
    app.carol_elsewhere().try_authenticate(&question).await.expect_error(404, "not_found");
    app.try_authenticate(&question).await.expect_error(404, "not_found");
}

async fn a_user_without_an_ls_user_id_is_known_by_the_user_id(app: WithLangSmith) {
    let provider = AuthorizationServer::start().await;
    app.alice().register(&provider).await;
    for absent in [json!(null), json!("")] {
        app.advance(60);
        app.langsmith.show(Reply::json(with(alice(), json!({"ls_user_id": absent}))));
        let answer = app.alice().authenticate(&json!({"provider": "acme", "scopes": []})).await;
        assert_eq!(answer["user_id"], "auth-alice");
    }
}

async fn a_service_key_serves_the_user_that_the_body_names(app: WithLangSmith) {
    let provider = AuthorizationServer::start().await;
    app.service().register(&provider).await;
    let question = json!({"provider": "acme", "scopes": ["read"]});
    app.service().try_authenticate(&question).await.expect_fault("body.user_id", "missing");
    let token = app.service().connect(&provider, &asking("ls-alice", &["read"])).await;
    assert_eq!(app.alice().token(&question).await, token);
}

async fn a_service_key_is_nobody_even_if_it_names_a_user(app: WithLangSmith) {
    app.service().register_as(acme()).await;
    let caller = app.service().acting_for("ls-alice");
    for answer in [
        caller.get("/v2/auth/tokens").await,
        caller.get("/v2/auth/tokens/exists?provider_id=acme").await,
        caller.delete("/v2/auth/tokens?provider_id=acme").await,
        caller.delete("/v2/auth/tokens/0190f3c8-0000-7000-8000-000000000000").await,
    ] {
        answer.expect_fault("header.x-api-key", "value_error");
        assert!(answer.text().contains("personal API key"), "{}", answer.text());
    }
}

async fn a_service_jwt_is_forwarded_and_never_validated_here(app: WithLangSmith) {
    app.service().register_as(acme()).await;
    let jwt = service_jwt("ls-alice", WORKSPACE);
    let tampered = format!("{}x", service_jwt("ls-bob", WORKSPACE));
    for (jwt, user) in [(&jwt, "ls-alice"), (&tampered, "ls-bob")] {
        let caller = app.anonymous().with("x-service-key", jwt);
        let answer = caller.authenticate(&json!({"provider": "acme", "scopes": []})).await;
        assert_eq!(answer["user_id"], user, "LangSmith is believed");
        assert_eq!(app.langsmith.requests().last().unwrap().header("x-service-key"), jwt);
    }
    app.advance(60);
    app.langsmith.show(Reply::json(json!({"detail": "Invalid token"})).status(401));
    let caller = app.anonymous().with("x-service-key", &jwt);
    caller.get("/v2/auth/providers").await.expect_error(401, "unauthorized");
}

async fn a_bearer_token_is_enough(app: WithLangSmith) {
    let caller = app.anonymous().with("authorization", &format!("Bearer {ALICES_KEY}"));
    caller.get("/v2/auth/tokens").await.expect(200);
    let unknown = app.anonymous().with("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x");
    unknown.get("/v2/auth/tokens").await.expect_error(401, "unauthorized");
}

async fn a_cookie_is_enough(app: WithLangSmith) {
    app.anonymous().with("cookie", COOKIE).get("/v2/auth/tokens").await.expect(200);
    app.anonymous().with("cookie", "theme=dark").get("/v2/auth/tokens").await.expect_error(401, "unauthorized");
}

async fn keys_of_this_server_keep_working_and_are_never_forwarded(app: WithLangSmith) {
    let own = app.new_key(&["--role", "viewer", "--expires-in-days", "1"]).await;
    own.get("/v2/auth/providers").await.expect(200);
    app.get("/v2/auth/providers").await.expect(200);
    let bootstrap = format!("Bearer {}", app.database.bootstrap_key);
    app.anonymous().with("authorization", &bootstrap).get("/v2/auth/providers").await.expect(200);
    app.advance(48 * 3600);
    own.get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    let unknown = app.anonymous().with_key("aauth_0123456789012345678901234567890123456789012");
    unknown.get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    assert_eq!(app.langsmith.count(), 0);
}

async fn a_key_of_this_server_decides_if_langsmith_headers_come_with_it(app: WithLangSmith) {
    app.register_as(acme()).await;
    let key = app.new_key(&["--role", "viewer"]).await;
    for (name, value) in [("cookie", COOKIE), ("authorization", "Bearer lsv2_pt_x"), ("x-service-key", "a.b.c")] {
        for own in [&key, &**app] {
            let both = own.with(name, value);
            assert_eq!(both.get("/v2/auth/providers").await.expect(200)[0]["provider_id"], "acme", "{name}");
        }
    }
    let own_key = app.database.bootstrap_key.clone();
    let bearer = app.alice().with("authorization", &format!("Bearer {own_key}"));
    assert_eq!(bearer.get("/v2/auth/providers").await.expect(200)[0]["provider_id"], "acme");
    assert_eq!(app.langsmith.count(), 0);
}

async fn without_a_credential_langsmith_is_not_called(app: WithLangSmith) {
    let nobody = app.anonymous();
    for caller in [
        nobody.clone(),
        nobody.with("x-tenant-id", WORKSPACE),
        nobody.with("x-user-id", "ls-alice"),
        nobody.with("x-api-key", ""),
        nobody.with("authorization", "").with("cookie", ""),
    ] {
        caller.get("/v2/auth/providers").await.expect_error(401, "unauthorized");
    }
    assert_eq!(app.langsmith.count(), 0);
}

async fn only_the_listed_headers_are_forwarded(app: WithLangSmith) {
    let forwarded = [
        ("authorization", "Bearer of-the-agent"),
        ("x-tenant-id", WORKSPACE),
        ("x-api-key", ALICES_KEY),
        ("x-service-key", "a.b.c"),
        ("cookie", COOKIE),
        ("x-user-id", "ls-alice"),
    ];
    let others = [
        ("x-forwarded-for", "198.51.100.7"),
        ("x-request-id", "trace-1"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("origin", "https://langsmith.example.com"),
        ("referer", "https://langsmith.example.com/settings"),
        ("user-agent", "an agent"),
        ("content-type", "application/json"),
        ("x-organization-id", "another"),
    ];
    let mut caller = app.anonymous().clone();
    for (name, value) in forwarded.into_iter().chain(others) {
        caller = caller.with(name, value);
    }
    caller.get("/v2/auth/providers?secret=of-the-query").await.expect(200);

    let requests = app.langsmith.requests();
    let [request] = &requests[..] else { panic!("one request: {requests:?}") };
    for (name, value) in forwarded {
        assert_eq!(request.headers.get(name).unwrap().as_bytes(), value.as_bytes(), "{name}");
    }
    let names: BTreeSet<_> = request.headers.keys().map(axum::http::HeaderName::as_str).collect();
    let own = ["accept", "host", "user-agent"];
    let expected: BTreeSet<_> = forwarded.into_iter().map(|(name, _)| name).chain(own).collect();
    assert_eq!(names, expected);
    assert!(request.header("user-agent").starts_with("agent-auth/"));
    assert!(request.body.is_empty());
}

async fn the_workspace_that_langsmith_names_may_be_named(app: WithLangSmith) {
    app.alice().with("x-tenant-id", WORKSPACE).get("/v2/auth/providers").await.expect(200);
}

async fn a_workspace_that_langsmith_does_not_name_is_refused(app: WithLangSmith) {
    app.carol_elsewhere().register_as(acme()).await;
    for workspace in [OTHER_WORKSPACE, &WORKSPACE.to_uppercase(), "*", "no-such-workspace"] {
        let caller = app.alice().with("x-tenant-id", workspace);
        caller.get("/v2/auth/providers").await.expect_error(403, "forbidden");
    }
}

async fn only_the_listed_workspaces_are_accepted(database: Database) {
    let app = WithLangSmith::start_with(database, |settings| {
        settings.langsmith_tenant_ids = Some(format!("11111111-2222-4333-8444-555555555555, {WORKSPACE} ,"));
    })
    .await;
    app.alice().get("/v2/auth/providers").await.expect(200);
    let refused = app.carol_elsewhere().get("/v2/auth/providers").await.expect_error(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("LANGSMITH_TENANT_IDS"), "{refused}");
    app.get("/v2/auth/providers").await.expect(200);
}

async fn by_default_langsmith_users_administer_their_workspace(app: WithLangSmith) {
    let provider = AuthorizationServer::start().await;
    app.alice().register(&provider).await;
    app.alice().connect(&provider, &asking("ls-alice", &["read"])).await;
    app.alice().patch("/v2/auth/providers/acme", &json!({"name": "New"})).await.expect(200);
    let id = app.alice().tokens().await[0]["id"].clone();
    app.alice().connect_agent("helper", &id).await;
    app.alice().delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    app.alice().delete("/v2/auth/providers/acme").await.expect(200);
}

async fn with_the_role_agent_providers_are_managed_with_keys_of_this_server(database: Database) {
    let app = WithLangSmith::start_with(database, |settings| {
        "agent".clone_into(&mut settings.langsmith_role);
    })
    .await;
    let provider = AuthorizationServer::start().await;
    let definition = provider.definition("acme");
    let refused = async |caller: Caller| {
        caller.post("/v2/auth/providers", &definition).await.expect_error(403, "forbidden");
        caller.delete("/v2/auth/providers/acme").await.expect_error(403, "forbidden");
        caller.delete("/v2/auth/tokens?provider_id=acme").await.expect_error(403, "forbidden");
    };
    for key in [ALICES_KEY, SERVICE_KEY, FOREIGN_KEY] {
        refused(app.anonymous().with_key(key)).await;
    }
    app.service_key_in(ORGANIZATION, WORKSPACE).await.register_as(definition.clone()).await;
    let token = app.alice().connect(&provider, &json!({"provider": "acme", "scopes": ["read"]})).await;
    let listed: Value = app.alice().get("/v2/auth/providers").await.expect(200);
    assert_eq!((token.is_empty(), &listed[0]["provider_id"]), (false, &json!("acme")));
}
