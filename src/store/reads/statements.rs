//! The statements of the hot path: the tokens of a subject at a provider, the preferred one first.
//! Owns: these statements.
//! Must not know: when callers share one of them.

use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::stored_token::{StoredToken, token_columns};
use crate::store::{db::Db, error::StoreError};

/// For whom tokens are read: a user who names no agent, at a provider.
#[derive(Serialize)]
pub(in crate::store) struct ReadKey {
    pub(in crate::store) provider: Uuid,
    pub(in crate::store) user_id: String,
    pub(in crate::store) organization_id: String,
    pub(in crate::store) workspace_id: String,
}

/// A token, and for which of several readers it is.
#[derive(sqlx::FromRow)]
struct TokenOfReadKey {
    #[sqlx(flatten)]
    token: StoredToken,
    reader: i64,
}

pub(in crate::store) async fn read_one(db: &Db, key: ReadKey) -> Result<Vec<StoredToken>, StoreError> {
    // The index gives them in this order.
    db.query(concat!(
        "SELECT ",
        token_columns!(),
        " FROM tokens t
          WHERE t.provider = $1 AND t.user_id = $2 AND t.agent_id = '' AND t.organization_id = $3 AND t.workspace_id = $4
          ORDER BY t.is_default DESC, t.created_at DESC LIMIT 100"
    ))
    .bind(key.provider)
    .bind(key.user_id)
    .bind(key.organization_id)
    .bind(key.workspace_id)
    .read()
    .all()
    .await
}

/// The same for several readers at once, in their order. PostgreSQL only: SQLite has no way to save.
pub(in crate::store) async fn read_several(db: &Db, keys: Vec<ReadKey>) -> Result<Vec<Vec<StoredToken>>, StoreError> {
    let mut tokens: Vec<Vec<StoredToken>> = keys.iter().map(|_| Vec::new()).collect();
    let rows: Vec<TokenOfReadKey> = db
        .query(concat!(
            "SELECT t.*, r.reader FROM ROWS FROM (
                 jsonb_to_recordset($1) AS (provider uuid, user_id text, organization_id text, workspace_id text)
             ) WITH ORDINALITY AS r (provider, user_id, organization_id, workspace_id, reader)
             CROSS JOIN LATERAL (SELECT ",
            token_columns!(),
            " FROM tokens t
              WHERE t.provider = r.provider AND t.user_id = r.user_id AND t.agent_id = ''
                AND t.organization_id = r.organization_id AND t.workspace_id = r.workspace_id
              ORDER BY t.is_default DESC, t.created_at DESC LIMIT 100) t"
        ))
        .bind(Json(keys))
        .read()
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

pub(in crate::store) async fn read_for_agent(
    db: &Db,
    key: ReadKey,
    agent_id: String,
) -> Result<Vec<StoredToken>, StoreError> {
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
    .bind(key.provider)
    .bind(key.user_id)
    .bind(key.organization_id)
    .bind(key.workspace_id)
    .bind(agent_id)
    .read()
    .all()
    .await
}
