//! Marks on providers whose client is wrong: the owner has to act, the grants stay.
//! Owns: `client_error` and `client_error_at` of the table `providers`.
//! Must not know: which errors mean that.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError, Tenant};

impl Store {
    /// Marks a provider with the code its token endpoint gave, or, with none, takes the mark away.
    pub async fn mark_client_error(
        &self,
        tenant: &Tenant,
        provider: Uuid,
        error: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE providers SET client_error = $4, client_error_at = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3
                   AND (client_error IS NOT NULL OR $4 IS NOT NULL)",
            )
            .within(tenant)
            .bind(provider)
            .bind(error.map(ToOwned::to_owned))
            .bind(error.map(|_| now))
            .execute()
            .await?;
        Ok(())
    }
}
