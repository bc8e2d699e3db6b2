//! The check of the encryption keys when a database is opened.
//! Owns: that a wrong key, one that is missing and needed, or one that another server lacks, is noticed before anything is
//! sealed or opened.
//! Must not know: how keys are rotated.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{db::Db, error::StoreError, seal::key_check_context, sealed_rows::count_by_key};
use crate::cipher::{CipherError, KeyRing};

const CHECK: &str = "agent-auth";

/// A running server.
#[derive(sqlx::FromRow)]
pub(super) struct ServerRow {
    pub(super) encryption_keys: Json<Vec<String>>,
}

/// The servers that run, of all replicas.
pub(super) async fn running_servers(db: &Db) -> Result<Vec<ServerRow>, StoreError> {
    db.query("SELECT encryption_keys FROM servers WHERE until > (SELECT now_ms FROM database_clock)").read().all().await
}

/// Nothing may be sealed with a key that a running server lacks: it could not open that.
pub(super) async fn require_key_on_servers(db: &Db, key_id: &str) -> Result<(), StoreError> {
    let servers = running_servers(db).await?;
    let without = servers.iter().filter(|server| server.encryption_keys.iter().all(|key| key != key_id)).count();
    if without == 0 {
        return Ok(());
    }
    Err(StoreError::Location(format!(
        "{without} of {} running servers do not have key `{key_id}` yet, so nothing may be sealed with it; append it at the \
         end of ENCRYPTION_KEYS on all of them and restart them, before it becomes the first. A server that was killed \
         counts for one more minute",
        servers.len()
    )))
}

/// No server is running.
pub(super) async fn end_announcements(db: &Db) -> Result<(), StoreError> {
    db.query("DELETE FROM servers").execute().await?;
    Ok(())
}

/// A key that is configured must be the one of that id that was used here; a key that stored values need must be
/// configured; and every running server must have the one that seals.
pub(super) async fn check_keys(db: &Db, keys: &KeyRing, now: DateTime<Utc>) -> Result<(), StoreError> {
    let configured: Vec<String> = keys.ids().map(ToOwned::to_owned).collect();
    let used: Vec<(String, Vec<u8>)> =
        db.query("SELECT key_id, check_value FROM encryption_keys ORDER BY key_id").read().all().await?;
    let (present, missing): (Vec<_>, Vec<_>) = used.into_iter().partition(|(id, _)| configured.contains(id));
    for (key_id, sealed) in present {
        keys.open(&key_check_context(), &sealed).map_err(|error| match error {
            error @ CipherError::OtherAlgorithm(_) => error.into(),
            _ => StoreError::Location(format!(
                "AGENT_AUTH_ENCRYPTION_KEYS: key `{key_id}` is not the key with that id that sealed this database; two keys were mixed up"
            )),
        })?;
    }
    // The rows are counted only when a key is missing: it takes a while in a large database.
    if !missing.is_empty() {
        let (counts, servers) = (count_by_key(db).await?, running_servers(db).await?);
        for (key_id, _) in &missing {
            if let Some(count) = counts.get(key_id) {
                return Err(StoreError::Location(format!(
                    "AGENT_AUTH_ENCRYPTION_KEYS lacks key `{key_id}`, which {count} stored secrets need; append it to the list. \
                     `agent-auth keys reseal` seals them with the first key, `agent-auth keys retire {key_id}` says when \
                     it can be removed"
                )));
            }
            if servers.iter().any(|server| server.encryption_keys.first() == Some(key_id)) {
                return Err(StoreError::Location(format!(
                    "AGENT_AUTH_ENCRYPTION_KEYS lacks key `{key_id}`, with which another running server seals; append it to the \
                     list, and remove it after all servers seal with another key"
                )));
            }
            tracing::info!(
                event = "encryption_key.not_needed",
                key_id,
                "an encryption key is no longer listed, and no stored secret needs it; `agent-auth keys retire` ends its record"
            );
        }
    }
    if let Some(first) = configured.first() {
        require_key_on_servers(db, first).await?;
    }
    // Recorded only now: a key set by mistake must not count as one that was used.
    record_keys(db, keys, now).await?;
    record_seals(db, keys).await
}

/// Records the keys as used, as far as they are not.
pub(super) async fn record_keys(db: &Db, keys: &KeyRing, now: DateTime<Utc>) -> Result<(), StoreError> {
    for key_id in keys.ids() {
        let sealed = keys.seal_with(key_id, &key_check_context(), &CHECK.into())?;
        db.query(
            "INSERT INTO encryption_keys (key_id, check_value, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(key_id.to_owned())
        .bind(sealed)
        .bind(now)
        .execute()
        .await?;
    }
    Ok(())
}

/// Adds to the database's count what keys with a limit have sealed, ahead of time.
pub(super) async fn record_seals(db: &Db, keys: &KeyRing) -> Result<(), StoreError> {
    for unrecorded in keys.unrecorded_seals() {
        let total: Option<(i64,)> = db
            .query("UPDATE encryption_keys SET sealed = sealed + $2 WHERE key_id = $1 RETURNING sealed")
            .bind(unrecorded.key_id.clone())
            .bind(unrecorded.seals.cast_signed())
            .optional()
            .await?;
        if let Some((total,)) = total {
            keys.seals_recorded(&unrecorded, total.unsigned_abs());
        }
    }
    Ok(())
}
