//! Connect links of a person: whose connections they show, and what can be connected there.
//! Owns: what a link's record holds. Never its secret, nor the cookie it was exchanged for.
//! Must not know: how a link is opened.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    consent::Consent,
    key_limits::{KeyLimits, Reach},
    subject::Tenant,
};

/// A link, and after it was opened the session that it became.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct PersonLink {
    /// The record's id.
    pub id: Uuid,
    /// The organization.
    pub organization_id: String,
    /// The workspace.
    pub workspace_id: String,
    /// The person, as the application names them.
    pub user_id: String,
    /// The key that made it; `None`: LangSmith identified who did.
    pub api_key: Option<Uuid>,
    /// What it reaches: this user, and maybe only some providers.
    #[sqlx(json)]
    pub limits: KeyLimits,
    /// The scopes that a new connection requests; none: the provider's default ones.
    pub scopes: Json<Vec<String>>,
    /// The least strict consent that is begun from it.
    pub consent: Consent,
    /// Where the browser goes after a consent, if not back to the page.
    pub return_url: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when it can be opened.
    pub expires_at: DateTime<Utc>,
}

impl PersonLink {
    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization_id.clone(), workspace: self.workspace_id.clone() }
    }

    /// What it reaches of `tenant`, which is its own.
    #[must_use]
    pub fn reach<'a>(&'a self, tenant: &'a Tenant) -> Reach<'a> {
        Reach { tenant, limits: Some(&self.limits) }
    }
}
