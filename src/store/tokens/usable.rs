//! The tokens a subject may use: the one read of the hot path.
//! Owns: its statements, and the memory of which record a provider's name means.
//! Must not know: which of the tokens is preferred by whoever asked.

use moka::sync::Cache;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::row::{Belonging, StoredToken, Token, token_columns};
use crate::store::{Store, StoreError, Subject, Tenant, db::Db};

/// Names remembered at the most.
const REMEMBERED_NAMES: u64 = 10_000;

/// Which record a provider's name means. A record never changes its name, so what is remembered is only ever outdated
/// when the record was deleted, and all its tokens with it: then nothing is found, and the name is looked up again.
#[derive(Clone)]
pub(in crate::store) struct ProviderNames(Cache<(Tenant, String), Uuid>);

impl ProviderNames {
    pub(in crate::store) fn new() -> Self {
        Self(Cache::new(REMEMBERED_NAMES))
    }
}

impl Store {
    /// The tokens a subject may use at a provider, the preferred one first: its own, and, for an agent, those of
    /// the same user that are connected to it.
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
        let reader = Reader {
            provider,
            user_id: subject.user_id.clone(),
            organization_id: subject.tenant.organization.clone(),
            workspace_id: subject.tenant.workspace.clone(),
        };
        let rows = match &self.shared_reads {
            _ if !subject.agent_id.is_empty() => read_for_agent(&self.db, reader, subject.agent_id.clone()).await?,
            Some(shared_reads) => shared_reads.read(reader).await?,
            None => read_for_one(&self.db, reader).await?,
        };
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
            .within(tenant)
            .bind(provider_id.to_owned())
            .optional()
            .await?;
        Ok(row.map(|(id,)| id))
    }
}

/// For whom tokens are read: a user who names no agent, at a provider.
#[derive(Serialize)]
pub(in crate::store) struct Reader {
    provider: Uuid,
    user_id: String,
    organization_id: String,
    workspace_id: String,
}

/// A token, and for which of several readers it is.
#[derive(sqlx::FromRow)]
struct TokenOfReader {
    reader: i64,
    #[sqlx(flatten)]
    token: StoredToken,
}

pub(in crate::store) async fn read_for_one(db: &Db, reader: Reader) -> Result<Vec<StoredToken>, StoreError> {
    // The index gives them in this order.
    db.query(concat!(
        "SELECT ",
        token_columns!(),
        " FROM tokens t
          WHERE t.provider = $1 AND t.user_id = $2 AND t.agent_id = '' AND t.organization_id = $3 AND t.workspace_id = $4
          ORDER BY t.is_default DESC, t.created_at DESC LIMIT 100"
    ))
    .bind(reader.provider)
    .bind(reader.user_id)
    .bind(reader.organization_id)
    .bind(reader.workspace_id)
    .all()
    .await
}

/// The same for several readers at once, in their order. PostgreSQL only: SQLite has no way to save.
pub(in crate::store) async fn read_for_several(
    db: &Db,
    readers: Vec<Reader>,
) -> Result<Vec<Vec<StoredToken>>, StoreError> {
    let mut tokens: Vec<Vec<StoredToken>> = readers.iter().map(|_| Vec::new()).collect();
    let rows: Vec<TokenOfReader> = db
        .query(concat!(
            "SELECT r.reader, t.* FROM ROWS FROM (
                 jsonb_to_recordset($1) AS (provider uuid, user_id text, organization_id text, workspace_id text)
             ) WITH ORDINALITY AS r (provider, user_id, organization_id, workspace_id, reader)
             CROSS JOIN LATERAL (SELECT ",
            token_columns!(),
            " FROM tokens t
              WHERE t.provider = r.provider AND t.user_id = r.user_id AND t.agent_id = ''
                AND t.organization_id = r.organization_id AND t.workspace_id = r.workspace_id
              ORDER BY t.is_default DESC, t.created_at DESC LIMIT 100) t"
        ))
        .bind(Json(readers))
        .all()
        .await?;
    for row in rows {
        // Counted from one.
        let reader = usize::try_from(row.reader - 1).ok();
        if let Some(tokens) = reader.and_then(|reader| tokens.get_mut(reader)) {
            tokens.push(row.token);
        }
    }
    Ok(tokens)
}

async fn read_for_agent(db: &Db, reader: Reader, agent_id: String) -> Result<Vec<StoredToken>, StoreError> {
    db.query(concat!(
        "SELECT ",
        token_columns!(),
        " FROM tokens t
          WHERE t.provider = $1 AND t.user_id = $2 AND t.organization_id = $3 AND t.workspace_id = $4
            AND (t.agent_id = $5 OR EXISTS (
                 SELECT 1 FROM agent_connections c
                 WHERE c.token = t.id AND c.organization_id = $3 AND c.workspace_id = $4 AND c.agent_id = $5))
          ORDER BY t.is_default DESC, t.created_at DESC LIMIT 100"
    ))
    .bind(reader.provider)
    .bind(reader.user_id)
    .bind(reader.organization_id)
    .bind(reader.workspace_id)
    .bind(agent_id)
    .all()
    .await
}
