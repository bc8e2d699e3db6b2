//! Tokens in memory: what is served from there, and that nothing is that was changed.

mod changes;
mod partitions;
mod races;
mod serving;

use std::time::Duration;

use agent_auth::config::Settings;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::app::TestApp;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;

/// Generous for a slow machine.
const SOON: Duration = Duration::from_secs(30);

fn question() -> Value {
    asking("alice", &["read"])
}

/// Asks for a consent although there is a token, which it replaces if the provider names no account.
fn forced() -> Value {
    with(question(), json!({"force_new": true}))
}

fn without_memory(settings: &mut Settings) {
    "off".clone_into(&mut settings.token_cache);
}

/// Changes stored tokens such that no server learns of it. On PostgreSQL that takes a session without triggers, on SQLite
/// another connection.
async fn change_quietly(database: &Database, statement: &str) {
    let quiet = if database.postgres.is_some() { "SET session_replication_role = replica; " } else { "" };
    database.tamper(&format!("{quiet}{statement}")).await;
}

/// Gives every token this label, quietly.
async fn label_quietly(database: &Database, label: &str) {
    change_quietly(database, &format!("UPDATE tokens SET account_label = '{label}'")).await;
}

fn label(answer: &Value) -> &str {
    answer["metadata"]["provider_account_label"].as_str().unwrap_or_default()
}

/// True when the next answer comes from memory, where a quiet change is not known.
async fn is_remembered(app: &TestApp, caller: &Caller, question: &Value) -> bool {
    caller.token(question).await;
    let new = Uuid::new_v4().to_string();
    label_quietly(&app.database, &new).await;
    label(&caller.authenticate(question).await) != new
}

async fn until_remembered(app: &TestApp, caller: &Caller, question: &Value) {
    eventually(SOON, async || is_remembered(app, caller, question).await).await;
}

/// Waits until `to` has received the report of every change that was committed before. Reports come in the order of the
/// commits, and so do wakes.
async fn until_reported(from: &TestApp, to: &TestApp) {
    if from.database.postgres.is_none() {
        return;
    }
    let id = Uuid::new_v4();
    let waiter = to.app.broker.notifications.register(id);
    eventually(SOON, async || {
        let mut woken = std::pin::pin!(waiter.notify.notified());
        woken.as_mut().enable();
        // Again if it did not listen yet. By hand, because a replica wakes its own waiters without a message.
        from.database.tamper(&format!("SELECT pg_notify('agent_auth_wake', '{id}')")).await;
        tokio::time::timeout(Duration::from_secs(1), woken).await.is_ok()
    })
    .await;
}
