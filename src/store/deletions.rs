//! Deletions: tokens and providers are deleted at once, and their revocations are queued in the same transaction.
//! Owns: that no grant is deleted without its revocation.
//! Must not know: how or when a grant is revoked.

use std::collections::{HashMap, hash_map::Entry};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    db::Tx,
    error::StoreError,
    handle::Store,
    providers::{ProviderRow, close_provider, delete_provider_row, provider_row},
    tokens::delete::{DeletedRow, all_of_provider, all_of_type, all_of_user, one_of_user},
};
use crate::model::{
    actor::Act,
    audit::{Event, EventName},
    client::Client,
    key_limits::Reach,
    provider::Provider,
    subject::Tenant,
};

/// Says with which client, and at which revocation endpoint, the grants of a provider are revoked. `None`: they cannot
/// be.
pub type RevocationClient<'a> = &'a (dyn Fn(&Provider) -> Option<Client> + Send + Sync);

/// What was deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// How many tokens.
    pub tokens: usize,
    /// The revocations that were queued for them.
    pub revocations: Vec<Uuid>,
}

impl Store {
    /// Deletes one token of a user (as `user_id` or `ls_user_id`).
    pub async fn delete_token(
        &self,
        reach: Reach<'_>,
        user: &str,
        id: Uuid,
        client_of: RevocationClient<'_>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows = one_of_user(&mut tx, reach, user, id).await?;
        self.queue_and_commit(tx, reach.tenant, rows, client_of, act, now).await
    }

    /// Deletes the tokens of a user at a provider.
    pub async fn delete_tokens_of_user(
        &self,
        reach: Reach<'_>,
        user: &str,
        provider_id: &str,
        client_of: RevocationClient<'_>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows = all_of_user(&mut tx, reach, user, provider_id).await?;
        self.queue_and_commit(tx, reach.tenant, rows, client_of, act, now).await
    }

    /// Deletes every token of a workspace at providers of that type.
    pub async fn delete_tokens_of_workspace(
        &self,
        reach: Reach<'_>,
        provider_type: &str,
        client_of: RevocationClient<'_>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows = all_of_type(&mut tx, reach, provider_type).await?;
        self.queue_and_commit(tx, reach.tenant, rows, client_of, act, now).await
    }

    /// Deletes a provider with its tokens and authorization requests; `None` if it does not exist.
    pub async fn delete_provider(
        &self,
        tenant: &Tenant,
        provider_id: &str,
        client_of: RevocationClient<'_>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Option<Deleted>, StoreError> {
        let mut tx = self.db.begin().await?;
        let Some(row) = close_provider(&mut tx, tenant, provider_id).await? else {
            // Committed: a transaction that is dropped costs its connection.
            tx.commit().await?;
            return Ok(None);
        };
        let id = row.id;
        let rows = all_of_provider(&mut tx, tenant, id).await?;
        let _changing = self.token_changes.of_each(rows.iter().map(DeletedRow::of));
        delete_provider_row(&mut tx, tenant, id).await?;
        let event = Event::new(EventName::ProviderDeleted, act, tenant, now).at_provider(provider_id);
        let event = event.with("tokens", rows.len());
        let provider = HashMap::from([(id, DeletedAt::new(self, row, client_of))]);
        let (deleted, mut events) = self.queue(&mut tx, tenant, rows, &provider, act, now).await?;
        events.insert(0, event);
        self.record(&mut tx, events).await?;
        tx.commit().await?;
        Ok(Some(deleted))
    }

    async fn queue_and_commit(
        &self,
        mut tx: Tx,
        tenant: &Tenant,
        rows: Vec<DeletedRow>,
        client_of: RevocationClient<'_>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let _changing = self.token_changes.of_each(rows.iter().map(DeletedRow::of));
        let mut providers = HashMap::new();
        for row in &rows {
            if let Entry::Vacant(unknown) = providers.entry(row.provider)
                && let Some(provider) = provider_row(&mut tx, tenant, row.provider).await?
            {
                unknown.insert(DeletedAt::new(self, provider, client_of));
            }
        }
        let (deleted, events) = self.queue(&mut tx, tenant, rows, &providers, act, now).await?;
        self.record(&mut tx, events).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Queues the revocations of deleted tokens, and says of each token that it was deleted.
    async fn queue(
        &self,
        tx: &mut Tx,
        tenant: &Tenant,
        rows: Vec<DeletedRow>,
        providers: &HashMap<Uuid, DeletedAt>,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(Deleted, Vec<Event>), StoreError> {
        let mut deleted = Deleted { tokens: rows.len(), revocations: Vec::new() };
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let mut event = row.event(tenant, act, now);
            if let Some(DeletedAt { provider_id, client }) = providers.get(&row.provider) {
                event = event.at_provider(provider_id);
                if let Some(client) = client
                    && let Some(tokens) = self.open_deleted(tenant, row)
                {
                    let id = self.insert_revocation(tx, tenant, provider_id, client, &tokens, now).await?;
                    event = event.with("revocation_id", id);
                    deleted.revocations.push(id);
                }
            }
            events.push(event);
        }
        Ok((deleted, events))
    }
}

/// Where tokens were deleted.
struct DeletedAt {
    /// The provider's name.
    provider_id: String,
    /// The client with which its grants are revoked.
    client: Option<Client>,
}

impl DeletedAt {
    /// A provider whose secret can no longer be opened can still be deleted.
    fn new(store: &Store, row: ProviderRow, client_of: RevocationClient<'_>) -> Self {
        let provider_id = row.provider_id.clone();
        let opened = store.open_provider(row).inspect_err(|error| {
            tracing::warn!(event = "provider.not_opened", %error, "a deleted provider cannot be opened; its tokens are not revoked");
        });
        Self { provider_id, client: opened.ok().and_then(|provider| client_of(&provider)) }
    }
}
