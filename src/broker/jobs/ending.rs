//! Refresh tokens that are about to expire: their workspaces' webhooks are sent `token.ending_soon`, once for each grant.
//! Owns: how long before the end, and how often a server looks.
//! Must not know: how it is reported, or who is.

use std::time::Duration;

use chrono::TimeDelta;

use crate::broker::{context::Broker, error::BrokerError};

/// How often a server looks. Without a webhook, a look is one read of an empty table.
pub(super) const EVERY: Duration = Duration::from_mins(10);
/// How long before the end it is reported.
const BEFORE: TimeDelta = TimeDelta::days(7);
/// A token that is younger is not reported: whether its refreshes move the end is not known yet.
const KNOWN_AFTER: TimeDelta = TimeDelta::days(1);
/// How many are reported in one transaction.
const BATCH: u16 = 200;

/// Reports them. Of two replicas that look at the same time, one reports a token.
pub async fn report(broker: &Broker) -> Result<(), BrokerError> {
    let now = broker.clock.now();
    while !broker.shutdown.is_cancelled()
        && broker.store.report_ending(now + BEFORE, now - KNOWN_AFTER, now, BATCH.into()).await? == u64::from(BATCH)
    {
    }
    Ok(())
}
