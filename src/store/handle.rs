//! The store's handle: the database, and the keys that seal what is in it.
//! Owns: opening, and the check that the keys are the right ones.
//! Must not know: any table but `encryption_keys`.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    db::{Db, Location},
    error::StoreError,
    reads::{provider_names::ProviderNames, shared::SharedReads},
    seal::{RowSeal, key_check_context},
};
use crate::{cipher::KeyRing, model::subject::Tenant};

/// The database, and the keys that seal what is in it.
#[derive(Clone)]
pub struct Store {
    pub(super) db: Db,
    keys: Arc<KeyRing>,
    pub(super) provider_names: ProviderNames,
    /// Only on PostgreSQL: SQLite would gain nothing.
    pub(super) shared_reads: Option<SharedReads>,
}

/// A quarter of the connections for the hot path's reads, which leaves the others for everything else.
fn reads_at_once(connections: u32) -> usize {
    (connections as usize / 4).max(1)
}

impl Store {
    /// Opens the database, brings its schema up to date and checks that `keys` are the ones that sealed it.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be reached, or a key is wrong or missing.
    pub async fn open(location: &Location, keys: KeyRing, now: DateTime<Utc>) -> Result<Self, StoreError> {
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

    /// Checks that the database responds.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let _: (i64,) = self.db.query("SELECT now_ms FROM database_clock").read().one().await?;
        Ok(())
    }

    /// Seals and opens the columns of the row `row` of `tenant`. Tables whose secrets are never rewritten have the
    /// generation 0.
    pub(super) fn row_seal<'a>(&'a self, tenant: &'a Tenant, row: Uuid, generation: i64) -> RowSeal<'a> {
        RowSeal::new(&self.keys, tenant, row, generation)
    }

    /// A key that is configured must be the one of that id that was used here; a key that was used must be configured.
    async fn check_keys(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        const CHECK: &str = "agent-auth";
        let configured: Vec<String> = self.keys.ids().map(ToOwned::to_owned).collect();
        let used: Vec<(String, Vec<u8>)> =
            self.db.query("SELECT key_id, check_value FROM encryption_keys ORDER BY key_id").read().all().await?;
        for (key_id, sealed) in used {
            if !configured.contains(&key_id) {
                return Err(StoreError::Location(format!(
                    "AGENT_AUTH_ENCRYPTION_KEYS lacks key `{key_id}`, which this database was sealed with; append it to the list"
                )));
            }
            self.keys.open(&key_check_context(), &sealed).map_err(|_| {
                StoreError::Location(format!(
                    "AGENT_AUTH_ENCRYPTION_KEYS: key `{key_id}` is not the key with that id that sealed this database; two keys were mixed up"
                ))
            })?;
        }
        // Recorded only now: a key set by mistake must not count as one that was used.
        for key_id in &configured {
            let sealed = self.keys.seal_with(key_id, &key_check_context(), &CHECK.into())?;
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
