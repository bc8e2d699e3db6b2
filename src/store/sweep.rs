//! Sweeping: what is over is deleted, in batches, over all tenants.
//! Owns: which rows are over at a given time. The check is made again on each row as it is deleted, so that a token
//! that is revived at the same moment stays.
//! Must not know: how long what is over is kept.

use chrono::{DateTime, Utc};

use super::{Store, StoreError};

impl Store {
    /// Counts the authorization requests of all tenants that expired before `before`.
    pub async fn count_expired_authorization_requests(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let (found,): (i64,) = self
            .db
            .query("SELECT count(*) FROM authorization_requests WHERE expires_at <= $1")
            .bind(before)
            .one()
            .await?;
        Ok(found.unsigned_abs())
    }

    /// Deletes the authorization requests of all tenants that expired before `before`, `most` at the most, and counts
    /// them.
    pub async fn delete_expired_authorization_requests(
        &self,
        before: DateTime<Utc>,
        most: i64,
    ) -> Result<u64, StoreError> {
        self.db
            .query(
                "DELETE FROM authorization_requests
                 WHERE expires_at <= $1 AND id IN (
                    SELECT id FROM authorization_requests WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)",
            )
            .bind(before)
            .bind(most)
            .execute()
            .await
    }

    /// Counts the tokens of all tenants that have been dead since before `before`.
    pub async fn count_dead_tokens(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let (found,): (i64,) = self
            .db
            .query(
                "SELECT count(*) FROM tokens
                 WHERE state = 'consent_needed' AND COALESCE(last_error_at, updated_at) <= $1",
            )
            .bind(before)
            .one()
            .await?;
        Ok(found.unsigned_abs())
    }

    /// Deletes the tokens of all tenants that have been dead since before `before`, `most` at the most, and counts
    /// them. There is nothing to revoke: their providers said that they are dead.
    pub async fn delete_dead_tokens(&self, before: DateTime<Utc>, most: i64) -> Result<u64, StoreError> {
        self.db
            .query(
                "DELETE FROM tokens
                 WHERE state = 'consent_needed' AND COALESCE(last_error_at, updated_at) <= $1 AND id IN (
                    SELECT id FROM tokens
                    WHERE state = 'consent_needed' AND COALESCE(last_error_at, updated_at) <= $1 ORDER BY id LIMIT $2)",
            )
            .bind(before)
            .bind(most)
            .execute()
            .await
    }
}
