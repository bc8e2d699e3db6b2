//! Retention: deleting the oldest events of a chain so that the rest still verifies.
//! Owns: the start of a chain. Before anything is deleted, the last event to go is written down, in the chain's head and as
//! an event of its own.
//! Must not know: how long events are kept.

use chrono::{DateTime, Utc};

use super::{append::move_ends, chain::ChainEnd, read::has_a_time};
use crate::{
    model::{
        actor::Act,
        audit::{Event, EventName},
        subject::Tenant,
    },
    store::{error::StoreError, handle::Store},
};

impl Store {
    /// When the oldest event that is kept happened.
    pub async fn oldest_audit_event(&self, organization: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let oldest: Option<(DateTime<Utc>,)> = self
            .db
            .query(
                "SELECT e.at FROM audit_events e JOIN audit_heads h ON h.organization_id = e.organization_id
                 WHERE e.organization_id = $1 AND e.sequence > h.pruned_to ORDER BY e.sequence LIMIT 1",
            )
            .bind(organization.to_owned())
            .read()
            .optional()
            .await?;
        Ok(oldest.map(|(at,)| at))
    }

    /// Marks at most `limit` events as deleted: the oldest ones that are kept, up to the first that happened at `before`
    /// or later. Returns how many.
    pub async fn prune_audit(
        &self,
        organization: &str,
        before: DateTime<Utc>,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mut tx = self.db.begin().await?;
        let mut chain = self.lock_chain(&mut tx, organization).await?;
        let oldest: Vec<(i64, DateTime<Utc>, Vec<u8>)> = tx
            .query(concat!(
                "SELECT sequence, at, hash FROM audit_events WHERE organization_id = $1 AND sequence > $2 AND ",
                has_a_time!(),
                " ORDER BY sequence LIMIT $3"
            ))
            .bind(organization.to_owned())
            .bind(chain.pruned.sequence)
            .bind(limit)
            .all()
            .await?;
        let old: Vec<_> = oldest.into_iter().take_while(|(_, at, _)| *at < before).collect();
        let many = old.len() as u64;
        let Some((sequence, _, hash)) = old.into_iter().next_back() else {
            tx.commit().await?;
            return Ok(0);
        };
        let not_ours = |_| StoreError::Audit(format!("the hash of event {sequence} was changed by another program"));
        chain.pruned = ChainEnd { sequence, hash: hash.try_into().map_err(not_ours)? };
        move_ends(&mut tx, &chain).await?;
        let everywhere = Tenant { organization: organization.to_owned(), workspace: String::new() };
        let pruned = Event::new(EventName::AuditPruned, &Act::service(), &everywhere, now)
            .with("events", many)
            .with("last_sequence", sequence)
            .with("last_hash", hex::encode(chain.pruned.hash));
        self.record(&mut tx, vec![pruned]).await?;
        tx.commit().await?;
        Ok(many)
    }

    /// Deletes at most `limit` events that are marked as deleted, and counts them.
    pub async fn delete_pruned_audit(&self, organization: &str, limit: i64) -> Result<u64, StoreError> {
        let first: Option<(i64,)> = self
            .db
            .query("SELECT sequence FROM audit_events WHERE organization_id = $1 ORDER BY sequence LIMIT 1")
            .bind(organization.to_owned())
            .read()
            .optional()
            .await?;
        let (Some((first,)), Some((_, pruned_to))) = (first, self.audit_range(organization).await?) else {
            return Ok(0);
        };
        // The numbers have no gaps.
        self.db
            .query("DELETE FROM audit_events WHERE organization_id = $1 AND sequence >= $2 AND sequence <= $3")
            .bind(organization.to_owned())
            .bind(first)
            .bind(pruned_to.min(first + limit - 1))
            .execute()
            .await
    }
}
