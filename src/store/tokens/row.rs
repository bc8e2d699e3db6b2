//! The rows of tokens: what is read, and how it is opened.
//! Owns: the columns of an opened token.
//! Must not know: which token is read, or why.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    model::{
        subject::{Subject, Tenant},
        token::{State, Token},
    },
    store::{error::StoreError, handle::Store, seal::TOKEN_ACCESS_TOKEN},
};

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
pub(in crate::store) struct Owner {
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
    owner: Owner,
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
            .read()
            .optional()
            .await?;
        row.map(|row| self.open_token(tenant, row.owner, row.token)).transpose()
    }

    pub(in crate::store) fn open_token(
        &self,
        tenant: &Tenant,
        owner: Owner,
        stored: StoredToken,
    ) -> Result<Token, StoreError> {
        let seal = self.row_seal(tenant, stored.id, stored.generation);
        let access_token = seal.open(TOKEN_ACCESS_TOKEN, &stored.access_token)?;
        let Owner { provider, provider_id, user_id } = owner;
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
