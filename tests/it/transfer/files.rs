//! Importing files: tables and JSON lines, what is taken and what is not, and what is said about it.

use serde_json::{Value, json};

use super::{file, import, lines};
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET, TOKEN};
use crate::support::binary::{Finished, Server, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;

both_databases! {
    a_table_is_imported_and_each_grant_is_refreshed_before_it_is_handed_out,
    json_lines_bring_their_provider,
    a_grant_whose_provider_fails_is_not_handed_out,
    a_grant_without_a_refresh_token_is_taken_as_it_is,
    a_dry_run_says_the_same_and_changes_nothing,
    a_second_run_brings_nothing_twice,
    a_deleted_grant_is_not_brought_back,
    a_token_that_was_obtained_here_is_kept,
    two_grants_of_one_user_need_ids,
    grants_of_another_client_are_not_taken,
    what_cannot_be_read_is_reported_by_its_line_and_never_repeated,
    agents_and_accounts_come_along,
    static_keys_are_taken_for_a_provider_with_static_keys,
    another_workspace_is_named,
}

const SECRET: &str = "a-secret-in-the-wrong-place";

/// The provider's line in a file.
fn line_of(provider: &AuthorizationServer) -> Value {
    let mut line = provider.definition("acme");
    line["type"] = "provider".into();
    line
}

fn grant(user: &str, more: &Value) -> Value {
    let mut grant = json!({
        "type": "grant", "provider_id": "acme", "user_id": user, "scopes": ["read"],
        "access_token": format!("access-of-{user}"), "refresh_token": format!("refresh-of-{user}"),
    });
    grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    grant
}

async fn add_provider(database: &Database, provider: &AuthorizationServer) {
    let done = import(database, &["jsonl", &file(database, "provider.jsonl", &lines(&[line_of(provider)]))]).await;
    assert!(done.status.success(), "{done:?}");
}

async fn import_lines(database: &Database, records: &[Value]) -> Finished {
    import(database, &["jsonl", &file(database, "grants.jsonl", &lines(records))]).await
}

async fn ask(server: &Server, database: &Database, user: &str) -> Value {
    server.post(&database.bootstrap_key, "/v2/auth/authenticate", &asking(user, &["read"])).await
}

async fn tokens(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM tokens").await
}

async fn a_table_is_imported_and_each_grant_is_refreshed_before_it_is_handed_out(database: Database) {
    let provider = AuthorizationServer::start().await;
    add_provider(&database, &provider).await;
    let table = "provider_id,user_id,access_token,refresh_token,scopes,expires_at\r\n\
                 acme,alice,access-1,refresh-1,read write,2999-01-01T00:00:00Z\r\n\
                 acme,\"bob, the second\",,refresh-2,read,\r\n";
    let done = import(&database, &["csv", &file(&database, "grants.csv", table)]).await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.contains("Took 2 grants with a refresh token."), "{done:?}");
    let server = Server::start(&database.environment()).await;
    for (user, refresh_token) in [("alice", "refresh-1"), ("bob, the second", "refresh-2")] {
        let answer = ask(&server, &database, user).await;
        assert_eq!(answer["status"], "completed", "{answer}");
        assert!(answer["token"].as_str().unwrap().starts_with("access-"), "{answer}");
        assert_ne!(answer["token"], "access-1", "though it says that it is valid");
        assert_eq!(provider.refreshes().last().unwrap().value("refresh_token"), Some(refresh_token));
    }
    assert_eq!(provider.count(TOKEN), 2);
    ask(&server, &database, "alice").await;
    assert_eq!(provider.count(TOKEN), 2, "once is enough");
}

async fn json_lines_bring_their_provider(database: Database) {
    let provider = AuthorizationServer::start().await;
    let done = import_lines(&database, &[line_of(&provider), grant("alice", &json!({}))]).await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.contains("Created provider acme."), "{done:?}");
    let server = Server::start(&database.environment()).await;
    assert_eq!(ask(&server, &database, "alice").await["status"], "completed");
    assert_eq!(provider.refreshes().last().unwrap().value("client_secret"), Some(CLIENT_SECRET));
}

async fn a_grant_whose_provider_fails_is_not_handed_out(database: Database) {
    let provider = AuthorizationServer::silent().await;
    let valid = grant("alice", &json!({"expires_at": "2999-01-01T00:00:00Z"}));
    assert!(import_lines(&database, &[line_of(&provider), valid]).await.status.success());
    let server = Server::start(&database.environment()).await;
    let key = &database.bootstrap_key;
    let (status, answer) = server.try_post(key, "/v2/auth/authenticate", &asking("alice", &["read"])).await.unwrap();
    assert_eq!(status, 502, "{answer}");
    assert!(!answer.contains("access-of-alice"), "{answer}");
}

async fn a_grant_without_a_refresh_token_is_taken_as_it_is(database: Database) {
    let provider = AuthorizationServer::start().await;
    let records = [
        line_of(&provider),
        grant("alice", &json!({"refresh_token": null, "expires_at": "2999-01-01T00:00:00Z"})),
        grant("bob", &json!({"refresh_token": null})),
        grant("carol", &json!({"refresh_token": null, "expires_at": 1_500_000_000})),
    ];
    let done = import_lines(&database, &records).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let report = "Took 2 grants without a refresh token as they are. They cannot be refreshed, so they were not verified. \
                  1 of them do not say when they expire.";
    assert!(done.stdout.contains(report), "{done:?}");
    assert!(done.stdout.contains("Not taken: line 4: it has expired and has no refresh token"), "{done:?}");
    let server = Server::start(&database.environment()).await;
    assert_eq!(ask(&server, &database, "alice").await["token"], "access-of-alice");
    assert_eq!(ask(&server, &database, "bob").await["token"], "access-of-bob");
    assert_eq!(provider.count(TOKEN), 0);
}

async fn a_dry_run_says_the_same_and_changes_nothing(database: Database) {
    let provider = AuthorizationServer::start().await;
    let records = [line_of(&provider), grant("alice", &json!({})), grant("bob", &json!({"user_id": ""}))];
    let grants = file(&database, "grants.jsonl", &lines(&records));
    // The first command of a database chooses its first workspace.
    assert!(run(&["provider", "list"], &database.environment()).await.status.success());
    let before = database.row_counts().await;
    let dry = import(&database, &["jsonl", &grants, "--dry-run"]).await;
    assert_eq!(database.row_counts().await, before);
    assert!(dry.stdout.contains("Would create provider acme."), "{dry:?}");
    assert!(dry.stdout.contains("Would take 1 grants with a refresh token."), "{dry:?}");
    assert!(dry.stdout.contains("Not taken: line 3: user_id is missing"), "{dry:?}");
    let done = import(&database, &["jsonl", &grants]).await;
    assert_eq!(dry.status.code(), done.status.code());
    let dry = import(&database, &["jsonl", &grants, "--dry-run"]).await;
    assert!(dry.stdout.contains("1 grants were brought in before."), "{dry:?}");
}

async fn a_second_run_brings_nothing_twice(database: Database) {
    let provider = AuthorizationServer::start().await;
    let records = [
        line_of(&provider),
        grant("alice", &json!({"id": "1"})),
        grant("alice", &json!({"id": "2", "refresh_token": "r2"})),
    ];
    assert!(import_lines(&database, &records).await.status.success());
    let server = Server::start(&database.environment()).await;
    let token = ask(&server, &database, "alice").await;
    let again = import_lines(&database, &records).await;
    assert!(again.status.success(), "{again:?}");
    assert!(again.stdout.contains("Provider acme is here already and was not changed."), "{again:?}");
    assert!(again.stdout.contains("2 grants were brought in before."), "{again:?}");
    assert_eq!(tokens(&database).await, 2);
    assert_eq!(ask(&server, &database, "alice").await["token"], token["token"], "its newer tokens are kept");
}

async fn a_deleted_grant_is_not_brought_back(database: Database) {
    let provider = AuthorizationServer::start().await;
    let records = [line_of(&provider), grant("alice", &json!({}))];
    assert!(import_lines(&database, &records).await.status.success());
    assert_eq!(database.tamper("DELETE FROM tokens").await, 1);
    let again = import_lines(&database, &records).await;
    assert!(again.stdout.contains("1 grants were brought in before."), "{again:?}");
    assert_eq!(tokens(&database).await, 0);
}

async fn a_token_that_was_obtained_here_is_kept(database: Database) {
    let provider = AuthorizationServer::start().await;
    add_provider(&database, &provider).await;
    let server = Server::start(&database.environment()).await;
    let pending = ask(&server, &database, "alice").await;
    let callback = provider.consent(pending["url"].as_str().unwrap());
    let path = callback.as_str().strip_prefix("https://broker.example").unwrap();
    assert_eq!(server.get(path).await.unwrap().0, 303);
    let token = ask(&server, &database, "alice").await["token"].clone();
    let done = import_lines(&database, &[grant("alice", &json!({}))]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(done.stdout.contains("its user has a token of what may be the same account"), "{done:?}");
    assert_eq!(ask(&server, &database, "alice").await["token"], token);
    assert_eq!(tokens(&database).await, 1);
    // When the person's own token is gone, the grant can be brought in.
    database.tamper("DELETE FROM tokens").await;
    assert!(import_lines(&database, &[grant("alice", &json!({}))]).await.status.success());
}

async fn two_grants_of_one_user_need_ids(database: Database) {
    let provider = AuthorizationServer::start().await;
    let records = [line_of(&provider), grant("alice", &json!({})), grant("alice", &json!({"access_token": "other"}))];
    let done = import_lines(&database, &records).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let why = "Not taken: line 3: line 2 has the same id. Two grants of one user at one provider need an `id` each";
    assert!(done.stdout.contains(why), "{done:?}");
}

async fn grants_of_another_client_are_not_taken(database: Database) {
    let provider = AuthorizationServer::start().await;
    add_provider(&database, &provider).await;
    let mut other = line_of(&provider);
    other["client_id"] = "another-client".into();
    let done = import_lines(&database, &[other, grant("alice", &json!({}))]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(done.stdout.contains("line 1: the workspace has the provider acme with another client"), "{done:?}");
    assert!(done.stdout.contains("line 2: its provider was not taken"), "{done:?}");
    assert_eq!(tokens(&database).await, 0);
}

async fn what_cannot_be_read_is_reported_by_its_line_and_never_repeated(database: Database) {
    let provider = AuthorizationServer::start().await;
    let records = [
        line_of(&provider),
        grant("alice", &json!({"scopes": SECRET.len()})),
        grant("alice", &json!({"metadata": SECRET})),
        grant("alice", &json!({"expires_at": SECRET})),
        grant("alice", &json!({"is_default": SECRET})),
        grant("alice", &json!({"access_token": format!("{SECRET}\n")})),
        grant("alice", &json!({"refresh_token": {"it": SECRET}})),
        grant("alice", &json!({"acess_token": SECRET})),
        json!({"type": SECRET}),
        json!([SECRET]),
        json!({"type": "provider", "provider_id": "other", "client_id": "c", "options": {"template": [SECRET]}}),
        grant("alice", &json!({"provider_id": SECRET})),
        grant("alice", &json!({SECRET: "x"})),
        json!({"type": "provider", "provider_id": SECRET, "client_id": "c"}),
        json!({"type": "provider", "provider_id": "acme", "client_id": SECRET}),
        json!({"type": "provider", "provider_id": "other", "authorization_params": {SECRET: "\n"}, "grant_type": SECRET}),
        grant(SECRET, &json!({"id": "1", "refresh_token": "one"})),
        grant(SECRET, &json!({"id": "2", "refresh_token": "one"})),
    ];
    let text = lines(&records) + SECRET + "\n";
    let done = import(&database, &["jsonl", &file(&database, "grants.jsonl", &text)]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    for line in (2..=16).chain([18, 19]) {
        assert!(done.stdout.contains(&format!("Not taken: line {line}: ")), "{line}: {}", done.stdout);
    }
    let table = format!("provider_id,user_id,refresh_token\nacme,alice,{SECRET},x\nacme,bob,r\n");
    let rows = import(&database, &["csv", &file(&database, "grants.csv", &table)]).await;
    assert!(rows.stdout.contains("Not taken: line 2: it has more or fewer fields than the first row"), "{rows:?}");
    assert!(rows.stdout.contains("Took 1 grants"), "{rows:?}");
    let headless = import(&database, &["csv", &file(&database, "grants.csv", &format!("{SECRET},acme\n"))]).await;
    assert!(headless.stderr.contains("column 1 is not one of ours"), "{headless:?}");
    for said in [done, rows, headless] {
        assert!(!format!("{said:?}").contains(SECRET), "{said:?}");
    }
}

async fn agents_and_accounts_come_along(database: Database) {
    let provider = AuthorizationServer::start().await;
    let more = json!({
        "account_id": "42", "account_label": "alice@acme.example", "is_default": true, "agents": ["triage", "writer"],
        "metadata": {"instance_url": "https://eu.acme.example", "token_type": "api_key"},
    });
    assert!(import_lines(&database, &[line_of(&provider), grant("alice", &more)]).await.status.success());
    let server = Server::start(&database.environment()).await;
    let answer = ask(&server, &database, "alice").await;
    assert_eq!(answer["metadata"]["instance_url"], "https://eu.acme.example", "{answer}");
    let (_, listed) = server.get_with_key(&database.bootstrap_key, "/v2/auth/agents/writer/connections").await.unwrap();
    assert!(listed.contains("alice@acme.example"), "{listed}");
    let is_key = "SELECT count(*) FROM tokens WHERE CAST(metadata AS TEXT) LIKE '%api_key%'";
    assert_eq!(database.number(is_key).await, 0, "a file cannot make a token a static key");
}

async fn static_keys_are_taken_for_a_provider_with_static_keys(database: Database) {
    let records = [
        json!({"type": "provider", "provider_id": "acme", "name": "Acme", "grant_type": "api_key"}),
        grant("alice", &json!({"access_token": "a-static-key", "refresh_token": null})),
    ];
    let done = import_lines(&database, &records).await;
    assert!(done.status.success(), "{done:?}");
    let server = Server::start(&database.environment()).await;
    assert_eq!(ask(&server, &database, "alice").await["token"], "a-static-key");
}

async fn another_workspace_is_named(database: Database) {
    let provider = AuthorizationServer::start().await;
    let grants = file(&database, "grants.jsonl", &lines(&[line_of(&provider), grant("alice", &json!({}))]));
    let there = ["jsonl", &grants, "--organization", "org-a", "--workspace", "space-1"];
    assert!(import(&database, &there).await.status.success());
    assert!(import(&database, &["jsonl", &grants]).await.status.success(), "the same id in another workspace");
    let of = "SELECT count(*) FROM tokens WHERE organization_id = 'org-a' AND workspace_id = 'space-1'";
    assert_eq!((database.number(of).await, tokens(&database).await), (1, 2));
}
