//! API keys: what a key may do, and for whom.
//! Owns: what a key's record holds. Never the key itself.
//! Must not know: how a key is made or checked.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{consent::Consent, key_limits::KeyLimits, subject::Tenant};

/// What a key may do; each includes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Authenticate, wait, check whether tokens exist, list.
    Agent,
    /// List.
    Viewer,
}

impl Role {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Agent => "agent",
            Self::Viewer => "viewer",
        }
    }
}

/// For whom a key acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// One user.
    Personal,
    /// An application, which names the user it acts for.
    Service,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Service => "service",
        }
    }
}

/// The record of a key.
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
    /// For whom it acts.
    pub kind: Kind,
    /// The user of a personal key.
    pub user_id: Option<String>,
    /// What it is limited to; `None`: nothing.
    #[sqlx(json(nullable))]
    pub limits: Option<KeyLimits>,
    /// The least strict consent that its requests may have.
    pub consent: Option<Consent>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key to store.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// The record.
    pub key: ApiKey,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
}

impl ApiKey {
    /// The tenant the key reaches.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization_id.clone(), workspace: self.workspace_id.clone() }
    }

    /// True while the key is active.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}
