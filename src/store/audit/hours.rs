//! How often something was done in each hour, from the audit log.
//! Owns: these statements. They examine no more rows than a page of the log does.
//! Must not know: which hours or events somebody wants to see.

use chrono::{DateTime, NaiveDateTime, Utc};

use super::read::EXAMINED_MAX;
use crate::{
    model::{audit::EventName, key_limits::Reach},
    store::{error::StoreError, handle::Store, key_limits::in_limit},
};

/// How often something was done in an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InHour {
    /// When the hour begins.
    pub begins: DateTime<Utc>,
    /// The name of the event.
    pub event: String,
    /// How often it was recorded.
    pub count: i64,
}

impl Store {
    /// How often each of these events was recorded since `since`, by the hour (of UTC), within the reach. With it comes
    /// whether there are older events since then that were not examined.
    pub async fn audit_by_hour(
        &self,
        reach: Reach<'_>,
        events: [EventName; 3],
        since: DateTime<Utc>,
    ) -> Result<(Vec<InHour>, bool), StoreError> {
        let Some((last, pruned_to)) = self.audit_range(&reach.tenant.organization).await? else {
            return Ok((Vec::new(), false));
        };
        let from = (last + 1 - EXAMINED_MAX).max(pruned_to + 1);
        let [one, two, three] = events.map(|event| event.as_str().to_owned());
        let rows: Vec<(String, String, i64)> = self
            .db
            // As a text, a time is in UTC in both databases (sqlx sets the time zone of every session), and begins with the
            // hour; what is between the day and the hour differs.
            .query(concat!(
                "SELECT substr(CAST(at AS TEXT), 1, 13) AS in_hour, event, count(*) FROM audit_events
                 WHERE organization_id = $1 AND workspace_id = $2 AND sequence >= $3 AND at >= $4
                   AND event IN ($5, $6, $7) AND ",
                in_limit!("$8", "providers", "provider_id"),
                " AND ",
                in_limit!("$8", "users", "user_id"),
                " AND ",
                in_limit!("$8", "agents", "agent_id"),
                " GROUP BY in_hour, event"
            ))
            .within(reach.tenant)
            .bind(from)
            .bind(since)
            .bind(one)
            .bind(two)
            .bind(three)
            .limited(reach.limits)
            .read()
            .all()
            .await?;
        let hours = rows.into_iter().filter_map(|(hour, event, count)| {
            let hour = format!("{}:00", hour.replace('T', " "));
            let begins = NaiveDateTime::parse_from_str(&hour, "%Y-%m-%d %H:%M").ok()?.and_utc();
            Some(InHour { begins, event, count })
        });
        let is_cut = from > pruned_to + 1 && self.is_recorded_since(reach, from, since).await?;
        Ok((hours.collect(), is_cut))
    }

    async fn is_recorded_since(
        &self,
        reach: Reach<'_>,
        sequence: i64,
        since: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (count,): (i64,) = self
            .db
            .query("SELECT count(*) FROM audit_events WHERE organization_id = $1 AND sequence = $2 AND at >= $3")
            .bind(reach.tenant.organization.clone())
            .bind(sequence)
            .bind(since)
            .read()
            .one()
            .await?;
        Ok(count > 0)
    }
}
