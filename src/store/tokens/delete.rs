//! Deleting of tokens and providers: gone here at once, and what is to be revoked at the providers is queued with it.
//! Owns: that no grant is deleted without its revocation, in one transaction.
//! Must not know: how or when a provider is told.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use uuid::Uuid;

use super::row::token_place;
use crate::store::{
    Store, StoreError, Tenant,
    db::Tx,
    providers::{Provider, ProviderRow},
    revocations::{ClientOf, RevocationClient},
};

/// What was deleted.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// How many tokens.
    pub tokens: usize,
    /// The revocations that were queued for them.
    pub revocations: Vec<Uuid>,
}

#[derive(sqlx::FromRow)]
struct DeletedRow {
    id: Uuid,
    provider: Uuid,
    access_token: Vec<u8>,
    refresh_token: Option<Vec<u8>>,
    account_id: Option<String>,
    generation: i64,
}

impl Store {
    /// Deletes one token of a user.
    pub async fn delete_token(
        &self,
        tenant: &Tenant,
        user: &str,
        id: Uuid,
        client_of: ClientOf,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows: Vec<DeletedRow> = tx
            .query(
                "DELETE FROM tokens
                 WHERE organization_id = $1 AND workspace_id = $2 AND (user_id = $3 OR ls_user_id = $3) AND id = $4
                 RETURNING id, provider, access_token, refresh_token, account_id, generation",
            )
            .within(tenant)
            .bind(user.to_owned())
            .bind(id)
            .all()
            .await?;
        self.queue_deleted(tx, tenant, rows, client_of, now).await
    }

    /// Deletes the tokens of a user at a provider.
    pub async fn delete_tokens_of_user(
        &self,
        tenant: &Tenant,
        user: &str,
        provider_id: &str,
        client_of: ClientOf,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows: Vec<DeletedRow> = tx
            .query(
                "DELETE FROM tokens
                 WHERE organization_id = $1 AND workspace_id = $2 AND (user_id = $3 OR ls_user_id = $3)
                   AND provider IN (
                    SELECT id FROM providers
                    WHERE organization_id = $1 AND workspace_id = $2 AND provider_id = $4)
                 RETURNING id, provider, access_token, refresh_token, account_id, generation",
            )
            .within(tenant)
            .bind(user.to_owned())
            .bind(provider_id.to_owned())
            .all()
            .await?;
        self.queue_deleted(tx, tenant, rows, client_of, now).await
    }

    /// Deletes every token of a workspace at providers of that type.
    pub async fn delete_tokens_of_workspace(
        &self,
        tenant: &Tenant,
        provider_type: &str,
        client_of: ClientOf,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let mut tx = self.db.begin().await?;
        let rows: Vec<DeletedRow> = tx
            .query(
                "DELETE FROM tokens WHERE organization_id = $1 AND workspace_id = $2 AND provider IN (
                    SELECT id FROM providers
                    WHERE organization_id = $1 AND workspace_id = $2 AND provider_type = $3)
                 RETURNING id, provider, access_token, refresh_token, account_id, generation",
            )
            .within(tenant)
            .bind(provider_type.to_owned())
            .all()
            .await?;
        self.queue_deleted(tx, tenant, rows, client_of, now).await
    }

    /// Deletes a provider with its tokens and authorization requests; `None` if there was none.
    pub async fn delete_provider(
        &self,
        tenant: &Tenant,
        provider_id: &str,
        client_of: ClientOf,
        now: DateTime<Utc>,
    ) -> Result<Option<Deleted>, StoreError> {
        let mut tx = self.db.begin().await?;
        let Some((id, provider)) = self.close_provider(&mut tx, tenant, provider_id).await? else {
            tx.commit().await?;
            return Ok(None);
        };
        let rows: Vec<DeletedRow> = tx
            .query(
                "DELETE FROM tokens WHERE organization_id = $1 AND workspace_id = $2 AND provider = $3
                 RETURNING id, provider, access_token, refresh_token, account_id, generation",
            )
            .within(tenant)
            .bind(id)
            .all()
            .await?;
        tx.query("DELETE FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(tenant)
            .bind(id)
            .execute()
            .await?;
        let clients = HashMap::from([(id, provider.as_ref().and_then(client_of))]);
        let deleted = self.queue_rows(&mut tx, tenant, rows, &clients, now).await?;
        tx.commit().await?;
        Ok(Some(deleted))
    }

    async fn queue_deleted(
        &self,
        mut tx: Tx,
        tenant: &Tenant,
        rows: Vec<DeletedRow>,
        client_of: ClientOf,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let providers: HashSet<Uuid> = rows.iter().map(|row| row.provider).collect();
        let mut clients = HashMap::new();
        for id in providers {
            let provider = self.provider_of_id(&mut tx, tenant, id).await?;
            clients.insert(id, provider.as_ref().and_then(client_of));
        }
        let deleted = self.queue_rows(&mut tx, tenant, rows, &clients, now).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    async fn queue_rows(
        &self,
        tx: &mut Tx,
        tenant: &Tenant,
        rows: Vec<DeletedRow>,
        clients: &HashMap<Uuid, Option<RevocationClient>>,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let mut deleted = Deleted { tokens: rows.len(), revocations: Vec::new() };
        for row in rows {
            let Some(Some(client)) = clients.get(&row.provider) else { continue };
            let Some((access_token, refresh_token)) = self.open_deleted(tenant, &row) else { continue };
            let granted = (&access_token, refresh_token.as_ref(), row.account_id.as_deref());
            deleted.revocations.push(self.insert_revocation(tx, tenant, client, granted, now).await?);
        }
        Ok(deleted)
    }

    /// What can no longer be opened can still be deleted.
    fn open_deleted(&self, tenant: &Tenant, row: &DeletedRow) -> Option<(SecretString, Option<SecretString>)> {
        let open = |column, sealed: &[u8]| self.keys.open(&token_place(tenant, column, row.id, row.generation), sealed);
        let opened = open("access_token", &row.access_token).and_then(|access_token| {
            let refresh_token = row.refresh_token.as_ref().map(|sealed| open("refresh_token", sealed)).transpose()?;
            Ok((access_token, refresh_token))
        });
        opened
            .inspect_err(|error| tracing::warn!(token_id = %row.id, %error, "deleted, but not revoked at the provider"))
            .ok()
    }

    /// The provider of a token.
    async fn provider_of_id(&self, tx: &mut Tx, tenant: &Tenant, id: Uuid) -> Result<Option<Provider>, StoreError> {
        let row = tx
            .query("SELECT * FROM providers WHERE organization_id = $1 AND workspace_id = $2 AND id = $3")
            .within(tenant)
            .bind(id)
            .optional()
            .await?;
        Ok(row.and_then(|row| self.open_deleted_provider(row)))
    }

    /// Closes a provider to new tokens for as long as the transaction runs: PostgreSQL lets nobody refer to a row one
    /// of whose unique columns is being changed, so no consent can slip in between the deletion of the tokens and that
    /// of the provider, and be lost unrevoked. The new name is none that a provider can have.
    async fn close_provider(
        &self,
        tx: &mut Tx,
        tenant: &Tenant,
        provider_id: &str,
    ) -> Result<Option<(Uuid, Option<Provider>)>, StoreError> {
        let row: Option<ProviderRow> = tx
            .query(
                "UPDATE providers SET provider_id = $4
                 WHERE organization_id = $1 AND workspace_id = $2 AND provider_id = $3 RETURNING *",
            )
            .within(tenant)
            .bind(provider_id.to_owned())
            .bind(format!("-{}", Uuid::new_v4()))
            .optional()
            .await?;
        Ok(row.map(|mut row| {
            provider_id.clone_into(&mut row.provider_id);
            (row.id, self.open_deleted_provider(row))
        }))
    }

    /// A provider whose secret no longer opens can still be deleted.
    fn open_deleted_provider(&self, row: ProviderRow) -> Option<Provider> {
        self.open_provider(row)
            .inspect_err(|error| tracing::warn!(%error, "the tokens of a provider are not revoked there"))
            .ok()
    }
}
