//! One facade over PostgreSQL and SQLite: `Db`, `Tx` and `Query`.
//! Owns: statements, transactions, and every difference between the two databases.
//! Must not know: any table but the view `database_clock`.

#![expect(clippy::disallowed_methods, reason = "the one place that calls sqlx")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use sqlx::{
    Arguments, AssertSqlSafe, Connection, Encode, Executor, FromRow, Postgres as PostgresDatabase, SqlSafeStr, SqlStr,
    Sqlite, SqlitePool, Type,
    migrate::Migrator,
    postgres::{PgArguments, PgListener, PgRow},
    query_as_with, query_with,
    sqlite::{SqliteArguments, SqliteRow},
};
use tokio::sync::Notify;

use super::{
    error::StoreError,
    key_limits, pooler,
    postgres::{
        Connections, NO_LIMITS, OpenTransaction, Pooled, Postgres, PostgresLocation, in_time,
        is_worth_another_connection, settle,
    },
    sqlite::{self, SqliteTransaction},
    token_changes::POSTGRES_TRIGGERS,
};
use crate::{
    model::{key_limits::KeyLimits, outage::Outage, subject::Tenant},
    telemetry::metrics::{METRICS, Statement, Timed},
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The database's own clock in milliseconds since 1970, as a view, so that one SQL text can compare leases with it
/// and replicas whose clocks differ still agree.
const POSTGRES_CLOCK: &str = "CREATE OR REPLACE VIEW database_clock AS
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms";
const POSTGRES_STATISTICS: &str = include_str!("postgres_statistics.sql");
const SQLITE_CLOCK: &str = "CREATE VIEW IF NOT EXISTS database_clock AS
    SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now_ms";

/// A value that can be bound on both databases.
pub trait Param:
    for<'q> Encode<'q, PostgresDatabase> + Type<PostgresDatabase> + for<'q> Encode<'q, Sqlite> + Type<Sqlite> + Send
{
}
impl<T> Param for T where
    T: for<'q> Encode<'q, PostgresDatabase> + Type<PostgresDatabase> + for<'q> Encode<'q, Sqlite> + Type<Sqlite> + Send
{
}

/// A record that can be read from both databases.
pub trait Row: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}
impl<T> Row for T where T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}

/// Where the database is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A PostgreSQL server.
    Postgres(PostgresLocation),
    /// The path of an SQLite file.
    Sqlite(PathBuf),
}

/// The database.
#[derive(Clone)]
pub struct Db(Backend);

#[derive(Clone)]
enum Backend {
    Postgres(Postgres),
    Sqlite(SqlitePool),
}

impl Db {
    /// Opens the database and brings its schema up to date. Replicas that start together wait for one another.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        match location {
            Location::Postgres(location) => {
                let postgres = Postgres::new(location)?;
                // Boxed, because a start happens once, and its state is large.
                Box::pin(Self::prepare_postgres(&postgres, location)).await?;
                Ok(Self(Backend::Postgres(postgres)))
            }
            Location::Sqlite(path) => {
                let pool = sqlite::open(path).await?;
                MIGRATIONS.run(&pool).await?;
                pool.execute(SQLITE_CLOCK).await?;
                Ok(Self(Backend::Sqlite(pool)))
            }
        }
    }

    async fn prepare_postgres(postgres: &Postgres, location: &PostgresLocation) -> Result<(), StoreError> {
        // Not one of the pool: waiting for another replica's migration may take longer than a statement may.
        let mut connection = postgres.own_session().await?;
        pooler::check(postgres, location, &mut connection).await?;
        in_time(connection.execute(NO_LIMITS)).await?;
        MIGRATIONS.run(&mut connection).await?;
        // Two replicas that replace these at once would collide in PostgreSQL's catalogue.
        let mut tx = connection.begin().await?;
        tx.execute("SELECT pg_advisory_xact_lock(7303014592013351012)").await?;
        tx.execute(POSTGRES_CLOCK).await?;
        tx.execute(POSTGRES_TRIGGERS).await?;
        tx.execute(POSTGRES_STATISTICS).await?;
        tx.commit().await?;
        connection.close().await?;
        Ok(())
    }

    /// True on PostgreSQL, where other replicas may share the database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0, Backend::Postgres(_))
    }

    /// True when no connection has failed for this long. Always true for SQLite.
    pub(super) fn reachable_for(&self, duration: Duration) -> bool {
        match &self.0 {
            Backend::Postgres(postgres) => postgres.reachable_for(duration),
            Backend::Sqlite(_) => true,
        }
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> Connections {
        match &self.0 {
            Backend::Postgres(postgres) => postgres.connections(),
            Backend::Sqlite(pool) => {
                Connections { open: pool.size() as usize, idle: pool.num_idle(), max: sqlite::CONNECTIONS as usize }
            }
        }
    }

    /// Listens to these channels; `None` on SQLite.
    pub(super) async fn listen(&self, channels: &[&str]) -> Result<Option<PgListener>, StoreError> {
        match &self.0 {
            Backend::Postgres(postgres) => postgres.listen(channels).await.map(Some),
            Backend::Sqlite(_) => Ok(None),
        }
    }

    /// A statement outside a transaction, with `$1`, `$2`, ... for what is bound.
    #[must_use]
    pub fn query(&self, sql: &'static str) -> Query<'_> {
        let args = match &self.0 {
            Backend::Postgres(_) => Args::Postgres(PgArguments::default()),
            Backend::Sqlite(_) => Args::Sqlite(SqliteArguments::default()),
        };
        let sql = sql.into_sql_str();
        Query { sql, args, broken: None, is_read: false, target: Target::Db(self) }
    }

    /// Begins a transaction. A statement in it that fails ends it.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        match &self.0 {
            Backend::Postgres(postgres) => Ok(Tx(TxConnection::Postgres(postgres.begin().await?), None)),
            Backend::Sqlite(pool) => Ok(Tx(TxConnection::Sqlite(SqliteTransaction::begin(pool).await?), None)),
        }
    }
}

/// A time as it is added to `database_clock`.
pub(super) fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// `INSERT INTO table (...) VALUES ($1, ...)` with these columns, in their order.
pub(super) fn insert_into(table: &str, columns: &[&[&str]]) -> String {
    let columns = columns.concat();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), places.join(", "))
}

/// `UPDATE table SET column = $1, ...` with these columns, in their order.
pub(super) fn update(table: &str, columns: &[&[&str]]) -> String {
    let columns = columns.concat();
    let places: Vec<String> = (1..).zip(&columns).map(|(place, column)| format!("{column} = ${place}")).collect();
    format!("UPDATE {table} SET {}", places.join(", "))
}

/// A transaction, and who is woken after its commit. Dropped without `commit` it is rolled back.
pub struct Tx(TxConnection, Option<Arc<Notify>>);

enum TxConnection {
    Postgres(OpenTransaction),
    Sqlite(SqliteTransaction),
}

impl Tx {
    /// A statement in this transaction.
    pub fn query(&mut self, sql: &'static str) -> Query<'_> {
        let args = match &self.0 {
            TxConnection::Postgres(_) => Args::Postgres(PgArguments::default()),
            TxConnection::Sqlite(_) => Args::Sqlite(SqliteArguments::default()),
        };
        let sql = sql.into_sql_str();
        Query { sql, args, broken: None, is_read: false, target: Target::Tx(self) }
    }

    /// A statement that was put together for PostgreSQL, of constants alone, and the values of its parameters.
    pub fn postgres_query(&mut self, sql: String, values: PgArguments) -> Query<'_> {
        let (sql, args) = (AssertSqlSafe(sql).into_sql_str(), Args::Postgres(values));
        Query { sql, args, broken: None, is_read: false, target: Target::Tx(self) }
    }

    /// True where [`Tx::postgres_query`] can be used.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self.0, TxConnection::Postgres(_))
    }

    /// Wakes one who waits for this, as soon as the transaction is committed.
    pub fn wake_after_commit(&mut self, waiting: Arc<Notify>) {
        self.1 = Some(waiting);
    }

    /// Makes the transaction's writes durable.
    ///
    /// # Errors
    /// [`StoreError`] when the database did not confirm it.
    pub async fn commit(self) -> Result<(), StoreError> {
        let _timed = METRICS.statements.of(Statement::Commit).time();
        match self.0 {
            TxConnection::Postgres(OpenTransaction(None)) => return Err(ended()),
            TxConnection::Postgres(transaction) => transaction.commit().await?,
            TxConnection::Sqlite(mut transaction) => match transaction.connection() {
                None => return Err(ended()),
                Some(_) => transaction.commit().await?,
            },
        }
        if let Some(waiting) = self.1 {
            waiting.notify_one();
        }
        Ok(())
    }
}

enum Args {
    Postgres(PgArguments),
    Sqlite(SqliteArguments),
}

enum Target<'c> {
    Db(&'c Db),
    Tx(&'c mut Tx),
}

/// One statement with its bound values.
pub struct Query<'c> {
    sql: SqlStr,
    args: Args,
    broken: Option<sqlx::Error>,
    is_read: bool,
    target: Target<'c>,
}

/// Runs `$run` on the connection in the slot, and decides whether that connection can be used again.
macro_rules! on_session {
    ($slot:expr, $is_read:expr, |$connection:ident, $args:ident, $keep:ident| $bound:expr, $run:expr) => {{
        let slot: &mut Option<Pooled> = $slot;
        match slot {
            None => return Err(ended()),
            Some(session) => {
                let result = {
                    let _timed = time($is_read);
                    let ($keep, $args) = (session.keeps_statements, $bound);
                    let $connection = session.wait();
                    in_time($run).await
                };
                settle(slot, result.as_ref().err());
                result
            }
        }
    }};
}

/// Runs `$run` with the statement's connection: the transaction's own, or one of the pool for as long as it takes.
/// A read whose pooled connection is broken is sent once more on a new one; a write never is. `$keep` says whether the
/// session may keep the prepared statement.
macro_rules! on_connection {
    ($query:expr, |$connection:ident, $args:ident, $keep:ident| $run:expr) => {{
        let Query { sql: _, args, broken, is_read, target } = $query;
        if let Some(error) = broken {
            return Err(error.into());
        }
        match (target, args) {
            // Prepared and executed in two round trips, between which the session must not be another's. Boxed, because
            // most databases have no pooler.
            (Target::Db(Db(Backend::Postgres(postgres))), Args::Postgres(bound)) if postgres.shares_sessions() => {
                Box::pin(async {
                    let mut transaction = postgres.begin().await?;
                    let result = on_session!(&mut transaction.0, is_read, |$connection, $args, $keep| bound, $run);
                    let committed = transaction.commit().await;
                    let value = result?;
                    committed?;
                    Ok(value)
                })
                .await
            }
            (Target::Db(Db(Backend::Postgres(postgres))), Args::Postgres(bound)) => {
                let mut slot = Some(postgres.connection().await?);
                let again = is_read.then(|| bound.clone());
                match (on_session!(&mut slot, is_read, |$connection, $args, $keep| bound, $run), again) {
                    (Err(error), Some(bound)) if is_worth_another_connection(&error) => {
                        // Boxed, like opening a connection: every query would otherwise carry its state.
                        Box::pin(async {
                            let mut slot = Some(postgres.connection().await?);
                            on_session!(&mut slot, is_read, |$connection, $args, $keep| bound, $run)
                                .map_err(StoreError::from)
                        })
                        .await
                    }
                    (result, _) => result.map_err(StoreError::from),
                }
            }
            (Target::Db(Db(Backend::Sqlite(pool))), Args::Sqlite(bound)) => {
                let _timed = time(is_read);
                let ($connection, $args, $keep) = (pool, bound, true);
                Box::pin($run).await.map_err(StoreError::from)
            }
            (Target::Tx(Tx(TxConnection::Postgres(transaction), _)), Args::Postgres(bound)) => {
                on_session!(&mut transaction.0, is_read, |$connection, $args, $keep| bound, $run)
                    .map_err(StoreError::from)
            }
            (Target::Tx(Tx(TxConnection::Sqlite(transaction), _)), Args::Sqlite(bound)) => {
                let _timed = time(is_read);
                let result = match transaction.connection() {
                    None => return Err(ended()),
                    Some($connection) => {
                        let ($args, $keep) = (bound, true);
                        Box::pin($run).await
                    }
                };
                transaction.settle(result.as_ref().err());
                result.map_err(StoreError::from)
            }
            _ => return Err(ended()),
        }
    }};
}

impl Query<'_> {
    /// Binds the next `$n`.
    #[must_use]
    pub fn bind<P: Param>(mut self, value: P) -> Self {
        let bound = match &mut self.args {
            Args::Postgres(args) => args.add(value),
            Args::Sqlite(args) => Arguments::add(args, value),
        };
        if let Err(error) = bound {
            self.broken = Some(sqlx::Error::Encode(error));
        }
        self
    }

    /// Binds the next two `$n`: the organization and the workspace that every statement stays within.
    #[must_use]
    pub fn within(self, tenant: &Tenant) -> Self {
        self.bind(tenant.organization.clone()).bind(tenant.workspace.clone())
    }

    /// Binds the next `$n`: the limits of the caller's key, for the conditions in `store/key_limits.rs`.
    #[must_use]
    pub fn limited(self, limits: Option<&KeyLimits>) -> Self {
        self.bind(key_limits::condition(limits))
    }

    /// Declares that the statement only reads: if its connection is broken, it may be sent once more.
    #[must_use]
    pub fn read(mut self) -> Self {
        self.is_read = true;
        self
    }

    /// All rows.
    pub async fn all<R: Row>(self) -> Result<Vec<R>, StoreError> {
        let sql = self.sql;
        on_connection!(self, |connection, args, keep| query_as_with::<_, R, _>(sql.clone(), args)
            .persistent(keep)
            .fetch_all(connection))
    }

    /// The row, if there is one.
    pub async fn optional<R: Row>(self) -> Result<Option<R>, StoreError> {
        let sql = self.sql;
        on_connection!(self, |connection, args, keep| query_as_with::<_, R, _>(sql.clone(), args)
            .persistent(keep)
            .fetch_optional(connection))
    }

    /// The one row that must exist.
    pub async fn one<R: Row>(self) -> Result<R, StoreError> {
        let sql = self.sql;
        on_connection!(self, |connection, args, keep| query_as_with::<_, R, _>(sql.clone(), args)
            .persistent(keep)
            .fetch_one(connection))
    }

    /// Runs the statement and counts the rows it changed.
    pub async fn execute(self) -> Result<u64, StoreError> {
        let sql = self.sql;
        on_connection!(self, |connection, args, keep| async {
            query_with(sql.clone(), args)
                .persistent(keep)
                .execute(connection)
                .await
                .map(|done| RowsAffected::from(done).0)
        })
    }
}

struct RowsAffected(u64);

impl From<sqlx::postgres::PgQueryResult> for RowsAffected {
    fn from(result: sqlx::postgres::PgQueryResult) -> Self {
        Self(result.rows_affected())
    }
}

impl From<sqlx::sqlite::SqliteQueryResult> for RowsAffected {
    fn from(result: sqlx::sqlite::SqliteQueryResult) -> Self {
        Self(result.rows_affected())
    }
}

fn time(is_read: bool) -> Timed<'static> {
    METRICS.statements.of(if is_read { Statement::Read } else { Statement::Write }).time()
}

fn ended() -> StoreError {
    StoreError::Unavailable(Outage::Unreachable, "the transaction has ended".into())
}
