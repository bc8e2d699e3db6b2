//! Access tokens that expired and have no refresh token: it is reported, once for each end, that a new consent is needed.
//! Owns: how often a server looks, and how long ago an end may be that is reported.
//! Must not know: how it is reported, or to whom.

use std::time::Duration;

use chrono::TimeDelta;

use crate::{
    broker::{context::Broker, error::BrokerError},
    store::tokens::ended::Look,
};

/// How often a server looks. One look is one read of an index.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// The first look after an upgrade reports what ended within this: what ended before is known, or not missed.
const FIRST_LOOK: TimeDelta = TimeDelta::days(1);
/// An end is reported so long after it. By then a token that lived for a moment only is stored, and clocks of replicas that
/// differ a little agree that it has ended.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(10);

/// Reports them. Of two replicas that look at the same time, one reports a token.
pub async fn report(broker: &Broker) -> Result<(), BrokerError> {
    let now = broker.clock.now();
    let look = Look { until: now - SETTLED_AFTER, first_since: now - FIRST_LOOK, now };
    while !broker.shutdown.is_cancelled() && broker.store.report_ended(&look).await? > 0 {}
    Ok(())
}
