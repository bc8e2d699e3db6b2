//! The connections to SQLite: opening them, and what becomes of one after a transaction.
//! Owns: that every connection in the pool is outside a transaction.
//! Must not know: statements, or the other database.
//!
//! After some errors SQLite has rolled the transaction back by itself (a full disk, an error of the disk, too little
//! memory), after others it has not (<https://sqlite.org/lang_transaction.html>, "Response To Errors Within A Transaction").
//! sqlx counts the transactions of a connection and does not notice, so that the connection could begin no other one.
//! Therefore transactions are begun and ended here, by statements that sqlx does not count.

use std::{path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Executor, Sqlite, SqliteConnection, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::runtime::Handle;

use super::postgres::ACQUIRE_TIMEOUT;

/// SQLite has one writer at a time; the other connections read.
pub(super) const CONNECTIONS: u32 = 4;

/// Opens the file, and creates it if it does not exist.
pub(super) async fn open(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_with(options)
        .await
}

/// A transaction. Dropped without `commit` it is rolled back.
pub(super) struct SqliteTransaction {
    /// `None` when the transaction has ended.
    connection: Option<PoolConnection<Sqlite>>,
}

impl SqliteTransaction {
    /// Begins a transaction, and takes the write lock at once: one that reads first and writes later would be refused when
    /// another wrote in between.
    pub(super) async fn begin(pool: &SqlitePool) -> Result<Self, sqlx::Error> {
        let mut transaction = Self { connection: Some(pool.acquire().await?) };
        // A caller that disconnects during this statement drops the transaction, which rolls it back.
        transaction.run("BEGIN IMMEDIATE").await?;
        Ok(transaction)
    }

    /// The connection, for one statement. `None` when the transaction has ended.
    pub(super) fn connection(&mut self) -> Option<&mut SqliteConnection> {
        self.connection.as_deref_mut()
    }

    /// Ends the transaction if a statement failed, as PostgreSQL does: if SQLite has rolled it back already, the next
    /// statement would be written at once, without the others.
    pub(super) fn settle(&mut self, error: Option<&sqlx::Error>) {
        if error.is_some() {
            self.roll_back();
        }
    }

    /// Makes the transaction's writes durable.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        let committed = self.run("COMMIT").await;
        self.settle(committed.as_ref().err());
        committed?;
        // Committed: the connection goes back to the pool.
        drop(self.connection.take());
        Ok(())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let Some(connection) = self.connection() else { return Err(sqlx::Error::PoolClosed) };
        connection.execute(statement).await.map(drop)
    }

    /// Rolls back, whether or not SQLite has done so, and returns the connection to the pool.
    fn roll_back(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        // When the process ends, SQLite rolls back as it closes the file.
        let Ok(runtime) = Handle::try_current() else { return drop(connection.detach()) };
        runtime.spawn(async move {
            match connection.execute("ROLLBACK").await {
                Ok(_) => {}
                Err(error) if is_outside_transaction(&error) => {}
                Err(_) => connection.close_on_drop(),
            }
        });
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        self.roll_back();
    }
}

/// True when there was nothing to roll back. SQLite has no code of its own for it: `SQLITE_ERROR`.
fn is_outside_transaction(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("1"))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use crate::{
        model::outage::Outage,
        store::{
            db::{Db, Location},
            error::StoreError,
        },
    };

    const INSERT: &str = "INSERT INTO encryption_keys (key_id, check_value, created_at) VALUES ($1, X'00', '')";

    async fn database() -> (Db, TempDir) {
        let folder = TempDir::new().unwrap();
        (Db::open(&Location::Sqlite(folder.path().join("db"))).await.unwrap(), folder)
    }

    async fn rows(db: &Db) -> i64 {
        let (rows,): (i64,) = db.query("SELECT count(*) FROM encryption_keys").read().one().await.unwrap();
        rows
    }

    /// Every connection of the pool can write.
    async fn write_often(db: &Db) {
        for number in 0..10 {
            let mut tx = db.begin().await.unwrap();
            tx.query(INSERT).bind(format!("later-{number}")).execute().await.unwrap();
            tx.commit().await.unwrap();
        }
    }

    #[tokio::test]
    async fn after_sqlite_has_rolled_back_nothing_more_is_written_and_the_next_transaction_begins() {
        let (db, _folder) = database().await;
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON encryption_keys WHEN NEW.key_id = 'refused'
                      BEGIN SELECT RAISE(ROLLBACK, 'no'); END";
        db.query(refuse).execute().await.unwrap();
        for _ in 0..5 {
            let mut tx = db.begin().await.unwrap();
            tx.query(INSERT).bind("before".to_owned()).execute().await.unwrap();
            tx.query(INSERT).bind("refused".to_owned()).execute().await.unwrap_err();
            let after = tx.query(INSERT).bind("after".to_owned()).execute().await;
            assert!(matches!(after, Err(StoreError::Unavailable(Outage::Unreachable, _))), "{after:?}");
            assert!(tx.commit().await.is_err());
        }
        assert_eq!(rows(&db).await, 0);
        write_often(&db).await;
        assert_eq!(rows(&db).await, 10);
    }

    #[tokio::test]
    async fn a_statement_that_fails_alone_ends_its_transaction_too() {
        let (db, _folder) = database().await;
        let mut tx = db.begin().await.unwrap();
        tx.query(INSERT).bind("twice".to_owned()).execute().await.unwrap();
        let again = tx.query(INSERT).bind("twice".to_owned()).execute().await;
        assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
        assert!(tx.commit().await.is_err());
        write_often(&db).await;
        assert_eq!(rows(&db).await, 10);
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_at_any_moment_is_rolled_back() {
        let (db, _folder) = database().await;
        for nanoseconds in (0..2_000_000).step_by(50_000) {
            let work = async {
                let mut tx = db.begin().await?;
                tx.query(INSERT).bind("dropped".to_owned()).execute().await?;
                std::future::pending::<()>().await;
                tx.commit().await
            };
            let time = std::time::Duration::from_nanos(nanoseconds);
            assert!(tokio::time::timeout(time, work).await.is_err());
        }
        write_often(&db).await;
        assert_eq!(rows(&db).await, 10);
    }
}
