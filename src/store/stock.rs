//! What is stored, counted for the metrics: over all tenants.
//! Owns: these statements, and that each of them reads a bounded number of rows.
//! Must not know: how often it is counted.

use chrono::{DateTime, Utc};

use super::{error::StoreError, handle::Store};

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Grants that work; at most a million is counted.
    pub active_grants: u64,
    /// Grants that need a new consent; at most a million is counted.
    pub dead_grants: u64,
    /// Grants that are yet to be revoked; at most a hundred thousand is counted.
    pub revocations: u64,
    /// When the oldest of those was deleted. Their ids are in that order.
    pub oldest_revocation: Option<DateTime<Utc>>,
    /// Events that are yet to be delivered to a webhook; at most a hundred thousand is counted.
    pub webhooks_waiting: u64,
    /// When the oldest of those happened.
    pub oldest_webhook_delivery: Option<DateTime<Utc>>,
    /// Deliveries that were given up; at most a hundred thousand is counted.
    pub webhooks_dead: u64,
}

impl Store {
    /// Counts what is stored. Each count reads one partial index.
    pub async fn stock(&self) -> Result<Stock, StoreError> {
        let active = "SELECT count(*) FROM (SELECT 1 FROM tokens WHERE state = 'active' LIMIT 1000000) AS counted";
        let dead =
            "SELECT count(*) FROM (SELECT 1 FROM tokens WHERE state = 'consent_needed' LIMIT 1000000) AS counted";
        let revocations = "SELECT count(*) FROM (SELECT 1 FROM revocations LIMIT 100000) AS counted";
        let oldest = "SELECT created_at FROM revocations ORDER BY id LIMIT 1";
        let waiting =
            "SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries WHERE due_at IS NOT NULL LIMIT 100000) AS counted";
        let given_up =
            "SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries WHERE dead_at IS NOT NULL LIMIT 100000) AS counted";
        let undelivered =
            "SELECT created_at FROM webhook_deliveries WHERE due_at IS NOT NULL ORDER BY created_at LIMIT 1";
        let oldest: Option<(DateTime<Utc>,)> = self.db.query(oldest).read().optional().await?;
        let undelivered: Option<(DateTime<Utc>,)> = self.db.query(undelivered).read().optional().await?;
        Ok(Stock {
            active_grants: self.count(active).await?,
            dead_grants: self.count(dead).await?,
            revocations: self.count(revocations).await?,
            oldest_revocation: oldest.map(|(at,)| at),
            webhooks_waiting: self.count(waiting).await?,
            oldest_webhook_delivery: undelivered.map(|(at,)| at),
            webhooks_dead: self.count(given_up).await?,
        })
    }

    /// The names of at most `limit` providers, those that most workspaces use first.
    pub async fn provider_names(&self, limit: i64) -> Result<Vec<String>, StoreError> {
        let names: Vec<(String,)> = self
            .db
            .query(
                "SELECT provider_id FROM (SELECT provider_id FROM providers LIMIT 10000) AS listed
                 GROUP BY provider_id ORDER BY count(*) DESC, provider_id LIMIT $1",
            )
            .bind(limit)
            .read()
            .all()
            .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    async fn count(&self, statement: &'static str) -> Result<u64, StoreError> {
        let (many,): (i64,) = self.db.query(statement).read().one().await?;
        Ok(many.unsigned_abs())
    }
}
