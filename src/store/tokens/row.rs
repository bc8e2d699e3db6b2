//! The rows of tokens: what is read, and how it is opened.
//! Owns: the columns of an opened token.
//! Must not know: which token is read, or why.

use uuid::Uuid;

use crate::{
    model::{
        key_limits::Reach,
        subject::{Subject, Tenant},
        token::Token,
    },
    store::{
        error::StoreError,
        handle::Store,
        key_limits::usable_token_in_limits,
        reads::stored_token::{StoredToken, token_columns},
        seal::TOKEN_ACCESS_TOKEN,
    },
};

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
        self.token_within(Reach::whole(tenant), id).await
    }

    /// A token that the caller reaches.
    pub async fn token_within(&self, reach: Reach<'_>, id: Uuid) -> Result<Option<Token>, StoreError> {
        let row: Option<NamedToken> = self
            .db
            .query(concat!(
                "SELECT ",
                token_columns!(),
                ", t.provider, p.provider_id, t.user_id
                 FROM tokens t JOIN providers p ON p.id = t.provider
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.id = $3 AND ",
                usable_token_in_limits!("t", "$4")
            ))
            .within(reach.tenant)
            .bind(id)
            .limited(reach.limits)
            .read()
            .optional()
            .await?;
        row.map(|row| self.open_token(reach.tenant, row.owner, &row.token)).transpose()
    }

    pub(in crate::store) fn open_token(
        &self,
        tenant: &Tenant,
        owner: Owner,
        stored: &StoredToken,
    ) -> Result<Token, StoreError> {
        let seal = self.row_seal(tenant, stored.id, stored.generation);
        let access_token = seal.open(TOKEN_ACCESS_TOKEN, &stored.access_token)?;
        let Owner { provider, provider_id, user_id } = owner;
        Ok(Token {
            id: stored.id,
            subject: Subject { tenant: tenant.clone(), user_id, agent_id: stored.agent_id.clone() },
            provider,
            provider_id,
            account_label: stored.account_label.clone(),
            access_token,
            has_refresh_token: stored.has_refresh_token,
            scopes: stored.scopes.0.clone(),
            metadata: stored.metadata.0.clone(),
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
