//! Retention: old events are deleted, and the rest of the chain still verifies.

use agent_auth::broker::jobs::audit::run_once;
use serde_json::json;

use super::{break_audit, mend_audit, names, of_name, recorded, verified};
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{acme, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    old_events_are_deleted_and_the_rest_verifies,
    events_stay_if_the_settings_say_so,
    an_interrupted_deletion_verifies_and_is_finished_later,
    the_deleted_part_cannot_be_extended_behind_its_back,
    nothing_is_deleted_that_cannot_be_recorded,
}

const DAY: u64 = 24 * 3600;

async fn add(app: &TestApp, id: &str) {
    app.post("/v2/auth/providers", &with(acme(), json!({"provider_id": id}))).await.expect(200);
}

/// Runs the job now; the server runs it as well.
async fn pruned(app: &TestApp) {
    let soon = std::time::Duration::from_secs(30);
    eventually(soon, async || run_once(&app.app.broker).await.unwrap().is_some()).await;
}

async fn old_events_are_deleted_and_the_rest_verifies(app: TestApp) {
    add(&app, "old").await;
    let old = verified(&app).await.last;
    app.advance(60 * DAY);
    add(&app, "young").await;
    pruned(&app).await;
    assert_eq!(of_name(&recorded(&app).await, "provider.created").len(), 2, "not old enough");
    app.advance(32 * DAY);
    pruned(&app).await;
    let verified_after = verified(&app).await;
    assert_eq!(verified_after.broken, None);
    assert_eq!(verified_after.pruned, old);
    let events = recorded(&app).await;
    assert_eq!(names(&events, 0), ["provider.created", "audit.pruned"]);
    assert_eq!(
        (&events[1]["workspace_id"], &events[1]["details"]["events"]),
        (&json!(""), &json!(old.sequence.to_string()))
    );
    let rows = "SELECT count(*) FROM audit_events";
    assert_eq!(app.database.number(rows).await, 2, "the young one, and that the others were deleted");
    let marked = "SELECT count(*) FROM audit_events WHERE event = 'audit.pruned'";
    assert_eq!(app.database.number(marked).await, 1);
    pruned(&app).await;
    assert_eq!(app.database.number(rows).await, 2, "a run with nothing to do leaves no event");
    add(&app, "new").await;
    assert_eq!(verified(&app).await.broken, None);
}

async fn events_stay_if_the_settings_say_so(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.audit_days = 0).await;
    add(&app, "old").await;
    let before = recorded(&app).await;
    app.advance(3000 * DAY);
    pruned(&app).await;
    assert_eq!(recorded(&app).await, before);
}

async fn an_interrupted_deletion_verifies_and_is_finished_later(app: TestApp) {
    for number in 0..5 {
        add(&app, &format!("acme-{number}")).await;
    }
    let organization = super::organization(&app).await;
    let (store, now) = (app.app.broker.store(), app.clock.now());
    let later = now + chrono::TimeDelta::days(1);
    assert_eq!(store.prune_audit(&organization, later, 4, now).await.unwrap(), 4);
    assert_eq!(store.delete_pruned_audit(&organization, 2).await.unwrap(), 2);
    let half = verified(&app).await;
    assert_eq!((half.broken, half.pruned.sequence), (None, 4));
    let sequences: Vec<_> = recorded(&app).await.iter().map(|event| event["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.iter().all(|sequence| *sequence > 4), "what is marked is not shown: {sequences:?}");
    pruned(&app).await;
    assert_eq!(app.database.number("SELECT min(sequence) FROM audit_events").await, 5);
    assert_eq!(verified(&app).await.broken, None);
}

async fn the_deleted_part_cannot_be_extended_behind_its_back(app: TestApp) {
    for number in 0..5 {
        add(&app, &format!("acme-{number}")).await;
    }
    let hide = "UPDATE audit_heads SET pruned_to = 3, pruned_hash = (SELECT hash FROM audit_events WHERE sequence = 3);
                DELETE FROM audit_events WHERE sequence <= 3";
    app.database.tamper(hide).await;
    assert!(verified(&app).await.broken.is_some());
}

async fn nothing_is_deleted_that_cannot_be_recorded(app: TestApp) {
    add(&app, "old").await;
    let before = recorded(&app).await.len();
    app.advance(200 * DAY);
    break_audit(&app.database).await;
    assert!(!matches!(run_once(&app.app.broker).await, Ok(Some(_))));
    mend_audit(&app.database).await;
    assert_eq!(recorded(&app).await.len(), before);
}
