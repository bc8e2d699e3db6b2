//! The audit log's retention: events that are older than the settings say are deleted, and the rest still verifies.
//! Owns: how long events are kept, and how many are deleted at a time.
//! Must not know: how a chain is cut.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::exclusive::exclusively;
use crate::broker::{context::Broker, error::BrokerError};

const JOB: &str = "audit";
/// How often a server looks for old events.
pub(super) const EVERY: Duration = Duration::from_hours(1);
/// How long one run may take; what is left is for the next one.
const TIMEOUT: Duration = Duration::from_mins(5);
/// How many events are marked, and deleted, at a time. The organization's other writers wait while they are marked.
const MARK_BATCH: u16 = 10_000;
const DELETE_BATCH: u16 = 5_000;
/// Nothing is deleted before so much of it is old: each run leaves an event of its own.
const AT_LEAST: TimeDelta = TimeDelta::days(1);

/// Deletes old events, unless another process does it at the moment, and counts them; stops when this process stops.
/// `None`: another process does it.
pub async fn run_once(broker: &Arc<Broker>) -> Result<Option<u64>, BrokerError> {
    let days = broker.settings.audit_days;
    if days == 0 {
        return Ok(Some(0));
    }
    let before = broker.clock.now() - TimeDelta::days(days);
    let prune = Box::pin(prune(broker, before));
    let work = async { broker.shutdown.run_until_cancelled(prune).await.unwrap_or(Ok(0)) };
    exclusively(&broker.store, JOB, TIMEOUT, work).await
}

async fn prune(broker: &Broker, before: DateTime<Utc>) -> Result<u64, BrokerError> {
    let mut deleted = 0;
    for organization in broker.store.audit_organizations().await? {
        let oldest = broker.store.oldest_audit_event(&organization).await?;
        if oldest.is_some_and(|at| at < before - AT_LEAST) {
            let mark = || broker.store.prune_audit(&organization, before, MARK_BATCH.into(), broker.clock.now());
            while mark().await? == u64::from(MARK_BATCH) {}
        }
        // Also what an earlier run has marked and not deleted.
        loop {
            let some = broker.store.delete_pruned_audit(&organization, DELETE_BATCH.into()).await?;
            deleted += some;
            if some < DELETE_BATCH.into() {
                break;
            }
        }
    }
    if deleted > 0 {
        tracing::info!(event = "audit.pruned", deleted, "old audit events were deleted");
    }
    Ok(deleted)
}
