//! A token as it is stored: sealed, and without the columns that its reader knows already.
//! Owns: the columns that are read of an opened token.
//! Must not know: how it is opened.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::token::State;

/// The columns of a [`StoredToken`], for statements that call the table `t`.
macro_rules! token_columns {
    () => {
        "t.id, t.agent_id, t.account_label, t.access_token, t.refresh_token IS NOT NULL AS has_refresh_token, t.scopes,
         t.metadata, t.is_default, t.state, t.expires_at, t.refresh_due_at, t.retry_at, t.generation,
         COALESCE(t.last_refreshed_at, t.created_at) AS obtained_at, t.last_used_at"
    };
}
pub(in crate::store) use token_columns;

/// A token as it is stored: sealed, and without the columns that its reader knows already.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct StoredToken {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) agent_id: String,
    pub(in crate::store) account_label: Option<String>,
    pub(in crate::store) access_token: Vec<u8>,
    pub(in crate::store) has_refresh_token: bool,
    pub(in crate::store) scopes: Json<Vec<String>>,
    pub(in crate::store) metadata: Json<Map<String, Value>>,
    pub(in crate::store) is_default: bool,
    pub(in crate::store) state: State,
    pub(in crate::store) expires_at: Option<DateTime<Utc>>,
    pub(in crate::store) refresh_due_at: Option<DateTime<Utc>>,
    pub(in crate::store) retry_at: Option<DateTime<Utc>>,
    pub(in crate::store) generation: i64,
    pub(in crate::store) obtained_at: DateTime<Utc>,
    pub(in crate::store) last_used_at: Option<DateTime<Utc>>,
}
