//! Audit events as PostgreSQL takes many at once: an array for each column in which they differ.
//! Owns: the columns of an event, and the statement that makes rows of them.
//! Must not know: when events are added, or what their hashes cover.

use sqlx::{Encode, Postgres, Type, postgres::PgHasArrayType, types::Json};

use super::chain::Placed;
use crate::{model::audit::EventFields, store::db::Query};

/// The columns of a [`RecordedEvent`](crate::model::audit::RecordedEvent), in the order in which every statement has them.
macro_rules! event_columns {
    () => {
        "organization_id, sequence, at, event, result, actor, actor_id, workspace_id, user_id, agent_id, provider_id,
         token_id, auth_id, scopes, error, details, request_id, address, hash"
    };
}
pub(super) use event_columns;

/// One statement, of which PostgreSQL has all before it runs. COPY costs more, but its rows come while it runs: if the sender is
/// cut off in between, PostgreSQL waits for the rest without end, and holds the lock of the chain.
///
/// Most columns have two parameters: a value for each row, or one value for all of them. Of a batch of hand-outs most columns
/// have the same value in every row, and a value that is read once costs nothing beside one that is read for each row. `unnest` of
/// each array by itself takes a quarter less than one of all of them after FROM, which stores the values first; an array that
/// is shorter than `sequence` goes on with NULL.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO audit_events (",
    event_columns!(),
    ") SELECT
        $1, sequence, coalesce(at, $5), coalesce(event, $7), coalesce(result, $9), coalesce(actor, $11),
        coalesce(actor_id, $13), coalesce(workspace_id, $15), coalesce(user_id, $17), coalesce(agent_id, $19),
        coalesce(provider_id, $21), coalesce(token_id, $23), coalesce(auth_id, $25), coalesce(scopes, $27),
        coalesce(error, $29), coalesce(details, $31), coalesce(request_id, $33), coalesce(address, $35), hash
    FROM (SELECT
        unnest($2::bigint[]) AS sequence, unnest($3::bytea[]) AS hash, unnest($4::timestamptz[]) AS at,
        unnest($6::text[]) AS event, unnest($8::text[]) AS result, unnest($10::text[]) AS actor,
        unnest($12::text[]) AS actor_id, unnest($14::text[]) AS workspace_id, unnest($16::text[]) AS user_id,
        unnest($18::text[]) AS agent_id, unnest($20::text[]) AS provider_id, unnest($22::uuid[]) AS token_id,
        unnest($24::uuid[]) AS auth_id, unnest($26::jsonb[]) AS scopes, unnest($28::text[]) AS error,
        unnest($30::jsonb[]) AS details, unnest($32::text[]) AS request_id, unnest($34::text[]) AS address
    ) AS of_each_row"
);

/// Binds the parameters of [`INSERT`].
pub(super) fn bind<'q>(query: Query<'q>, organization: &str, events: &[Placed<'_>]) -> Query<'q> {
    let query = query
        .bind(organization.to_owned())
        .bind_postgres(events.iter().map(|(_, place)| place.sequence).collect::<Vec<_>>())
        .bind_postgres(events.iter().map(|(_, place)| place.hash).collect::<Vec<_>>());
    Columns { query, events }
        .bind(|event| Some(event.at))
        .bind(|event| Some(event.event))
        .bind(|event| Some(event.result))
        .bind(|event| Some(event.actor))
        .bind(|event| event.actor_id)
        .bind(|event| Some(event.workspace_id))
        .bind(|event| event.user_id)
        .bind(|event| event.agent_id)
        .bind(|event| event.provider_id)
        .bind(|event| event.token_id)
        .bind(|event| event.auth_id)
        .bind(|event| Some(Json(event.scopes)))
        .bind(|event| event.error)
        .bind(|event| Some(Json(event.details)))
        .bind(|event| event.request_id)
        .bind(|event| event.address)
        .query
}

struct Columns<'q, 'e> {
    query: Query<'q>,
    events: &'e [Placed<'e>],
}

impl<'e> Columns<'_, 'e> {
    /// Binds the values of a column, and the one that all events have; one of the two is nothing.
    fn bind<T>(self, value: impl Fn(&'e EventFields<'e>) -> Option<T>) -> Self
    where
        T: PartialEq + Encode<'e, Postgres> + Type<Postgres> + PgHasArrayType + 'e,
    {
        let first = self.events.first().and_then(|(event, _)| value(event));
        let is_same = self.events.iter().all(|(event, _)| value(event) == first);
        let (each, all) = if is_same {
            (Vec::new(), first)
        } else {
            (self.events.iter().map(|(event, _)| value(event)).collect(), None)
        };
        Self { query: self.query.bind_postgres(each).bind_postgres(all), ..self }
    }
}
