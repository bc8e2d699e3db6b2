//! The audit log: what is recorded, that the chain is whole, and that nothing is done that cannot be recorded.

mod api;
mod chain;
mod consents;
mod events;
mod failing;
mod handouts;
mod refusals;
mod retention;

use agent_auth::broker::audit;
use agent_auth::store::audit::read::Verified;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::database::Database;

/// Everything that is recorded in the workspace of the bootstrap key, oldest first.
async fn recorded(app: &TestApp) -> Vec<Value> {
    app.app.broker.handouts.write().await.unwrap();
    audit::record_refusals(&app.app.broker).await.unwrap();
    let answer = app.get("/v2/audit?limit=1000").await.expect(200);
    let mut events = answer["data"].as_array().unwrap().clone();
    assert!(answer["next_cursor"].is_null(), "more than one page");
    events.reverse();
    events
}

/// The names of the events that were recorded after the first `before`.
fn names(events: &[Value], before: usize) -> Vec<&str> {
    events[before..].iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// The events of that name.
fn of_name(events: &[Value], name: &str) -> Vec<Value> {
    events.iter().filter(|event| event["event"] == name).cloned().collect()
}

async fn organization(app: &TestApp) -> String {
    app.app.broker.home_tenant().await.unwrap().organization
}

/// The chain of the first organization.
async fn verified(app: &TestApp) -> Verified {
    audit::verify(&app.app.broker, &organization(app).await).await.unwrap().expect("a chain")
}

/// From now on no event can be written.
async fn break_audit(database: &Database) {
    database.tamper("ALTER TABLE audit_events RENAME TO audit_events_away").await;
}

async fn mend_audit(database: &Database) {
    database.tamper("ALTER TABLE audit_events_away RENAME TO audit_events").await;
}
