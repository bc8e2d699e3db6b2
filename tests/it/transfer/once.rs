//! One grant is one token, however often and in whichever way it comes.

use std::time::Duration;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use serde_json::{Value, json};

use super::{file, import, lines};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::{Finished, Server, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;

both_databases! {
    an_export_that_comes_back_doubles_nothing,
    the_same_secret_becomes_one_token,
    a_grant_with_an_id_and_then_without_one_is_one_token,
    ids_that_two_files_share_hide_nothing,
    what_another_batch_has_brought_in_is_seen_by_a_dry_run_too,
}

async fn tokens(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM tokens").await
}

/// Imports a table of `id,provider_id,user_id,agent_id,access_token,refresh_token`.
async fn table(database: &Database, rows: &str, more: &[&str]) -> Finished {
    let table = format!("id,provider_id,user_id,agent_id,access_token,refresh_token\n{rows}");
    import(database, &[&["csv", &file(database, "grants.csv", &table)], more].concat()).await
}

async fn add_provider(database: &Database, provider: &AuthorizationServer, provider_id: &str) {
    let mut line = provider.definition(provider_id);
    line["type"] = "provider".into();
    let done = import(database, &["jsonl", &file(database, "provider.jsonl", &lines(&[line]))]).await;
    assert!(done.status.success(), "{done:?}");
}

/// Moves everything from one installation to another.
async fn moved(from: &Database, to: &Database) -> Finished {
    let identity = Identity::generate();
    let key = file(to, "identity.txt", identity.to_string().expose_secret());
    let exported = file(from, "unused", "") + ".age";
    let _ = std::fs::remove_file(&exported);
    let recipient = identity.to_public().to_string();
    let done = run(&["export", "--recipient", &recipient, "--output", &exported], &from.environment()).await;
    assert!(done.status.success(), "{done:?}");
    import(to, &["jsonl", &exported, "--identity", &key]).await
}

async fn an_export_that_comes_back_doubles_nothing(app: TestApp) {
    let provider = AuthorizationServer::rotating(Duration::ZERO).await;
    let here = &app.database;
    app.register(&provider).await;
    app.connect(&provider, &asking("carol", &["read"])).await;
    let grant = |user: &str, id: Value| {
        let (access_token, refresh_token) = provider.grant_of_another_program();
        json!({
            "type": "grant", "provider_id": "acme", "user_id": user, "id": id, "scopes": ["read"],
            "access_token": access_token, "refresh_token": refresh_token,
        })
    };
    let grants = lines(&[grant("alice", json!(17)), grant("bob", Value::Null)]);
    assert!(import(here, &["jsonl", &file(here, "grants.jsonl", &grants)]).await.status.success());

    let there = Database::sqlite();
    let taken = moved(here, &there).await;
    assert!(taken.stdout.contains("Took 3 grants"), "{taken:?}");
    let back = moved(&there, here).await;
    assert_eq!(back.status.code(), Some(1), "{back:?}");
    assert!(back.stdout.contains("Took 0 grants"), "{back:?}");
    assert!(back.stdout.contains("2 grants were brought in before."), "{back:?}");
    assert!(back.stdout.contains("already held: its user has this grant at acme (token "), "{back:?}");
    assert_eq!(tokens(here).await, 3);

    // The other installation goes on with the grants: their refresh tokens are not the same any more.
    let server = Server::start(&there.environment()).await;
    for user in ["alice", "bob", "carol"] {
        let answer = server.post(&there.bootstrap_key, "/v2/auth/authenticate", &asking(user, &["read"])).await;
        assert_eq!(answer["status"], "completed", "{answer}");
    }
    let back = moved(&there, here).await;
    assert_eq!(back.stdout.matches("a grant with this id was brought in before and has other tokens").count(), 2);
    assert_eq!(back.stdout.matches("already held").count(), 1, "{back:?}");
    assert_eq!(tokens(here).await, 3);
}

async fn the_same_secret_becomes_one_token(database: Database) {
    let provider = AuthorizationServer::silent().await;
    add_provider(&database, &provider, "acme").await;
    let rows = "s1,acme,sam,,,same-rt\ns2,acme,sam,,,same-rt\ns3,acme,sam,,same-at,\ns4,acme,sam,,same-at,more-rt\n\
                s5,acme,ann,,,same-rt\ns6,acme,sam,triage,,same-rt\n";
    for arguments in [&["--dry-run"][..], &[]] {
        let done = table(&database, rows, arguments).await;
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        for (line, first) in [(3, 2), (5, 4), (7, 2)] {
            let said = format!("Not taken: line {line}: already held: line {first} is the same grant");
            assert!(done.stdout.contains(&said), "{said}: {done:?}");
        }
        assert!(done.stdout.contains("2 grants with a refresh token."), "{done:?}");
    }
    assert_eq!(tokens(&database).await, 3);
    for (rows, arguments) in [
        ("9,acme,sam,,,same-rt\n", &["--dry-run"][..]),
        ("9,acme,sam,,,same-rt\n", &[][..]),
        (",acme,sam,,,same-rt\n", &[][..]),
        ("9,acme,sam,,same-at,\n", &[][..]),
        ("9,acme,sam,triage,,same-rt\n", &[][..]),
    ] {
        let done = table(&database, rows, arguments).await;
        assert!(done.stdout.contains("Not taken: line 2: already held: its user has this grant at acme"), "{done:?}");
        assert!(!format!("{done:?}").contains("same-"), "{done:?}");
    }
    assert_eq!(tokens(&database).await, 3);
}

async fn a_grant_with_an_id_and_then_without_one_is_one_token(database: Database) {
    let provider = AuthorizationServer::silent().await;
    add_provider(&database, &provider, "acme").await;
    assert!(table(&database, "1,acme,sam,,,rt-1\n,acme,ann,,,rt-2\n", &[]).await.status.success());
    // They were refreshed since: the secrets are other ones.
    let done = table(&database, ",acme,sam,,,rt-3\n2,acme,ann,,,rt-4\n", &[]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert_eq!(done.stdout.matches("its user has a token of what may be the same account").count(), 2, "{done:?}");
    assert_eq!(tokens(&database).await, 2);
}

async fn ids_that_two_files_share_hide_nothing(database: Database) {
    let provider = AuthorizationServer::silent().await;
    add_provider(&database, &provider, "acme").await;
    add_provider(&database, &provider, "other").await;
    assert!(table(&database, "1,acme,alice,,,rt-1\n2,acme,bob,,,rt-2\n", &[]).await.status.success());
    let second = "1,acme,carol,,,rt-3\n2,acme,alice,,,rt-4\n1,other,alice,,,rt-5\n2,acme,bob,triage,,rt-6\n";
    let done = table(&database, second, &[]).await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.contains("Took 4 grants"), "{done:?}");
    let done = table(&database, "1,acme,alice,,,rt-7\n1,acme,carol,,,rt-3\n", &[]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let why = "Not taken: line 2: a grant with this id was brought in before and has other tokens.";
    assert!(done.stdout.contains(why), "{done:?}");
    assert!(done.stdout.contains("1 grants were brought in before."), "{done:?}");
    assert_eq!(tokens(&database).await, 6);
}

async fn what_another_batch_has_brought_in_is_seen_by_a_dry_run_too(database: Database) {
    let provider = AuthorizationServer::silent().await;
    let mut records = vec![provider.definition("acme")];
    records[0]["type"] = "provider".into();
    let grant = |user: &str, id: Value, refresh_token: &str| json!({"type": "grant", "id": id, "provider_id": "acme", "user_id": user, "refresh_token": refresh_token});
    records.push(grant("alice", json!("a"), "rt-a"));
    records.extend((0..150).map(|number| grant(&format!("user-{number}"), json!(number), &format!("rt-{number}"))));
    records.extend([grant("alice", json!("b"), "rt-a"), grant("alice", Value::Null, "rt-c")]);
    let grants = file(&database, "grants.jsonl", &lines(&records));
    for arguments in [&["jsonl", &grants, "--dry-run"][..], &["jsonl", &grants]] {
        let done = import(&database, arguments).await;
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(done.stdout.contains(" 151 grants with a refresh token."), "{done:?}");
        assert!(done.stdout.contains("Not taken: line 153: already held: line 2 is the same grant"), "{done:?}");
        let why = "Not taken: line 154: its user has a token of what may be the same account (name the account_id if it is \
                   another one) at acme already (line 2), which is kept";
        assert!(done.stdout.contains(why), "{done:?}");
    }
    assert_eq!(tokens(&database).await, 151);
}
