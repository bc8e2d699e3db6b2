//! Ten thousand grants in one import that is killed twice: none is doubled, none is lost, and none is refreshed twice.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{file, import, lines};
use crate::support::authorization_server::{AuthorizationServer, TOKEN, identity};
use crate::support::binary::{Server, Started, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    ten_thousand_grants_are_imported_in_one_run_that_is_killed_twice,
}

const GRANTS: usize = 10_000;
/// It is killed when it has brought in so many.
const KILLED_AT: [i64; 2] = [2_000, 6_000];

fn user(number: usize) -> String {
    format!("user-{number}")
}

/// The provider's record, and a grant of each user.
fn records(provider: &AuthorizationServer) -> Vec<Value> {
    let mut definition = provider.definition("acme");
    definition["type"] = "provider".into();
    let grants = (0..GRANTS).map(|number| {
        let (access_token, refresh_token) = provider.grant_of_another_program();
        json!({
            "type": "grant", "id": format!("connection-{number}"), "provider_id": "acme", "user_id": user(number),
            "access_token": access_token, "refresh_token": refresh_token, "scopes": ["read"],
        })
    });
    std::iter::once(definition).chain(grants).collect()
}

/// The refresh token of each user.
fn refresh_tokens(records: &[Value]) -> BTreeMap<String, String> {
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let grants = records.iter().filter(|record| record["type"] == "grant");
    grants.map(|grant| (text(grant, "user_id"), text(grant, "refresh_token"))).collect()
}

/// The same as it is stored: opened and exported.
async fn every_refresh_token(database: &Database) -> BTreeMap<String, String> {
    let identity = age::x25519::Identity::generate();
    let exported = database.folder.path().join("export.age").display().to_string();
    let recipient = identity.to_public().to_string();
    let done = run(&["export", "--recipient", &recipient, "--output", &exported], &database.environment()).await;
    assert!(done.stderr.contains("Exported 1 providers and 10000 grants."), "{done:?}");
    let text = age::decrypt(&identity, &std::fs::read(&exported).unwrap()).expect("it is encrypted to us");
    let lines = String::from_utf8(text).unwrap();
    refresh_tokens(&lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
}

async fn imported(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM imported_grants").await
}

async fn tokens(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM tokens").await
}

async fn ten_thousand_grants_are_imported_in_one_run_that_is_killed_twice(database: Database) {
    let provider = AuthorizationServer::rotating(Duration::ZERO).await;
    let records = records(&provider);
    let given = refresh_tokens(&records);
    let grants = file(&database, "grants.jsonl", &lines(&records));
    let environment = database.environment();
    assert!(run(&["migrate"], &environment).await.status.success());
    for killed_at in KILLED_AT {
        let mut running = Started::begin(&["import", "jsonl", &grants], &environment);
        eventually(Duration::from_mins(2), async || {
            assert!(!running.has_ended(), "it ended too soon");
            imported(&database).await >= killed_at
        })
        .await;
        running.kill();
        let (imported, tokens) = (imported(&database).await, tokens(&database).await);
        assert!(imported >= killed_at && imported < 10_000, "{imported}");
        assert_eq!(imported, tokens, "what is noted as imported is there");
    }
    let before = imported(&database).await;
    let done = import(&database, &["jsonl", &grants]).await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.contains(&format!("{before} grants were brought in before.")), "{done:?}");
    let rest = 10_000 - before;
    assert!(done.stdout.contains(&format!("Took {rest} grants with a refresh token.")), "{done:?}");

    assert_eq!(tokens(&database).await, 10_000, "none is lost");
    let users = database.number("SELECT count(DISTINCT user_id) FROM tokens").await;
    assert_eq!(users, 10_000, "none is doubled");
    let events = database.number("SELECT count(*) FROM audit_events WHERE event = 'token.imported'").await;
    assert_eq!(events, 10_000, "each is recorded once");
    let verified = run(&["audit", "verify"], &environment).await;
    assert!(verified.status.success(), "{verified:?}");
    assert_eq!(provider.count(TOKEN), 0, "an import without --refresh does not call the provider");

    assert_eq!(every_refresh_token(&database).await, given, "each user has the refresh token that was theirs");

    // The provider ends a grant whose old refresh token is used again, so one refresh too many would show.
    let server = Server::start(&environment).await;
    for number in (0..GRANTS).step_by(400) {
        let answer =
            server.post(&database.bootstrap_key, "/v2/auth/authenticate", &asking(&user(number), &["read"])).await;
        let token = answer["token"].as_str().unwrap_or_else(|| panic!("{number}: {answer}"));
        assert_eq!(identity(token), (number, 1), "the grant of this user, refreshed once");
        assert!(provider.is_newest(token));
    }
    let one = asking(&user(1), &["read"]);
    let callers = (0..12).map(|_| server.post(&database.bootstrap_key, "/v2/auth/authenticate", &one));
    let answers = futures_util::future::join_all(callers).await;
    assert!(answers.iter().all(|answer| answer["token"] == answers[0]["token"]), "{answers:?}");
    assert_eq!((provider.reuses(), provider.dead_grants()), (0, 0));
    assert_eq!(provider.rotations(), GRANTS / 400 + 1);
}
