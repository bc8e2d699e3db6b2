//! Grants that are taken out, opened.
//! Owns: which grants leave, and what is read of them.
//! Must not know: the format they are written in, or who may have them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use super::{
    error::{NotOpened, StoreError},
    handle::Store,
    imported_grants::source_id_of,
    seal::{TOKEN_ACCESS_TOKEN, TOKEN_REFRESH_TOKEN},
};
use crate::model::{
    moved_grant::{ID_IN_FILE, MovedGrant},
    subject::Tenant,
};

/// The next grants.
#[derive(Debug)]
pub struct GrantPage {
    /// The last token that was read; the next page begins after it.
    pub last: Uuid,
    /// Its grants. One whose secrets cannot be opened is an error of its own.
    pub grants: Vec<Result<MovedGrant, NotOpened>>,
}

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: Uuid,
    remembered_as: Option<String>,
    provider_id: String,
    user_id: String,
    agent_id: String,
    ls_user_id: Option<String>,
    account_id: Option<String>,
    account_label: Option<String>,
    access_token: Vec<u8>,
    refresh_token: Option<Vec<u8>>,
    scopes: Json<Vec<String>>,
    metadata: Json<Map<String, Value>>,
    is_default: bool,
    expires_at: Option<DateTime<Utc>>,
    refresh_token_expires_at: Option<DateTime<Utc>>,
    generation: i64,
}

impl Store {
    /// How many grants of a tenant are alive.
    pub async fn count_living_grants(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let (grants,): (i64,) = self
            .db
            .query("SELECT count(*) FROM tokens WHERE organization_id = $1 AND workspace_id = $2 AND state = 'active'")
            .within(tenant)
            .read()
            .one()
            .await?;
        Ok(grants.unsigned_abs())
    }

    /// At most `limit` living grants of a tenant, in the order of their ids from after `after` on. `None`: there are no
    /// more.
    pub async fn living_grants_after(
        &self,
        tenant: &Tenant,
        after: Uuid,
        limit: i64,
    ) -> Result<Option<GrantPage>, StoreError> {
        let rows: Vec<GrantRow> = self
            .db
            .query(
                "SELECT t.id, i.source_id AS remembered_as, p.provider_id, t.user_id, t.agent_id, t.ls_user_id, t.account_id,
                        t.account_label, t.access_token, t.refresh_token, t.scopes, t.metadata, t.is_default,
                        t.expires_at, t.refresh_token_expires_at, t.generation
                 FROM tokens t JOIN providers p ON p.id = t.provider LEFT JOIN imported_grants i ON i.token = t.id
                 WHERE t.organization_id = $1 AND t.workspace_id = $2 AND t.state = 'active' AND t.id > $3
                 ORDER BY t.id LIMIT $4",
            )
            .within(tenant)
            .bind(after)
            .bind(limit)
            .read()
            .all()
            .await?;
        let Some(last) = rows.last().map(|row| row.id) else { return Ok(None) };
        let connected: Vec<(Uuid, String)> = self
            .db
            .query(
                "SELECT token, agent_id FROM agent_connections
                 WHERE organization_id = $1 AND workspace_id = $2 AND token > $3 AND token <= $4
                 ORDER BY token, agent_id",
            )
            .within(tenant)
            .bind(after)
            .bind(last)
            .read()
            .all()
            .await?;
        let grants = rows.into_iter().map(|row| self.open_grant(tenant, row, &connected)).collect();
        Ok(Some(GrantPage { last, grants }))
    }

    fn open_grant(
        &self,
        tenant: &Tenant,
        row: GrantRow,
        connected: &[(Uuid, String)],
    ) -> Result<MovedGrant, NotOpened> {
        let seal = self.row_seal(tenant, row.id, row.generation);
        let agents = connected.iter().filter(|(token, _)| *token == row.id).map(|(_, agent_id)| agent_id.clone());
        Ok(MovedGrant {
            // The id that it came with, so that it is recognized where it comes from.
            source_id: row
                .remembered_as
                .map_or_else(|| format!("{ID_IN_FILE}{}", row.id), |remembered| source_id_of(&remembered).to_owned()),
            access_token: Some(seal.open(TOKEN_ACCESS_TOKEN, &row.access_token)?),
            refresh_token: seal.open_optional(TOKEN_REFRESH_TOKEN, row.refresh_token.as_ref())?,
            is_static_key: false,
            response: None,
            agents: agents.collect(),
            provider_id: row.provider_id,
            user_id: row.user_id,
            agent_id: row.agent_id,
            ls_user_id: row.ls_user_id,
            account_id: row.account_id,
            account_label: row.account_label,
            scopes: row.scopes.0,
            metadata: row.metadata.0,
            is_default: row.is_default,
            expires_at: row.expires_at,
            refresh_token_expires_at: row.refresh_token_expires_at,
        })
    }
}
