//! The store: what is kept, on PostgreSQL or SQLite, and the promises that hold on both.
//! Owns: SQL, sealing of secrets, and the scope (organization and workspace) in every statement.
//! Must not know: HTTP, authorization servers, who may do what.
//!
//! The contract of every function here:
//! - it acts inside one [`Tenant`]; what belongs to another is as if it were not there;
//! - what it returned as written is durable;
//! - one-time things (a state, a lease) are taken by one statement, so that one caller wins;
//! - secrets go in and come out as `SecretString`, and lie in the database sealed for their row.

pub mod api_keys;
pub mod authorization_requests;
pub mod client_errors;
pub mod connections;
pub mod db;
pub mod installation;
pub mod jobs;
pub mod notify;
pub mod providers;
pub mod revocations;
pub mod sweep;
pub mod tokens;

use std::sync::Arc;

use crate::cipher::{CipherError, KeyRing, Place};
use db::{Db, Location};
use tokens::shared_reads::SharedReads;
use tokens::usable::ProviderNames;

/// The organization and workspace that own a record. Every statement is bound to one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// The organization.
    pub organization: String,
    /// The workspace inside it; `X-Tenant-Id` on the wire.
    pub workspace: String,
}

/// Whose token: a person of a tenant, and the agent it is for, if it is for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The tenant.
    pub tenant: Tenant,
    /// The user as the application names it.
    pub user_id: String,
    /// The agent, or an empty string where the token is for none in particular.
    pub agent_id: String,
}

/// The database and the keys that seal what is in it.
#[derive(Clone)]
pub struct Store {
    db: Db,
    keys: Arc<KeyRing>,
    provider_names: ProviderNames,
    /// Where sharing pays: on PostgreSQL.
    shared_reads: Option<SharedReads>,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or gave up. Worth another try.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// There is such a record already.
    #[error("a record with this name exists already")]
    Conflict,
    /// A sealed value does not open, or the keys are wrong.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// The settings do not lead to a database we can use.
    #[error("{0}")]
    Location(String),
    /// The statement failed. A defect of ours.
    #[error("the database refused a statement: {0}")]
    Statement(sqlx::Error),
}

impl StoreError {
    /// True when a record that was to be referred to is gone.
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
                Self::Location(format!("DATABASE_URL: the server says: {}", error.message()))
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

/// A quarter of the connections for the hot path's reads, which leaves the others for all else.
fn reads_at_once(connections: u32) -> usize {
    (connections as usize / 4).max(1)
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

impl Store {
    /// Opens the database, brings its schema up to date and makes sure that `keys` are the ones it was sealed with.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be reached, or a key is wrong or missing.
    pub async fn open(
        location: &Location,
        keys: KeyRing,
        now: chrono::DateTime<chrono::Utc>,
    ) -> Result<Self, StoreError> {
        let db = Db::open(location).await?;
        let shared_reads = match location {
            Location::Postgres(_, connections) => Some(SharedReads::new(db.clone(), reads_at_once(*connections))),
            Location::Sqlite(_) => None,
        };
        let store = Self { db, keys: Arc::new(keys), provider_names: ProviderNames::new(), shared_reads };
        store.check_keys(now).await?;
        Ok(store)
    }

    /// True when other replicas may share the database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.db.is_shared()
    }

    /// Makes sure that the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let _: (i64,) = self.db.query("SELECT now_ms FROM database_clock").one().await?;
        Ok(())
    }

    /// Tells the other replicas that something waited for may have happened. A hint: it may be lost.
    pub async fn notify(&self, channel: &'static str, id: uuid::Uuid) -> Result<(), StoreError> {
        self.db.notify(channel, id.to_string()).await
    }

    /// A key that is configured must be the one of that id that was used here; a key that was used must be configured.
    async fn check_keys(&self, now: chrono::DateTime<chrono::Utc>) -> Result<(), StoreError> {
        const CHECK: &str = "agent-auth";
        let configured: Vec<String> = self.keys.ids().map(ToOwned::to_owned).collect();
        let used: Vec<(String, Vec<u8>)> =
            self.db.query("SELECT key_id, check_value FROM encryption_keys ORDER BY key_id").all().await?;
        for (key_id, sealed) in used {
            if !configured.contains(&key_id) {
                return Err(StoreError::Location(format!(
                    "ENCRYPTION_KEYS lacks key `{key_id}`, which this database was sealed with; add it behind the others"
                )));
            }
            self.keys.open(&check_place(), &sealed).map_err(|_| {
                StoreError::Location(format!(
                    "ENCRYPTION_KEYS: key `{key_id}` is not the key of that id which this database was sealed with"
                ))
            })?;
        }
        // Recorded only now: a key set by mistake must not count as one that was used.
        for key_id in &configured {
            let sealed = self.keys.seal_with(key_id, &check_place(), &CHECK.into())?;
            self.db
                .query("INSERT INTO encryption_keys (key_id, check_value, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(key_id.clone())
                .bind(sealed)
                .bind(now)
                .execute()
                .await?;
        }
        Ok(())
    }
}

fn check_place() -> Place<'static> {
    Place {
        column: ("encryption_keys", "check_value"),
        organization: "",
        workspace: "",
        row: uuid::Uuid::nil(),
        generation: 0,
    }
}
