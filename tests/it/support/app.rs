//! The application under test: the real router over a real database, with a clock that tests move.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use agent_auth::clock::Clock;
use agent_auth::config::Settings;
use agent_auth::http::app::App;
use agent_auth::server;

use super::binary;
use super::caller::Caller;
use super::database::Database;

pub struct TestApp {
    caller: Caller,
    nobody: Caller,
    /// For what it does without being asked, which a test has it do now.
    pub app: Arc<App>,
    pub clock: Clock,
    pub settings: Settings,
    pub database: Arc<Database>,
}

/// Runs the test with the argument it takes, made on that database.
pub async fn run<T: Ready>(test: impl AsyncFnOnce(T), database: Database) {
    test(T::on(database).await).await;
}

/// What `both_databases!` can hand to a test.
pub trait Ready {
    async fn on(database: Database) -> Self;
}

impl Ready for Database {
    async fn on(database: Database) -> Self {
        database
    }
}

impl Ready for TestApp {
    async fn on(database: Database) -> Self {
        Self::start(database).await
    }
}

impl TestApp {
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, |_| ()).await
    }

    pub async fn start_with(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = database.settings();
        change(&mut settings);
        Self::open(Arc::new(database), settings, Clock::system()).await
    }

    async fn open(database: Arc<Database>, settings: Settings, clock: Clock) -> Self {
        // In a box, as the settings make it large.
        let started = Box::pin(server::start(settings.clone(), clock.clone())).await;
        let app = started.unwrap_or_else(|e| panic!("the application starts: {e}"));
        let nobody = Caller::anonymous(agent_auth::http::router(Arc::clone(&app)));
        Self { caller: nobody.with_key(&database.bootstrap_key), nobody, app, clock, settings, database }
    }

    /// Another replica on the same database, with the same keys and the same time.
    pub async fn replica(&self) -> Self {
        let (database, settings) = (Arc::clone(&self.database), self.settings.clone());
        Self::open(database, settings, self.clock.clone()).await
    }

    /// Another replica on the same database with other settings.
    pub async fn replica_with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings.clone();
        change(&mut settings);
        Self::open(Arc::clone(&self.database), settings, self.clock.clone()).await
    }

    /// A caller without any key.
    pub fn anonymous(&self) -> &Caller {
        &self.nobody
    }

    /// A caller with a new API key, made by `agent-auth api-key create` with these options.
    pub async fn new_key(&self, options: &[&str]) -> Caller {
        let mut arguments = vec!["api-key", "create", "--name", "made by a test"];
        arguments.extend(options);
        let made = binary::run(&arguments, &self.database.environment()).await;
        assert!(made.status.success(), "api-key create failed: {made:?}");
        let key = made.stdout.lines().last().unwrap_or_default().trim();
        assert!(key.len() >= 43, "no key on the last line: {made:?}");
        self.nobody.with_key(key)
    }

    /// An administrator's key that may act for any user of its workspace.
    pub async fn service_key(&self) -> Caller {
        self.new_key(&["--role", "admin", "--kind", "service"]).await
    }

    /// An administrator's service key somewhere else.
    pub async fn service_key_in(&self, organization: &str, workspace: &str) -> Caller {
        self.new_key(&[
            "--role",
            "admin",
            "--kind",
            "service",
            "--organization",
            organization,
            "--workspace",
            workspace,
        ])
        .await
    }

    /// Stops what it does without being asked.
    pub async fn stop(&self) {
        server::stop(&self.app).await;
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl Deref for TestApp {
    type Target = Caller;

    /// Without further words, requests are made with the bootstrap key: administrator, user `admin`.
    fn deref(&self) -> &Caller {
        &self.caller
    }
}
