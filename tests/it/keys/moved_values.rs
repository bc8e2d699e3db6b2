//! Sealed values that somebody with access to the database moved to another row: none of them opens there.

use serde_json::json;

use super::{EVERY_SEALED_COLUMN, fill, keys};
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{acme, with};
use crate::support::database::{Database, encryption_key};

both_databases! {
    a_value_of_any_sealed_column_opens_in_its_own_row_only,
    with_the_audit_key_of_another_organization_nothing_is_done,
}

/// Gives every row the value of another one.
async fn exchange(database: &Database, name: &str) {
    let (table, column) = name.split_once('.').expect("table.column");
    let kept = format!("CREATE TABLE kept AS SELECT id, {column} AS value FROM {table} WHERE {column} IS NOT NULL");
    database.tamper(&kept).await;
    let exchange = format!(
        "UPDATE {table} SET {column} = (SELECT value FROM kept WHERE kept.id <> {table}.id ORDER BY kept.id LIMIT 1)
         WHERE {column} IS NOT NULL"
    );
    assert!(database.tamper(&exchange).await > 1, "{name}");
    database.tamper("DROP TABLE kept").await;
}

async fn a_value_of_any_sealed_column_opens_in_its_own_row_only(app: TestApp) {
    fill(&app).await;
    app.stop().await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let mut expected = database.sealed_with("first").await;
    assert_eq!(expected.keys().map(String::as_str).collect::<Vec<_>>(), EVERY_SEALED_COLUMN, "{expected:?}");
    // Without its audit key nothing is recorded, and nothing done: the next test.
    expected.remove("audit_heads.audit_key");
    for name in expected.keys() {
        exchange(database, name).await;
    }
    let finished = keys(database, &format!("{},{old}", encryption_key("second")), &["reseal"]).await;
    assert!(!finished.status.success(), "{finished:?}");
    let values: i64 = expected.values().sum();
    assert!(finished.stderr.contains(&format!("{values} values cannot be opened")), "{finished:?}");
    assert_eq!(database.sealed_with("first").await, expected, "they are as they were");
}

async fn with_the_audit_key_of_another_organization_nothing_is_done(app: TestApp) {
    let elsewhere = app.service_key_in("other", "ws").await;
    for caller in [&*app, &elsewhere] {
        caller.register_as(acme()).await;
    }
    // What the server does on its own does not count.
    let rows = async || {
        let mut rows = app.database.row_counts().await;
        rows.retain(|table, _| table != "jobs");
        rows
    };
    let before = rows().await;
    exchange(&app.database, "audit_heads.audit_key").await;
    let another = with(acme(), json!({"provider_id": "another"}));
    for caller in [&*app, &elsewhere] {
        caller.post("/v2/auth/providers", &another).await.expect_error(503, "audit_unavailable");
        caller.delete("/v2/auth/providers/acme").await.expect_error(503, "audit_unavailable");
    }
    assert_eq!(rows().await, before);
}
