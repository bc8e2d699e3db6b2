//! The audit log: events that go with no other write, and reading the log.
//! Owns: what is recorded of a start and of callers without a valid key.
//! Must not know: how events are chained or shown.

use super::{context::Broker, error::BrokerError};
use crate::{
    model::{
        actor::{Act, ActorKind},
        audit::{Event, EventFilter, EventName, EventResult, RecordedEvent},
        subject::Tenant,
    },
    store::{
        audit::{
            append::NotRecorded,
            read::{Page, Verified},
        },
        error::StoreError,
    },
};

/// Records an event that nothing else is written for.
///
/// # Errors
/// [`BrokerError::Audit`]: then what the event says must not be done.
pub async fn record(broker: &Broker, event: Event) -> Result<(), BrokerError> {
    Ok(record_all(broker, vec![event]).await?)
}

/// Records events of one organization.
async fn record_all(broker: &Broker, events: Vec<Event>) -> Result<(), StoreError> {
    let mut events: Vec<RecordedEvent> = events.into_iter().map(RecordedEvent::new).collect();
    let Some(organization) = events.first().map(|event| event.organization_id.clone()) else { return Ok(()) };
    let recorded = broker.store.record_alone(&organization, &mut events, None).await;
    recorded.map_err(|NotRecorded { error, .. }| error)
}

/// Records that a server was started on this database.
pub async fn record_start(broker: &Broker) -> Result<(), BrokerError> {
    let (tenant, settings) = (broker.home_tenant().await?, &broker.settings);
    let event = Event::new(EventName::ServerStarted, &Act::service(), &tenant, broker.clock.now())
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("consent", &settings.consent)
        .with("identity", &settings.identity)
        .with("audit_handouts", &settings.audit_handouts);
    record(broker, event).await
}

/// Records how many callers came without a valid key since the last time, one event for each address. A key that is not
/// valid belongs to no tenant, so they are in the first one of this database.
pub async fn record_refused_keys(broker: &Broker) -> Result<(), BrokerError> {
    let counts = broker.refused_keys.take();
    if counts.is_empty() {
        return Ok(());
    }
    let recorded = async {
        let (tenant, now) = (broker.store.home_tenant(broker.clock.now()).await?, broker.clock.now());
        let event = |(address, many)| {
            let act = Act { address, ..Act::new(ActorKind::Unknown, None) };
            let event = Event::new(EventName::ApiKeyRefused, &act, &tenant, now).with("count", many);
            event.ended(EventResult::Refused, "unauthorized")
        };
        let events = counts.iter().map(|(address, many)| event((*address, *many))).collect();
        record_all(broker, events).await
    };
    let recorded = recorded.await;
    if recorded.is_err() {
        broker.refused_keys.give_back(counts);
    }
    Ok(recorded?)
}

/// Events of a workspace, newest first, from before the event with the number `before`.
pub async fn page(
    broker: &Broker,
    tenant: &Tenant,
    filter: &EventFilter,
    before: Option<i64>,
    limit: usize,
) -> Result<Page, BrokerError> {
    Ok(broker.store.audit_page(tenant, filter, before, limit).await?)
}

/// The organizations that have events.
pub async fn organizations(broker: &Broker) -> Result<Vec<String>, BrokerError> {
    Ok(broker.store.audit_organizations().await?)
}

/// The next events of an organization after the event with the number `after`, oldest first; `None`: from the oldest that
/// is kept.
pub async fn events_after(
    broker: &Broker,
    organization: &str,
    after: Option<i64>,
) -> Result<Vec<RecordedEvent>, BrokerError> {
    let after = match after {
        Some(after) => after,
        None => broker.store.audit_range(organization).await?.map_or(0, |(_, pruned_to)| pruned_to),
    };
    Ok(broker.store.audit_events_after(organization, after).await?)
}

/// Verifies the chain of an organization; `None` if it has none.
pub async fn verify(broker: &Broker, organization: &str) -> Result<Option<Verified>, BrokerError> {
    Ok(broker.store.verify_audit(organization).await?)
}
