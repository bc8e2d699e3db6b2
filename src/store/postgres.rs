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
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use futures_util::FutureExt;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::error::{StoreError, outage_of};
use crate::{model::outage::Outage, telemetry::metrics::METRICS};

/// How long PostgreSQL may work on a statement, by its own clock.
const STATEMENT_TIMEOUT: &str = "5s";
/// How long we wait for a response: longer than PostgreSQL may work, so that a server that is only slow says so itself
/// and its connection can be used again.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a caller waits for a connection, free or new, before the database counts as unavailable.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that is younger says nothing about the older ones: after a failover the name may lead to the old server
/// for a while, and each of its connections is discarded alone.
const YOUNG: Duration = Duration::from_secs(1);

/// How many connections there are.
pub(super) struct Connections {
    pub(super) open: usize,
    pub(super) idle: usize,
    pub(super) max: usize,
}

/// The connections of one process.
#[derive(Clone)]
pub(super) struct Postgres(Pool<OpenSession>);

/// A connection of the pool, which goes back when it is dropped.
pub(super) type Pooled = Object<OpenSession>;

/// Opens connections for the pool. A connection is not tested when it is taken: that would double the round trips of a
/// request. A broken one is discarded when its statement fails.
pub(super) struct OpenSession {
    options: PgConnectOptions,
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
        let connection = Box::pin(PgConnection::connect_with(&self.options)).await?;
        Ok(Session { connection, opened_at: Instant::now(), generation, waiting_since: None })
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<sqlx::Error> {
        let is_silent = session.waiting_since.is_some_and(|since| since.elapsed() >= RESPONSE_TIMEOUT);
        if is_silent || session.generation != self.generation.load(Ordering::Relaxed) {
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

impl Postgres {
    /// At most so many connections to the database of this URL. None is opened yet.
    pub(super) fn new(url: &SecretString, connections: u32) -> Result<Self, StoreError> {
        let options = postgres_options(url)?
            .application_name("agent-auth")
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT),
                ("lock_timeout", "2s"),
                ("idle_in_transaction_session_timeout", "10s"),
            ])
            .disable_statement_logging();
        let open = OpenSession { options, failed_at: Mutex::new(None), generation: AtomicU64::new(0) };
        let pool = Pool::builder(open).max_size(connections as usize).build();
        Ok(Self(pool.map_err(|error| StoreError::Location(error.to_string()))?))
    }

    /// A connection outside the pool, whose statements may take as long as they need.
    pub(super) async fn patient_connection(&self) -> Result<PgConnection, StoreError> {
        let options = self.options().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        let connected = timeout(ACQUIRE_TIMEOUT, Box::pin(PgConnection::connect_with(&options)));
        connected.await.unwrap_or_else(|_| Err(no_response())).map_err(|error| cannot_connect(&options, error))
    }

    /// How to open one more connection.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.0.manager().options.clone()
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> Connections {
        let status = self.0.status();
        Connections { open: status.size, idle: status.available, max: status.max_size }
    }

    /// True when no connection has failed for this long.
    pub(super) fn reachable_for(&self, duration: Duration) -> bool {
        let failed_at = *self.0.manager().failed_at.lock();
        failed_at.is_none_or(|at| at.elapsed() >= duration)
    }

    /// A connection of the pool.
    pub(super) async fn connection(&self) -> Result<Pooled, StoreError> {
        let mut get = pin!(self.0.get());
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
        self.0.manager().note_failure();
        Err(error)
    }

    /// A connection of the pool in a transaction.
    pub(super) async fn begin(&self) -> Result<Pooled, StoreError> {
        let mut slot = Some(self.connection().await?);
        if let Err(error) = execute(&mut slot, "BEGIN").await {
            if !is_worth_another_connection(&error) {
                return Err(error.into());
            }
            // Nothing is lost yet: a connection that broke in the pool is replaced.
            slot = Some(self.connection().await?);
            execute(&mut slot, "BEGIN").await?;
        }
        slot.ok_or_else(|| no_response().into())
    }
}

/// Runs a statement without parameters and without rows.
pub(super) async fn execute(slot: &mut Option<Pooled>, statement: &'static str) -> Result<(), sqlx::Error> {
    let Some(connection) = slot else { return Err(no_response()) };
    let result = in_time(connection.wait().execute(statement)).await;
    settle(slot, result.as_ref().err());
    result.map(drop)
}

/// Sends rows to a `COPY ... FROM STDIN`, and counts those that were added.
pub(super) async fn copy_in(
    slot: &mut Option<Pooled>,
    statement: &'static str,
    rows: Vec<u8>,
) -> Result<u64, sqlx::Error> {
    let Some(connection) = slot else { return Err(no_response()) };
    let result = in_time(async {
        let mut copy = connection.wait().copy_in_raw(statement).await?;
        copy.send(rows).await?;
        copy.finish().await
    })
    .await;
    settle(slot, result.as_ref().err());
    result
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
        // transaction was idle, or took too long.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("57P") || matches!(code.as_ref(), "25P03" | "25P04"))
        }
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
pub fn postgres_options(url: &SecretString) -> Result<PgConnectOptions, StoreError> {
    let refused = |problem: &str| {
        StoreError::Location(format!(
            "AGENT_AUTH_DATABASE_URL: {problem}; expected postgres://user:password@host/database. For SQLite, leave it \
             unset and set AGENT_AUTH_DATA_DIR"
        ))
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

/// The message for a first connection that fails: where it went, and which setting says so.
fn cannot_connect(options: &PgConnectOptions, error: sqlx::Error) -> StoreError {
    let (host, port) = (options.get_host(), options.get_port());
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
        sqlx::Error::Tls(tls) => format!("TLS failed: {tls}"),
        _ => return error.into(),
    };
    StoreError::Location(format!(
        "cannot connect to the database at {host}:{port} (AGENT_AUTH_DATABASE_URL): {problem}"
    ))
}
