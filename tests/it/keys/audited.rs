//! The commands of a rotation in the audit log: who changed the keys, and which; never the keys themselves.

use serde_json::{Value, json};

use super::{done, id_of, keys, new_list, refused, replica};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::run;
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;

both_databases! {
    each_step_of_a_rotation_is_recorded_with_the_ids_of_the_keys,
    rotate_records_the_steps_that_it_does,
    a_reseal_that_leaves_values_is_recorded_as_failed,
    a_step_that_cannot_be_recorded_is_not_done,
    a_refused_step_is_not_recorded,
}

/// What was recorded of the keys, oldest first: the event, its result and its details.
async fn recorded(database: &Database, list: &str) -> Vec<(String, String, Value)> {
    let environment = database.environment_with_keys(list);
    let verified = run(&["audit", "verify"], &environment).await;
    assert!(verified.status.success(), "{verified:?}");
    let exported = run(&["audit", "export"], &environment).await;
    assert!(exported.status.success(), "{exported:?}");
    for key in list.split(',') {
        assert!(!exported.stdout.contains(key.rsplit(':').next().unwrap()), "a key is in the audit log");
    }
    let events = exported.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let of_keys = events.filter(|event| event["event"].as_str().unwrap().starts_with("encryption_key."));
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    of_keys
        .map(|event| {
            assert_eq!((&event["actor"], &event["actor_id"]), (&json!("command_line"), &Value::Null), "{event}");
            (text(&event, "event"), text(&event, "result"), event["details"].clone())
        })
        .collect()
}

fn event(name: &str, details: Value) -> (String, String, Value) {
    (format!("encryption_key.{name}"), "ok".to_owned(), details)
}

/// A database with a token, whose server was stopped.
async fn with_token(app: &TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.stop().await;
}

async fn each_step_of_a_rotation_is_recorded_with_the_ids_of_the_keys(app: TestApp) {
    with_token(&app).await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let appended = new_list(database, old, &["add"]).await;
    let added = id_of(appended.split_once(',').unwrap().1);
    let promoted = new_list(database, &appended, &["promote", &added]).await;
    let sealed: i64 = database.sealed_with("first").await.values().sum();
    done(database, &promoted, &["reseal"]).await;
    let alone = new_list(database, &promoted, &["retire", "first"]).await;
    let expected = [
        event("added", json!({"key_id": added})),
        event("promoted", json!({"key_id": added})),
        event("reseal_begun", json!({"key_id": added})),
        event("resealed", json!({"key_id": added, "values": sealed.to_string()})),
        event("retired", json!({"key_id": "first"})),
    ];
    assert_eq!(recorded(database, &alone).await, expected);
    let home = replica(&app, &alone).await;
    let shown = home.get("/v2/audit?event=encryption_key.retired").await.expect(200);
    assert_eq!(shown["data"].as_array().unwrap().len(), 1, "in the first workspace, as a start is");
}

async fn rotate_records_the_steps_that_it_does(app: TestApp) {
    with_token(&app).await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let mut list = old.clone();
    for _ in 0..3 {
        list = new_list(database, &list, &["rotate"]).await;
    }
    done(database, &list, &["rotate"]).await;
    let names: Vec<_> = recorded(database, &list).await.into_iter().map(|(name, ..)| name).collect();
    let expected = ["added", "promoted", "reseal_begun", "resealed", "retired"];
    assert_eq!(names, expected.map(|name| format!("encryption_key.{name}")));
}

async fn a_reseal_that_leaves_values_is_recorded_as_failed(app: TestApp) {
    with_token(&app).await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let appended = new_list(database, old, &["add"]).await;
    let added = id_of(appended.split_once(',').unwrap().1);
    let promoted = new_list(database, &appended, &["promote", &added]).await;
    database.tamper("UPDATE tokens SET refresh_token = access_token").await;
    assert!(!keys(database, &promoted, &["reseal"]).await.status.success());
    let (name, result, details) = recorded(database, &promoted).await.pop().unwrap();
    assert_eq!((name.as_str(), result.as_str()), ("encryption_key.resealed", "failed"));
    assert_eq!(details["unreadable"], "1");
}

async fn a_step_that_cannot_be_recorded_is_not_done(app: TestApp) {
    with_token(&app).await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let appended = new_list(database, old, &["add"]).await;
    let added = id_of(appended.split_once(',').unwrap().1);
    new_list(database, &appended, &["promote", &added]).await;
    let before = (database.sealed_with("first").await, database.number("SELECT count(*) FROM encryption_keys").await);
    database.tamper("ALTER TABLE audit_events RENAME TO audit_events_away").await;
    for step in [&["add"][..], &["promote", &added], &["retire", &added]] {
        assert!(refused(database, &appended, step).await.contains("audit"), "{step:?}");
    }
    let promoted = format!("{},{old}", appended.split_once(',').unwrap().1);
    assert!(refused(database, &promoted, &["reseal"]).await.contains("audit"));
    let after = (database.sealed_with("first").await, database.number("SELECT count(*) FROM encryption_keys").await);
    assert_eq!(after, before);
    database.tamper("ALTER TABLE audit_events_away RENAME TO audit_events").await;
    assert_eq!(recorded(database, &appended).await.len(), 2);
}

async fn a_refused_step_is_not_recorded(app: TestApp) {
    with_token(&app).await;
    let (database, list) = (&app.database, &app.database.encryption_keys);
    refused(database, list, &["retire", "first"]).await;
    refused(database, list, &["promote", "unknown"]).await;
    refused(database, list, &["retire", "unknown"]).await;
    assert_eq!(recorded(database, list).await, []);
}
