//! The storage class of every SQLite value matches the declared type of its column.
//! SQLite accepts any value in any column, so a wrong bind would go unnoticed.

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::browser::Browser;
use crate::support::caller::asking;
use crate::support::database::Database;

/// The storage class that a value of this declared type has.
fn class_of(declared: &str) -> &'static str {
    match declared {
        "UUID" | "BYTEA" => "blob",
        "BIGINT" | "BOOLEAN" => "integer",
        "TEXT" | "TIMESTAMPTZ" | "JSONB" => "text",
        other => panic!("a type that is new here: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_stored_as_its_column_says() {
    let app = TestApp::start(Database::sqlite()).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.connect_agent("helper", &app.tokens().await[0]["id"]).await;
    app.advance(3600);
    app.token(&asking("alice", &["read"])).await;
    app.begin(&asking("bob", &["read"])).await;
    let verified = json!({"consent": "verify", "return_urls": ["https://app.example/connected"]});
    app.patch("/v2/auth/providers/acme", &verified).await.expect(200);
    let pending = app.begin(&asking("carol", &["read"])).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    assert_eq!(person.open(provider.consent(&at_provider).as_str()).await.status, 303);
    app.new_key(&["--consent", "confirm"]).await;

    let file = app.database.folder.path().join("agent-auth.db");
    let mut database = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await.unwrap();
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\'",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    assert!(columns.len() > 80, "{}", columns.len());
    for (table, column, declared) in columns {
        let sql = format!("SELECT DISTINCT typeof(\"{column}\") FROM \"{table}\" WHERE \"{column}\" IS NOT NULL");
        let classes: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut database).await.unwrap();
        for (class,) in classes {
            assert_eq!(class, class_of(&declared), "{table}.{column} {declared}");
        }
    }
}
