//! The errors of the store.
//! Owns: the meaning of each database error.
//! Must not know: what was attempted.

use std::sync::Arc;

use uuid::Uuid;

use crate::{cipher::CipherError, model::outage::Outage};

/// A stored value that cannot be opened: its key is missing, or the value was changed. It stays as it is, because the key
/// may come back.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{table}.{column} of row {row} cannot be opened: {error}")]
pub struct NotOpened {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
    /// The id of the row.
    pub row: Uuid,
    /// Why.
    pub error: CipherError,
}

impl NotOpened {
    /// True for the client secret in a provider's record, which can be set again.
    #[must_use]
    pub fn is_of_provider(&self) -> bool {
        self.table == "providers"
    }
}

/// Why an operation of the store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used for now. The operation may be tried again.
    #[error("{0}: {1}")]
    Unavailable(Outage, String),
    /// What was to be done could not be recorded in the audit log, so it was not done.
    #[error("the audit log cannot be written: {0}")]
    Audit(String),
    /// Such a record already exists.
    #[error("a record with this name already exists")]
    Conflict,
    /// A value cannot be sealed, or the keys are wrong.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// A sealed value cannot be opened.
    #[error(transparent)]
    NotOpened(#[from] NotOpened),
    /// A first connection could not be opened: the database is not there, or not yet.
    #[error("{0}")]
    NotReached(String),
    /// The settings do not name a usable database.
    #[error("{0}")]
    Location(String),
    /// A record that the statement refers to does not exist any more.
    #[error("a record was deleted at the same moment")]
    Dangling,
    /// The statement failed: a bug.
    #[error("the database refused a statement: {0}")]
    Statement(Arc<sqlx::Error>),
}

impl StoreError {
    /// True when the same operation may succeed a moment later: another writer was in the way, or the database could not
    /// be used.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable(..))
    }

    /// True when a stored value is not what this program writes there, so that it cannot be read.
    #[must_use]
    pub fn is_about_a_stored_value(&self) -> bool {
        let Self::Statement(error) = self else { return false };
        matches!(**error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_))
    }

    /// True when PostgreSQL does not store a value of the statement, such as a NUL character (class 22) or a text that is too
    /// long for an index (class 54).
    #[must_use]
    pub fn is_about_values(&self) -> bool {
        let Self::Statement(error) = self else { return false };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| is_sqlstate(&code) && ["22", "54"].iter().any(|class| code.starts_with(class)))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match (outage_of(&error), error) {
            (Some(outage), sqlx::Error::Database(error)) => Self::Unavailable(outage, error.message().to_owned()),
            (Some(outage), error) => Self::Unavailable(outage, error.to_string()),
            (None, sqlx::Error::Database(error)) if error.is_unique_violation() => Self::Conflict,
            (None, sqlx::Error::Database(error)) if error.is_foreign_key_violation() => Self::Dangling,
            (None, sqlx::Error::Database(error)) if error.code().is_some_and(|code| is_bad_login(&code)) => {
                Self::Location(format!(
                    "AGENT_AUTH_DATABASE_URL: PostgreSQL refused the connection: {}",
                    error.message()
                ))
            }
            (None, other) => Self::Statement(Arc::new(other)),
        }
    }
}

/// What the error means for the whole database; `None` if it is about one statement only.
pub(super) fn outage_of(error: &sqlx::Error) -> Option<Outage> {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code()?;
            if is_sqlstate(&code) { outage_of_postgres(&code) } else { outage_of_sqlite(code.parse().ok()?) }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Some(Outage::Unreachable),
        _ => None,
    }
}

/// PostgreSQL's codes have five characters; SQLite's are numbers of at most four digits.
fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
}

fn outage_of_postgres(code: &str) -> Option<Outage> {
    match code {
        "53100" => Some(Outage::Full),
        "25006" => Some(Outage::ReadOnly),
        "42501" => Some(Outage::Denied),
        // Lock time-out, serialization, deadlock.
        "55P03" | "40001" | "40P01" => Some(Outage::Busy),
        // 58030: the disk fails. 25P03 and 25P04: a transaction was idle or took too long.
        "58030" | "25P03" | "25P04" => Some(Outage::Unreachable),
        // 08: connection, 40: roll-back, 53: resources, 57: operator.
        _ if ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) => Some(Outage::Unreachable),
        _ => None,
    }
}

/// By the primary code, which is the lowest byte of an extended one (<https://sqlite.org/rescode.html>).
fn outage_of_sqlite(code: u32) -> Option<Outage> {
    match code & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED.
        5 | 6 => Some(Outage::Busy),
        // SQLITE_NOMEM, SQLITE_IOERR, SQLITE_CANTOPEN.
        7 | 10 | 14 => Some(Outage::Unreachable),
        // SQLITE_READONLY.
        8 => Some(Outage::ReadOnly),
        // SQLITE_PERM, SQLITE_AUTH.
        3 | 23 => Some(Outage::Denied),
        // SQLITE_FULL.
        13 => Some(Outage::Full),
        _ => None,
    }
}

/// 28: the role or its password; 3D: the database does not exist.
pub(super) fn is_bad_login(code: &str) -> bool {
    is_sqlstate(code) && (code.starts_with("28") || code.starts_with("3D"))
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => Self::Location(format!(
                "the database's schema does not fit this version ({other}); use the version that wrote it, or a newer one"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::db::{Db, Location};

    #[test]
    fn the_codes_of_both_databases_are_kept_apart() {
        assert_eq!(outage_of_postgres("53100"), Some(Outage::Full));
        assert_eq!(outage_of_postgres("25006"), Some(Outage::ReadOnly));
        assert_eq!(outage_of_postgres("42501"), Some(Outage::Denied));
        for code in ["40001", "40P01", "55P03"] {
            assert_eq!(outage_of_postgres(code), Some(Outage::Busy), "{code}");
        }
        for code in ["57P03", "53300", "08006", "40003", "58030", "57014"] {
            assert_eq!(outage_of_postgres(code), Some(Outage::Unreachable), "{code}");
        }
        for code in ["23505", "42P01", "22021", "XX000"] {
            assert_eq!(outage_of_postgres(code), None, "{code}");
        }
        // SQLITE_IOERR_SHMMAP is 5386, SQLITE_WARNING 28: neither is a class of PostgreSQL.
        assert_eq!(outage_of_sqlite(5386), Some(Outage::Unreachable));
        assert!(!is_sqlstate("5386") && !is_bad_login("28"));
        assert_eq!([8, 776, 1032].map(outage_of_sqlite), [Some(Outage::ReadOnly); 3]);
        assert_eq!([19, 787, 2067].map(outage_of_sqlite), [None; 3]);
    }

    #[tokio::test]
    async fn a_full_sqlite_file_says_so_and_goes_on_when_there_is_space() {
        let folder = TempDir::new().unwrap();
        let db = Db::open(&Location::Sqlite(folder.path().join("db"))).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let (pages,): (i64,) = tx.query("PRAGMA page_count").one().await.unwrap();
        // At most as many as there are.
        let (_,): (i64,) = tx.query("PRAGMA max_page_count = 1").one().await.unwrap();
        let insert = "INSERT INTO encryption_keys (key_id, check_value, created_at) VALUES ($1, $2, $1)";
        let big = vec![0_u8; usize::try_from(pages).unwrap() * 4096];
        let refused = tx.query(insert).bind("big".to_owned()).bind(big.clone()).execute().await;
        assert!(matches!(refused, Err(StoreError::Unavailable(Outage::Full, _))), "{refused:?}");
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        let (_,): (i64,) = tx.query("PRAGMA max_page_count = 1000000").one().await.unwrap();
        tx.query(insert).bind("big".to_owned()).bind(big).execute().await.unwrap();
        tx.commit().await.unwrap();
        let (kept,): (i64,) = db.query("SELECT count(*) FROM encryption_keys").read().one().await.unwrap();
        assert_eq!(kept, 1);
    }
}
