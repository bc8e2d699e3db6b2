//! A database that refuses writes for a while: SQLite ends some transactions by itself when it refuses. Everything works
//! again afterwards, and no refresh token is sent twice.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, identity};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    after_writes_that_the_database_refused_everything_works_again,
    a_refresh_whose_result_the_database_refuses_is_sent_once_and_kept,
}

const HOUR: u64 = 3600;
const SOON: Duration = Duration::from_secs(30);

fn question() -> Value {
    asking("alice", &["read"])
}

/// From now on the database refuses this kind of statement. SQLite then rolls the transaction back by itself, as on a full
/// disk.
async fn refuse(database: &Database, table: &str, statement: &str, condition: &str) {
    let when = if condition.is_empty() { String::new() } else { format!("WHEN ({condition})") };
    if database.postgres.is_some() {
        let function = "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'refused for a test'; END $$";
        database.tamper(function).await;
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE {statement} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION refuse()"
        );
        database.tamper(&trigger).await;
    } else {
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE {statement} ON {table} {when}
             BEGIN SELECT RAISE(ROLLBACK, 'refused for a test'); END"
        );
        database.tamper(&trigger).await;
    }
}

async fn accept(database: &Database, table: &str) {
    let of_table = if database.postgres.is_some() { format!(" ON {table}") } else { String::new() };
    database.tamper(&format!("DROP TRIGGER refuse{of_table}")).await;
}

async fn after_writes_that_the_database_refused_everything_works_again(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    refuse(&app.database, "authorization_requests", "INSERT", "").await;
    for number in 0..12 {
        let answer = app.try_authenticate(&asking(&format!("user-{number}"), &["read"])).await;
        answer.expect_error(500, "internal_error");
    }
    accept(&app.database, "authorization_requests").await;
    for number in 0..12 {
        app.connect(&provider, &asking(&format!("user-{number}"), &["read"])).await;
    }
    assert_eq!(app.database.number("SELECT count(*) FROM authorization_requests").await, 12, "nothing half-written");
}

async fn a_refresh_whose_result_the_database_refuses_is_sent_once_and_kept(app: TestApp) {
    let provider = AuthorizationServer::rotating(Duration::ZERO).await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    app.advance(HOUR);
    refuse(&app.database, "tokens", "UPDATE", "NEW.generation <> OLD.generation").await;
    // The one that refreshes, and one that waits for it. The jobs of the server look for interrupted refreshes meanwhile.
    let caller = Caller::clone(&app);
    let other = tokio::spawn(async move { caller.try_authenticate(&question()).await });
    for answer in [app.try_authenticate(&question()).await, other.await.expect("no panic")] {
        answer.expect_error(500, "internal_error");
    }
    // Longer than a lease that nobody extends.
    for _ in 0..3 {
        app.try_authenticate(&question()).await.expect_error(500, "internal_error");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    accept(&app.database, "tokens").await;
    eventually(SOON, async || app.try_authenticate(&question()).await.status == 200).await;
    assert_eq!(identity(&app.token(&question()).await), (0, 1));
    assert_eq!((provider.rotations(), provider.reuses(), provider.dead_grants()), (1, 0, 0));
}

/// The whole server, whose files cannot be written: SQLite meets an error of the disk.
#[cfg(target_os = "linux")]
mod full_disk {
    use super::*;
    use crate::support::binary::Server;
    use crate::support::database::PUBLIC_URL;

    struct Story {
        database: Database,
        provider: AuthorizationServer,
        server: Server,
    }

    impl Story {
        async fn begin() -> Self {
            let database = Database::sqlite();
            let provider = AuthorizationServer::rotating(Duration::ZERO).await;
            let server = Server::start_without_file_signal(&database.environment()).await;
            server.post(&database.bootstrap_key, "/v2/auth/providers", &provider.definition("acme")).await;
            Self { database, provider, server }
        }

        async fn ask(&self, user: &str) -> (u16, Value) {
            let (key, body) = (&self.database.bootstrap_key, asking(user, &["read"]));
            let answer = self.server.try_post(key, "/v2/auth/authenticate", &body).await;
            let (status, body) = answer.expect("an answer");
            (status, serde_json::from_str(&body).expect("JSON"))
        }

        async fn connect(&self, user: &str) {
            let (_, pending) = self.ask(user).await;
            let callback = self.provider.consent(pending["url"].as_str().expect("a url"));
            let path = callback.as_str().strip_prefix(PUBLIC_URL).expect("our callback");
            assert_eq!(self.server.get(path).await.expect("an answer").0, 303);
            let (status, answer) = self.ask(user).await;
            assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refresh_whose_result_meets_a_full_disk_is_sent_once_and_kept() {
        let story = Story::begin().await;
        story.connect("bob").await;
        story.provider.expires_in(1);
        story.connect("alice").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        story.provider.expires_in(3600);

        story.provider.hold();
        let full = async {
            story.provider.until_held(1).await;
            story.server.limit_file_size(Some(1));
            story.provider.release();
        };
        let ((status, answer), ()) = tokio::join!(story.ask("alice"), full);
        assert_eq!((status, &answer["code"]), (503, &json!("database_unavailable")), "{answer}");
        for number in 0..20 {
            let (status, answer) = story.ask(&format!("new-{number}")).await;
            assert_eq!((status, &answer["code"]), (503, &json!("database_unavailable")), "{answer}");
            assert_eq!(story.ask("alice").await.0, 503);
            assert_eq!(story.ask("bob").await.0, 200, "a fresh token is still handed out");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(story.server.get("/readyz").await.expect("an answer").0, 200, "it can still read");
        story.server.limit_file_size(None);
        eventually(SOON, async || story.ask("alice").await.0 == 200).await;
        let (_, answer) = story.ask("alice").await;
        assert_eq!(identity(answer["token"].as_str().expect("a token")).1, 1, "{answer}");
        for number in 0..10 {
            story.connect(&format!("new-{number}")).await;
        }
        let provider = &story.provider;
        assert_eq!((provider.rotations(), provider.reuses(), provider.dead_grants()), (1, 0, 0));
        let said = story.server.said_so_far();
        for event in ["grant.not_stored", "token.lease_lost", "server.internal_error", "database.failed"] {
            assert!(!said.contains(event), "{event}: {said}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_stops_before_a_grant_is_stored_says_so() {
        let story = Story::begin().await;
        story.provider.hold();
        let (_, pending) = story.ask("alice").await;
        let callback = story.provider.consent(pending["url"].as_str().expect("a url"));
        let path = callback.as_str().strip_prefix(PUBLIC_URL).expect("our callback").to_owned();
        let full = async {
            story.provider.until_held(1).await;
            story.server.limit_file_size(Some(1));
            story.provider.release();
        };
        let (answer, ()) = tokio::join!(story.server.get(&path), full);
        assert_eq!(answer.expect("an answer").0, 503);
        let (_, said) = story.server.stop().await;
        assert!(said.contains("grant.not_stored"), "{said}");
    }
}
