//! Encryption keys: which are in use, by whom, and moving stored values from one to another.
//! Owns: the tables `encryption_keys` and `servers`.
//! Must not know: where the keys are kept, or in which order a rotation goes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use sqlx::types::Json;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    db::milliseconds,
    error::StoreError,
    handle::Store,
    key_check::{end_announcements, record_keys, record_seals, require_key_on_servers, running_servers},
    sealed_rows::{Replaced, count_by_key, walks},
};
use crate::{cipher::SEALS_MAX, model::audit::Event};

/// How many rows are written at the same time on PostgreSQL. SQLite has one writer.
const AT_ONCE: usize = 4;

/// A key that was used with this database.
#[derive(Debug, sqlx::FromRow)]
pub struct UsedKey {
    /// Its id.
    pub key_id: String,
    /// When it was used first.
    pub created_at: DateTime<Utc>,
}

/// How far a reseal is, or what it did.
#[derive(Clone, Debug, Default)]
pub struct Resealed {
    /// Values that were looked at.
    pub looked_at: u64,
    /// Values that are sealed with the first key now.
    pub resealed: u64,
    /// Values that were written or deleted meanwhile.
    pub changed: u64,
    /// Values that cannot be opened, the first of them.
    pub unreadable: Vec<String>,
    /// How many cannot be opened.
    pub unreadable_count: u64,
}

/// How many values that cannot be opened are named.
const NAMED_MAX: usize = 10;

/// Where a reseal is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    column: usize,
    after: Uuid,
}

impl Store {
    /// The ids of this process's keys, the sealing one first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.keys.ids().map(ToOwned::to_owned).collect()
    }

    /// The keys that were used with this database, the newest last.
    pub async fn used_keys(&self) -> Result<Vec<UsedKey>, StoreError> {
        self.db.query("SELECT key_id, created_at FROM encryption_keys ORDER BY created_at, key_id").read().all().await
    }

    /// How many stored values each key has sealed, of all tenants.
    pub async fn sealed_by_key(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        count_by_key(&self.db).await
    }

    /// The keys of each running server, the sealing one first.
    pub async fn keys_of_servers(&self) -> Result<Vec<Vec<String>>, StoreError> {
        Ok(running_servers(&self.db).await?.into_iter().map(|server| server.encryption_keys.0).collect())
    }

    /// Says for this time, by the database's clock, that this process is a running server with these keys; and records
    /// what keys with a limit have sealed. Returns the key that seals, if it has sealed half of what it may.
    pub async fn announce_keys(&self, time: Duration, now: DateTime<Utc>) -> Result<Option<String>, StoreError> {
        self.db
            .query(
                "INSERT INTO servers (id, encryption_keys, until)
                 VALUES ($1, $2, (SELECT now_ms FROM database_clock) + $3)
                 ON CONFLICT (id) DO UPDATE SET until = excluded.until",
            )
            .bind(self.process)
            .bind(Json(self.key_ids()))
            .bind(milliseconds(time))
            .execute()
            .await?;
        self.db.query("DELETE FROM servers WHERE until < (SELECT now_ms FROM database_clock)").execute().await?;
        self.record_seals().await?;
        let first = self.keys.ids().next().unwrap_or_default().to_owned();
        let sealed: Option<(i64,)> = self
            .db
            .query("SELECT sealed FROM encryption_keys WHERE key_id = $1")
            .bind(first.clone())
            .read()
            .optional()
            .await?;
        if sealed.is_none() {
            // The key was retired while this server was frozen or cut off. It seals with it, so starts must look for it.
            record_keys(&self.db, &self.keys, now).await?;
        }
        let worn = sealed.is_some_and(|(sealed,)| sealed.unsigned_abs() >= SEALS_MAX / 2);
        Ok(worn.then_some(first))
    }

    /// This process is no longer a running server.
    pub async fn end_announcement(&self) -> Result<(), StoreError> {
        self.db.query("DELETE FROM servers WHERE id = $1").bind(self.process).execute().await?;
        Ok(())
    }

    /// No server is running. For a database with one server, while its lock is held.
    pub async fn end_announcements(&self) -> Result<(), StoreError> {
        end_announcements(&self.db).await
    }

    /// Makes sure that every running server has this key.
    ///
    /// # Errors
    /// [`StoreError::Location`] says how many lack it, and what to do.
    pub async fn require_key_on_servers(&self, key_id: &str) -> Result<(), StoreError> {
        require_key_on_servers(&self.db, key_id).await
    }

    /// Adds to the database's count what keys with a limit have sealed.
    pub async fn record_seals(&self) -> Result<(), StoreError> {
        record_seals(&self.db, &self.keys).await
    }

    /// Ends the record of a key that is no longer used. `false`: there is no such record; then nothing is done, unless the
    /// key `is_listed`.
    pub async fn forget_key(&self, key_id: &str, is_listed: bool, event: Event) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let forgotten =
            tx.query("DELETE FROM encryption_keys WHERE key_id = $1").bind(key_id.to_owned()).execute().await?;
        if forgotten > 0 || is_listed {
            self.record(&mut tx, vec![event]).await?;
        }
        tx.commit().await?;
        Ok(forgotten > 0)
    }

    /// Seals the next values of all tenants with the first key, and adds to `done` what it did. `None`: that was the end.
    /// It holds no transaction; what it did is durable, and a later pass finds only the rest.
    pub async fn reseal_some(&self, from: Cursor, done: &mut Resealed) -> Result<Option<Cursor>, StoreError> {
        let Some(walk) = walks().get(from.column) else { return Ok(None) };
        let page = walk.page(&self.db, &self.keys, from.after).await?;
        done.looked_at += page.rows;
        let at_once = if self.is_shared() { AT_ONCE } else { 1 };
        let written: Vec<Replaced> = stream::iter(page.strays)
            .map(|stray| async {
                let begun = Instant::now();
                let replaced = walk.reseal(&self.db, &self.keys, stray).await?;
                if !self.is_shared() {
                    // SQLite's lock goes to any writer that finds it free, so a server needs time to find it free.
                    sleep(begun.elapsed()).await;
                }
                Ok::<_, StoreError>(replaced)
            })
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        for replaced in written {
            done.count(replaced);
        }
        self.record_seals().await?;
        Ok(Some(match page.last {
            Some(after) => Cursor { after, ..from },
            None => Cursor { column: from.column + 1, after: Uuid::nil() },
        }))
    }
}

impl Resealed {
    fn count(&mut self, replaced: Replaced) {
        match replaced {
            Replaced::Resealed => self.resealed += 1,
            Replaced::Changed => self.changed += 1,
            Replaced::Unreadable(error) => {
                self.unreadable_count += 1;
                if self.unreadable.len() < NAMED_MAX {
                    self.unreadable.push(error.to_string());
                }
            }
        }
    }
}
