//! Reading the audit log: pages, newest first or oldest first, and the proof that a chain is whole.
//! Owns: these statements. None of them examines more rows than a bounded number.
//! Must not know: how events are shown.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::chain::{ChainEnd, NO_HASH};
use crate::{
    model::{
        audit::{EventFilter, EventName, RecordedEvent},
        subject::Tenant,
    },
    store::{
        audit::{
            append::{HeadRow, head_columns},
            columns::event_columns,
        },
        error::StoreError,
        handle::Store,
    },
};

/// How many events one page examines at most: there is no index for each filter, which would slow down every append. A
/// page may be shorter than its limit, or empty, although there are more.
pub(super) const EXAMINED_MAX: i64 = 50_000;
/// How many events are read at a time when a whole chain is read.
const AT_A_TIME: i64 = 1000;

/// PostgreSQL has moments without an end, which no event has and this program cannot read. A chain with such an event has a gap.
macro_rules! has_a_time {
    () => {
        "at > '0001-01-01' AND at < '9999-12-31'"
    };
}
pub(super) use has_a_time;

/// A page of events.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events.
    pub events: Vec<RecordedEvent>,
    /// Where the next page goes on; `None`: there is nothing more.
    pub next: Option<i64>,
}

/// What is wrong with a chain, at its first event that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The number of the event.
    pub sequence: i64,
    /// What is wrong.
    pub problem: &'static str,
}

/// A chain that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many events it has.
    pub events: i64,
    /// The last event that retention has deleted.
    pub pruned: ChainEnd,
    /// Its last event.
    pub last: ChainEnd,
    /// When its oldest event that is kept was recorded; `None` if it has none, or that is the one at fault.
    pub oldest_at: Option<DateTime<Utc>>,
    /// The first fault, if there is one.
    pub broken: Option<Broken>,
}

impl Store {
    /// Events of a workspace, newest first, from before the event with the number `before`: also those that belong to no
    /// workspace, which are about the log of the whole organization.
    pub async fn audit_page(
        &self,
        tenant: &Tenant,
        filter: &EventFilter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let Some((last, pruned_to)) = self.audit_range(&tenant.organization).await? else {
            return Ok(Page { events: Vec::new(), next: None });
        };
        let before = before.map_or(last + 1, |before| before.min(last + 1));
        let from = (before - EXAMINED_MAX).max(pruned_to + 1);
        let f = filter.clone();
        let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let events: Vec<RecordedEvent> = self
            .db
            .query(concat!(
                "SELECT ",
                event_columns!(),
                " FROM audit_events
                 WHERE organization_id = $1 AND workspace_id IN ($2, '') AND sequence < $3 AND sequence >= $4
                   AND ($5 IS NULL OR event = $5) AND ($6 IS NULL OR provider_id = $6)
                   AND ($7 IS NULL OR user_id = $7) AND ($8 IS NULL OR agent_id = $8)
                   AND ($9 IS NULL OR actor = $9 OR actor_id = $9)
                   AND ($10 IS NULL OR at >= $10) AND ($11 IS NULL OR at < $11) AND ",
                has_a_time!(),
                " ORDER BY sequence DESC LIMIT $12"
            ))
            .within(tenant)
            .bind(before)
            .bind(from)
            .bind(f.event)
            .bind(f.provider_id)
            .bind(f.user_id)
            .bind(f.agent_id)
            .bind(f.actor)
            .bind(f.from)
            .bind(f.to)
            .bind(limit_rows)
            .read()
            .all()
            .await?;
        let is_full = events.len() >= limit;
        let next = if is_full { events.last().map_or(from, |event| event.sequence) } else { from };
        Ok(Page { events, next: Some(next).filter(|next| *next > pruned_to + 1) })
    }

    /// To which agents a token was handed out, and when, newest first: at most `limit` hand-outs, of those that are recorded.
    pub async fn handouts_of_token(
        &self,
        tenant: &Tenant,
        token: Uuid,
        limit: i64,
    ) -> Result<Vec<(Option<String>, DateTime<Utc>)>, StoreError> {
        let Some((last, pruned_to)) = self.audit_range(&tenant.organization).await? else { return Ok(Vec::new()) };
        self.db
            .query(concat!(
                "SELECT agent_id, at FROM audit_events
                 WHERE organization_id = $1 AND workspace_id = $2 AND sequence >= $3 AND token_id = $4 AND event = $5
                   AND ",
                has_a_time!(),
                " ORDER BY sequence DESC LIMIT $6"
            ))
            .within(tenant)
            .bind((last - EXAMINED_MAX).max(pruned_to + 1))
            .bind(token)
            .bind(EventName::TokenHandedOut.as_str().to_owned())
            .bind(limit)
            .read()
            .all()
            .await
    }

    /// The events of an organization after the event with the number `after`, oldest first.
    pub async fn audit_events_after(&self, organization: &str, after: i64) -> Result<Vec<RecordedEvent>, StoreError> {
        self.some_events_after(organization, after, AT_A_TIME).await
    }

    async fn some_events_after(
        &self,
        organization: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.db
            .query(concat!(
                "SELECT ",
                event_columns!(),
                " FROM audit_events WHERE organization_id = $1 AND sequence > $2 AND ",
                has_a_time!(),
                " ORDER BY sequence LIMIT $3"
            ))
            .bind(organization.to_owned())
            .bind(after)
            .bind(limit)
            .read()
            .all()
            .await
    }

    /// The organizations that have a chain, or events.
    pub async fn audit_organizations(&self) -> Result<Vec<String>, StoreError> {
        let organizations: Vec<(String,)> = self
            .db
            // From one organization to the next by the index: the events themselves would be too many to read.
            .query(
                "WITH RECURSIVE found (organization_id) AS (
                    SELECT min(organization_id) FROM audit_events
                    UNION ALL
                    SELECT (SELECT min(e.organization_id) FROM audit_events e
                            WHERE e.organization_id > found.organization_id)
                    FROM found WHERE found.organization_id IS NOT NULL)
                 SELECT organization_id FROM audit_heads
                 UNION SELECT organization_id FROM found WHERE organization_id IS NOT NULL ORDER BY 1",
            )
            .read()
            .all()
            .await?;
        Ok(organizations.into_iter().map(|(organization,)| organization).collect())
    }

    /// The number of an organization's last event, and of the last one that retention has deleted.
    pub async fn audit_range(&self, organization: &str) -> Result<Option<(i64, i64)>, StoreError> {
        self.db
            .query("SELECT sequence, pruned_to FROM audit_heads WHERE organization_id = $1")
            .bind(organization.to_owned())
            .read()
            .optional()
            .await
    }

    /// The number of an event that no append can have added: after the recorded end, or before the first.
    async fn event_outside_the_chain(&self, organization: &str) -> Result<Option<i64>, StoreError> {
        // One statement: an append moves the end together with its events.
        let (outside,): (Option<i64>,) = self
            .db
            .query(
                "SELECT COALESCE(
                    (SELECT min(sequence) FROM audit_events WHERE organization_id = $1 AND sequence < 1),
                    (SELECT min(sequence) FROM audit_events WHERE organization_id = $1
                       AND sequence > (SELECT sequence FROM audit_heads WHERE organization_id = $1)))",
            )
            .bind(organization.to_owned())
            .read()
            .one()
            .await?;
        Ok(outside)
    }

    /// Computes every hash of an organization's chain again and compares it, up to the event that is the last one now.
    /// `None`: the organization has no chain.
    pub async fn verify_audit(&self, organization: &str) -> Result<Option<Verified>, StoreError> {
        let head: Option<HeadRow> = self
            .db
            .query(concat!("SELECT ", head_columns!(), " FROM audit_heads WHERE organization_id = $1"))
            .bind(organization.to_owned())
            .read()
            .optional()
            .await?;
        let Some(head) = head else { return Ok(None) };
        let stored_end = head.sequence;
        let chain = match self.open_head(head) {
            Ok(chain) => chain,
            Err(StoreError::Audit(_)) => {
                let problem = "the recorded end of the chain was changed by another program";
                let end = ChainEnd { sequence: stored_end, hash: NO_HASH };
                let broken = Some(Broken { sequence: stored_end, problem });
                return Ok(Some(Verified {
                    events: 0,
                    pruned: ChainEnd::before_the_first(),
                    last: end,
                    oldest_at: None,
                    broken,
                }));
            }
            Err(error) => return Err(error),
        };
        let mut verified =
            Verified { events: 0, pruned: chain.pruned, last: chain.last, oldest_at: None, broken: None };
        let (mut before, mut at_a_time) = (chain.pruned, AT_A_TIME);
        while before.sequence < chain.last.sequence {
            let events = match self.some_events_after(organization, before.sequence, at_a_time).await {
                // Those before the one that cannot be read are verified one by one.
                Err(error) if error.is_about_a_stored_value() && at_a_time > 1 => {
                    at_a_time = 1;
                    continue;
                }
                Err(error) if error.is_about_a_stored_value() => {
                    let problem = "the event was changed to something that cannot be read, or is missing";
                    verified.broken = Some(Broken { sequence: before.sequence + 1, problem });
                    return Ok(Some(verified));
                }
                events => events?,
            };
            if events.is_empty() {
                break;
            }
            for event in events {
                let expected = before.sequence + 1;
                let next = chain.key.next(&before, &event.fields());
                let problem = if event.sequence != expected {
                    "the event is missing"
                } else if next.hash[..] != event.hash {
                    "the event, or the hash before it, was changed"
                } else if next.sequence == chain.last.sequence && next != chain.last {
                    "the event is not the one that was recorded last"
                } else {
                    before = next;
                    verified.events += 1;
                    verified.oldest_at = verified.oldest_at.or(Some(event.at));
                    if before.sequence == chain.last.sequence {
                        break;
                    }
                    continue;
                };
                verified.broken = Some(Broken { sequence: expected, problem });
                return Ok(Some(verified));
            }
        }
        verified.broken = if before.sequence < chain.last.sequence {
            Some(Broken { sequence: before.sequence + 1, problem: "the event is missing" })
        } else {
            let outside = self.event_outside_the_chain(organization).await?;
            outside.map(|sequence| Broken { sequence, problem: "the event was added by another program" })
        };
        Ok(Some(verified))
    }
}
