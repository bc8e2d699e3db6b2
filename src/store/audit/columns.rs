//! Audit events as PostgreSQL takes many at once: an array for each column.
//! Owns: the columns of an event, and the statement that makes rows of them.
//! Must not know: when events are added, or what their hashes cover.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::chain::ChainEnd;
use crate::{model::audit::EventFields, store::db::Query};

/// The columns of a [`RecordedEvent`](crate::model::audit::RecordedEvent), in the order in which every statement has them.
macro_rules! event_columns {
    () => {
        "organization_id, sequence, at, event, result, actor, actor_id, workspace_id, user_id, agent_id, provider_id,
         token_id, auth_id, scopes, error, details, request_id, address, hash"
    };
}
pub(super) use event_columns;

/// One statement, of which PostgreSQL has all before it runs. COPY costs a little less, but its rows come while it runs: if the
/// sender is cut off in between, PostgreSQL waits for the rest without end, and holds the lock of the chain. The arrays are all of
/// one length. `unnest` of each by itself takes a quarter less than one of all of them after FROM, which stores the values first.
pub(super) const INSERT: &str = concat!(
    "INSERT INTO audit_events (",
    event_columns!(),
    ") SELECT $1, unnest($2::bigint[]), unnest($3::timestamptz[]), unnest($4::text[]), unnest($5::text[]),
        unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[]),
        unnest($11::text[]), unnest($12::uuid[]), unnest($13::uuid[]), unnest($14::jsonb[]), unnest($15::text[]),
        unnest($16::jsonb[]), unnest($17::text[]), unnest($18::text[]), unnest($19::bytea[])"
);

/// The values of each column but the organization, which is the same.
#[derive(Default)]
pub(super) struct Columns<'e> {
    sequence: Vec<i64>,
    at: Vec<DateTime<Utc>>,
    event: Vec<&'e str>,
    result: Vec<&'e str>,
    actor: Vec<&'e str>,
    actor_id: Vec<Option<&'e str>>,
    workspace_id: Vec<&'e str>,
    user_id: Vec<Option<&'e str>>,
    agent_id: Vec<Option<&'e str>>,
    provider_id: Vec<Option<&'e str>>,
    token_id: Vec<Option<Uuid>>,
    auth_id: Vec<Option<Uuid>>,
    scopes: Vec<Json<&'e [&'e str]>>,
    error: Vec<Option<&'e str>>,
    details: Vec<Json<&'e BTreeMap<String, String>>>,
    request_id: Vec<Option<&'e str>>,
    address: Vec<Option<&'e str>>,
    hash: Vec<Vec<u8>>,
}

impl<'e> Columns<'e> {
    /// Adds an event at its place in the chain.
    pub(super) fn add(&mut self, event: &'e EventFields<'e>, place: &ChainEnd) {
        // By name, so that a column that is added is not forgotten here.
        let EventFields {
            organization_id: _,
            at,
            event: name,
            result,
            actor,
            actor_id,
            workspace_id,
            user_id,
            agent_id,
            provider_id,
            token_id,
            auth_id,
            scopes,
            error,
            details,
            request_id,
            address,
        } = event;
        self.sequence.push(place.sequence);
        self.at.push(*at);
        self.event.push(name);
        self.result.push(result);
        self.actor.push(actor);
        self.actor_id.push(*actor_id);
        self.workspace_id.push(workspace_id);
        self.user_id.push(*user_id);
        self.agent_id.push(*agent_id);
        self.provider_id.push(*provider_id);
        self.token_id.push(*token_id);
        self.auth_id.push(*auth_id);
        self.scopes.push(Json(scopes));
        self.error.push(*error);
        self.details.push(Json(details));
        self.request_id.push(*request_id);
        self.address.push(*address);
        self.hash.push(place.hash.clone());
    }

    /// Binds them to the parameters of [`INSERT`] that follow the organization.
    pub(super) fn bind(self, query: Query<'_>) -> Query<'_> {
        query
            .bind_array(self.sequence)
            .bind_array(self.at)
            .bind_array(self.event)
            .bind_array(self.result)
            .bind_array(self.actor)
            .bind_array(self.actor_id)
            .bind_array(self.workspace_id)
            .bind_array(self.user_id)
            .bind_array(self.agent_id)
            .bind_array(self.provider_id)
            .bind_array(self.token_id)
            .bind_array(self.auth_id)
            .bind_array(self.scopes)
            .bind_array(self.error)
            .bind_array(self.details)
            .bind_array(self.request_id)
            .bind_array(self.address)
            .bind_array(self.hash)
    }
}
