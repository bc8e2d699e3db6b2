//! Sweeping: expired authorization requests and connect links, tokens that died long ago, old webhook deliveries, old events
//! and the sessions of people in the console that have expired are deleted.
//! Owns: how long they are kept.
//! Must not know: when this runs.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::exclusive::exclusively;
use crate::{
    broker::{context::Broker, error::BrokerError},
    store::error::StoreError,
};

const JOB: &str = "sweep";
/// How often a server sweeps.
pub(super) const EVERY: Duration = Duration::from_mins(10);
/// How long one run may take; what is left is for the next one.
const TIMEOUT: Duration = Duration::from_mins(5);
/// How many rows one statement deletes at most. Others wait for their locks.
const BATCH: u16 = 500;
/// How long an authorization request is kept after it expired, so that a person who comes back late gets a clear answer.
const REQUESTS_KEPT_FOR: TimeDelta = TimeDelta::hours(1);
/// How long events that were sent to a webhook can be sent again ...
const DELIVERED_KEPT_FOR: TimeDelta = TimeDelta::days(7);
/// ... and those whose delivery was given up.
const GIVEN_UP_KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// How long events can be read again by those who follow the events of a workspace.
pub const EVENTS_KEPT_FOR: TimeDelta = TimeDelta::days(3);

/// What was deleted, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Authorization requests that expired.
    pub authorization_requests: u64,
    /// Tokens whose grant died long ago.
    pub dead_tokens: u64,
    /// Webhook deliveries that ended long ago.
    pub webhook_deliveries: u64,
    /// Events that nobody can read again any more.
    pub events: u64,
    /// Connect links that expired with their sessions.
    pub connect_links: u64,
}

/// Deletes what has expired, unless another process does it at the moment; stops when this process stops. `None`: another
/// process does it.
pub async fn run_once(broker: &Arc<Broker>) -> Result<Option<Swept>, BrokerError> {
    let delete = Box::pin(delete(broker));
    let work = async { broker.shutdown.run_until_cancelled(delete).await.unwrap_or(Ok(Swept::default())) };
    exclusively(&broker.store, JOB, TIMEOUT, work).await
}

async fn delete(broker: &Broker) -> Result<Swept, BrokerError> {
    let now = broker.clock.now();
    // Few, and of nobody's interest: they are not counted.
    broker.store.delete_expired_person_sessions(now).await?;
    let mut swept = Swept::default();
    loop {
        let expired_before = now - REQUESTS_KEPT_FOR;
        let requests = broker.store.delete_expired_authorization_requests(expired_before, BATCH.into()).await?;
        let dead = match dead_before(broker, now) {
            Some(before) => broker.store.delete_dead_tokens(before, BATCH.into(), now).await?,
            None => 0,
        };
        let [delivered_before, given_up_before] = deliveries_before(now);
        let deliveries = broker.store.delete_old_deliveries(delivered_before, given_up_before, BATCH.into()).await?;
        let links = broker.store.delete_expired_connect_links(now, BATCH.into()).await?;
        swept.authorization_requests += requests;
        swept.dead_tokens += dead;
        let events = broker.store.delete_old_reported_events(now - EVENTS_KEPT_FOR, BATCH.into()).await?;
        swept.webhook_deliveries += deliveries;
        swept.events += events;
        swept.connect_links += links;
        if requests.max(dead).max(deliveries).max(events).max(links) < BATCH.into() {
            break;
        }
    }
    if swept != Swept::default() {
        tracing::info!(
            event = "sweep.finished",
            authorization_requests = swept.authorization_requests,
            dead_tokens = swept.dead_tokens,
            webhook_deliveries = swept.webhook_deliveries,
            events = swept.events,
            connect_links = swept.connect_links,
            "sweep finished"
        );
    }
    Ok(swept)
}

/// Counts what [`run_once`] would delete, and deletes nothing.
pub async fn count(broker: &Broker) -> Result<Swept, StoreError> {
    let now = broker.clock.now();
    let [delivered_before, given_up_before] = deliveries_before(now);
    Ok(Swept {
        authorization_requests: broker.store.count_expired_authorization_requests(now - REQUESTS_KEPT_FOR).await?,
        dead_tokens: match dead_before(broker, now) {
            Some(before) => broker.store.count_dead_tokens(before).await?,
            None => 0,
        },
        webhook_deliveries: broker.store.count_old_deliveries(delivered_before, given_up_before).await?,
        events: broker.store.count_old_reported_events(now - EVENTS_KEPT_FOR).await?,
        connect_links: broker.store.count_expired_connect_links(now).await?,
    })
}

/// Webhook deliveries that were delivered, or given up, before these times are deleted.
fn deliveries_before(now: DateTime<Utc>) -> [DateTime<Utc>; 2] {
    [now - DELIVERED_KEPT_FOR, now - GIVEN_UP_KEPT_FOR]
}

/// Tokens that died before this are deleted, if the settings say so.
fn dead_before(broker: &Broker, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    Some(broker.settings.dead_token_days).filter(|days| *days > 0).map(|days| now - TimeDelta::days(days))
}
