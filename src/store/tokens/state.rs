//! How a token stands: what is known of its grant and its refreshes, without any secret.
//! Owns: reading that, and ending a grant on an agent's word.
//! Must not know: what follows from it.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::row::{State, Token};
use crate::store::{Store, StoreError, Tenant};

/// What is known of a token.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TokenState {
    /// The record's id.
    pub id: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The account at the provider, for people.
    pub account_label: Option<String>,
    /// Whether the grant lives.
    pub state: State,
    /// The granted scopes.
    pub scopes: Json<Vec<String>>,
    /// Whether it is preferred among several of the subject.
    pub is_default: bool,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// From when on it is refreshed before it is handed out.
    pub refresh_due_at: Option<DateTime<Utc>>,
    /// Whether there is a refresh token.
    pub has_refresh_token: bool,
    /// When the refresh token expires, if the provider said so.
    pub refresh_token_expires_at: Option<DateTime<Utc>>,
    /// Whether a refresh is under way, here or on another replica.
    pub is_refreshing: bool,
    /// When its secrets were last replaced.
    pub last_refreshed_at: Option<DateTime<Utc>>,
    /// The code of the last failure since then.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// How many refreshes failed in a row.
    pub refresh_failures: i64,
    /// Before when no further one is tried.
    pub retry_at: Option<DateTime<Utc>>,
    /// When it was last handed out.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// The code with which the provider refuses our client, if it does.
    pub client_error: Option<String>,
    /// Since when.
    pub client_error_at: Option<DateTime<Utc>>,
}

impl Store {
    /// How a token of a user (as `user_id` or `ls_user_id`) stands.
    pub async fn token_state(&self, tenant: &Tenant, user: &str, id: Uuid) -> Result<Option<TokenState>, StoreError> {
        self.db
            .query(
                "SELECT t.id, p.provider_id, t.account_label, t.state, t.scopes, t.is_default, t.expires_at,
                        t.refresh_due_at, t.refresh_token IS NOT NULL AS has_refresh_token,
                        t.refresh_token_expires_at,
                        (t.refresh_until IS NOT NULL AND t.refresh_until >= (SELECT now_ms FROM database_clock))
                            AS is_refreshing,
                        t.last_refreshed_at, t.last_error, t.last_error_at, t.refresh_failures, t.retry_at,
                        t.last_used_at, t.created_at, t.updated_at, p.client_error, p.client_error_at
                 FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND (t.user_id = $3 OR t.ls_user_id = $3)
                   AND t.id = $4",
            )
            .within(tenant)
            .bind(user.to_owned())
            .bind(id)
            .optional()
            .await
    }

    /// Notes that a grant without a refresh token is dead, with a code that says why. `false`: the token was written or
    /// deleted since it was read.
    pub async fn end_grant(&self, token: &Token, error: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let tenant = &token.subject.tenant;
        let ended = self
            .db
            .query(
                "UPDATE tokens SET state = 'consent_needed', last_error = $5, last_error_at = $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND id = $3 AND generation = $4
                   AND refresh_token IS NULL",
            )
            .within(tenant)
            .bind(token.id)
            .bind(token.generation)
            .bind(error.to_owned())
            .bind(now)
            .execute()
            .await?;
        Ok(ended > 0)
    }

    /// Notes that all grants of a provider are dead, with a code that says why.
    pub async fn end_grants(
        &self,
        tenant: &Tenant,
        provider: Uuid,
        error: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.db
            .query(
                "UPDATE tokens SET state = 'consent_needed', last_error = $4, last_error_at = $5
                 WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3",
            )
            .within(tenant)
            .bind(provider)
            .bind(error.to_owned())
            .bind(now)
            .execute()
            .await?;
        Ok(())
    }
}
