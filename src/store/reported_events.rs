//! What was reported of each workspace lately.
//! Owns: how the table `reported_events` is read and swept. The outbox writes it.
//! Must not know: who reads it, or for how long events are kept.

use chrono::{DateTime, Utc};

use super::{error::StoreError, handle::Store};
use crate::{model::subject::Tenant, model::webhook::ReportedEvent};

impl Store {
    /// The events of a workspace after the one with that number, oldest first.
    pub async fn reported_events_after(
        &self,
        tenant: &Tenant,
        after: i64,
        limit: i64,
    ) -> Result<Vec<ReportedEvent>, StoreError> {
        self.db
            .query(
                "SELECT sequence, event, payload, at FROM reported_events
                 WHERE organization_id = $1 AND workspace_id = $2 AND sequence > $3 ORDER BY sequence LIMIT $4",
            )
            .within(tenant)
            .bind(after)
            .bind(limit)
            .read()
            .all()
            .await
    }

    /// The events of a workspace before the one with that number, newest first.
    pub async fn reported_events_before(
        &self,
        tenant: &Tenant,
        before: i64,
        limit: i64,
    ) -> Result<Vec<ReportedEvent>, StoreError> {
        self.db
            .query(
                "SELECT sequence, event, payload, at FROM reported_events
                 WHERE organization_id = $1 AND workspace_id = $2 AND sequence < $3 ORDER BY sequence DESC LIMIT $4",
            )
            .within(tenant)
            .bind(before)
            .bind(limit)
            .read()
            .all()
            .await
    }

    /// The number of the last event of a workspace; 0 if there are no events.
    pub async fn last_reported_event(&self, tenant: &Tenant) -> Result<i64, StoreError> {
        let (last,): (i64,) = self
            .db
            .query(
                "SELECT COALESCE(max(sequence), 0) FROM reported_events
                 WHERE organization_id = $1 AND workspace_id = $2",
            )
            .within(tenant)
            .read()
            .one()
            .await?;
        Ok(last)
    }

    /// Deletes at most `limit` events of all tenants that were reported before this time, and counts them.
    pub async fn delete_old_reported_events(&self, before: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
        self.db
            .query(
                "DELETE FROM reported_events WHERE (organization_id, workspace_id, sequence) IN (
                    SELECT organization_id, workspace_id, sequence FROM reported_events WHERE at <= $1 LIMIT $2)",
            )
            .bind(before)
            .bind(limit)
            .execute()
            .await
    }

    /// Counts what [`Self::delete_old_reported_events`] would delete.
    pub async fn count_old_reported_events(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let (found,): (i64,) =
            self.db.query("SELECT count(*) FROM reported_events WHERE at <= $1").bind(before).read().one().await?;
        Ok(found.unsigned_abs())
    }
}
