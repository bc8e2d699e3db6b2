//! A database that can be reached and does not serve: callers are asked to try again, and the log says why.

use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, identity};
use crate::support::binary::Server;
use crate::support::caller::{Caller, asking};
use crate::support::database::Database;
use crate::support::eventually::eventually;

const HOUR: u64 = 3600;
const SOON: Duration = Duration::from_secs(30);
/// What a statement on the table is refused with from now on.
const REFUSE: &str = "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused for a test' USING ERRCODE = '{code}'; END $$";
/// (SQLSTATE, event)
const OUTAGES: [(&str, &str); 8] = [
    ("25006", "database.read_only"),
    ("42501", "database.access_denied"),
    ("53100", "database.full"),
    ("53200", "database.unavailable"),
    ("53300", "database.unavailable"),
    ("57P03", "database.unavailable"),
    ("58030", "database.unavailable"),
    ("40P01", "database.busy"),
];

fn question() -> Value {
    asking("alice", &["read"])
}

async fn refuse(database: &Database, code: &str) {
    database.tamper(&REFUSE.replace("{code}", code)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_database_refuses_with_is_503_and_logged_with_its_reason() {
    let database = Database::postgres().await;
    let server = Server::start(&database.environment()).await;
    let provider = AuthorizationServer::start().await;
    let key = &database.bootstrap_key;
    server.post(key, "/v2/auth/providers", &provider.definition("acme")).await;
    for (code, event) in OUTAGES {
        refuse(&database, code).await;
        database
            .tamper(
                "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON authorization_requests
                 FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
            )
            .await;
        let before = server.said_so_far().matches(event).count();
        let (status, body) = server.try_post(key, "/v2/auth/authenticate", &question()).await.expect("an answer");
        assert_eq!(status, 503, "{code}: {body}");
        assert!(body.contains("database_unavailable"), "{code}: {body}");
        eventually(SOON, async || server.said_so_far().matches(event).count() > before).await;
    }
    database.tamper("DROP TRIGGER refuse ON authorization_requests").await;
    assert_eq!(server.post(key, "/v2/auth/authenticate", &question()).await["status"], "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_behind_another_writer_says_so_and_the_deletion_of_a_provider_is_tried_again() {
    let app = TestApp::start(Database::postgres().await).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let url = &app.database.postgres.as_ref().expect("PostgreSQL").url;
    let mut writer = PgConnection::connect(url).await.expect("connects");
    sqlx::raw_sql("BEGIN; SELECT id FROM providers FOR UPDATE").execute(&mut writer).await.expect("locks");
    let refused = app.patch("/v2/auth/providers/acme", &serde_json::json!({"name": "Other"})).await;
    let refused = refused.expect_error(503, "database_unavailable");
    assert!(refused["detail"].as_str().expect("a detail").contains("changing the same records"), "{refused}");
    let (deleted, ()) = tokio::join!(app.delete("/v2/auth/providers/acme"), async {
        // Longer than one attempt waits for a lock.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut writer).await.expect("unlocks");
    });
    deleted.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_became_read_only_still_hands_out_tokens_and_is_left_for_another() {
    let app = TestApp::start(Database::postgres().await).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    // As of a standby behind the same name: what is connected now can only read.
    let name = app.database.postgres.as_ref().expect("PostgreSQL").url.rsplit('/').next().expect("a name").to_owned();
    app.database.tamper(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    end_connections(&app.database).await;
    eventually(SOON, async || {
        let answer = app.try_authenticate(&asking("bob", &["read"])).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(!answer.header("retry-after").is_empty());
        answer.text().contains("read-only")
    })
    .await;
    app.token(&question()).await;
    // The primary is back behind the name. The old connections would stay read-only for ever.
    app.database
        .tamper(&format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT"))
        .await;
    eventually(SOON, async || app.try_authenticate(&asking("bob", &["read"])).await.status == 200).await;
    for number in 0..50 {
        app.begin(&asking(&format!("user-{number}"), &["read"])).await;
    }
}

async fn end_connections(database: &Database) {
    database
        .number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_on_a_full_disk_is_no_fault_of_the_provider_and_is_kept_once_there_is_space() {
    let app = TestApp::start(Database::postgres().await).await;
    let provider = AuthorizationServer::rotating(Duration::ZERO).await;
    app.register_as(provider.definition("acme")).await;
    app.connect(&provider, &question()).await;
    app.advance(HOUR);
    refuse(&app.database, "53100").await;
    app.database
        .tamper(
            "CREATE TRIGGER refuse BEFORE UPDATE ON tokens FOR EACH ROW
             WHEN (NEW.generation <> OLD.generation) EXECUTE FUNCTION refuse()",
        )
        .await;
    // The one that refreshes, and one that waits for it.
    let caller = Caller::clone(&app);
    let other = tokio::spawn(async move { caller.try_authenticate(&question()).await });
    for answer in [app.try_authenticate(&question()).await, other.await.expect("no panic")] {
        assert_eq!(answer.status, 503, "{answer:?}");
        let body = answer.json();
        assert_eq!(body["code"], "database_unavailable", "{body}");
        assert!(body["detail"].as_str().expect("a detail").contains("full"), "{body}");
    }
    app.database.tamper("DROP TRIGGER refuse ON tokens").await;
    eventually(SOON, async || app.try_authenticate(&question()).await.status == 200).await;
    assert_eq!(identity(&app.token(&question()).await), (0, 1));
    assert_eq!((provider.rotations(), provider.reuses(), provider.dead_grants()), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_on_a_full_disk_are_answered_too() {
    let app = TestApp::start(Database::postgres().await).await;
    let weather = serde_json::json!({"provider_id": "acme", "name": "Weather", "grant_type": "api_key", "client_secret": "a-key"});
    app.register_as(weather).await;
    refuse(&app.database, "53100").await;
    app.database
        .tamper("CREATE TRIGGER refuse BEFORE INSERT ON tokens FOR EACH STATEMENT EXECUTE FUNCTION refuse()")
        .await;
    let body = asking("alice", &[]);
    let answer = tokio::time::timeout(Duration::from_mins(1), app.try_authenticate(&body)).await.expect("an answer");
    answer.expect_error(503, "database_unavailable");
    app.database.tamper("DROP TRIGGER refuse ON tokens").await;
    eventually(SOON, async || app.try_authenticate(&asking("alice", &[])).await.status == 200).await;
}
