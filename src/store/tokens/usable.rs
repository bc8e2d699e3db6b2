//! The tokens a subject may use at a provider: the one read of the hot path, and what is remembered of it.
//! Owns: how a name becomes a record, and which statement is used.
//! Must not know: which of the tokens the caller prefers.

use std::sync::Arc;

use uuid::Uuid;

use super::row::Owner;
use crate::{
    model::{
        subject::{Subject, Tenant},
        token::Token,
    },
    store::{
        error::StoreError,
        handle::Store,
        reads::{
            statements::{ReadKey, read_for_agent, read_one},
            stored_token::StoredToken,
        },
    },
    telemetry::metrics::{Cached, METRICS},
};

impl Store {
    /// What [`Self::usable_tokens`] returned a moment ago, if it is remembered and nothing of it was changed since then.
    /// It is never empty.
    #[must_use]
    pub fn remembered_tokens(&self, subject: &Subject, provider_id: &str) -> Option<Vec<Token>> {
        let remembered = self.remembered_tokens.get(subject, provider_id);
        if self.token_changes.is_counting() {
            METRICS.looked_up(Cached::Tokens, remembered.is_some());
        }
        let (provider, stored) = remembered?;
        // What cannot be opened is not there: the database may say why.
        self.open_tokens(subject, (provider, provider_id), &stored).ok()
    }

    /// The tokens a subject may use at a provider, the preferred one first: its own, and, for an agent, those of
    /// the same user that are connected to it.
    pub async fn usable_tokens(&self, subject: &Subject, provider_id: &str) -> Result<Vec<Token>, StoreError> {
        let name = (subject.tenant.clone(), provider_id.to_owned());
        let remembered = self.provider_names.get(&name);
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
                    self.provider_names.insert(name, provider);
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
        let key = ReadKey {
            provider,
            user_id: subject.user_id.clone(),
            organization_id: subject.tenant.organization.clone(),
            workspace_id: subject.tenant.workspace.clone(),
        };
        // Before anything is read: what is changed from now on makes the result outdated.
        let reading = self.remembered_tokens.reading(subject, provider);
        let stored = match &self.shared_reads {
            _ if !subject.agent_id.is_empty() => read_for_agent(&self.db, key, subject.agent_id.clone()).await?,
            Some(shared_reads) => shared_reads.read(key).await?,
            None => read_one(&self.db, key).await?,
        };
        let stored: Arc<[StoredToken]> = stored.into();
        let tokens = self.open_tokens(subject, (provider, provider_id), &stored)?;
        if let Some(reading) = reading {
            self.remembered_tokens.keep(&reading, subject, (provider, provider_id), &stored);
        }
        Ok(tokens)
    }

    fn open_tokens(
        &self,
        subject: &Subject,
        (provider, provider_id): (Uuid, &str),
        stored: &[StoredToken],
    ) -> Result<Vec<Token>, StoreError> {
        let owner = || Owner { provider, provider_id: provider_id.to_owned(), user_id: subject.user_id.clone() };
        stored.iter().map(|stored| self.open_token(&subject.tenant, owner(), stored)).collect()
    }

    async fn provider_record(&self, tenant: &Tenant, provider_id: &str) -> Result<Option<Uuid>, StoreError> {
        let row: Option<(Uuid,)> = self
            .db
            .query("SELECT id FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND provider_id = $3")
            .within(tenant)
            .bind(provider_id.to_owned())
            .read()
            .optional()
            .await?;
        Ok(row.map(|(id,)| id))
    }
}
