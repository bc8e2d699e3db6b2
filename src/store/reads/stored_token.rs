//! A token as it is stored: sealed, and without the columns that its reader knows already.
//! Owns: the columns that are read of an opened token.
//! Must not know: how it is opened.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type, types::Json};
use uuid::Uuid;

use crate::model::token::State;

/// The columns of a [`StoredToken`], for statements that call the table `t`. They come first, and in this order.
macro_rules! token_columns {
    () => {
        "t.id, t.agent_id, t.account_label, t.access_token, t.refresh_token IS NOT NULL AS has_refresh_token, t.scopes,
         t.metadata, t.is_default, t.state, t.expires_at, t.refresh_due_at, t.retry_at, t.generation,
         COALESCE(t.last_refreshed_at, t.created_at) AS obtained_at, t.last_used_at"
    };
}
pub(in crate::store) use token_columns;

/// A token as it is stored: sealed, and without the columns that its reader knows already.
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

/// By place, as every request of the hot path pays for looking columns up by name.
impl<'r, R: Row> FromRow<'r, R> for StoredToken
where
    usize: ColumnIndex<R>,
    Uuid: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    State: Decode<'r, R::Database> + Type<R::Database>,
    Json<Vec<String>>: Decode<'r, R::Database> + Type<R::Database>,
    Json<Map<String, Value>>: Decode<'r, R::Database> + Type<R::Database>,
    DateTime<Utc>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get(0)?,
            agent_id: row.try_get(1)?,
            account_label: row.try_get(2)?,
            access_token: row.try_get(3)?,
            has_refresh_token: row.try_get(4)?,
            scopes: row.try_get(5)?,
            metadata: row.try_get(6)?,
            is_default: row.try_get(7)?,
            state: row.try_get(8)?,
            expires_at: row.try_get(9)?,
            refresh_due_at: row.try_get(10)?,
            retry_at: row.try_get(11)?,
            generation: row.try_get(12)?,
            obtained_at: row.try_get(13)?,
            last_used_at: row.try_get(14)?,
        })
    }
}
