//! The store's handle: the database, and the keys that seal what is in it.
//! Owns: opening.
//! Must not know: any table.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    db::{Db, Location},
    error::StoreError,
    key_check::{check_keys, end_announcements},
    reads::{provider_names::ProviderNames, remembered::RememberedTokens, shared::SharedReads},
    seal::RowSeal,
    token_changes::TokenChanges,
};
use crate::{
    cipher::KeyRing,
    model::subject::Tenant,
    telemetry::metrics::{Connection, METRICS},
};

/// A database that is away fails a job of ours more often than this.
const REACHABLE_FOR: Duration = Duration::from_secs(15);

/// The database, and the keys that seal what is in it.
#[derive(Clone)]
pub struct Store {
    pub(super) db: Db,
    pub(super) keys: Arc<KeyRing>,
    /// Which process this is, among those that share the database.
    pub(super) process: Uuid,
    pub(super) provider_names: ProviderNames,
    /// Only on PostgreSQL: SQLite would gain nothing.
    pub(super) shared_reads: Option<SharedReads>,
    pub(super) token_changes: TokenChanges,
    pub(super) remembered_tokens: RememberedTokens,
    /// Woken when this process has written something for a webhook.
    pub(super) outbox: Arc<Notify>,
}

/// A quarter of the connections for the hot path's reads, which leaves the others for everything else.
fn reads_at_once(connections: u32) -> usize {
    (connections as usize / 4).max(1)
}

impl Store {
    /// Opens the database, brings its schema up to date and checks that `keys` are the ones that sealed it.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be reached, a key is wrong or missing, or a running server lacks the one that
    /// seals.
    pub async fn open(location: &Location, keys: KeyRing, now: DateTime<Utc>) -> Result<Self, StoreError> {
        Self::with(Db::open(location).await?, location, keys, now).await
    }

    /// The same for a database that nobody else can have open: a server that has announced itself was killed.
    pub async fn open_alone(location: &Location, keys: KeyRing, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let db = Db::open(location).await?;
        end_announcements(&db).await?;
        Self::with(db, location, keys, now).await
    }

    async fn with(db: Db, location: &Location, keys: KeyRing, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let shared_reads = match location {
            Location::Postgres(postgres) => Some(SharedReads::new(db.clone(), reads_at_once(postgres.connections))),
            Location::Sqlite(_) => None,
        };
        check_keys(&db, &keys, now).await?;
        let token_changes = TokenChanges::new();
        Ok(Self {
            keys: Arc::new(keys),
            process: Uuid::new_v4(),
            provider_names: ProviderNames::new(),
            shared_reads,
            remembered_tokens: RememberedTokens::new(token_changes.clone(), db.is_shared()),
            token_changes,
            outbox: Arc::default(),
            db,
        })
    }

    /// True when other replicas may share the database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.db.is_shared()
    }

    /// From now on the tokens that are read are remembered, sealed, for as long as every change of them is reported.
    pub fn remember_tokens(&self) {
        self.token_changes.count();
        if !self.is_shared() {
            self.token_changes.trust_own();
        }
    }

    /// Waits until this process has written something for a webhook.
    pub async fn outbox_written(&self) {
        self.outbox.notified().await;
    }

    /// Checks that the database responds.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let _: (i64,) = self.db.query("SELECT now_ms FROM database_clock").read().one().await?;
        Ok(())
    }

    /// Measures the connections.
    pub fn measure(&self) {
        let connections = self.db.connections();
        let in_use = connections.open.saturating_sub(connections.idle);
        METRICS.connections.of(Connection::InUse).set(in_use as u64);
        METRICS.connections.of(Connection::Idle).set(connections.idle as u64);
        METRICS.connections_max.set(connections.max as u64);
        METRICS.database_reachable.set(u64::from(self.db.reachable_for(REACHABLE_FOR)));
    }

    /// Seals and opens the columns of the row `row` of `tenant`. Tables whose secrets are never rewritten have the
    /// generation 0.
    pub(super) fn row_seal<'a>(&'a self, tenant: &'a Tenant, row: Uuid, generation: i64) -> RowSeal<'a> {
        RowSeal::new(&self.keys, tenant, row, generation)
    }
}
