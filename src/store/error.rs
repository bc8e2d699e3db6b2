//! The errors of the store.
//! Owns: the meaning of each database error.
//! Must not know: what was attempted.

use crate::cipher::CipherError;

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, or gave up. The operation may be tried again.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Such a record already exists.
    #[error("a record with this name already exists")]
    Conflict,
    /// A sealed value cannot be opened, or the keys are wrong.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// The settings do not name a usable database.
    #[error("{0}")]
    Location(String),
    /// The statement failed: a bug.
    #[error("the database refused a statement: {0}")]
    Statement(sqlx::Error),
}

impl StoreError {
    /// True when the same operation may succeed a moment later: another writer was in the way, or the database could not
    /// be reached.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable(_))
    }

    /// True when a record that the statement refers to does not exist any more.
    #[must_use]
    pub fn is_dangling(&self) -> bool {
        matches!(self, Self::Statement(sqlx::Error::Database(error)) if error.is_foreign_key_violation())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) if error.is_unique_violation() => Self::Conflict,
            sqlx::Error::Database(error)
                // 28: the role or its password; 3D: the database does not exist.
                if error.code().is_some_and(|code| code.starts_with("28") || code.starts_with("3D")) =>
            {
                Self::Location(format!("AGENT_AUTH_DATABASE_URL: PostgreSQL refused the connection: {}", error.message()))
            }
            sqlx::Error::Database(error)
                // 08: connection, 40: serialization and deadlock, 53: resources, 55P03: lock time-out, 57: operator.
                if error.code().is_some_and(|code| {
                    ["08", "40", "53", "55P03", "57"].iter().any(|class| code.starts_with(class))
                        || is_sqlite_busy(&code)
                }) =>
            {
                Self::Unavailable(error.message().to_owned())
            }
            error @ (sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed) => Self::Unavailable(error.to_string()),
            other => Self::Statement(other),
        }
    }
}

/// `SQLITE_BUSY` and its extended codes, and `SQLITE_FULL`.
fn is_sqlite_busy(code: &str) -> bool {
    matches!(code, "5" | "261" | "517" | "773" | "13")
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
