//! `agent-auth import --refresh`: every imported grant is refreshed once, under the same lease as every other refresh.

use std::time::Duration;

use serde_json::{Value, json};

use super::{file, import, lines};
use crate::support::authorization_server::{AuthorizationServer, Reply, TOKEN};
use crate::support::binary::Started;
use crate::support::both_databases;
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    killed_while_it_refreshes_no_grant_is_lost,
    dead_grants_are_reported_and_what_failed_is_tried_again,
    a_provider_that_is_down_is_left_alone,
}

const GRANTS: usize = 150;

fn records(provider: &AuthorizationServer, grants: impl Iterator<Item = (String, String)>) -> Vec<Value> {
    let mut definition = provider.definition("acme");
    definition["type"] = "provider".into();
    let grants = grants.enumerate().map(|(number, (access_token, refresh_token))| {
        json!({
            "type": "grant", "provider_id": "acme", "user_id": format!("user-{number}"), "scopes": "read",
            "access_token": access_token, "refresh_token": refresh_token,
        })
    });
    std::iter::once(definition).chain(grants).collect()
}

fn made_up(many: usize) -> impl Iterator<Item = (String, String)> {
    (0..many).map(|number| (format!("access-{number}"), format!("refresh-{number}")))
}

const FAST: [&str; 3] = ["--refresh", "--per-second", "1000"];

async fn refreshed(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM tokens WHERE last_refreshed_at IS NOT NULL").await
}

/// The provider accepts an old refresh token for a while, as most do that replace them.
async fn killed_while_it_refreshes_no_grant_is_lost(database: Database) {
    let provider = AuthorizationServer::rotating(Duration::from_mins(5)).await;
    let grants = (0..GRANTS).map(|_| provider.grant_of_another_program());
    let grants = file(&database, "grants.jsonl", &lines(&records(&provider, grants)));
    assert!(import(&database, &["jsonl", &grants]).await.status.success());
    let arguments = [&["import", "jsonl", &grants], &FAST[..]].concat();
    for killed_at in [20, 70] {
        let mut running = Started::begin(&arguments, &database.environment());
        eventually(Duration::from_mins(1), async || {
            assert!(!running.has_ended(), "it ended too soon");
            refreshed(&database).await >= killed_at
        })
        .await;
        running.kill();
    }
    let done = import(&database, &arguments[1..]).await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(refreshed(&database).await, i64::try_from(GRANTS).unwrap(), "{done:?}");
    assert_eq!(provider.dead_grants(), 0);
    // A refresh that was interrupted is sent once more, and nothing else is.
    assert_eq!(provider.rotations(), GRANTS + provider.reuses());
}

async fn dead_grants_are_reported_and_what_failed_is_tried_again(database: Database) {
    let provider = AuthorizationServer::start().await;
    let grants = file(&database, "grants.jsonl", &lines(&records(&provider, made_up(3))));
    assert!(import(&database, &["jsonl", &grants]).await.status.success());
    provider.answer(TOKEN, Reply::json(json!({"error": "invalid_grant"})).status(400));
    provider.answer(TOKEN, Reply::json(json!({"error": "temporarily_unavailable"})).status(429));
    let slowly = ["jsonl", &grants, "--refresh", "--per-second", "2"];
    let done = import(&database, &slowly).await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.contains("Refreshed 1 imported grants."), "{done:?}");
    let dead =
        "Dead: user-0 at acme: the provider refused the refresh token for good. The person has to consent again.";
    assert!(done.stdout.contains(dead), "{done:?}");
    assert!(done.stdout.contains("Not refreshed yet: user-1 at acme: "), "{done:?}");
    eventually(Duration::from_mins(1), async || {
        import(&database, &slowly).await.stdout.contains("Refreshed 1 imported grants.")
    })
    .await;
    assert_eq!(refreshed(&database).await, 2);
}

async fn a_provider_that_is_down_is_left_alone(database: Database) {
    let provider = AuthorizationServer::custom(|_| Reply::text("text/plain", "down").status(503)).await;
    let grants = file(&database, "grants.jsonl", &lines(&records(&provider, made_up(40))));
    let done = import(&database, &[&["jsonl", &grants], &FAST[..]].concat()).await;
    assert!(done.status.success(), "{done:?}");
    assert_eq!(done.stdout.matches("Not refreshed yet: ").count(), 40, "{done:?}");
    assert!(done.stdout.contains("not tried: 10 refreshes in a row failed"), "{done:?}");
    assert!(provider.count(TOKEN) <= 60, "of 40 with three attempts each: {}", provider.count(TOKEN));
}
