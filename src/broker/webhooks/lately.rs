//! What was reported of a workspace lately, for people who look at it.
//! Owns: what they are shown of it: what they look for, inside the limits of their key.
//! Must not know: what is reported, or for how long it is kept.

use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{
        key_limits::{KeyLimits, Reach},
        webhook::{About, EventType, ReportedEvent},
    },
};

/// How many events are read at a time.
const AT_A_TIME: i64 = 250;
/// How often a page reads so many before it leaves the rest to the next page.
const READS_MAX: usize = 8;

/// What somebody looks for; empty: everything.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    /// Events of this type.
    pub kind: Option<EventType>,
    /// About this provider.
    pub provider_id: Option<String>,
    /// About tokens of this user.
    pub user_id: Option<String>,
}

impl Sought {
    /// What the event is about, if it is looked for and inside these limits.
    #[must_use]
    pub fn find(&self, event: &ReportedEvent, limits: Option<&KeyLimits>) -> Option<About> {
        if self.kind.is_some_and(|kind| kind.as_str() != event.event) {
            return None;
        }
        let about = event.about();
        let is_found = self.provider_id.as_ref().is_none_or(|id| *id == about.provider_id)
            && self.user_id.as_ref().is_none_or(|id| *id == about.user_id)
            && limits.is_none_or(|limits| about.is_inside(limits));
        is_found.then_some(about)
    }
}

/// Events, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Those that were found, each with what it is about.
    pub events: Vec<(ReportedEvent, About)>,
    /// The number of the newest event that was looked at; 0 without any.
    pub newest: i64,
    /// Where the next page goes on; `None`: there is nothing more.
    pub next: Option<i64>,
}

/// At most `limit` events, newest first, before the one with the number `before`.
pub async fn page(
    broker: &Broker,
    reach: Reach<'_>,
    sought: &Sought,
    before: Option<i64>,
    limit: usize,
) -> Result<Page, BrokerError> {
    let (mut page, mut before) = (Page::default(), before.unwrap_or(i64::MAX));
    for _ in 0..READS_MAX {
        let read = broker.store.reported_events_before(reach.tenant, before, AT_A_TIME).await?;
        let is_last = i64::try_from(read.len()).is_ok_and(|count| count < AT_A_TIME);
        for event in read {
            if page.events.len() >= limit {
                page.next = Some(before);
                return Ok(page);
            }
            before = event.sequence;
            page.newest = page.newest.max(before);
            if let Some(about) = sought.find(&event, reach.limits) {
                page.events.push((event, about));
            }
        }
        if is_last {
            return Ok(page);
        }
    }
    page.next = Some(before);
    Ok(page)
}
