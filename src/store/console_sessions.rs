//! The sessions of the console: which API key somebody signed in with.
//! Owns: the table `console_sessions`.
//! Must not know: the cookie itself; only its digest is stored.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{error::StoreError, handle::Store};
use crate::model::{
    actor::Act,
    api_key::ApiKey,
    audit::{Event, EventName},
};

/// A session, with the record of its key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ConsoleSession {
    /// The session's id.
    pub session_id: Uuid,
    /// The key.
    #[sqlx(flatten)]
    pub key: ApiKey,
}

impl Store {
    /// Begins a session with this key, and deletes sessions of all tenants that have expired.
    pub async fn begin_console_session(
        &self,
        key: &ApiKey,
        digest: [u8; 32],
        expires_at: DateTime<Utc>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        tx.query("DELETE FROM console_sessions WHERE expires_at <= $1").bind(now).execute().await?;
        tx.query(
            "INSERT INTO console_sessions (id, organization_id, workspace_id, api_key, digest, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(Uuid::now_v7())
        .bind(key.organization_id.clone())
        .bind(key.workspace_id.clone())
        .bind(key.id)
        .bind(digest.to_vec())
        .bind(now)
        .bind(expires_at)
        .execute()
        .await?;
        self.record(&mut tx, vec![about(EventName::ConsoleSignedIn, key, act, now)]).await?;
        tx.commit().await
    }

    /// The session of that digest, unless it has expired. Whether its key is still valid is for the caller to see.
    pub async fn console_session(
        &self,
        digest: [u8; 32],
        now: DateTime<Utc>,
    ) -> Result<Option<ConsoleSession>, StoreError> {
        self.db
            .query(
                "SELECT s.id AS session_id, k.id, k.organization_id, k.workspace_id, k.prefix, k.name, k.role, k.kind,
                        k.user_id, k.created_at, k.expires_at, k.revoked_at, k.limits, k.consent
                 FROM console_sessions s JOIN api_keys k ON k.id = s.api_key
                    AND k.organization_id = s.organization_id AND k.workspace_id = s.workspace_id
                 WHERE s.digest = $1 AND s.expires_at > $2",
            )
            .bind(digest.to_vec())
            .bind(now)
            .read()
            .optional()
            .await
    }

    /// Ends a session. One that has ended already is no error.
    pub async fn end_console_session(
        &self,
        session: &ConsoleSession,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        let ended = tx
            .query("DELETE FROM console_sessions WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(&session.key.tenant())
            .bind(session.session_id)
            .execute()
            .await?;
        if ended > 0 {
            self.record(&mut tx, vec![about(EventName::ConsoleSignedOut, &session.key, act, now)]).await?;
        }
        tx.commit().await
    }
}

fn about(name: EventName, key: &ApiKey, act: &Act, now: DateTime<Utc>) -> Event {
    Event::new(name, act, &key.tenant(), now)
        .of(key.user_id.as_deref().unwrap_or_default(), "")
        .with("api_key_id", key.id)
        .with("api_key_name", &key.name)
}
