//! Tokens: the stored grant of one subject at one provider. Reading, listing, labelling.
//! Owns: what is read from the table `tokens`, and the sealing of access and refresh tokens.
//! Must not know: when a token is due, or how it is refreshed. What the hot path reads is in `usable_tokens`, writing a
//! grant in `grants`, deleting in `deletions`.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    cipher::Place,
    store::{Store, StoreError, Subject, Tenant},
};

/// How long a default mark that others move at the same moment is tried to be moved.
const CHANGE_WITHIN: Duration = Duration::from_secs(10);
const CHANGE_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Whether a grant still lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// As far as we know.
    Active,
    /// The provider said that the grant is dead: only a new consent helps.
    ConsentNeeded,
}

/// A token, opened.
#[derive(Clone, Debug)]
pub struct Token {
    /// The record's id.
    pub id: Uuid,
    /// Whose it is.
    pub subject: Subject,
    /// The provider's record.
    pub provider: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The account at the provider, for people.
    pub account_label: Option<String>,
    /// What an agent sends to the provider's API.
    pub access_token: SecretString,
    /// Whether there is a refresh token.
    pub has_refresh_token: bool,
    /// The granted scopes.
    pub scopes: Vec<String>,
    /// What else the provider told that its API needs, like `instance_url`. No secrets.
    pub metadata: Map<String, Value>,
    /// Whether it is preferred among several of the subject.
    pub is_default: bool,
    /// Whether the grant lives.
    pub state: State,
    /// When the access token expires; unknown if the provider did not say.
    pub expires_at: Option<DateTime<Utc>>,
    /// From when on it is refreshed before it is handed out.
    pub refresh_due_at: Option<DateTime<Utc>>,
    /// When the access token was obtained.
    pub obtained_at: DateTime<Utc>,
    /// Before when no further refresh is tried, after one that failed.
    pub retry_at: Option<DateTime<Utc>>,
    /// When it was last handed out, as far as it is written yet.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Counts the writes of the secrets.
    pub generation: i64,
}

/// The columns of a [`StoredToken`], for statements that call the table `t`.
macro_rules! token_columns {
    () => {
        "t.id, t.agent_id, t.account_label, t.access_token, t.refresh_token IS NOT NULL AS has_refresh_token, t.scopes,
         t.metadata, t.is_default, t.state, t.expires_at, t.refresh_due_at, t.retry_at, t.generation,
         COALESCE(t.last_refreshed_at, t.created_at) AS obtained_at, t.last_used_at"
    };
}
pub(in crate::store) use token_columns;

/// A token as it lies there: sealed, and without what its reader named already.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct StoredToken {
    id: Uuid,
    agent_id: String,
    account_label: Option<String>,
    access_token: Vec<u8>,
    has_refresh_token: bool,
    scopes: Json<Vec<String>>,
    metadata: Json<Map<String, Value>>,
    is_default: bool,
    state: State,
    expires_at: Option<DateTime<Utc>>,
    refresh_due_at: Option<DateTime<Utc>>,
    retry_at: Option<DateTime<Utc>>,
    generation: i64,
    obtained_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
}

/// Whose a token is, and where.
#[derive(Clone, sqlx::FromRow)]
pub(in crate::store) struct Belonging {
    /// The provider's record.
    pub(in crate::store) provider: Uuid,
    /// The provider's name on the wire.
    pub(in crate::store) provider_id: String,
    /// The user.
    pub(in crate::store) user_id: String,
}

#[derive(sqlx::FromRow)]
struct NamedToken {
    #[sqlx(flatten)]
    token: StoredToken,
    #[sqlx(flatten)]
    belonging: Belonging,
}

/// What a list says of a token. No secret is opened for it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct TokenSummary {
    /// The record's id.
    pub id: Uuid,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The account at the provider, for people.
    pub account_label: Option<String>,
    /// The granted scopes.
    pub scopes: Json<Vec<String>>,
    /// When the access token expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether it is preferred among several of the subject.
    pub is_default: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A change of what a person may set on a token. `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct TokenChange {
    /// A new label, or no label.
    pub account_label: Option<Option<String>>,
    /// Whether it is the default.
    pub is_default: Option<bool>,
}

pub(in crate::store) fn token_place<'a>(
    tenant: &'a Tenant,
    column: &'static str,
    id: Uuid,
    generation: i64,
) -> Place<'a> {
    Place {
        column: ("tokens", column),
        organization: &tenant.organization,
        workspace: &tenant.workspace,
        row: id,
        generation,
    }
}

impl Store {
    /// A token of a tenant.
    pub async fn token(&self, tenant: &Tenant, id: Uuid) -> Result<Option<Token>, StoreError> {
        let row: Option<NamedToken> = self
            .db
            .query(concat!(
                "SELECT ",
                token_columns!(),
                ", t.provider, p.provider_id, t.user_id
                 FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.id = $3"
            ))
            .within(tenant)
            .bind(id)
            .optional()
            .await?;
        row.map(|row| self.open_token(tenant, row.belonging, row.token)).transpose()
    }

    /// The tokens of a user (as `user_id` or `ls_user_id`), at one provider or at all of them.
    pub async fn tokens_of_user(
        &self,
        tenant: &Tenant,
        user: &str,
        provider_id: Option<&str>,
    ) -> Result<Vec<TokenSummary>, StoreError> {
        self.db
            .query(
                "SELECT t.id, p.provider_id, t.account_label, t.scopes, t.expires_at, t.is_default, t.created_at,
                        t.updated_at
                 FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND (t.user_id = $3 OR t.ls_user_id = $3)
                   AND ($4 IS NULL OR p.provider_id = $4)
                 ORDER BY t.created_at DESC",
            )
            .within(tenant)
            .bind(user.to_owned())
            .bind(provider_id.map(ToOwned::to_owned))
            .all()
            .await
    }

    /// The providers at which a user has a living token.
    pub async fn providers_with_token(&self, tenant: &Tenant, user: &str) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = self
            .db
            .query(
                "SELECT DISTINCT p.provider_id FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND (t.user_id = $3 OR t.ls_user_id = $3)
                   AND t.state = 'active'",
            )
            .within(tenant)
            .bind(user.to_owned())
            .all()
            .await?;
        Ok(rows.into_iter().map(|(provider_id,)| provider_id).collect())
    }

    /// True when the workspace has a living token at any provider of that type.
    pub async fn workspace_has_token(&self, tenant: &Tenant, provider_type: &str) -> Result<bool, StoreError> {
        let (tokens,): (i64,) = self
            .db
            .query(
                "SELECT count(*) FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND p.provider_type = $3 AND t.state = 'active'",
            )
            .within(tenant)
            .bind(provider_type.to_owned())
            .one()
            .await?;
        Ok(tokens > 0)
    }

    /// Changes the label and the default mark of a user's token. The mark moves in one transaction, so that a
    /// subject never has two defaults; of those who move it at the same moment the last one wins.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Conflict`] when the mark was moved again and again meanwhile.
    pub async fn change_token(
        &self,
        tenant: &Tenant,
        user: &str,
        id: Uuid,
        change: &TokenChange,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenSummary>, StoreError> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            match self.change_token_once(tenant, user, id, change, now).await {
                // Unavailable too: those who wait for one another's commit may wait longer than a lock is waited for.
                Err(StoreError::Conflict | StoreError::Unavailable(_)) if begun.elapsed() < CHANGE_WITHIN => {
                    tokio::time::sleep(pause.mul_f64(rand::random())).await;
                    pause = (pause * 2).min(CHANGE_PAUSE_MAX);
                }
                changed => return changed,
            }
        }
    }

    async fn change_token_once(
        &self,
        tenant: &Tenant,
        user: &str,
        id: Uuid,
        change: &TokenChange,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenSummary>, StoreError> {
        let mut tx = self.db.begin().await?;
        if change.is_default == Some(true) {
            tx.query(
                "UPDATE tokens SET is_default = $5, updated_at = $6
                 WHERE organization_id = $1 AND workspace_id = $2 AND is_default AND id <> $4
                   AND EXISTS (SELECT 1 FROM tokens named
                        WHERE named.organization_id = $1 AND named.workspace_id = $2 AND named.id = $4
                          AND (named.user_id = $3 OR named.ls_user_id = $3) AND named.provider = tokens.provider
                          AND named.user_id = tokens.user_id AND named.agent_id = tokens.agent_id)",
            )
            .within(tenant)
            .bind(user.to_owned())
            .bind(id)
            .bind(false)
            .bind(now)
            .execute()
            .await?;
        }
        let changed = tx
            .query(
                "UPDATE tokens
                 SET account_label = CASE WHEN $5 THEN $6 ELSE account_label END,
                     is_default = COALESCE($7, is_default), updated_at = $8
                 WHERE organization_id = $1 AND workspace_id = $2 AND (user_id = $3 OR ls_user_id = $3) AND id = $4",
            )
            .within(tenant)
            .bind(user.to_owned())
            .bind(id)
            .bind(change.account_label.is_some())
            .bind(change.account_label.clone().flatten())
            .bind(change.is_default)
            .bind(now)
            .execute()
            .await?;
        if changed == 0 {
            return Ok(None);
        }
        tx.commit().await?;
        let tokens = self.tokens_of_user(tenant, user, None).await?;
        Ok(tokens.into_iter().find(|token| token.id == id))
    }

    pub(in crate::store) fn open_token(
        &self,
        tenant: &Tenant,
        belonging: Belonging,
        stored: StoredToken,
    ) -> Result<Token, StoreError> {
        let place = token_place(tenant, "access_token", stored.id, stored.generation);
        let access_token = self.keys.open(&place, &stored.access_token)?;
        let Belonging { provider, provider_id, user_id } = belonging;
        Ok(Token {
            id: stored.id,
            subject: Subject { tenant: tenant.clone(), user_id, agent_id: stored.agent_id },
            provider,
            provider_id,
            account_label: stored.account_label,
            access_token,
            has_refresh_token: stored.has_refresh_token,
            scopes: stored.scopes.0,
            metadata: stored.metadata.0,
            is_default: stored.is_default,
            state: stored.state,
            expires_at: stored.expires_at,
            refresh_due_at: stored.refresh_due_at,
            obtained_at: stored.obtained_at,
            retry_at: stored.retry_at,
            last_used_at: stored.last_used_at,
            generation: stored.generation,
        })
    }
}
