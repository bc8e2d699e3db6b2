//! What is stored, for the metrics.
//! Owns: how often it is counted.
//! Must not know: how.

use std::{sync::Arc, time::Duration};

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
    let waited = stock.oldest_revocation.and_then(|at| (broker.clock.now() - at).to_std().ok());
    METRICS.revocations_oldest.set(waited.unwrap_or_default().as_secs());
    Ok(())
}
