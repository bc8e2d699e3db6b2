//! PgBouncer between the replicas and PostgreSQL: everything works in either mode, and a wrong setting is refused at start.

use std::time::{Duration, Instant};

use agent_auth::config::Settings;
use agent_auth::store::db::{Db, Location};
use agent_auth::store::error::StoreError;
use agent_auth::store::postgres::PostgresLocation;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, raw_sql};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;
use crate::support::pgbouncer::PgBouncer;

const HOUR: u64 = 3600;
/// As soon as everything must work again.
const SOON: Duration = Duration::from_secs(20);
/// A replica that received no notification looks only after five seconds.
const NOTIFIED: Duration = Duration::from_secs(3);

/// A database behind a PgBouncer.
struct Pooled {
    database: Database,
    bouncer: PgBouncer,
    url: String,
    direct: String,
}

impl Pooled {
    async fn by(mode: &str) -> Self {
        Self::by_with(mode, "").await
    }

    async fn by_with(mode: &str, settings: &str) -> Self {
        let database = Database::postgres().await;
        let direct = database.postgres.as_ref().expect("PostgreSQL").url.clone();
        let bouncer = PgBouncer::start(mode, &direct, settings).await;
        Self { url: bouncer.url(&direct), database, bouncer, direct }
    }

    /// An application that knows of nothing between it and PostgreSQL.
    async fn app(self) -> (TestApp, Behind) {
        self.app_with(|_, _| ()).await
    }

    /// An application that knows that sessions are shared.
    async fn app_of_transactions(self) -> (TestApp, Behind) {
        self.app_with(|settings, direct| {
            "transaction".clone_into(&mut settings.database_pooler);
            settings.listen_database_url = Some(direct.into());
        })
        .await
    }

    async fn app_with(self, change: impl FnOnce(&mut Settings, &str)) -> (TestApp, Behind) {
        let Self { database, bouncer, url, direct } = self;
        let behind = Behind { bouncer, direct };
        let app = TestApp::start_with(database, |settings| {
            settings.database_url = Some(url.into());
            change(settings, &behind.direct);
        });
        (app.await, behind)
    }

    /// `agent-auth api-key list` with these settings besides the pooler's URL.
    async fn list_keys(&self, settings: &[(&str, &str)]) -> binary::Finished {
        let mut environment = self.database.environment();
        environment.retain(|(name, _)| name != "AGENT_AUTH_DATABASE_URL");
        let all = [&[("DATABASE_URL", self.url.as_str())], settings].concat();
        environment.extend(all.iter().map(|(name, value)| (format!("AGENT_AUTH_{name}"), (*value).to_owned())));
        binary::run(&["api-key", "list"], &environment).await
    }

    /// How many tables there are, and how many locks are kept.
    async fn traces(&self) -> (i64, i64) {
        let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND \
                     database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        (self.database.number(tables).await, self.database.number(locks).await)
    }
}

/// What is behind an application.
struct Behind {
    bouncer: PgBouncer,
    direct: String,
}

impl Behind {
    /// The value of a setting of PostgreSQL in each session that another client of the pooler may get.
    async fn values(&self, setting: &str) -> Vec<String> {
        let mut clients = Vec::new();
        let mut values = Vec::new();
        for _ in 0..8 {
            let mut client = self.bouncer.connect(&self.direct).await;
            // Kept until the end, so that the next client gets another session.
            client.execute("BEGIN").await.expect("a transaction");
            let shown = client.fetch_one(raw_sql(AssertSqlSafe(format!("SHOW {setting}")))).await.expect("a value");
            values.push(shown.get(0));
            clients.push(client);
        }
        values
    }
}

/// From the first provider to the last revocation, on two replicas.
async fn smoke(here: &TestApp, there: &TestApp) {
    let provider = AuthorizationServer::start().await;
    provider.revoke_at("/revoke");
    let definition = with(provider.definition("acme"), json!({"revocation_url": provider.at("/revoke")}));
    here.register_as(definition).await;
    let question = asking("alice", &["read"]);

    let pending = here.begin(&question).await;
    let (waiter, auth_id) = (Caller::clone(there), pending.auth_id.clone());
    let waiting = tokio::spawn(async move { (waiter.wait(&auth_id).await, Instant::now()) });
    // So that it waits; if it does not yet, it sees the result at once, and nothing is wrong either.
    tokio::time::sleep(Duration::from_millis(300)).await;
    provider.answer_token(Reply::json(json!({"access_token": "a-1", "refresh_token": "r-1", "expires_in": HOUR})));
    here.come_back(&provider.consent(&pending.url)).await;
    let come_back = Instant::now();
    let (answer, woken) = waiting.await.expect("an answer");
    assert_eq!((&answer["status"], &answer["token"]), (&"completed".into(), &"a-1".into()), "{answer}");
    assert!(woken.saturating_duration_since(come_back) < NOTIFIED, "woken by a poll only");

    here.advance(HOUR);
    provider.answer_token(Reply::json(json!({"access_token": "a-2", "refresh_token": "r-2", "expires_in": HOUR})));
    let replicas = [here, there];
    let callers = (0..12).map(|number| replicas[number % 2].token(&question));
    assert!(join_all(callers).await.iter().all(|token| token == "a-2"));
    assert_eq!(provider.refreshes().len(), 1, "one refresh for all of them");

    let token = &there.tokens_of("alice").await[0];
    let agent = there.acting_for("alice").connect_agent("agent-1", &token["id"]).await;
    assert_eq!(agent["agent_id"], "agent-1");
    let deleted = there.acting_for("alice").delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    assert_eq!(deleted["upstream_revoked"], true, "{deleted}");
    assert_eq!(provider.revoked("token"), ["r-2", "a-2"]);
    assert_eq!(here.authenticate(&question).await["status"], "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_needs_no_setting() {
    let pooled = Pooled::by("session").await;
    let (here, behind) = pooled.app().await;
    smoke(&here, &here.replica().await).await;
    drop(behind);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_serves_the_same() {
    let (here, behind) = Pooled::by("transaction").await.app_of_transactions().await;
    smoke(&here, &here.replica().await).await;
    drop(behind);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_that_listens_may_go_through_a_pooler_too() {
    let pooled = Pooled::by("transaction").await;
    let listening = PgBouncer::start("session", &pooled.direct, "").await;
    let url = listening.url(&pooled.direct);
    let change = |settings: &mut Settings, _: &str| {
        "transaction".clone_into(&mut settings.database_pooler);
        settings.listen_database_url = Some(url.into());
    };
    let (here, behind) = pooled.app_with(change).await;
    smoke(&here, &here.replica().await).await;
    drop((listening, behind));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_go_by_way_of_either_pooler() {
    let session = Pooled::by("session").await;
    let listed = session.list_keys(&[]).await;
    assert!(listed.status.success(), "{listed:?}");
    let transaction = Pooled::by("transaction").await;
    let settings = [("DATABASE_POOLER", "transaction"), ("LISTEN_DATABASE_URL", transaction.direct.as_str())];
    let listed = transaction.list_keys(&settings).await;
    assert!(listed.status.success(), "{listed:?}");
}

/// Sixteen connections share two sessions, so that nearly every statement comes to a session that another one used.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_another_asked_for_over_a_shared_session() {
    let pooled = Pooled::by_with("transaction", "default_pool_size = 2").await;
    let (here, behind) = pooled.app_of_transactions().await;
    let there = here.replica().await;
    let provider = AuthorizationServer::start().await;
    here.register(&provider).await;
    let users: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    let replicas = [&here, &there];
    let mut tokens = Vec::new();
    for user in &users {
        tokens.push(here.connect(&provider, &asking(user, &["read"])).await);
    }
    for _ in 0..5 {
        let callers = users.iter().enumerate().map(|(number, user)| {
            let question = asking(user, &["read"]);
            async move { replicas[number % 2].token(&question).await }
        });
        assert_eq!(join_all(callers).await, tokens);
    }
    drop(behind);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_our_statements_stay_with_us() {
    let pooled = Pooled::by("transaction").await;
    let (app, behind) = pooled.app_of_transactions().await;
    app.register(&AuthorizationServer::start().await).await;
    for setting in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        assert!(behind.values(setting).await.iter().all(|value| value == "0"), "{setting}");
    }
    // And we have them: a row that another program locks is waited for two seconds, not for ever.
    let mut other = PgConnection::connect(&behind.direct).await.expect("connects");
    other.execute("BEGIN; UPDATE providers SET name = name; UPDATE jobs SET until = until").await.expect("locks");
    let begun = Instant::now();
    app.patch("/v2/auth/providers/acme", &json!({"name": "New"})).await.expect_error(503, "database_unavailable");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    other.execute("ROLLBACK").await.expect("unlocks");
    app.patch("/v2/auth/providers/acme", &json!({"name": "New"})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_the_pooler_lost_are_replaced() {
    for mode in ["session", "transaction"] {
        let pooled = Pooled::by(mode).await;
        let (app, behind) = if mode == "session" { pooled.app().await } else { pooled.app_of_transactions().await };
        let provider = AuthorizationServer::start().await;
        app.register(&provider).await;
        app.database
            .number(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        eventually(SOON, async || app.get("/v2/auth/providers").await.status == 200).await;
        eventually(SOON, async || app.try_authenticate(&asking("alice", &["read"])).await.status == 200).await;
        drop(behind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_needs_a_session_besides() {
    let pooled = Pooled::by("transaction").await;
    let refused = pooled.list_keys(&[("DATABASE_POOLER", "transaction")]).await;
    let line = refused.expect_refusal();
    assert!(
        line.contains("AGENT_AUTH_LISTEN_DATABASE_URL: required with AGENT_AUTH_DATABASE_POOLER=transaction"),
        "{line}"
    );
    let refused = pooled.list_keys(&[("DATABASE_POOLER", "statement")]).await;
    let line = refused.expect_refusal();
    assert!(line.ends_with("AGENT_AUTH_DATABASE_POOLER: expected `none`, `session` or `transaction`"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_that_the_settings_do_not_mention_is_refused() {
    let pooled = Pooled::by("transaction").await;
    for settings in [&[][..], &[("LISTEN_DATABASE_URL", pooled.direct.as_str())]] {
        let refused = pooled.list_keys(settings).await;
        let line = refused.expect_refusal();
        assert!(line.contains("AGENT_AUTH_DATABASE_URL leads to a pooler in transaction mode"), "{line}");
        assert!(line.contains("Set AGENT_AUTH_DATABASE_POOLER=transaction"), "{line}");
    }
    assert_eq!(pooled.traces().await, (0, 0), "nothing was written, and no lock is left in a shared session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_receives_no_notification_is_refused() {
    let (pooled, elsewhere) = (Pooled::by("transaction").await, Database::postgres().await);
    let elsewhere = &elsewhere.postgres.as_ref().expect("PostgreSQL").url;
    for (wrong, problem) in [
        (&pooled.url, "AGENT_AUTH_LISTEN_DATABASE_URL leads to a pooler in transaction mode. Set it to"),
        (elsewhere, "AGENT_AUTH_LISTEN_DATABASE_URL: a notification that was sent over AGENT_AUTH_DATABASE_URL"),
    ] {
        let refused =
            pooled.list_keys(&[("DATABASE_POOLER", "transaction"), ("LISTEN_DATABASE_URL", wrong.as_str())]).await;
        let line = refused.expect_refusal();
        assert!(line.contains(problem), "{line}");
    }
    assert_eq!(pooled.traces().await, (0, 0), "nothing was written");
}

/// A request that is given up while its transaction begins must not leave it open: what the next one writes on the same
/// connection would never be committed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_after_a_transaction_that_was_given_up_is_durable() {
    for shares_sessions in [false, true] {
        let database = Database::postgres().await;
        let url = &database.postgres.as_ref().expect("PostgreSQL").url;
        let location = PostgresLocation {
            listen_url: shares_sessions.then(|| url.clone().into()),
            shares_sessions,
            ..PostgresLocation::new(url.clone().into(), 1)
        };
        let db = Db::open(&Location::Postgres(location)).await.expect("opens");
        let insert = "INSERT INTO jobs (name, owner, until) VALUES ($1, '00000000-0000-0000-0000-000000000000', 0)";
        for round in 0..20 {
            // Polled once: BEGIN is sent, and nobody waits for the response.
            drop(db.begin().now_or_never());
            db.query(insert).bind(format!("job-{round}")).execute().await.expect("written");
            // Given up in the middle.
            drop(db.query(insert).bind(format!("given-up-{round}")).execute().now_or_never());
            db.query(insert).bind(format!("after-{round}")).execute().await.expect("written");
            // Refused by the database, which leaves the session usable.
            let again = db.query(insert).bind(format!("after-{round}")).execute().await;
            assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
        }
        let kept = "SELECT count(*) FROM jobs WHERE name LIKE 'job-%' OR name LIKE 'after-%'";
        assert_eq!(database.number(kept).await, 40);
    }
}
