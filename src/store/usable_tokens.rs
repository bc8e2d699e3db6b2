//! The tokens a subject may use: the one read of the hot path.
//! Owns: that statement, and the memory of which record a provider's name means.
//! Must not know: which of the tokens is preferred by whoever asked.

use moka::sync::Cache;
use uuid::Uuid;

use super::{
    Store, StoreError, Subject, Tenant,
    tokens::{Belonging, StoredToken, Token, token_columns},
};

/// Names remembered at the most.
const REMEMBERED_NAMES: u64 = 10_000;

/// Which record a provider's name means. A record never changes its name, so what is remembered is only ever outdated
/// when the record was deleted, and all its tokens with it: then nothing is found, and the name is looked up again.
#[derive(Clone)]
pub(super) struct ProviderNames(Cache<(Tenant, String), Uuid>);

impl ProviderNames {
    pub(super) fn new() -> Self {
        Self(Cache::new(REMEMBERED_NAMES))
    }
}

impl Store {
    /// The tokens a subject may use at a provider, the preferred one first: its own, and, for an agent, those of
    /// the same user that are connected to it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usable_tokens(&self, subject: &Subject, provider_id: &str) -> Result<Vec<Token>, StoreError> {
        let name = (subject.tenant.clone(), provider_id.to_owned());
        let remembered = self.provider_names.0.get(&name);
        if let Some(provider) = remembered {
            let tokens = self.usable_tokens_at(subject, provider, provider_id).await?;
            if !tokens.is_empty() {
                return Ok(tokens);
            }
        }
        // Boxed: the hot path should not carry the state of what it seldom needs.
        Box::pin(async {
            match self.provider_record(&subject.tenant, provider_id).await? {
                Some(provider) if Some(provider) != remembered => {
                    self.provider_names.0.insert(name, provider);
                    self.usable_tokens_at(subject, provider, provider_id).await
                }
                _ => Ok(Vec::new()),
            }
        })
        .await
    }

    async fn usable_tokens_at(
        &self,
        subject: &Subject,
        provider: Uuid,
        provider_id: &str,
    ) -> Result<Vec<Token>, StoreError> {
        // Most callers name no agent, and the database answers in half the time when it is not asked for one.
        let sql = if subject.agent_id.is_empty() { OF_NO_AGENT } else { OF_AGENT };
        let rows: Vec<StoredToken> = self
            .db
            .query(sql)
            .bind(provider)
            .bind(subject.user_id.clone())
            .bind(subject.agent_id.clone())
            .bind(subject.tenant.organization.clone())
            .bind(subject.tenant.workspace.clone())
            .all()
            .await?;
        let belonging = Belonging { provider, provider_id: provider_id.to_owned(), user_id: subject.user_id.clone() };
        let mut tokens = Vec::with_capacity(rows.len());
        for row in rows {
            tokens.push(self.open_token(&subject.tenant, belonging.clone(), row)?);
        }
        Ok(tokens)
    }

    async fn provider_record(&self, tenant: &Tenant, provider_id: &str) -> Result<Option<Uuid>, StoreError> {
        let row: Option<(Uuid,)> = self
            .db
            .query("SELECT id FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND provider_id = $3")
            .bind(tenant.organization.clone())
            .bind(tenant.workspace.clone())
            .bind(provider_id.to_owned())
            .optional()
            .await?;
        Ok(row.map(|(id,)| id))
    }
}

/// The index gives them in this order.
const OF_NO_AGENT: &str = concat!(
    "SELECT ",
    token_columns!(),
    " FROM tokens t
      WHERE t.provider = $1 AND t.user_id = $2 AND t.agent_id = $3 AND t.organization_id = $4 AND t.workspace_id = $5
      ORDER BY t.is_default DESC, t.created_at DESC LIMIT 100"
);
const OF_AGENT: &str = concat!(
    "SELECT ",
    token_columns!(),
    " FROM tokens t
      WHERE t.provider = $1 AND t.user_id = $2 AND t.organization_id = $4 AND t.workspace_id = $5
        AND (t.agent_id = $3 OR EXISTS (
             SELECT 1 FROM agent_connections c
             WHERE c.token = t.id AND c.organization_id = $4 AND c.workspace_id = $5 AND c.agent_id = $3))
      ORDER BY t.is_default DESC, t.created_at DESC LIMIT 100"
);
