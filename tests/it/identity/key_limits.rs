//! API keys that are limited to providers, agents or users: what they may name, and what they see.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary;
use crate::support::both_databases;
use crate::support::caller::{Caller, acme, asking, with};
use crate::support::database::Database;

both_databases! {
    a_provider_outside_a_limit_is_refused_before_anything_is_read_or_begun,
    a_key_limited_to_providers_sees_and_manages_only_those,
    a_key_limited_to_agents_must_name_one_of_them,
    an_agents_key_uses_what_is_connected_to_its_agent_and_does_not_delete_it,
    an_agents_key_cannot_connect_what_it_could_not_use_before,
    a_key_limited_to_users_cannot_name_another_user_anywhere,
    a_waiter_outside_the_limits_finds_nothing,
    a_code_is_taken_only_from_a_key_that_reaches_its_request,
    what_all_agents_and_users_share_is_not_changed_by_a_key_for_some_of_them,
    the_slack_operations_stay_inside_the_limits,
    the_limits_and_the_consent_of_a_key_are_listed_and_checked_when_it_is_made,
    a_denial_is_logged_with_key_route_and_what_was_outside,
}

const OUTSIDE: &str = "outside_key_limits";

async fn limited(app: &TestApp, role: &str, options: &[&str]) -> Caller {
    let mut all = vec!["--role", role, "--kind", "service"];
    all.extend(options);
    app.new_key(&all).await.acting_for("alice")
}

#[track_caller]
fn is_outside(answer: &Answer) {
    let body = answer.expect_error(403, OUTSIDE);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("limited to some"), "{detail}");
    assert!(!detail.contains("acme") && !detail.contains("bob"), "it repeats no input: {detail}");
}

/// Everything a workspace has, as its administrator sees it.
async fn everything(app: &TestApp) -> (Value, std::collections::BTreeMap<String, i64>) {
    let mut counts = app.database.row_counts().await;
    // What the server does on its own.
    counts.retain(|table, _| !["jobs", "servers"].contains(&&**table));
    (app.get("/v2/auth/providers").await.expect(200), counts)
}

async fn a_provider_outside_a_limit_is_refused_before_anything_is_read_or_begun(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let admin = app.service_key().await.acting_for("alice");
    admin.register(&provider).await;
    admin.connect(&provider, &asking("alice", &["read"])).await;
    let key = limited(&app, "admin", &["--only-provider", "other", "--only-provider", "another"]).await;
    let before = everything(&app).await;
    let path = "/v2/auth/providers/acme";
    for answer in [
        key.try_authenticate(&asking("alice", &["read"])).await,
        key.try_authenticate(&with(asking("alice", &["read"]), json!({"force_new": true}))).await,
        key.try_authenticate(&with(asking("alice", &[]), json!({"provider": "nowhere"}))).await,
        key.post("/v2/auth/callback/acme", &json!({"code": "a", "state": "b"})).await,
        key.get(path).await,
        key.get("/v2/auth/providers/nowhere").await,
        key.patch(path, &json!({"name": "Mine"})).await,
        key.delete(path).await,
        key.post("/v2/auth/providers", &provider.definition("a-new-one")).await,
        key.post(
            "/v2/auth/providers/mcp-discover",
            &json!({"provider_id": "a-new-one", "name": "N", "mcp_server_url": provider.at("/mcp")}),
        )
        .await,
        key.get("/v2/auth/tokens?provider_id=acme").await,
        key.get("/v2/auth/tokens/exists?provider_id=acme").await,
        key.delete("/v2/auth/tokens?provider_id=acme").await,
    ] {
        is_outside(&answer);
    }
    assert_eq!(everything(&app).await, before);
    assert_eq!(provider.count_elsewhere(), 0, "no server was called");
}

async fn a_key_limited_to_providers_sees_and_manages_only_those(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let admin = app.service_key().await.acting_for("alice");
    for id in ["acme", "other"] {
        admin.register_as(provider.definition(id)).await;
        admin.connect(&provider, &with(asking("alice", &["read"]), json!({"provider": id}))).await;
    }
    let of_other = admin.get("/v2/auth/tokens?provider_id=other").await.expect(200)[0]["id"].clone();
    let of_other = of_other.as_str().unwrap();
    admin.connect_agent("helper", &json!(of_other)).await;
    let key = limited(&app, "admin", &["--only-provider", "acme"]).await;

    let providers = key.get("/v2/auth/providers").await.expect(200);
    assert_eq!(providers.as_array().unwrap().iter().map(|p| &p["provider_id"]).collect::<Vec<_>>(), ["acme"]);
    assert_eq!(key.tokens().await.iter().map(|t| &t["provider_id"]).collect::<Vec<_>>(), ["acme"]);
    let batch = key.post("/v2/auth/tokens/exists/batch", &json!({"provider_ids": ["acme", "other"]})).await;
    assert_eq!(batch.expect(200)["has_token"], json!({"acme": true, "other": false}));
    assert_eq!(key.get("/v2/auth/agents/helper/connections").await.expect(200), json!({"data": []}));
    key.get(&format!("/v2/auth/tokens/{of_other}")).await.expect_error(404, "not_found");
    key.delete(&format!("/v2/auth/tokens/{of_other}")).await.expect_error(404, "not_found");
    let report = key.post(&format!("/v2/auth/tokens/{of_other}/report-invalid"), &json!({})).await;
    report.expect_error(404, "not_found");
    assert!(provider.refreshes().is_empty());

    key.patch("/v2/auth/providers/acme", &json!({"name": "Renamed"})).await.expect(200);
    key.token(&asking("alice", &["read"])).await;
    key.delete("/v2/auth/providers/acme").await.expect(200);
    key.register(&provider).await;
    assert_eq!(admin.get("/v2/auth/tokens").await.expect(200)[0]["id"], of_other);
}

async fn a_key_limited_to_agents_must_name_one_of_them(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let key = limited(&app, "agent", &["--only-agent", "helper"]).await;
    let of = |agent: &str| with(asking("alice", &["read"]), json!({"agent_id": agent}));
    is_outside(&key.try_authenticate(&asking("alice", &["read"])).await);
    is_outside(&key.try_authenticate(&of("stranger")).await);
    is_outside(&key.get("/v2/auth/agents/stranger/connections").await);
    assert_eq!(app.database.authorization_requests().await, 0);

    key.connect(&provider, &of("helper")).await;
    let service = app.service_key().await.acting_for("alice");
    service.connect(&provider, &of("stranger")).await;
    service.connect(&provider, &asking("alice", &["read"])).await;
    let seen = key.tokens().await;
    assert_eq!((seen.len(), service.tokens().await.len()), (1, 3));
    assert!(key.has_token().await);
}

async fn an_agents_key_uses_what_is_connected_to_its_agent_and_does_not_delete_it(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let admin = app.service_key().await.acting_for("alice");
    let access = admin.connect(&provider, &asking("alice", &["read"])).await;
    let token = admin.tokens().await[0]["id"].clone();
    let key = limited(&app, "admin", &["--only-agent", "helper"]).await;
    assert_eq!(key.tokens().await, Vec::<Value>::new());
    let connection = admin.connect_agent("helper", &token).await;

    assert_eq!(key.tokens().await.len(), 1);
    assert_eq!(key.token(&with(asking("alice", &["read"]), json!({"agent_id": "helper"}))).await, access);
    let path = format!("/v2/auth/tokens/{}", token.as_str().unwrap());
    key.get(&path).await.expect(200);
    key.patch(&format!("{path}/metadata"), &json!({"is_default": false})).await.expect_error(404, "not_found");
    key.delete(&path).await.expect_error(404, "not_found");
    assert_eq!(key.delete("/v2/auth/tokens?provider_id=acme").await.expect(200)["tokens"], 0);
    assert_eq!(admin.tokens().await.len(), 1, "a connection is the right to use a token, not to end it");
    let connection = connection["id"].as_str().unwrap();
    is_outside(&key.delete(&format!("/v2/auth/agents/other/connections/{connection}")).await);
    key.delete(&format!("/v2/auth/agents/helper/connections/{connection}")).await.expect(204);
    assert_eq!(key.tokens().await, Vec::<Value>::new());
}

async fn an_agents_key_cannot_connect_what_it_could_not_use_before(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let admin = app.service_key().await.acting_for("alice");
    admin.connect(&provider, &asking("alice", &["read"])).await;
    let token = json!({"oauth_token_id": admin.tokens().await[0]["id"]});
    let key = limited(&app, "admin", &["--only-agent", "helper", "--only-agent", "second"]).await;
    key.post("/v2/auth/agents/helper/connections", &token).await.expect_error(404, "not_found");
    is_outside(&key.post("/v2/auth/agents/stranger/connections", &token).await);
    admin.post("/v2/auth/agents/helper/connections", &token).await.expect(201);
    key.post("/v2/auth/agents/second/connections", &token).await.expect(201);
}

async fn a_key_limited_to_users_cannot_name_another_user_anywhere(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let admin = app.service_key().await;
    for user in ["alice", "bob"] {
        admin.acting_for(user).connect(&provider, &asking(user, &["read"])).await;
    }
    // Bob's token, which counts as Alice's too in lists, because she was the caller.
    admin.acting_for("alice").connect(&provider, &with(asking("bob", &["read"]), json!({"force_new": true}))).await;
    let key = limited(&app, "admin", &["--only-user", "alice", "--only-user", "carol"]).await;
    is_outside(&key.try_authenticate(&asking("bob", &["read"])).await);
    let platform = with(asking("alice", &["read"]), json!({"ls_user_id": "bob"}));
    is_outside(&key.try_authenticate(&platform).await);
    let bob = key.acting_for("bob");
    for answer in [
        bob.get("/v2/auth/tokens").await,
        bob.get("/v2/auth/providers").await,
        bob.try_authenticate(&asking("alice", &["read"])).await,
        bob.delete("/v2/auth/tokens?provider_id=acme").await,
    ] {
        is_outside(&answer);
    }
    key.token(&asking("alice", &["read"])).await;
    assert_eq!(admin.acting_for("alice").tokens().await.len(), 2);
    let seen = key.tokens().await;
    assert_eq!(seen.len(), 1, "whose token it is decides, not who asked for it: {seen:?}");
    assert_eq!(key.delete("/v2/auth/tokens?provider_id=acme").await.expect(200)["tokens"], 1);
    assert_eq!(admin.acting_for("bob").tokens().await.len(), 2);
}

async fn a_waiter_outside_the_limits_finds_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&with(asking("alice", &["read"]), json!({"agent_id": "helper"}))).await;
    let all = ["--only-provider", "acme", "--only-agent", "helper", "--only-user", "alice"];
    let inside = limited(&app, "agent", &all).await;
    assert_eq!(inside.look(&pending.auth_id).await["status"], "pending");
    let mut outside = Vec::new();
    for changed in [1, 3, 5] {
        let mut options = all;
        options[changed] = "other";
        let key = app.new_key(&[&["--kind", "service"], &options[..]].concat()).await;
        assert_eq!(key.look(&pending.auth_id).await, json!({"status": "not_found", "token": null}), "{options:?}");
        outside.push(key);
    }
    app.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(inside.look(&pending.auth_id).await["status"], "completed");
    for key in outside {
        assert_eq!(key.look(&pending.auth_id).await, json!({"status": "not_found", "token": null}));
    }
}

async fn a_code_is_taken_only_from_a_key_that_reaches_its_request(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let callback = "https://app.example/callback";
    app.register_as(with(provider.definition("acme"), json!({"allowed_redirect_uris": [callback]}))).await;
    let pending = app.begin(&with(asking("alice", &["read"]), json!({"redirect_uri": callback}))).await;
    let received: std::collections::HashMap<_, _> = provider.consent(&pending.url).query_pairs().into_owned().collect();
    let finalize = async |key: &Caller| key.post("/v2/auth/callback/acme", &json!(received)).await;
    for outside in [["--only-user", "bob"], ["--only-agent", "helper"]] {
        let key = app.new_key(&[&["--kind", "service"], &outside[..]].concat()).await;
        finalize(&key).await.expect_error(404, "not_found");
    }
    is_outside(&finalize(&limited(&app, "agent", &["--only-provider", "other"]).await).await);
    assert!(provider.exchanges().is_empty());
    finalize(&limited(&app, "agent", &["--only-user", "alice", "--only-provider", "acme"]).await).await.expect(200);
}

async fn what_all_agents_and_users_share_is_not_changed_by_a_key_for_some_of_them(app: TestApp) {
    app.register_as(acme()).await;
    let before = everything(&app).await;
    for some in [["--only-user", "alice"], ["--only-agent", "helper"]] {
        let key = limited(&app, "admin", &some).await;
        let before = everything(&app).await;
        let mcp = json!({"provider_id": "tools", "name": "Tools", "mcp_server_url": "https://tools.example/mcp"});
        for answer in [
            key.patch("/v2/auth/providers/acme", &json!({"name": "Mine"})).await,
            key.delete("/v2/auth/providers/acme").await,
            key.post("/v2/auth/providers", &with(acme(), json!({"provider_id": "mine"}))).await,
            key.post("/v2/auth/providers/mcp-discover", &mcp).await,
        ] {
            let body = answer.expect_error(403, OUTSIDE);
            assert!(body["detail"].as_str().unwrap().contains("share"), "{body}");
        }
        key.get("/v2/auth/providers/acme").await.expect(200);
        assert_eq!(everything(&app).await, before);
    }
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), before.0);
}

async fn the_slack_operations_stay_inside_the_limits(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let admin = app.service_key().await;
    admin.register_as(with(provider.definition("acme"), json!({"provider_type": "slack"}))).await;
    for user in ["alice", "bob"] {
        admin.acting_for(user).connect(&provider, &asking(user, &["read"])).await;
    }
    let exists = "/v2/auth/tokens/workspace/slack/exists";
    let stranger = app.new_key(&["--role", "admin", "--kind", "service", "--only-user", "carol"]).await;
    assert_eq!(stranger.get(exists).await.expect(200)["has_token"], false);
    assert_eq!(stranger.delete("/v2/auth/tokens/workspace/slack").await.expect(200)["tokens"], 0);
    let key = limited(&app, "admin", &["--only-user", "alice"]).await;
    assert_eq!(key.get(exists).await.expect(200)["has_token"], true);
    assert_eq!(key.delete("/v2/auth/tokens/workspace/slack").await.expect(200)["tokens"], 1);
    assert!(admin.acting_for("bob").has_token().await);
}

async fn the_limits_and_the_consent_of_a_key_are_listed_and_checked_when_it_is_made(database: Database) {
    let run = async |arguments: &[&str]| binary::run(arguments, &database.environment()).await;
    let create = ["api-key", "create", "--name", "limited"];
    let limits = ["--only-provider", "github", "--only-provider", "google", "--only-agent", "my agent"];
    assert!(run(&[&create[..], &limits].concat()).await.status.success());
    assert!(run(&create).await.status.success());
    assert!(run(&[&create[..], &["--consent", "verify"]].concat()).await.status.success());
    assert!(run(&[&create[..], &["--only-user", "ada", "--consent", "confirm"]].concat()).await.status.success());
    let listed = run(&["api-key", "list"]).await.stdout;
    let lines: Vec<&str> = listed.lines().collect();
    for (line, options) in lines.iter().zip([
        "\tlimited\t--only-user ada --consent confirm",
        "\tlimited\t--consent verify",
        "\tlimited",
        "\tlimited\t--only-provider github --only-provider google --only-agent my agent",
    ]) {
        assert!(line.ends_with(options), "{listed}");
    }
    for wrong in [["--only-provider", "no/id"], ["--only-agent", ""], ["--only-user", "a\nb"]] {
        let refused = run(&[&create[..], &wrong].concat()).await;
        assert!(!refused.status.success(), "{wrong:?}");
        assert!(refused.stderr.contains(wrong[0]), "{refused:?}");
    }
    let useless = ["--kind", "personal", "--user", "ada", "--only-user", "bob"];
    let refused = run(&[&create[..], &useless].concat()).await;
    assert!(refused.expect_refusal().contains("--only-user ada"), "{refused:?}");
}

async fn a_denial_is_logged_with_key_route_and_what_was_outside(database: Database) {
    let environment = database.environment();
    let made = binary::run(
        &["api-key", "create", "--name", "limited", "--only-provider", "github", "--only-user", "a-private-user"],
        &environment,
    )
    .await;
    let (key, listed) = (made.stdout.trim(), binary::run(&["api-key", "list"], &environment).await.stdout);
    let id: Uuid = listed.split('\t').next().unwrap().parse().unwrap();
    let server = binary::Server::start(&environment).await;
    let (status, _) = server.get_with_key(key, "/v2/auth/providers/a-private-name").await.unwrap();
    assert_eq!(status, 403);
    let body = json!({"name": "N"});
    let (status, _) =
        server.try_send(axum::http::Method::PATCH, key, "/v2/auth/providers/github", &body).await.unwrap();
    assert_eq!(status, 403);
    let (_, log) = server.stop().await;
    let denials: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["event"] == "access.denied")
        .collect();
    let found: Vec<_> = denials.iter().map(|denial| (&denial["outside"], &denial["span"]["route"])).collect();
    let route = json!("/v2/auth/providers/{provider_id}");
    assert_eq!(found, [(&json!("provider"), &route), (&json!("role"), &route)], "{denials:#?}");
    assert!(denials.iter().all(|denial| denial["key_id"] == id.to_string()), "{denials:#?}");
    assert!(!log.contains("a-private") && !log.contains(key), "{log}");
}
