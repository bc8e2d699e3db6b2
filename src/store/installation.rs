//! The installation: one row with the first organization and workspace of this database.
//! Owns: which of several replicas that start on an empty database creates the first key.
//! Must not know: what an API key looks like.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{error::StoreError, handle::Store};
use crate::model::{actor::Act, api_key::NewApiKey, subject::Tenant};

impl Store {
    /// The first tenant of this database, created now if this is its first start.
    pub async fn home_tenant(&self, now: DateTime<Utc>) -> Result<Tenant, StoreError> {
        self.db
            .query(
                "INSERT INTO installation (id, organization_id, workspace_id, created_at)
                 VALUES (1, $1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(Uuid::now_v7().to_string())
            .bind(Uuid::now_v7().to_string())
            .bind(now)
            .execute()
            .await?;
        let (organization, workspace) =
            self.db.query("SELECT organization_id, workspace_id FROM installation WHERE id = 1").read().one().await?;
        Ok(Tenant { organization, workspace })
    }

    /// True if there is any API key.
    pub async fn has_api_keys(&self) -> Result<bool, StoreError> {
        let (keys,): (i64,) = self.db.query("SELECT count(*) FROM api_keys").read().one().await?;
        Ok(keys > 0)
    }

    /// Stores `key` if there is no API key at all, and returns whether it did. The row of the
    /// installation is locked first, so that only one of several replicas that start together does it.
    pub async fn keep_first_api_key(&self, key: &NewApiKey, act: &Act) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        tx.query("UPDATE installation SET id = 1 WHERE id = 1").execute().await?;
        let (keys,): (i64,) = tx.query("SELECT count(*) FROM api_keys").one().await?;
        if keys > 0 {
            tx.commit().await?;
            return Ok(false);
        }
        self.write_api_key(&mut tx, key, act).await?;
        tx.commit().await?;
        Ok(true)
    }
}
