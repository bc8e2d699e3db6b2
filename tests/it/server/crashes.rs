//! A server killed between the provider's answer and our commit: the state of the grant, and what the person is told.

use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};
use url::Url;

use crate::support::authorization_server::{AuthorizationServer, TOKEN, identity};
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    killed_between_answer_and_commit_a_provider_with_grace_loses_nothing,
    killed_between_answer_and_commit_a_strict_provider_has_to_be_asked_for_consent,
    killed_between_answer_and_commit_the_refresh_is_resumed_though_nobody_asks,
    killed_in_the_middle_of_a_refresh_the_grant_lives,
    killed_in_the_middle_of_a_code_exchange_the_wait_ends_visibly,
    killed_while_the_key_of_a_workspace_is_replaced_everybody_still_gets_the_same_key,
}

/// How long a refresh that died with its server may block the next one. Generous: the promise says "seconds".
const SOON: Duration = Duration::from_secs(25);

fn question() -> Value {
    asking("alice", &["read"])
}

/// Real servers on one database, one after the other, and the provider.
struct Story {
    database: Database,
    provider: AuthorizationServer,
}

impl Story {
    async fn begin(database: Database, grace: Duration) -> (Self, Server) {
        let story = Self { database, provider: AuthorizationServer::rotating(grace).await };
        let server = story.server().await;
        let definition = story.provider.definition("acme");
        server.post(story.key(), "/v2/auth/providers", &definition).await;
        (story, server)
    }

    async fn server(&self) -> Server {
        Server::start(&self.database.environment()).await
    }

    fn key(&self) -> &str {
        &self.database.bootstrap_key
    }

    async fn authenticate(&self, server: &Server, body: &Value) -> Value {
        server.post(self.key(), "/v2/auth/authenticate", body).await
    }

    /// Alice's token, which has expired by now; what it is refreshed to will live for an hour.
    async fn expired(&self, server: &Server) {
        self.provider.expires_in(1);
        let token = self.connect(server).await;
        assert_eq!(identity(&token).1, 0);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        self.provider.expires_in(3600);
    }

    async fn connect(&self, server: &Server) -> String {
        let pending = self.authenticate(server, &question()).await;
        assert_eq!(pending["status"], "pending", "{pending}");
        let (status, page) = server.get(&self.way_back(&pending)).await.expect("an answer");
        assert_eq!(status, 303, "{page}");
        let path = format!("/v2/auth/wait/{}?timeout=20", pending["auth_id"].as_str().expect("an id"));
        let (status, told) = server.get_with_key(self.key(), &path).await.expect("an answer");
        assert_eq!(status, 200, "{told}");
        let told: Value = serde_json::from_str(&told).expect("JSON");
        told["token"].as_str().unwrap_or_else(|| panic!("no token: {told}")).to_owned()
    }

    /// The person consents: the path of our callback that the browser is sent to.
    fn way_back(&self, pending: &Value) -> String {
        let callback: Url = self.provider.consent(pending["url"].as_str().expect("a url"));
        callback.as_str().strip_prefix(PUBLIC_URL).expect("our callback").to_owned()
    }

    /// Asks `server` for the token and kills it when the provider has renewed the grant and the server could not
    /// write that down yet.
    async fn killed_before_the_commit(&self, server: Server) {
        self.provider.hold();
        {
            let asked = self.authenticate_or_die(&server);
            let killed = async {
                self.provider.until_held(1).await;
                let table = Held::take(&self.database).await;
                self.provider.release();
                tokio::time::sleep(Duration::from_millis(500)).await;
                server.signal("KILL");
                table
            };
            let (answer, table) = tokio::join!(asked, killed);
            table.release().await;
            assert!(answer.is_none(), "nobody may be told of a token that is not written: {answer:?}");
        }
        assert_eq!(self.provider.rotations(), 1, "the provider has renewed the grant");
        drop(server);
    }

    async fn authenticate_or_die(&self, server: &Server) -> Option<(u16, String)> {
        server.try_post(self.key(), "/v2/auth/authenticate", &question()).await
    }

    /// What `server` says when it is asked until it says something else than "try again".
    async fn soon(&self, server: &Server, body: &Value) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) =
                server.try_post(self.key(), "/v2/auth/authenticate", body).await.expect("an answer, whatever it is");
            match status {
                200 => return serde_json::from_str(&answer).expect("JSON"),
                503 | 504 => {}
                _ => panic!("{status}: {answer}"),
            }
            assert!(begun.elapsed() < SOON, "only ever told to try again: {answer}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

/// A lock that keeps writers of tokens waiting, but not readers.
enum Held {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Held {
    async fn take(database: &Database) -> Self {
        if let Some(own) = &database.postgres {
            let mut connection = PgConnection::connect(&own.url).await.expect("connects");
            sqlx::raw_sql("BEGIN; LOCK TABLE tokens IN EXCLUSIVE MODE").execute(&mut connection).await.expect("locks");
            Self::Postgres(connection)
        } else {
            let mut connection = database.sqlite_connection().await;
            sqlx::raw_sql("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").execute(&mut connection).await.expect("locks");
            Self::Sqlite(connection)
        }
    }

    async fn release(self) {
        match self {
            Self::Postgres(mut connection) => drop(sqlx::raw_sql("ROLLBACK").execute(&mut connection).await),
            Self::Sqlite(mut connection) => drop(sqlx::raw_sql("ROLLBACK").execute(&mut connection).await),
        }
    }
}

async fn killed_between_answer_and_commit_a_provider_with_grace_loses_nothing(database: Database) {
    let (story, server) = Story::begin(database, Duration::from_mins(2)).await;
    story.expired(&server).await;
    story.killed_before_the_commit(server).await;
    let server = story.server().await;
    let answer = story.soon(&server, &question()).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    let token = answer["token"].as_str().expect("a token");
    assert!(story.provider.is_newest(token), "{token}");
    assert_eq!((story.provider.reuses(), story.provider.dead_grants()), (1, 0), "the same refresh token, once more");
}

async fn killed_between_answer_and_commit_a_strict_provider_has_to_be_asked_for_consent(database: Database) {
    let (story, server) = Story::begin(database, Duration::ZERO).await;
    story.expired(&server).await;
    let (_, listed) = server.get_with_key(story.key(), "/v2/auth/tokens").await.expect("an answer");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    story.killed_before_the_commit(server).await;
    let server = story.server().await;
    let answer = story.soon(&server, &question()).await;
    assert_eq!(answer["status"], "pending", "the loss is shown: {answer}");
    assert_eq!(story.provider.dead_grants(), 1);
    let named = with(question(), json!({"token_id": listed[0]["id"]}));
    assert_eq!(story.authenticate(&server, &named).await["status"], "token_expired");
    let asked = story.provider.count(TOKEN);
    story.authenticate(&server, &question()).await;
    assert_eq!(story.provider.count(TOKEN), asked, "a dead grant is left alone");
    let token = story.connect(&server).await;
    assert!(story.provider.is_newest(&token), "consent heals it");
}

async fn killed_in_the_middle_of_a_refresh_the_grant_lives(database: Database) {
    let (story, server) = Story::begin(database, Duration::from_mins(2)).await;
    story.expired(&server).await;
    story.provider.hold();
    let killed = async {
        story.provider.until_held(1).await;
        server.signal("KILL");
    };
    let (answer, ()) = tokio::join!(story.authenticate_or_die(&server), killed);
    assert!(answer.is_none(), "{answer:?}");
    drop(server);
    story.provider.release();
    let server = story.server().await;
    let answer = story.soon(&server, &question()).await;
    assert!(story.provider.is_newest(answer["token"].as_str().unwrap_or_else(|| panic!("{answer}"))));
}

async fn killed_in_the_middle_of_a_code_exchange_the_wait_ends_visibly(database: Database) {
    let (story, server) = Story::begin(database, Duration::ZERO).await;
    let pending = story.authenticate(&server, &question()).await;
    let callback = story.way_back(&pending);
    story.provider.hold();
    let killed = async {
        story.provider.until_held(1).await;
        server.signal("KILL");
    };
    let (page, ()) = tokio::join!(server.get(&callback), killed);
    assert!(page.is_none(), "{page:?}");
    drop(server);
    story.provider.release();

    let server = story.server().await;
    // A waiter that comes shortly before the moment from which on no exchange can be under way any more.
    let almost_a_minute_ago = if story.database.postgres.is_some() {
        "UPDATE authorization_requests SET taken_at = taken_at - interval '57 seconds'"
    } else {
        "UPDATE authorization_requests SET taken_at = replace(strftime('%Y-%m-%dT%H:%M:%f', taken_at, '-57 seconds'), 'T', ' ') || '+00:00'"
    };
    assert_eq!(story.database.tamper(almost_a_minute_ago).await, 1);
    let path = format!("/v2/auth/wait/{}?timeout=45", pending["auth_id"].as_str().expect("an id"));
    let (status, told) = server.get_with_key(story.key(), &path).await.expect("an answer");
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(told["status"], "not_found", "{told}");
    assert_eq!(told["error"], "server_error", "{told}");
    let (status, page) = server.get(&callback).await.expect("an answer");
    assert!((400..500).contains(&status), "a reload ends too: {status} {page}");
    let token = story.connect(&server).await;
    assert!(story.provider.is_newest(&token), "a new attempt works");
}

async fn killed_between_answer_and_commit_the_refresh_is_resumed_though_nobody_asks(database: Database) {
    let (story, server) = Story::begin(database, Duration::from_mins(2)).await;
    story.expired(&server).await;
    story.killed_before_the_commit(server).await;
    let server = story.server().await;
    let begun = Instant::now();
    while story.provider.rotations() < 2 {
        assert!(begun.elapsed() < SOON, "nobody asks, and nothing happens");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = story.soon(&server, &question()).await;
    assert!(story.provider.is_newest(answer["token"].as_str().unwrap_or_else(|| panic!("{answer}"))));
    assert_eq!((story.provider.rotations(), story.provider.dead_grants()), (2, 0), "once, and for everybody");
}

/// The provider's record and the tokens that hold its key change together, or not at all.
async fn killed_while_the_key_of_a_workspace_is_replaced_everybody_still_gets_the_same_key(database: Database) {
    let (key, environment) = (database.bootstrap_key.clone(), database.environment());
    let server = Server::start(&environment).await;
    let definition =
        json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key", "client_secret": "key-before"});
    server.post(&key, "/v2/auth/providers", &definition).await;
    let weather = |user| with(asking(user, &[]), json!({"provider": "weather"}));
    assert_eq!(server.post(&key, "/v2/auth/authenticate", &weather("alice")).await["token"], "key-before");

    let tokens = Held::take(&database).await;
    {
        let new_key = json!({"client_secret": "key-after"});
        let replaced = server.try_send(Method::PATCH, &key, "/v2/auth/providers/weather", &new_key);
        let killed = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            server.signal("KILL");
        };
        let (answer, ()) = tokio::join!(replaced, killed);
        assert!(answer.is_none(), "nobody may be told of a change that is not written: {answer:?}");
    }
    drop(server);
    tokens.release().await;

    let server = Server::start(&environment).await;
    // Bob has no token yet, so his comes from the provider's record.
    let bob = server.post(&key, "/v2/auth/authenticate", &weather("bob")).await;
    let alice = server.post(&key, "/v2/auth/authenticate", &weather("alice")).await;
    assert_eq!(alice["token"], bob["token"], "a replaced key is still served");
}
