//! `/v2/admin/tokens` and `agent-auth token`: the tokens of all users of a workspace, for those who run it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::{self, Finished};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    viewers_and_administrators_see_the_tokens_of_all_users_and_agents_keys_do_not,
    filters_narrow_the_list,
    a_filter_by_state_finds_exactly_the_tokens_that_are_listed_with_it,
    pages_give_every_token_once_newest_first,
    what_cannot_be_a_filter_is_refused_by_name,
    a_limited_key_sees_only_what_is_inside,
    another_workspace_sees_and_ends_nothing,
    an_administrator_ends_the_token_of_any_user_and_the_log_says_who,
    no_secret_is_listed,
    the_command_line_lists_shows_and_revokes,
    the_command_line_prints_nothing_that_controls_a_terminal_or_reorders_a_line,
}

const LIST: &str = "/v2/admin/tokens";

/// Alice and Bob are connected to `acme`, Alice to `other` as well, for the agent `helper`.
async fn connected(app: &TestApp) -> (AuthorizationServer, Caller) {
    let provider = AuthorizationServer::start().await;
    let admin = app.service_key().await;
    for id in ["acme", "other"] {
        let definition = with(provider.definition(id), json!({"revocation_url": provider.at("/revoke")}));
        admin.register_as(definition).await;
    }
    let of_helper = with(asking("alice", &["read"]), json!({"provider": "other", "agent_id": "helper"}));
    for (user, body) in [("alice", asking("alice", &["read"])), ("bob", asking("bob", &["read"])), ("alice", of_helper)]
    {
        admin.acting_for(user).connect(&provider, &body).await;
    }
    (provider, admin)
}

async fn listed(caller: &Caller, query: &str) -> Vec<Value> {
    let page = caller.get(&format!("{LIST}?{query}")).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

fn whose(tokens: &[Value]) -> Vec<(&str, &str)> {
    tokens.iter().map(|token| (token["user_id"].as_str().unwrap(), token["provider_id"].as_str().unwrap())).collect()
}

async fn viewers_and_administrators_see_the_tokens_of_all_users_and_agents_keys_do_not(app: TestApp) {
    let (_provider, admin) = connected(&app).await;
    let all = listed(&admin, "").await;
    assert_eq!(whose(&all), [("alice", "other"), ("bob", "acme"), ("alice", "acme")], "newest first");
    assert_eq!((&all[0]["agent_id"], &all[1]["agent_id"]), (&json!("helper"), &Value::Null));
    assert_eq!((&all[0]["state"], &all[0]["scopes"]), (&json!("active"), &json!(["read"])));
    for options in [&["--role", "viewer"][..], &["--role", "viewer", "--kind", "personal", "--user", "carol"]] {
        let viewer = app.new_key(options).await;
        assert_eq!(listed(&viewer, "").await, all, "a viewer names no user");
        let one = viewer.get(&format!("{LIST}/{}", all[0]["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(one, all[0]);
        let path = format!("{LIST}/{}", all[0]["id"].as_str().unwrap());
        viewer.delete(&path).await.expect_error(403, "forbidden");
    }
    let agent = app.new_key(&["--role", "agent"]).await.acting_for("alice");
    agent.get(LIST).await.expect_error(403, "forbidden");
    agent.get(&format!("{LIST}/{}", all[0]["id"].as_str().unwrap())).await.expect_error(403, "forbidden");
    app.anonymous().get(LIST).await.expect_error(401, "unauthorized");
}

async fn filters_narrow_the_list(app: TestApp) {
    let (_provider, admin) = connected(&app).await;
    let of = async |query: &str| whose_owned(&listed(&admin, query).await);
    assert_eq!(of("user_id=bob").await, ["bob acme"]);
    assert_eq!(of("agent_id=helper").await, ["alice other"]);
    assert_eq!(of("provider_id=acme").await, ["bob acme", "alice acme"]);
    assert_eq!(of("provider_id=acme&user_id=alice").await, ["alice acme"]);
    assert_eq!(of("state=active&user_id=alice").await, ["alice other", "alice acme"]);
    for nothing in ["user_id=carol", "agent_id=stranger", "provider_id=nowhere", "state=failing", "user_id=%00"] {
        assert!(of(nothing).await.is_empty(), "{nothing}");
    }
    // What is empty is no filter, and what is unknown is ignored.
    assert_eq!(of("user_id=&unknown=1").await.len(), 3);
}

fn whose_owned(tokens: &[Value]) -> Vec<String> {
    whose(tokens).iter().map(|(user, provider)| format!("{user} {provider}")).collect()
}

async fn a_filter_by_state_finds_exactly_the_tokens_that_are_listed_with_it(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let admin = app.service_key().await;
    admin.register(&provider).await;
    let hour = |refresh: &str| json!({"access_token": "a", "refresh_token": refresh, "expires_in": 3600});
    for (user, answer) in [
        ("well", hour("r1")),
        ("failing", hour("r2")),
        ("dead", hour("r3")),
        ("over", json!({"access_token": "a", "expires_in": 60})),
        ("endless", json!({"access_token": "a"})),
    ] {
        provider.answer_token(Reply::json(answer));
        admin.acting_for(user).connect(&provider, &asking(user, &["read"])).await;
    }
    let report = async |user: &str, answer: Reply| {
        let id = admin.tokens_of(user).await[0]["id"].as_str().unwrap().to_owned();
        provider.answer_token(answer);
        admin.post(&format!("/v2/auth/tokens/{id}/report-invalid"), &json!({})).await;
    };
    report("failing", Reply::text("text/plain", "").status(503).header("retry-after", "7")).await;
    report("dead", Reply::json(json!({"error": "invalid_grant"})).status(400)).await;
    app.advance(120);
    let all = listed(&admin, "").await;
    let state_of = |user: &str| all.iter().find(|token| token["user_id"] == user).unwrap()["state"].clone();
    assert_eq!(state_of("well"), "active");
    assert_eq!(state_of("endless"), "active");
    assert_eq!(state_of("failing"), "failing");
    assert_eq!(state_of("dead"), "consent_needed");
    assert_eq!(state_of("over"), "consent_needed", "it expired, and there is no refresh token");
    let mut found = 0;
    for state in ["active", "refreshing", "failing", "consent_needed"] {
        let filtered = listed(&admin, &format!("state={state}")).await;
        let expected: Vec<_> = all.iter().filter(|token| token["state"] == state).cloned().collect();
        assert_eq!(filtered, expected, "{state}");
        found += filtered.len();
    }
    assert_eq!(found, all.len());
}

async fn pages_give_every_token_once_newest_first(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let admin = app.service_key().await;
    admin.register(&provider).await;
    for user in ["a", "b", "c", "d", "e"] {
        admin.acting_for(user).connect(&provider, &asking(user, &["read"])).await;
    }
    for limit in [1, 2, 3, 5, 6] {
        let (mut users, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("{LIST}?limit={limit}{cursor}")).await.expect(200);
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= limit && !data.is_empty(), "{page}");
            users.extend(data.iter().map(|token| token["user_id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(users, ["e", "d", "c", "b", "a"], "{limit}");
    }
    // With a filter, too.
    let page = admin.get(&format!("{LIST}?limit=1&user_id=c")).await.expect(200);
    assert_eq!((page["data"].as_array().unwrap().len(), &page["next_cursor"]), (1, &Value::Null));
}

async fn what_cannot_be_a_filter_is_refused_by_name(app: TestApp) {
    for (parameter, value) in
        [("state", "well"), ("limit", "0"), ("limit", "1001"), ("limit", "x"), ("cursor", "here"), ("cursor", "7")]
    {
        app.get(&format!("{LIST}?{parameter}={value}")).await.expect_fault_at(&format!("query.{parameter}"));
    }
}

async fn a_limited_key_sees_only_what_is_inside(app: TestApp) {
    let (_provider, admin) = connected(&app).await;
    let limited = async |options: &[&str]| {
        let mut all = vec!["--role", "admin", "--kind", "service"];
        all.extend(options);
        app.new_key(&all).await
    };
    let all = listed(&admin, "").await;
    let [of_helper, of_bob, of_alice] = [0, 1, 2].map(|at| format!("{LIST}/{}", all[at]["id"].as_str().unwrap()));
    for (options, sees, outside, refused) in [
        (["--only-provider", "acme"], vec!["bob acme", "alice acme"], &of_helper, "provider_id=other"),
        (["--only-agent", "helper"], vec!["alice other"], &of_bob, "agent_id=stranger"),
        (["--only-user", "bob"], vec!["bob acme"], &of_alice, "user_id=alice"),
    ] {
        let key = limited(&options).await;
        assert_eq!(whose_owned(&listed(&key, "").await), sees, "{options:?}");
        key.get(outside).await.expect_error(404, "not_found");
        key.delete(outside).await.expect_error(404, "not_found");
        key.get(&format!("{LIST}?{refused}")).await.expect_error(403, "outside_key_limits");
    }
    assert_eq!(listed(&admin, "").await.len(), 3, "nothing was deleted");
}

async fn another_workspace_sees_and_ends_nothing(app: TestApp) {
    let (_provider, admin) = connected(&app).await;
    let id = listed(&admin, "").await[0]["id"].as_str().unwrap().to_owned();
    for intruder in [app.service_key_in("other", "place").await, {
        let organization = app.app.broker.home_tenant().await.unwrap().organization;
        app.service_key_in(&organization, "beside").await
    }] {
        assert!(listed(&intruder, "").await.is_empty());
        assert!(listed(&intruder, &format!("cursor={}", Uuid::max())).await.is_empty());
        for path in [format!("{LIST}/{id}"), format!("{LIST}/{}", Uuid::now_v7()), format!("{LIST}/no-id")] {
            intruder.get(&path).await.expect_error(404, "not_found");
            intruder.delete(&path).await.expect_error(404, "not_found");
        }
    }
    assert_eq!(listed(&admin, "").await.len(), 3);
}

async fn an_administrator_ends_the_token_of_any_user_and_the_log_says_who(app: TestApp) {
    let (provider, admin) = connected(&app).await;
    let bobs = listed(&admin, "user_id=bob").await[0].clone();
    let path = format!("{LIST}/{}", bobs["id"].as_str().unwrap());
    // The bootstrap key is a personal one of another user.
    let answer = app.delete(&path).await;
    assert_eq!(answer.status.as_u16(), 204, "{}", answer.text());
    assert_eq!(answer.header("x-upstream-revoked"), "true");
    assert!(!provider.revocations().is_empty());
    app.delete(&path).await.expect_error(404, "not_found");
    let left: BTreeSet<_> = whose_owned(&listed(&admin, "").await).into_iter().collect();
    assert_eq!(left, BTreeSet::from(["alice acme".to_owned(), "alice other".to_owned()]));
    let events = app.get("/v2/audit?event=token.deleted").await.expect(200);
    let event = &events["data"][0];
    assert_eq!((&event["token_id"], &event["user_id"]), (&bobs["id"], &json!("bob")));
    assert_eq!(event["actor"], "api_key");
    assert!(event["actor_id"].as_str().is_some_and(|id| Uuid::try_parse(id).is_ok()), "{event}");
}

async fn no_secret_is_listed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider.answer_token(Reply::json(
        json!({"access_token": "access-secret-77", "refresh_token": "refresh-secret-77", "expires_in": 3600}),
    ));
    app.connect(&provider, &asking("alice", &["read"])).await;
    let text = app.get(LIST).await.text();
    let shown = run(&app, &["list", "--json"]).await;
    for said in [text, shown.stdout, shown.stderr] {
        assert!(said.contains("acme") || said.is_empty(), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

async fn run(app: &TestApp, arguments: &[&str]) -> Finished {
    let mut all = vec!["token"];
    all.extend(arguments);
    binary::run(&all, &app.database.environment()).await
}

async fn the_command_line_prints_nothing_that_controls_a_terminal_or_reorders_a_line(app: TestApp) {
    connected(&app).await;
    let label = "a\u{1b}[2Jb\u{202e}c\u{2066}d\te\nf";
    let statement = format!("UPDATE tokens SET account_label = '{label}'");
    app.database.tamper(&statement).await;
    app.database.tamper(&format!("UPDATE providers SET name = '{label}'")).await;
    let tokens = run(&app, &["list"]).await;
    let providers = binary::run(&["provider", "list"], &app.database.environment()).await;
    for shown in [&tokens, &providers] {
        assert!(shown.stdout.contains("a\u{fffd}[2Jb\u{fffd}c\u{fffd}d e f\t"), "{shown:?}");
    }
    let json = run(&app, &["list", "--json"]).await.stdout;
    assert!(!json.contains(['\u{1b}', '\u{202e}', '\u{2066}']), "{json:?}");
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        !lines.is_empty() && lines.iter().all(|line| line["provider_account_label"] == label),
        "the same value: {json:?}"
    );
    let id = lines[0]["id"].as_str().unwrap();
    let one = run(&app, &["show", id]).await;
    assert!(one.stdout.contains("account        a\u{fffd}[2Jb\u{fffd}c\u{fffd}d e f\n"), "{one:?}");
}

async fn the_command_line_lists_shows_and_revokes(app: TestApp) {
    let (provider, admin) = connected(&app).await;
    let all = listed(&admin, "").await;
    let shown = run(&app, &["list"]).await;
    assert!(shown.status.success(), "{shown:?}");
    assert!(shown.stderr.contains("ID\tUSER\tAGENT\tPROVIDER\tACCOUNT\tSTATE\tEXPIRES\tLAST USED"), "{shown:?}");
    let rows: Vec<Vec<&str>> = shown.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows.len(), 3, "the headings are for people: {shown:?}");
    assert_eq!(rows[0][..4], [all[0]["id"].as_str().unwrap(), "alice", "helper", "other"]);
    assert_eq!(rows[0][5], "active");

    let lines = run(&app, &["list", "--json", "--user", "alice", "--state", "active"]).await.stdout;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [all[0].clone(), all[2].clone()], "the same as the API's");

    let id = all[1]["id"].as_str().unwrap();
    let one = run(&app, &["show", id]).await;
    for part in ["user           bob", "state          active", "scopes         read", "what to do     Nothing."] {
        assert!(one.stdout.contains(part), "{part}: {}", one.stdout);
    }
    let json: Value = serde_json::from_str(&run(&app, &["show", id, "--json"]).await.stdout).unwrap();
    assert_eq!(json, all[1]);

    assert!(run(&app, &["show", "nope"]).await.expect_refusal().contains("is not the id of a token"));
    let nowhere = Uuid::now_v7().to_string();
    assert!(run(&app, &["revoke", &nowhere]).await.expect_refusal().contains("there is no token"));
    let elsewhere = run(&app, &["revoke", id, "--workspace", "elsewhere"]).await;
    assert!(elsewhere.expect_refusal().contains("in this workspace"), "{elsewhere:?}");

    let revoked = run(&app, &["revoke", id]).await;
    assert!(revoked.status.success() && revoked.stdout.contains("is revoked at the provider"), "{revoked:?}");
    assert!(!provider.revocations().is_empty());
    assert_eq!(whose_owned(&listed(&admin, "").await), ["alice other", "alice acme"]);
    let events = app.get("/v2/audit?event=token.deleted").await.expect(200);
    assert_eq!((&events["data"][0]["actor"], &events["data"][0]["token_id"]), (&json!("command_line"), &all[1]["id"]));

    let keys = binary::run(&["api-key", "list", "--json"], &app.database.environment()).await.stdout;
    let keys: Vec<Value> = keys.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(keys.iter().any(|key| key["name"] == "bootstrap" && key["role"] == "admin" && key["is_active"] == true));
    let providers = binary::run(&["provider", "list", "--json"], &app.database.environment()).await.stdout;
    let first: Value = serde_json::from_str(providers.lines().next().unwrap()).unwrap();
    assert_eq!(first["provider_id"], "acme");
    assert!(!providers.contains("secret\""), "{providers}");
}
