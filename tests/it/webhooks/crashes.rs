//! A server that is killed while it delivers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use super::{Hook, PATH, count, with_provider};
use crate::support::app::TestApp;
use crate::support::authorization_server::{Reply, Request};
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    three_servers_killed_during_deliveries_lose_none,
}

const TOKENS: usize = 20;

fn slow(_: &Request) -> Reply {
    Reply::json(json!({})).after(Duration::from_millis(150))
}

/// Two events of each of twenty tokens.
async fn written(database: Database) -> (TestApp, Hook) {
    let app = TestApp::start(database).await;
    let (provider, hook) = (with_provider(&app).await, Hook::add_with(&app.database, &[], slow).await);
    app.stop().await;
    for user in 0..TOKENS {
        app.connect(&provider, &asking(&format!("user-{user}"), &["read"])).await;
    }
    for user in 0..TOKENS {
        let user = format!("user-{user}");
        app.acting_for(&user).delete("/v2/auth/tokens?provider_id=acme").await;
    }
    (app, hook)
}

async fn three_servers_killed_during_deliveries_lose_none(database: Database) {
    let (app, hook) = written(database).await;
    let events = i64::try_from(2 * TOKENS).unwrap();
    assert_eq!(count(&app.database, "1 = 1").await, events);
    let mut environment = app.database.environment();
    environment.push(("AGENT_AUTH_PROVIDER_TIMEOUT_SECONDS".to_owned(), "1".to_owned()));
    for _ in 0..3 {
        let before = hook.receiver.count(PATH);
        let server = Server::start(&environment).await;
        eventually(Duration::from_secs(60), async || hook.receiver.count(PATH) > before).await;
        server.signal("KILL");
        server.ended().await;
    }
    let server = Server::start(&environment).await;
    eventually(Duration::from_secs(60), async || count(&app.database, "delivered_at IS NULL").await == 0).await;
    drop(server);
    let attempts = hook.attempts();
    let ids: BTreeSet<&str> = attempts.iter().map(|attempt| attempt.header("webhook-id")).collect();
    assert_eq!(ids.len(), 2 * TOKENS, "each was delivered");
    let mut first_of = BTreeMap::new();
    for attempt in &attempts {
        let body = attempt.json();
        let key = (body["data"]["token_id"].to_string(), body["type"].to_string());
        if key.1.contains("revoked") {
            assert!(
                first_of.contains_key(&(key.0.clone(), "\"token.connected\"".to_owned())),
                "the order of {}",
                key.0
            );
        }
        first_of.entry(key).or_insert(());
    }
}
