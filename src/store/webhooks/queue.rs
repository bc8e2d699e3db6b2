//! The queue of deliveries: what is due, who attempts it, and how it ended.
//! Owns: the lease of an attempt, and that of one ordering key only the oldest is attempted.
//! Must not know: how a delivery is sent, or when another attempt makes sense.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::records::{WebhookRow, webhook_columns};
use crate::{
    model::webhook::Webhook,
    store::{db::milliseconds, error::StoreError, handle::Store},
};

/// A delivery that was taken for an attempt.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Delivery {
    /// Its id.
    pub id: Uuid,
    /// The type of the event.
    pub event: String,
    /// The body of the request.
    pub payload: String,
    /// The number of attempts, including this one.
    pub attempts: i64,
    sequence: i64,
    ordering_key: String,
    owner: Option<Uuid>,
}

/// Why an attempt did not deliver.
#[derive(Clone, Debug)]
pub struct DeliveryFailure {
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// What went wrong, in a few words.
    pub error: String,
}

impl Store {
    /// The webhooks of all tenants that have a delivery due.
    pub async fn webhooks_with_due(&self, now: DateTime<Utc>) -> Result<Vec<Webhook>, StoreError> {
        let rows: Vec<WebhookRow> = self
            .db
            .query(concat!(
                "SELECT ",
                webhook_columns!(),
                " FROM webhooks WHERE disabled_at IS NULL AND EXISTS (
                    SELECT 1 FROM webhook_deliveries d WHERE d.webhook = webhooks.id AND d.due_at <= $1)"
            ))
            .bind(now)
            .read()
            .all()
            .await?;
        Ok(rows.into_iter().map(WebhookRow::webhook).collect())
    }

    /// Takes at most `limit` due deliveries of a webhook for an attempt of this length, by the database's clock: of each
    /// ordering key the oldest that is not finished. One replica gets each.
    pub async fn take_deliveries(
        &self,
        webhook: &Webhook,
        lease: Duration,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.db
            .query(
                // The conditions on the row itself are checked again when another replica had it locked. Of a large
                // backlog only the longest due are looked at; what must wait for another one is not due before it.
                "UPDATE webhook_deliveries
                 SET attempts = attempts + 1, owner = $5, leased_until = (SELECT now_ms FROM database_clock) + $6
                 WHERE due_at <= $4
                   AND (leased_until IS NULL OR leased_until < (SELECT now_ms FROM database_clock))
                   AND id IN (
                    SELECT d.id FROM (
                        SELECT id, webhook, ordering_key, sequence, due_at FROM webhook_deliveries
                        WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3 AND due_at <= $4
                          AND (leased_until IS NULL OR leased_until < (SELECT now_ms FROM database_clock))
                        ORDER BY due_at, sequence LIMIT 1000) d
                    WHERE NOT EXISTS (
                        SELECT 1 FROM webhook_deliveries e
                        WHERE e.webhook = d.webhook AND e.ordering_key = d.ordering_key AND e.due_at IS NOT NULL
                          AND e.sequence < d.sequence)
                    ORDER BY d.due_at, d.sequence LIMIT $7)
                 RETURNING id, event, payload, attempts, sequence, ordering_key, owner",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .bind(now)
            .bind(Uuid::new_v4())
            .bind(milliseconds(lease))
            .bind(limit)
            .all()
            .await
    }

    /// Notes that a delivery was delivered. Nothing is due any more, also if another replica has taken it meanwhile.
    pub async fn keep_delivered(
        &self,
        webhook: &Webhook,
        delivery: &Delivery,
        status: u16,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE webhook_deliveries
                 SET due_at = NULL, delivered_at = $5, last_status = $6, last_error = NULL, dead_at = NULL, owner = NULL,
                     leased_until = NULL
                 WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3 AND id = $4 AND due_at IS NOT NULL",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .bind(delivery.id)
            .bind(now)
            .bind(i64::from(status))
            .execute()
            .await?;
        Ok(())
    }

    /// Releases a delivery whose attempt failed: the next one is due at `next_at`; without it, there is none, and what
    /// follows it is due. Does nothing if another replica has taken it meanwhile.
    pub async fn keep_delivery_failure(
        &self,
        webhook: &Webhook,
        delivery: &Delivery,
        failure: &DeliveryFailure,
        next_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let released = self
            .db
            .query(
                "UPDATE webhook_deliveries
                 SET due_at = $6, dead_at = $7, last_status = $8, last_error = $9, owner = NULL, leased_until = NULL
                 WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3 AND id = $4 AND owner = $5",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .bind(delivery.id)
            .bind(delivery.owner)
            .bind(next_at)
            .bind(next_at.is_none().then_some(now))
            .bind(failure.status.map(i64::from))
            .bind(failure.error.clone())
            .execute()
            .await?;
        if released > 0 {
            self.move_followers(webhook, delivery, next_at.unwrap_or(now)).await?;
        }
        Ok(())
    }

    /// What must wait for a delivery is due with it, so that a look for what is due does not read it in vain. What comes
    /// later is written so.
    async fn move_followers(
        &self,
        webhook: &Webhook,
        delivery: &Delivery,
        due_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE webhook_deliveries SET due_at = $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND webhook = $3 AND ordering_key = $4
                   AND sequence > $5 AND due_at IS NOT NULL AND owner IS NULL",
            )
            .within(&webhook.tenant)
            .bind(webhook.id)
            .bind(delivery.ordering_key.clone())
            .bind(delivery.sequence)
            .bind(due_at)
            .execute()
            .await?;
        Ok(())
    }

    /// Ends the leases of attempts. For a database with one server, at its start: no other process can have one.
    pub async fn end_delivery_leases(&self) -> Result<(), StoreError> {
        self.db
            .query("UPDATE webhook_deliveries SET owner = NULL, leased_until = NULL WHERE owner IS NOT NULL AND due_at IS NOT NULL")
            .execute()
            .await?;
        Ok(())
    }
}
