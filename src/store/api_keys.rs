//! API keys: SHA-256 of a 256 bit random value, and what the key may do.
//! Owns: the table `api_keys`.
//! Must not know: the key itself; only its digest is stored.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{db::Tx, error::StoreError, handle::Store};
use crate::model::{
    actor::Act,
    api_key::{ApiKey, NewApiKey},
    audit::{Event, EventName},
    subject::Tenant,
};

/// Inserts a key, unless it is already stored.
async fn insert_api_key(tx: &mut Tx, new: &NewApiKey) -> Result<u64, StoreError> {
    let key = new.key.clone();
    tx.query(
        "INSERT INTO api_keys (id, organization_id, workspace_id, digest, prefix, name, role, kind, user_id,
                                   created_at, expires_at, revoked_at, limits, consent)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
    )
    .bind(key.id)
    .bind(key.organization_id)
    .bind(key.workspace_id)
    .bind(new.digest.to_vec())
    .bind(key.prefix)
    .bind(key.name)
    .bind(key.role)
    .bind(key.kind)
    .bind(key.user_id)
    .bind(key.created_at)
    .bind(key.expires_at)
    .bind(key.revoked_at)
    .bind(key.limits.map(Json))
    .bind(key.consent)
    .execute()
    .await
}

impl Store {
    /// Stores a key. An existing one is not changed.
    pub async fn keep_api_key(&self, key: &NewApiKey, act: &Act) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        self.write_api_key(&mut tx, key, act).await?;
        tx.commit().await
    }

    /// The same in a transaction that has decided it.
    pub(super) async fn write_api_key(&self, tx: &mut Tx, key: &NewApiKey, act: &Act) -> Result<(), StoreError> {
        if insert_api_key(tx, key).await? == 0 {
            return Ok(());
        }
        let ApiKey { created_at, role, kind, .. } = key.key;
        let event = about_key(EventName::ApiKeyCreated, &key.key, act, created_at)
            .with("role", role.as_str())
            .with("kind", kind.as_str());
        self.record(tx, vec![event]).await
    }

    /// The key with this digest. The look-up by digest is what makes the comparison safe: an attacker cannot
    /// steer SHA-256 of a guess towards a stored value.
    pub async fn api_key(&self, digest: [u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.db
            .query(
                "SELECT id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                        revoked_at, limits, consent
                 FROM api_keys WHERE digest = $1",
            )
            .bind(digest.to_vec())
            .read()
            .optional()
            .await
    }

    /// The key of this id.
    pub async fn api_key_of_id(&self, id: Uuid) -> Result<Option<ApiKey>, StoreError> {
        self.db
            .query(
                "SELECT id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                        revoked_at, limits, consent
                 FROM api_keys WHERE id = $1",
            )
            .bind(id)
            .read()
            .optional()
            .await
    }

    /// Every key of the database, newest first, for its operator.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.db
            .query(
                "SELECT id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                        revoked_at, limits, consent
                 FROM api_keys ORDER BY created_at DESC",
            )
            .read()
            .all()
            .await
    }

    /// The keys of a tenant, newest first.
    pub async fn api_keys_of(&self, tenant: &Tenant) -> Result<Vec<ApiKey>, StoreError> {
        self.db
            .query(
                "SELECT id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                        revoked_at, limits, consent
                 FROM api_keys WHERE organization_id = $1 AND workspace_id = $2 ORDER BY created_at DESC, id DESC",
            )
            .within(tenant)
            .read()
            .all()
            .await
    }

    /// Revokes a key of a tenant, and returns whether there was one to revoke.
    pub async fn revoke_api_key_of(
        &self,
        tenant: &Tenant,
        id: Uuid,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let revoked: Option<ApiKey> = tx
            .query(
                "UPDATE api_keys SET revoked_at = $4
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND revoked_at IS NULL
                 RETURNING id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                           revoked_at, limits, consent",
            )
            .within(tenant)
            .bind(id)
            .bind(now)
            .optional()
            .await?;
        if let Some(key) = &revoked {
            self.record(&mut tx, vec![about_key(EventName::ApiKeyRevoked, key, act, now)]).await?;
        }
        tx.commit().await?;
        Ok(revoked.is_some())
    }

    /// Revokes a key of any tenant, for the operator of the database, and returns whether there was one to revoke.
    pub async fn revoke_api_key(&self, id: Uuid, act: &Act, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        let revoked: Option<ApiKey> = tx
            .query(
                "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL
                 RETURNING id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                           revoked_at, limits, consent",
            )
            .bind(id)
            .bind(now)
            .optional()
            .await?;
        if let Some(key) = &revoked {
            self.record(&mut tx, vec![about_key(EventName::ApiKeyRevoked, key, act, now)]).await?;
        }
        tx.commit().await?;
        Ok(revoked.is_some())
    }
}

fn about_key(name: EventName, key: &ApiKey, act: &Act, now: DateTime<Utc>) -> Event {
    Event::new(name, act, &key.tenant(), now)
        .of(key.user_id.as_deref().unwrap_or_default(), "")
        .with("api_key_id", key.id)
        .with("api_key_name", &key.name)
}
