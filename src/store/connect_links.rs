//! Connect links of people, and the sessions that they became.
//! Owns: the table `connect_links`.
//! Must not know: a link's secret or a session's cookie; only their hashes are stored.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{error::StoreError, handle::Store};
use crate::model::{
    actor::Act,
    audit::{Event, EventName},
    connect_link::PersonLink,
};

/// A link, as long as the key that made it is valid. `$now` is the time.
macro_rules! link_with_valid_key {
    ($now:literal) => {
        concat!(
            "SELECT l.id, l.organization_id, l.workspace_id, l.user_id, l.api_key, l.limits, l.scopes, l.consent,
                    l.return_url, l.created_at, l.expires_at
             FROM connect_links l WHERE (l.api_key IS NULL OR EXISTS (SELECT 1 FROM api_keys k
                WHERE k.id = l.api_key AND k.organization_id = l.organization_id AND k.workspace_id = l.workspace_id
                  AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ",
            $now,
            ")))"
        )
    };
}

/// That a link can be opened no more, and its session has ended if it had one.
macro_rules! has_expired {
    ($now:literal) => {
        concat!("expires_at <= ", $now, " AND (session_expires_at IS NULL OR session_expires_at <= ", $now, ")")
    };
}

impl Store {
    /// Stores a new link.
    pub async fn create_connect_link(
        &self,
        link: &PersonLink,
        secret_hash: [u8; 32],
        act: &Act,
    ) -> Result<(), StoreError> {
        let (new, now) = (link.clone(), link.created_at);
        let mut tx = self.db.begin().await?;
        tx.query(
            "INSERT INTO connect_links (id, organization_id, workspace_id, user_id, api_key, limits, scopes, consent,
                                        return_url, secret_hash, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(new.id)
        .bind(new.organization_id)
        .bind(new.workspace_id)
        .bind(new.user_id)
        .bind(new.api_key)
        .bind(Json(new.limits))
        .bind(new.scopes)
        .bind(new.consent)
        .bind(new.return_url)
        .bind(secret_hash.to_vec())
        .bind(now)
        .bind(new.expires_at)
        .execute()
        .await?;
        let event =
            about(EventName::ConnectLinkCreated, link, act, now).with("expires_at", link.expires_at.to_rfc3339());
        self.record(&mut tx, vec![event.with_scopes(&link.scopes)]).await?;
        tx.commit().await
    }

    /// The link of that secret, if it can still be opened: it was not, and it has not expired.
    pub async fn connect_link(
        &self,
        secret_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<PersonLink>, StoreError> {
        self.db
            .query(concat!(
                link_with_valid_key!("$2"),
                " AND l.secret_hash = $1 AND l.expires_at > $2 AND l.session_hash IS NULL"
            ))
            .bind(secret_hash.to_vec())
            .bind(now)
            .read()
            .optional()
            .await
    }

    /// Exchanges a link that can still be opened for a session with this hash. Returns whether it became one: one caller
    /// gets it.
    pub async fn open_connect_link(
        &self,
        link: &PersonLink,
        session_hash: [u8; 32],
        session_expires_at: DateTime<Utc>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let opened = tx
            .query(
                "UPDATE connect_links SET session_hash = $4, session_expires_at = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3
                   AND expires_at > $6 AND session_hash IS NULL",
            )
            .within(&link.tenant())
            .bind(link.id)
            .bind(session_hash.to_vec())
            .bind(session_expires_at)
            .bind(now)
            .execute()
            .await?;
        if opened > 0 {
            self.record(&mut tx, vec![about(EventName::ConnectLinkUsed, link, act, now)]).await?;
        }
        tx.commit().await?;
        Ok(opened > 0)
    }

    /// The link whose session has that hash, unless it has ended.
    pub async fn connect_session(
        &self,
        session_hash: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<PersonLink>, StoreError> {
        self.db
            .query(concat!(link_with_valid_key!("$2"), " AND l.session_hash = $1 AND l.session_expires_at > $2"))
            .bind(session_hash.to_vec())
            .bind(now)
            .read()
            .optional()
            .await
    }

    /// Deletes at most `limit` links, of all tenants, that have expired with their sessions.
    pub async fn delete_expired_connect_links(&self, now: DateTime<Utc>, limit: i64) -> Result<u64, StoreError> {
        self.db
            .query(concat!(
                "DELETE FROM connect_links WHERE id IN (SELECT id FROM connect_links WHERE ",
                has_expired!("$1"),
                " LIMIT $2)"
            ))
            .bind(now)
            .bind(limit)
            .execute()
            .await
    }

    /// Counts what [`Self::delete_expired_connect_links`] would delete.
    pub async fn count_expired_connect_links(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let count = self.db.query(concat!("SELECT count(*) FROM connect_links WHERE ", has_expired!("$1"))).bind(now);
        let (found,): (i64,) = count.read().one().await?;
        Ok(found.unsigned_abs())
    }

    /// Ends the session of a link. One that has ended already is no error.
    pub async fn end_connect_session(
        &self,
        link: &PersonLink,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let ended = tx
            .query(
                "DELETE FROM connect_links
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND session_hash IS NOT NULL",
            )
            .within(&link.tenant())
            .bind(link.id)
            .execute()
            .await?;
        if ended > 0 {
            self.record(&mut tx, vec![about(EventName::ConnectLinkEnded, link, act, now)]).await?;
        }
        tx.commit().await
    }
}

fn about(name: EventName, link: &PersonLink, act: &Act, now: DateTime<Utc>) -> Event {
    let event = Event::new(name, act, &link.tenant(), now).of(&link.user_id, "").with("link_id", link.id);
    match &link.limits.providers {
        Some(providers) => event.with("providers", providers.iter().cloned().collect::<Vec<_>>().join(" ")),
        None => event,
    }
}
