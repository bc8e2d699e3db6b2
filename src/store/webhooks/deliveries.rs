//! Deliveries as an operator sees them: listed, sent again, and deleted when they are old.
//! Owns: these statements.
//! Must not know: how long deliveries are kept.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    model::webhook::{DeliveryState, DeliverySummary, Webhook},
    store::{error::StoreError, handle::Store},
};

/// Which finished deliveries are sent again.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// This one.
    One(Uuid),
    /// Those of events since then; only those that were given up, if that is set.
    Since(DateTime<Utc>, bool),
}

impl Store {
    /// The latest deliveries of a webhook, the newest first; only those in this state.
    pub async fn deliveries(
        &self,
        webhook: &Webhook,
        state: Option<DeliveryState>,
        limit: i64,
    ) -> Result<Vec<DeliverySummary>, StoreError> {
        self.db
            .query(
                "SELECT id, event, attempts, due_at, last_status, last_error, created_at, delivered_at, dead_at
                 FROM webhook_deliveries
                 WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3
                   AND ($4 = '' OR $4 = CASE WHEN due_at IS NOT NULL THEN 'waiting' WHEN dead_at IS NOT NULL THEN 'dead'
                                             ELSE 'delivered' END)
                 ORDER BY created_at DESC, id DESC LIMIT $5",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .bind(state.map_or("", DeliveryState::as_str).to_owned())
            .bind(limit)
            .read()
            .all()
            .await
    }

    /// Makes finished deliveries due again, and counts them. What waits for another attempt is due too.
    pub async fn replay_deliveries(
        &self,
        webhook: &Webhook,
        replayed: &Replayed,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let (id, since, only_dead) = match replayed {
            Replayed::One(id) => (Some(*id), None, false),
            Replayed::Since(since, only_dead) => (None, Some(*since), *only_dead),
        };
        let mut tx = self.db.begin().await?;
        tx.query(
            "UPDATE webhook_deliveries SET due_at = $4
             WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3 AND due_at > $4",
        )
        .within(&webhook.tenant)
        .bind(webhook.id)
        .bind(now)
        .execute()
        .await?;
        let again = tx
            .query(
                "UPDATE webhook_deliveries SET due_at = $4, attempts = 0, delivered_at = NULL, dead_at = NULL
                 WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3 AND due_at IS NULL
                   AND (id = $5 OR created_at >= $6) AND (dead_at IS NOT NULL OR NOT $7)",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .bind(now)
            .bind(id)
            .bind(since)
            .bind(only_dead)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(again)
    }

    /// Deletes at most `limit` deliveries of all tenants that were delivered or given up before these times, and counts
    /// them.
    pub async fn delete_old_deliveries(
        &self,
        delivered_before: DateTime<Utc>,
        dead_before: DateTime<Utc>,
        limit: i64,
    ) -> Result<u64, StoreError> {
        self.db
            .query(
                "DELETE FROM webhook_deliveries WHERE due_at IS NULL AND id IN (
                    SELECT id FROM webhook_deliveries
                    WHERE due_at IS NULL AND (delivered_at <= $1 OR dead_at <= $2) LIMIT $3)",
            )
            .bind(delivered_before)
            .bind(dead_before)
            .bind(limit)
            .execute()
            .await
    }

    /// Counts what [`Self::delete_old_deliveries`] would delete.
    pub async fn count_old_deliveries(
        &self,
        delivered_before: DateTime<Utc>,
        dead_before: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let (found,): (i64,) = self
            .db
            .query(
                "SELECT count(*) FROM webhook_deliveries
                 WHERE due_at IS NULL AND (delivered_at <= $1 OR dead_at <= $2)",
            )
            .bind(delivered_before)
            .bind(dead_before)
            .read()
            .one()
            .await?;
        Ok(found.unsigned_abs())
    }
}
