//! API keys: SHA-256 of a 256 bit random value, and what the key may do.
//! Owns: the table `api_keys`.
//! Must not know: the key itself; only its digest ever comes here.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError, Tenant, db::Tx};

/// What a key may do; each includes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Authenticate, wait, ask whether tokens exist, list.
    Agent,
    /// List.
    Viewer,
}

/// Whom a key speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// One user.
    Personal,
    /// An application, which names the user it acts for.
    Service,
}

/// A key as it is kept.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ApiKey {
    /// The record's id.
    pub id: Uuid,
    /// The organization the key reaches.
    pub organization_id: String,
    /// The workspace the key reaches.
    pub workspace_id: String,
    /// The first characters of the key, by which a person recognises it.
    pub prefix: String,
    /// What a person called it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whom it speaks for.
    pub kind: Kind,
    /// The user of a personal key.
    pub user_id: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it stops working by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key to keep.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// The record.
    pub key: ApiKey,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
}

impl NewApiKey {
    pub(super) async fn insert(&self, tx: &mut Tx) -> Result<u64, StoreError> {
        let key = self.key.clone();
        tx.query(
            "INSERT INTO api_keys (id, organization_id, workspace_id, digest, prefix, name, role, kind, user_id,
                                   created_at, expires_at, revoked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        )
        .bind(key.id)
        .bind(key.organization_id)
        .bind(key.workspace_id)
        .bind(self.digest.to_vec())
        .bind(key.prefix)
        .bind(key.name)
        .bind(key.role)
        .bind(key.kind)
        .bind(key.user_id)
        .bind(key.created_at)
        .bind(key.expires_at)
        .bind(key.revoked_at)
        .execute()
        .await
    }
}

impl Store {
    /// Keeps a key. One that is there already stays as it is.
    pub async fn keep_api_key(&self, key: &NewApiKey) -> Result<(), StoreError> {
        let mut tx = self.db.begin().await?;
        key.insert(&mut tx).await?;
        tx.commit().await
    }

    /// The key with this digest. The look-up by digest is what makes the comparison safe: an attacker cannot
    /// steer SHA-256 of a guess towards a stored value.
    pub async fn api_key(&self, digest: [u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        self.db
            .query(
                "SELECT id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                        revoked_at
                 FROM api_keys WHERE digest = $1",
            )
            .bind(digest.to_vec())
            .optional()
            .await
    }

    /// Every key of the database, newest first, for its operator.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.db
            .query(
                "SELECT id, organization_id, workspace_id, prefix, name, role, kind, user_id, created_at, expires_at,
                        revoked_at
                 FROM api_keys ORDER BY created_at DESC",
            )
            .all()
            .await
    }

    /// Revokes a key and says whether there was one to revoke.
    pub async fn revoke_api_key(&self, id: Uuid, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let revoked = self
            .db
            .query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id)
            .bind(now)
            .execute()
            .await?;
        Ok(revoked > 0)
    }
}

impl ApiKey {
    /// The tenant the key reaches.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization_id.clone(), workspace: self.workspace_id.clone() }
    }

    /// True while the key works.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}
