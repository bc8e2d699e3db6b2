//! What is stored, for the metrics.
//! Owns: how often it is counted.
//! Must not know: how.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    broker::{context::Broker, error::BrokerError},
    telemetry::metrics::{Grant, METRICS, NAMED_PROVIDERS_MAX},
};

/// How often it is counted, by every replica: a replica that left it to another would have no value.
pub(super) const EVERY: Duration = Duration::from_mins(1);

/// Counts what is stored, and gives every provider its metrics before anything happens there: an increase from nothing
/// would not be seen.
pub async fn measure(broker: &Arc<Broker>) -> Result<(), BrokerError> {
    for name in broker.store.provider_names(NAMED_PROVIDERS_MAX.into()).await? {
        drop(METRICS.providers.of(&name));
    }
    let stock = broker.store.stock().await?;
    METRICS.grants.of(Grant::Active).set(stock.active_grants);
    METRICS.grants.of(Grant::ConsentNeeded).set(stock.dead_grants);
    METRICS.revocations_waiting.set(stock.revocations);
    let now = broker.clock.now();
    let waited = |since: Option<DateTime<Utc>>| since.and_then(|at| (now - at).to_std().ok()).unwrap_or_default();
    METRICS.revocations_oldest.set(waited(stock.oldest_revocation).as_secs());
    METRICS.webhooks_waiting.set(stock.webhooks_waiting);
    METRICS.webhooks_oldest.set(waited(stock.oldest_webhook_delivery).as_secs());
    METRICS.webhooks_dead.set(stock.webhooks_dead);
    Ok(())
}
