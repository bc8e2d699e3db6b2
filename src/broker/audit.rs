//! The audit log: events that go with no other write, and reading the log.
//! Owns: what is recorded of a start and of refused callers.
//! Must not know: how events are chained or shown.

use std::{collections::BTreeMap, hash::Hash, net::IpAddr};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::{
    context::Broker,
    error::BrokerError,
    refusals::{Count, Counts, Denial, FailedSignIn, Refusals, Replay},
};
pub use crate::store::audit::read::Verified;
use crate::{
    model::{
        actor::{Act, ActorKind},
        audit::{Event, EventFilter, EventName, EventResult, RecordedEvent},
        key_limits::Reach,
        subject::Tenant,
    },
    store::{
        audit::{append::NotRecorded, read::Page},
        error::StoreError,
        handle::Store,
    },
};

/// For how many hours refreshes are counted.
const HOURS: i64 = 24;

/// Records an event that nothing else is written for.
///
/// # Errors
/// [`BrokerError::Audit`]: then what the event says must not be done.
pub async fn record(broker: &Broker, event: Event) -> Result<(), BrokerError> {
    Ok(record_all(&broker.store, vec![event]).await?)
}

/// Records events of one organization.
pub(super) async fn record_all(store: &Store, events: Vec<Event>) -> Result<(), StoreError> {
    let events: Vec<RecordedEvent> = events.into_iter().map(RecordedEvent::new).collect();
    let Some(organization) = events.first().map(|event| event.organization_id.as_str()) else { return Ok(()) };
    let recorded = store.record_alone(organization, events.iter().map(RecordedEvent::fields), None).await;
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

/// Records how much was refused since the last time: callers without a valid key, one event for each address; those who may
/// not do what they asked for, one event for each of them and each request; sign-ins to the console that failed at the identity
/// provider, one event for each address and reason; and consents that came back when or where they must not, one event for each
/// consent and reason.
pub async fn record_refusals(broker: &Broker) -> Result<(), BrokerError> {
    let now = broker.clock.now();
    // A key that is not valid belongs to no tenant, so these are in the first one of this database.
    let of_key = |home: &Tenant, address: Option<&IpAddr>, _: &Count| {
        let act = Act { address: address.copied(), ..Act::new(ActorKind::Unknown, None) };
        Event::new(EventName::ApiKeyRefused, &act, home, now).ended(EventResult::Refused, "unauthorized")
    };
    let of_denial = |home: &Tenant, denial: Option<&Denial>, count: &Count| match denial {
        Some(denial) => {
            let Count { request_id, address, .. } = count.clone();
            let act = Act { actor: denial.actor.clone(), request_id, address };
            let event = Event::new(EventName::AccessDenied, &act, &denial.tenant, now);
            let event = event.with("request", &denial.request).with("outside", denial.outside);
            event.ended(EventResult::Refused, denial.code)
        }
        None => {
            let event = Event::new(EventName::AccessDenied, &Act::new(ActorKind::Unknown, None), home, now);
            event.ended(EventResult::Refused, "forbidden")
        }
    };
    let of_replay = |home: &Tenant, replay: Option<&Replay>, count: &Count| match replay {
        Some(replay) => {
            let Count { request_id, address, .. } = count.clone();
            let act = Act { actor: replay.actor.clone(), request_id, address };
            let event = Event::new(EventName::ConsentReplayed, &act, &replay.subject.tenant, now);
            let event = event.of_subject(&replay.subject).at_provider(&replay.provider_id).in_request(replay.auth_id);
            event.ended(EventResult::Refused, replay.error)
        }
        None => {
            let event = Event::new(EventName::ConsentReplayed, &Act::new(ActorKind::Unknown, None), home, now);
            event.ended(EventResult::Refused, "state_used")
        }
    };
    let of_sign_in = |home: &Tenant, failed: Option<&FailedSignIn>, count: &Count| {
        let Count { request_id, .. } = count.clone();
        let address = failed.and_then(|failed| failed.address);
        let act = Act { request_id, address, ..Act::new(ActorKind::Unknown, None) };
        let reason = failed.map_or("several", |failed| failed.reason);
        Event::new(EventName::ConsoleSignInRefused, &act, home, now).ended(EventResult::Refused, reason)
    };
    let keys = record_counts(broker, &broker.refused_keys, of_key).await;
    let sign_ins = record_counts(broker, &broker.failed_sign_ins, of_sign_in).await;
    let denials = record_counts(broker, &broker.denials, of_denial).await;
    record_counts(broker, &broker.replays, of_replay).await.and(denials).and(keys).and(sign_ins)
}

/// Records an event for each count. What cannot be recorded is counted on.
async fn record_counts<K: Eq + Hash>(
    broker: &Broker,
    refusals: &Refusals<K>,
    event: impl Fn(&Tenant, Option<&K>, &Count) -> Event,
) -> Result<(), BrokerError> {
    let counts = refusals.take();
    if counts.is_empty() {
        return Ok(());
    }
    let home = match broker.home_tenant().await {
        Ok(home) => home,
        Err(error) => {
            refusals.give_back(counts);
            return Err(error);
        }
    };
    let mut of_organization: BTreeMap<String, (Vec<Event>, Counts<K>)> = BTreeMap::new();
    for (kind, count) in counts {
        let event = event(&home, kind.as_ref(), &count).with("count", count.many);
        let (events, counts) = of_organization.entry(event.tenant.organization.clone()).or_default();
        events.push(event);
        counts.insert(kind, count);
    }
    let mut result = Ok(());
    for (events, counts) in of_organization.into_values() {
        if let Err(error) = record_all(&broker.store, events).await {
            refusals.give_back(counts);
            result = Err(error.into());
        }
    }
    result
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

/// What became of refreshes in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// When it begins.
    pub begins: DateTime<Utc>,
    /// How many tokens were refreshed.
    pub refreshed: i64,
    /// How many refreshes failed, with the grant kept.
    pub failed: i64,
    /// How many grants ended, so that a person has to consent again.
    pub ended: i64,
}

/// What became of refreshes in the last 24 hours, the oldest first and the one under way last; and whether the log is so long
/// that the oldest of them were not all counted.
pub async fn refreshes_by_hour(broker: &Broker, reach: Reach<'_>) -> Result<(Vec<Hour>, bool), BrokerError> {
    let now = broker.clock.now();
    let this_hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    let begins = |ago: i64| this_hour - TimeDelta::hours(ago);
    let names = [EventName::TokenRefreshed, EventName::TokenRefreshFailed, EventName::TokenConsentNeeded];
    let (counted, is_cut) = broker.store.audit_by_hour(reach, names, begins(HOURS - 1)).await?;
    let hours = (0..HOURS).rev().map(|ago| {
        let begins = begins(ago);
        let count = |name: EventName| {
            let found = counted.iter().find(|hour| hour.begins == begins && hour.event == name.as_str());
            found.map_or(0, |hour| hour.count)
        };
        let [refreshed, failed, ended] = names.map(count);
        Hour { begins, refreshed, failed, ended }
    });
    Ok((hours.collect(), is_cut))
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
