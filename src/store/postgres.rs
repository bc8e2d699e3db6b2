//! The connections to PostgreSQL: opening them, lending them, and discarding those that are of no use any more.
//! Owns: how long PostgreSQL may take to respond, and which connections are used again.
//! Must not know: statements, or the other database.
//!
//! A server that is frozen or cut off keeps its connections open and says nothing. So every wait for it ends after
//! [`RESPONSE_TIMEOUT`], whatever it waits for.

use std::{
    io,
    pin::pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool::managed::{Manager, Metrics, Object, Pool, QueueMode, RecycleError, RecycleResult};
use futures_util::FutureExt;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::timeout;

use super::error::{StoreError, is_bad_login, outage_of};
use crate::{model::outage::Outage, telemetry::metrics::METRICS};

/// The limits of a session: how long PostgreSQL may work on a statement, by its own clock, and the like. A statement and
/// not a parameter of the start-up message, which PgBouncer refuses.
const SESSION_LIMITS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '2s'; \
                              SET idle_in_transaction_session_timeout = '5s'";
/// The same limits where a session is shared: they end with the transaction, and no other client of the pooler has them.
const BEGIN_WITH_LIMITS: &str = "BEGIN; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '2s'; \
                                 SET LOCAL idle_in_transaction_session_timeout = '5s'";
/// For work that takes as long as it needs, whatever limits the role has.
pub(super) const NO_LIMITS: &str = "SET statement_timeout = 0; SET lock_timeout = 0";
const URL_SETTING: &str = "AGENT_AUTH_DATABASE_URL";
const LISTEN_URL_SETTING: &str = "AGENT_AUTH_LISTEN_DATABASE_URL";
/// How long we wait for a response: longer than PostgreSQL may work, so that a server that is only slow says so itself
/// and its connection can be used again.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a caller waits for a connection, free or new, before the database counts as unavailable.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was unused for longer is not used again.
const UNUSED_MAX: Duration = Duration::from_mins(5);
/// A connection that is younger says nothing about the older ones: after a failover the name may lead to the old server
/// for a while, and each of its connections is discarded alone.
const YOUNG: Duration = Duration::from_secs(1);

/// Which PostgreSQL, and what is on the way to it.
#[derive(Clone, Debug)]
pub struct PostgresLocation {
    /// Its URL.
    pub url: SecretString,
    /// How many connections to hold.
    pub connections: u32,
    /// Another URL of the same database, for what needs a session of its own: LISTEN and migrations.
    pub listen_url: Option<SecretString>,
    /// `url` leads to a pooler that gives each transaction to whichever session is free.
    pub shares_sessions: bool,
}

impl PostgresLocation {
    /// A database without a pooler.
    #[must_use]
    pub fn new(url: SecretString, connections: u32) -> Self {
        Self { url, connections, listen_url: None, shares_sessions: false }
    }

    /// Checks the URLs without connecting.
    pub fn check(&self) -> Result<(), StoreError> {
        let url = postgres_options(URL_SETTING, &self.url);
        let listen_url = self.listen_url.as_ref().map(|url| postgres_options(LISTEN_URL_SETTING, url));
        url.and(listen_url.transpose()).map(drop)
    }
}

/// How many connections there are.
pub(super) struct Connections {
    pub(super) open: usize,
    pub(super) idle: usize,
    pub(super) max: usize,
}

/// The connections of one process.
#[derive(Clone)]
pub(super) struct Postgres {
    pool: Pool<OpenSession>,
    /// Where connections outside the pool go, which need a session of their own.
    own_sessions: Arc<Target>,
}

/// Where a connection goes, and the setting that says so.
pub(super) struct Target {
    options: PgConnectOptions,
    setting: &'static str,
}

/// A connection of the pool, which goes back when it is dropped.
pub(super) type Pooled = Object<OpenSession>;

/// Opens connections for the pool. A connection is not tested when it is taken: that would double the round trips of a
/// request. A broken one is discarded when its statement fails.
pub(super) struct OpenSession {
    target: Target,
    shares_sessions: bool,
    /// When a connection last broke or could not be opened.
    failed_at: Mutex<Option<Instant>>,
    /// Counts how often all connections were discarded; those that were in use at that moment are recognized by it.
    generation: AtomicU64,
}

/// A connection to PostgreSQL.
pub(super) struct Session {
    connection: PgConnection,
    opened_at: Instant,
    generation: u64,
    /// The statements that were prepared stay in the session. Not where it is shared.
    pub(super) keeps_statements: bool,
    /// Since when a response is missing. It stays set when a caller that disconnects abandons its statement.
    waiting_since: Option<Instant>,
}

impl OpenSession {
    fn note_failure(&self) {
        *self.failed_at.lock() = Some(Instant::now());
    }
}

impl Manager for OpenSession {
    type Type = Session;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Session, sqlx::Error> {
        let generation = self.generation.load(Ordering::Relaxed);
        // Boxed: opening a connection takes ten kilobytes of state, which every query would otherwise carry.
        let mut connection = Box::pin(PgConnection::connect_with(&self.target.options)).await?;
        let keeps_statements = !self.shares_sessions;
        if keeps_statements {
            in_time(connection.execute(SESSION_LIMITS)).await?;
        }
        Ok(Session { connection, opened_at: Instant::now(), generation, keeps_statements, waiting_since: None })
    }

    async fn recycle(&self, session: &mut Session, metrics: &Metrics) -> RecycleResult<sqlx::Error> {
        let is_silent = session.waiting_since.is_some_and(|since| since.elapsed() >= RESPONSE_TIMEOUT);
        // What is between us and the server may have forgotten it.
        let is_old = metrics.last_used() >= UNUSED_MAX;
        if is_silent || is_old || session.generation != self.generation.load(Ordering::Relaxed) {
            return Err(RecycleError::message("discarded"));
        }
        Ok(())
    }
}

impl Session {
    /// The connection, for one statement whose response is now missing.
    pub(super) fn wait(&mut self) -> &mut PgConnection {
        self.waiting_since.get_or_insert_with(Instant::now);
        &mut self.connection
    }
}

impl Target {
    fn new(setting: &'static str, url: &SecretString) -> Result<Self, StoreError> {
        let options = postgres_options(setting, url)?;
        // Not extra_float_digits either, which PgBouncer refuses: we read numbers as bytes.
        let options = options.application_name("agent-auth").extra_float_digits(None).disable_statement_logging();
        Ok(Self { options, setting })
    }

    /// A connection outside the pool.
    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connected = timeout(ACQUIRE_TIMEOUT, Box::pin(PgConnection::connect_with(&self.options)));
        connected.await.unwrap_or_else(|_| Err(no_response())).map_err(|error| self.cannot_connect(error))
    }

    /// The message for a first connection that fails: where it went, and which setting says so.
    fn cannot_connect(&self, error: sqlx::Error) -> StoreError {
        let problem = match &error {
            sqlx::Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
                "the connection was refused. Check that PostgreSQL is running there".to_owned()
            }
            sqlx::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut => {
                "there is no response. Check that PostgreSQL is running there, and that no firewall is in the way"
                    .to_owned()
            }
            sqlx::Error::Io(io) if io.to_string().contains("lookup") => {
                "the host name cannot be resolved. Check its spelling and the DNS".to_owned()
            }
            sqlx::Error::Io(io) => io.to_string(),
            sqlx::Error::Tls(tls) => return StoreError::Location(self.failed(&format!("TLS failed: {tls}"))),
            sqlx::Error::Database(refusal) if refusal.code().is_some_and(|code| is_bad_login(&code)) => {
                let reason = refusal.message();
                return StoreError::Location(format!("{}: PostgreSQL refused the connection: {reason}", self.setting));
            }
            _ => return error.into(),
        };
        StoreError::NotReached(self.failed(&problem))
    }

    fn failed(&self, problem: &str) -> String {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        format!("cannot connect to the database at {host}:{port} ({}): {problem}", self.setting)
    }
}

impl Postgres {
    /// At most so many connections to this database. None is opened yet.
    pub(super) fn new(location: &PostgresLocation) -> Result<Self, StoreError> {
        let own_sessions = match &location.listen_url {
            Some(url) => Target::new(LISTEN_URL_SETTING, url)?,
            None => Target::new(URL_SETTING, &location.url)?,
        };
        let open = OpenSession {
            target: Target::new(URL_SETTING, &location.url)?,
            shares_sessions: location.shares_sessions,
            failed_at: Mutex::new(None),
            generation: AtomicU64::new(0),
        };
        // The one that was used last is used next. In PostgreSQL each connection is a process; one that is busy has what it
        // needs in the processor's caches, while a statement for each in turn costs twice as much.
        let pool = Pool::builder(open).max_size(location.connections as usize).queue_mode(QueueMode::Lifo).build();
        let pool = pool.map_err(|error| StoreError::Location(error.to_string()))?;
        Ok(Self { pool, own_sessions: Arc::new(own_sessions) })
    }

    /// A connection with a session of its own.
    pub(super) async fn own_session(&self) -> Result<PgConnection, StoreError> {
        self.own_sessions.connect().await
    }

    /// Listens to these channels, in a session of its own.
    pub(super) async fn listen(&self, channels: &[&str]) -> Result<PgListener, StoreError> {
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = pool.connect_lazy_with(self.own_sessions.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        // A lost connection is reported, so that the caller looks for what it missed.
        listener.eager_reconnect(false);
        in_time(listener.listen_all(channels.iter().copied())).await?;
        Ok(listener)
    }

    /// A connection outside the pool that goes where those of the pool go.
    pub(super) async fn connect_like_the_pool(&self) -> Result<PgConnection, StoreError> {
        self.pool.manager().target.connect().await
    }

    /// True when the connections of the pool lead to sessions that others use between two transactions.
    pub(super) fn shares_sessions(&self) -> bool {
        self.pool.manager().shares_sessions
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> Connections {
        let status = self.pool.status();
        Connections { open: status.size, idle: status.available, max: status.max_size }
    }

    /// True when no connection has failed for this long.
    pub(super) fn reachable_for(&self, duration: Duration) -> bool {
        let failed_at = *self.pool.manager().failed_at.lock();
        failed_at.is_none_or(|at| at.elapsed() >= duration)
    }

    /// A connection of the pool.
    pub(super) async fn connection(&self) -> Result<Pooled, StoreError> {
        let mut get = pin!(self.pool.get());
        let got = match get.as_mut().now_or_never() {
            // Nearly always one is free; then nothing has to be timed.
            Some(got) => {
                METRICS.connection_wait.record(Duration::ZERO);
                Ok(got)
            }
            None => {
                let _timed = METRICS.connection_wait.time();
                timeout(ACQUIRE_TIMEOUT, get).await
            }
        };
        let error = match got {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(deadpool::managed::PoolError::Backend(error))) => StoreError::from(error),
            Ok(Err(other)) => StoreError::Unavailable(Outage::Unreachable, other.to_string()),
            Err(_) => {
                let seconds = ACQUIRE_TIMEOUT.as_secs();
                let reason = format!("no connection was free, and none could be opened, within {seconds} seconds");
                StoreError::Unavailable(Outage::Unreachable, reason)
            }
        };
        self.pool.manager().note_failure();
        Err(error)
    }

    /// A transaction, on a connection of the pool.
    pub(super) async fn begin(&self) -> Result<OpenTransaction, StoreError> {
        let begin = if self.shares_sessions() { BEGIN_WITH_LIMITS } else { "BEGIN" };
        let mut transaction = OpenTransaction(Some(self.connection().await?));
        if let Err(error) = execute(&mut transaction.0, begin).await {
            if !is_worth_another_connection(&error) {
                return Err(error.into());
            }
            // Nothing is lost yet: a connection that broke in the pool is replaced.
            transaction = OpenTransaction(Some(self.connection().await?));
            execute(&mut transaction.0, begin).await?;
        }
        Ok(transaction)
    }
}

/// The connection of a transaction; `None` when it was discarded. Dropped without [`OpenTransaction::commit`], also while
/// the transaction begins, it is closed, so that the server rolls back. This needs no await.
pub(super) struct OpenTransaction(pub(super) Option<Pooled>);

impl OpenTransaction {
    /// Commits. After a statement that failed, the server rolls back instead.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        execute(&mut self.0, "COMMIT").await?;
        // The connection goes back to the pool.
        drop(self.0.take());
        Ok(())
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

/// Runs a statement without parameters and without rows.
pub(super) async fn execute(slot: &mut Option<Pooled>, statement: &'static str) -> Result<(), sqlx::Error> {
    let Some(connection) = slot else { return Err(no_response()) };
    let result = in_time(connection.wait().execute(statement)).await;
    settle(slot, result.as_ref().err());
    result.map(drop)
}

/// What the server responds to one statement, or an error when it says nothing.
pub(super) async fn in_time<T>(response: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(RESPONSE_TIMEOUT, response).await.unwrap_or_else(|_| Err(no_response()))
}

/// Decides after a statement whether its connection, and the others, can be used again. One that cannot is discarded.
pub(super) fn settle(slot: &mut Option<Pooled>, error: Option<&sqlx::Error>) {
    let Some(connection) = slot else { return };
    let outage = error.and_then(outage_of);
    match error {
        Some(error) if is_broken(error) => discard(slot, true),
        // A server that became a standby: behind the same name there may be another one by now.
        Some(_) if outage == Some(Outage::ReadOnly) => {
            let are_others_suspect = connection.opened_at.elapsed() >= YOUNG;
            discard(slot, are_others_suspect);
        }
        _ => {
            connection.waiting_since = None;
            // As after a failure of the connection: the holder of a lease could not extend it.
            if outage == Some(Outage::Full)
                && let Some(pool) = Object::pool(connection)
            {
                pool.manager().note_failure();
            }
        }
    }
}

/// Discards a connection, and all others of the pool, which are very likely of no use either.
fn discard(slot: &mut Option<Pooled>, and_all_others: bool) {
    let Some(connection) = slot.take() else { return };
    let pool = Object::pool(&connection);
    // Closed without another word: the server may not be listening.
    drop(Object::take(connection));
    let Some(pool) = pool else { return };
    pool.manager().note_failure();
    if and_all_others {
        pool.manager().generation.fetch_add(1, Ordering::Relaxed);
        pool.retain(|_, _| false);
    }
}

/// True when a statement that was not carried out may be sent again at once. After silence, the caller has waited long
/// enough.
pub(super) fn is_worth_another_connection(error: &sqlx::Error) -> bool {
    is_broken(error) && !matches!(error, sqlx::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut)
}

/// True when the connection, and not the statement, is at fault: it must not go back to the pool.
fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
        // 57P01 to 57P05: the server shuts down, crashed or cannot be reached. 25P03 and 25P04: it ended a session whose
        // transaction was idle, or took too long. 08: so PgBouncer says that it lost the server.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("57P") || code.starts_with("08") || matches!(code.as_ref(), "25P03" | "25P04")
        }),
        _ => false,
    }
}

pub(super) fn no_response() -> sqlx::Error {
    let seconds = RESPONSE_TIMEOUT.as_secs();
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("PostgreSQL did not respond within {seconds} seconds, and its connection was closed"),
    ))
}

/// Checks a PostgreSQL URL without connecting. No error repeats it: it holds a password.
fn postgres_options(setting: &str, url: &SecretString) -> Result<PgConnectOptions, StoreError> {
    let refused = |problem: &str| {
        let expected = "expected postgres://user:password@host/database";
        let hint = if setting == URL_SETTING { ". For SQLite, leave it unset and set AGENT_AUTH_DATA_DIR" } else { "" };
        StoreError::Location(format!("{setting}: {problem}; {expected}{hint}"))
    };
    match url.expose_secret().split_once("://") {
        Some(("postgres" | "postgresql", _)) => PgConnectOptions::from_str(url.expose_secret()).map_err(|_| {
            refused("the URL cannot be parsed (percent-encode special characters in the user name and the password)")
        }),
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err(refused(&format!("`{scheme}://` is not supported")))
        }
        _ => Err(refused("this is not a URL")),
    }
}
