//! A database of an earlier version: what is in it survives the upgrade.

use std::path::Path;

use serde_json::json;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{acme, asking};
use crate::support::database::Database;

both_databases! {
    a_consent_begun_before_the_upgrade_is_still_waited_for,
    providers_that_shared_a_callback_address_keep_it,
    columns_that_a_later_version_adds_fail_nothing,
}

/// PostgreSQL refuses a prepared statement whose columns are others than before.
#[test]
fn every_statement_names_its_columns() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store")];
    let mut statements = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            statements += text.matches("SELECT ").count();
            for all in ["SELECT *", "RETURNING *"] {
                assert!(!text.contains(all), "{} has `{all}`: name the columns", path.display());
            }
        }
    }
    assert!(statements > 50, "the statements are there");
}

const REQUEST: &str = "00000000-0000-4000-8000-000000000007";

/// The schema before requests without a state.
async fn migrate_to_the_first_version(database: &Database) {
    let folder = TempDir::new().expect("a temporary folder");
    let first = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/0001_broker.sql");
    std::fs::copy(first, folder.path().join("0001_broker.sql")).expect("copies");
    let migrator = Migrator::new(folder.path()).await.expect("reads the migration");
    if let Some(own) = &database.postgres {
        let mut connection = PgConnection::connect(&own.url).await.expect("connects");
        migrator.run(&mut connection).await.expect("migrates");
    } else {
        let file = database.folder.path().join("agent-auth.db");
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.expect("creates");
        migrator.run(&mut connection).await.expect("migrates");
    }
}

async fn a_consent_begun_before_the_upgrade_is_still_waited_for(database: Database) {
    migrate_to_the_first_version(&database).await;
    let is_postgres = database.postgres.is_some();
    let id = |number: u8| {
        let uuid = format!("00000000-0000-4000-8000-00000000000{number}");
        if is_postgres { format!("'{uuid}'") } else { format!("X'{}'", uuid.replace('-', "")) }
    };
    let bytes = if is_postgres { r"'\x07'" } else { "X'07'" };
    let (now, later) = if is_postgres {
        ("now()".to_owned(), "now() + interval '10 minutes'".to_owned())
    } else {
        let time = |after| format!("replace(strftime('%Y-%m-%dT%H:%M:%f', 'now', '{after}'), 'T', ' ') || '+00:00'");
        (time("+0 seconds"), time("+10 minutes"))
    };
    let provider = id(1);
    database
        .tamper(&format!(
            "INSERT INTO installation VALUES (1, 'org', 'ws', {now});
             INSERT INTO providers VALUES ({provider}, 'org', 'ws', 'acme', 'Acme', 'client', NULL,
                'https://acme.example/authorize', 'https://acme.example/token', true, 'S256', NULL, 'none', '{{}}', '[]',
                NULL, false, '{{}}', NULL, NULL, NULL, NULL, 1, {now}, {now});
             INSERT INTO authorization_requests VALUES ({request}, 'org', 'ws', {provider}, 'acme', {bytes}, NULL,
                'client', NULL, 'none', 'https://acme.example/token', NULL, '{{}}', 'https://broker.example/callback',
                'alice', NULL, '', '[\"read\"]', true, false, 'pending', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                {now}, {later}, NULL)",
            request = id(7)
        ))
        .await;

    let app = TestApp::start(database).await;
    assert_eq!(app.look(REQUEST).await["status"], "pending");
    assert_eq!(
        app.database.number("SELECT count(*) FROM authorization_requests WHERE state_hash IS NOT NULL").await,
        1
    );
    let deleted = app.delete("/v2/auth/providers/acme").await;
    assert_eq!(deleted.expect(200)["revocation_queued"], json!(0));
    assert_eq!(app.database.authorization_requests().await, 0, "requests still go with their provider");
}

async fn providers_that_shared_a_callback_address_keep_it(database: Database) {
    migrate_to_the_first_version(&database).await;
    let is_postgres = database.postgres.is_some();
    for (number, organization, provider_id) in [(1, "first", "acme"), (2, "second", "acme"), (3, "second", "other")] {
        let uuid = format!("00000000-0000-4000-8000-00000000000{number}");
        let id = if is_postgres { format!("'{uuid}'") } else { format!("X'{}'", uuid.replace('-', "")) };
        let at = format!("'2026-01-0{number} 00:00:00+00:00'");
        let columns =
            "'Acme', 'client', NULL, 'https://acme.example/authorize', 'https://acme.example/token', true, 'S256',
            NULL, 'none', '{}', '[]', NULL, false, '{}', NULL, NULL, NULL, NULL, 1";
        let insert = format!(
            "INSERT INTO providers VALUES ({id}, '{organization}', 'ws', '{provider_id}', {columns}, {at}, {at})"
        );
        assert_eq!(database.tamper(&insert).await, 1);
    }
    let app = TestApp::start(database).await;
    let address = async |organization: &str, provider_id: &str| {
        let caller = app.service_key_in(organization, "ws").await;
        let path = format!("/v2/auth/providers/{provider_id}");
        caller.get(&path).await.expect(200)["redirect_uri"].as_str().unwrap().to_owned()
    };
    let plain = "https://broker.example/host-oauth-callback/acme";
    assert_eq!((address("first", "acme").await, address("second", "acme").await), (plain.to_owned(), plain.to_owned()));
    assert_eq!(address("second", "other").await, "https://broker.example/host-oauth-callback/other");
    let marked =
        "SELECT count(*) FROM providers WHERE shares_callback AND organization_id = 'second' AND provider_id = 'acme'";
    assert_eq!(app.database.number(marked).await, 1);
    assert_eq!(app.database.number("SELECT count(*) FROM providers WHERE shares_callback").await, 1);
    let third = app.service_key_in("third", "ws").await;
    let added = third.register_as(acme()).await;
    assert!(added["redirect_uri"].as_str().unwrap().starts_with(&format!("{plain}/at/")), "{added}");
}

/// What a replica does for its callers; on one connection, so that each statement is prepared when it is sent again.
async fn use_everything(app: &TestApp, provider: &AuthorizationServer, user: &str) {
    let question = asking(user, &["read"]);
    app.connect(provider, &question).await;
    assert_eq!(app.try_authenticate(&question).await.expect(200)["status"], "completed");
    let denied = app.begin(&asking(&format!("{user}-denies"), &["read"])).await;
    app.visit(&provider.deny(&denied.url)).await;
    app.get("/v2/auth/providers").await.expect(200);
    app.patch("/v2/auth/providers/acme", &json!({"name": user})).await.expect(200);
    app.get("/v2/audit").await.expect(200);
    let token = app.tokens().await.remove(0);
    let deleted = app.delete(&format!("/v2/auth/tokens/{}", token["id"].as_str().unwrap())).await;
    assert_eq!(deleted.status.as_u16(), 204, "{}", deleted.text());
    app.register_as(provider.definition("other")).await;
    app.delete("/v2/auth/providers/other").await.expect(200);
}

async fn columns_that_a_later_version_adds_fail_nothing(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.database_connections = 1).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    use_everything(&app, &provider, "before").await;
    // One of them is a view.
    for table in app.database.tables().await.into_iter().filter(|table| table != "database_clock") {
        app.database.tamper(&format!("ALTER TABLE {table} ADD COLUMN of_a_later_version TEXT")).await;
    }
    use_everything(&app, &provider, "after").await;
}
