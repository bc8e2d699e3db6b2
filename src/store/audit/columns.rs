//! Audit events as PostgreSQL takes many at once: an array for each column in which they differ.
//! Owns: the columns of an event, and the statements that make rows of them.
//! Must not know: when events are added, or what their hashes cover.

use sqlx::{
    Arguments, Encode, Postgres, Type,
    postgres::{PgArguments, PgHasArrayType},
    types::Json,
};

use super::chain::Placed;
use crate::{
    model::audit::EventFields,
    store::{db::Tx, error::StoreError},
};

/// The columns of a [`RecordedEvent`](crate::model::audit::RecordedEvent), in the order in which every statement has them.
macro_rules! event_columns {
    () => {
        "organization_id, sequence, at, event, result, actor, actor_id, workspace_id, user_id, agent_id, provider_id,
         token_id, auth_id, scopes, error, details, request_id, address, hash"
    };
}
pub(super) use event_columns;

/// Of fewer events than this, each column is an array, so that PostgreSQL has one statement for all of them.
const SHARED_FROM: usize = 25;

/// Events on their way into PostgreSQL, which has all of a statement before it runs. COPY costs more, but its rows come while it
/// runs: if the sender is cut off in between, PostgreSQL waits for the rest without end, and holds the lock of the chain.
///
/// A column is an array, or the one value of all rows. Of a batch of hand-outs most columns have the same value in every row, and a
/// value that is read once costs nothing beside one that is read for each row. The statement is put together for each batch, but there
/// are only a few different ones, which PostgreSQL prepares once. `unnest` of each array by itself takes a quarter less than one of
/// all of them after FROM, which stores the values first.
pub(super) struct Rows<'e> {
    events: &'e [Placed<'e>],
    /// The values of the columns, as SQL.
    columns: Vec<String>,
    parameters: PgArguments,
}

impl<'e> Rows<'e> {
    /// Rows of events of one organization.
    pub(super) fn new(organization: &'e str, events: &'e [Placed<'e>]) -> Result<Self, StoreError> {
        // In the order of event_columns.
        Self { events, columns: Vec::new(), parameters: PgArguments::default() }
            .same("text", organization)?
            .each("bigint", events.iter().map(|(_, place)| place.sequence).collect())?
            .column("timestamptz", |event| Some(event.at))?
            .column("text", |event| Some(event.event))?
            .column("text", |event| Some(event.result))?
            .column("text", |event| Some(event.actor))?
            .column("text", |event| event.actor_id)?
            .column("text", |event| Some(event.workspace_id))?
            .column("text", |event| event.user_id)?
            .column("text", |event| event.agent_id)?
            .column("text", |event| event.provider_id)?
            .column("uuid", |event| event.token_id)?
            .column("uuid", |event| event.auth_id)?
            .column("jsonb", |event| Some(Json(event.scopes)))?
            .column("text", |event| event.error)?
            .column("jsonb", |event| Some(Json(event.details)))?
            .column("text", |event| event.request_id)?
            .column("text", |event| event.address)?
            .each("bytea", events.iter().map(|(_, place)| place.hash).collect())
    }

    /// Inserts the rows, and returns how many were added.
    pub(super) async fn insert(self, tx: &mut Tx) -> Result<u64, StoreError> {
        let values = self.columns.join(", ");
        let sql = format!(concat!("INSERT INTO audit_events (", event_columns!(), ") SELECT {}"), values);
        tx.postgres_query(sql, self.parameters).execute().await
    }

    fn column<T>(self, kind: &str, value: impl Fn(&'e EventFields<'e>) -> Option<T>) -> Result<Self, StoreError>
    where
        T: PartialEq + Encode<'e, Postgres> + Type<Postgres> + PgHasArrayType + 'e,
    {
        let first = self.events.first().and_then(|(event, _)| value(event));
        let is_shared = self.events.len() >= SHARED_FROM && self.events.iter().all(|(event, _)| value(event) == first);
        if is_shared {
            return self.same(kind, first);
        }
        let of_each = self.events.iter().map(|(event, _)| value(event)).collect();
        self.each(kind, of_each)
    }

    fn same<T: Encode<'e, Postgres> + Type<Postgres> + 'e>(mut self, kind: &str, value: T) -> Result<Self, StoreError> {
        self.parameters.add(value).map_err(sqlx::Error::Encode)?;
        self.columns.push(format!("${}::{kind}", self.columns.len() + 1));
        Ok(self)
    }

    fn each<T>(mut self, kind: &str, values: Vec<T>) -> Result<Self, StoreError>
    where
        T: Encode<'e, Postgres> + Type<Postgres> + PgHasArrayType + 'e,
    {
        self.parameters.add(values).map_err(sqlx::Error::Encode)?;
        self.columns.push(format!("unnest(${}::{kind}[])", self.columns.len() + 1));
        Ok(self)
    }
}
