//! When tokens were last handed out.
//! Owns: `last_used_at` of the table `tokens`.
//! Must not know: what the times are used for, or which uses are not written yet.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::subject::Tenant,
    store::{error::StoreError, handle::Store},
};

/// One token that was handed out.
#[derive(Clone, Debug)]
pub struct Use {
    /// Whose it is.
    pub tenant: Tenant,
    /// The token.
    pub token: Uuid,
    /// When it was last handed out.
    pub at: DateTime<Utc>,
}

impl Store {
    /// Writes these uses in one transaction, each within its own tenant. They must be sorted by token: replicas that
    /// lock the same rows in the same order wait for each other instead of failing with a deadlock.
    ///
    /// # Errors
    /// [`StoreError`]; then none of them is written.
    pub async fn write_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        for used in uses {
            tx.query(
                "UPDATE tokens SET last_used_at = $4
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3
                   AND (last_used_at IS NULL OR last_used_at < $4)",
            )
            .within(&used.tenant)
            .bind(used.token)
            .bind(used.at)
            .execute()
            .await?;
        }
        tx.commit().await
    }
}
