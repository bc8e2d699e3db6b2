//! Audit events as PostgreSQL's COPY takes them: its binary format, which costs the database a fraction of an INSERT.
//! Owns: the encoding of each column, in the order of its statement.
//! Must not know: when events are copied, or what their hashes cover.

use super::chain::ChainEnd;
use crate::model::audit::EventFields;

/// The columns of a [`RecordedEvent`](crate::model::audit::RecordedEvent), in the order in which every statement has them.
macro_rules! event_columns {
    () => {
        "organization_id, sequence, at, event, result, actor, actor_id, workspace_id, user_id, agent_id, provider_id,
         token_id, auth_id, scopes, error, details, request_id, address, hash"
    };
}
pub(super) use event_columns;

/// The rows that follow are encoded for it.
pub(super) const STATEMENT: &str = concat!("COPY audit_events (", event_columns!(), ") FROM STDIN (FORMAT binary)");
const COLUMNS: i16 = 19;
/// The signature, no flags and no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What follows the last row.
const TRAILER: i16 = -1;
/// PostgreSQL counts microseconds from the year 2000.
const YEAR_2000: i64 = 946_684_800_000_000;
/// The version of the binary form of a JSONB value.
const JSONB_VERSION: u8 = 1;
/// About the size of a row.
const ROW_BYTES: usize = 512;

/// The data of one COPY.
pub(super) struct Rows(Vec<u8>);

impl Rows {
    /// With room for about so many.
    pub(super) fn new(many: usize) -> Self {
        let mut data = Vec::with_capacity(HEADER.len() + many * ROW_BYTES);
        data.extend_from_slice(HEADER);
        Self(data)
    }

    /// Adds an event at its place in the chain.
    pub(super) fn add(&mut self, event: &EventFields<'_>, place: &ChainEnd) -> Result<(), serde_json::Error> {
        // By name, so that a column that is added is not forgotten here.
        let EventFields {
            organization_id,
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
        let Self(data) = self;
        data.extend_from_slice(&COLUMNS.to_be_bytes());
        field(data, organization_id.as_bytes());
        field(data, &place.sequence.to_be_bytes());
        field(data, &(at.timestamp_micros() - YEAR_2000).to_be_bytes());
        for text in [name, result, actor] {
            field(data, text.as_bytes());
        }
        optional(data, actor_id.map(str::as_bytes));
        field(data, workspace_id.as_bytes());
        for text in [user_id, agent_id, provider_id] {
            optional(data, text.map(str::as_bytes));
        }
        for id in [token_id, auth_id] {
            optional(data, id.as_ref().map(|id| &id.as_bytes()[..]));
        }
        json(data, scopes)?;
        optional(data, error.map(str::as_bytes));
        json(data, details)?;
        for text in [request_id, address] {
            optional(data, text.map(str::as_bytes));
        }
        field(data, &place.hash);
        Ok(())
    }

    /// All of it.
    pub(super) fn finish(self) -> Vec<u8> {
        let Self(mut data) = self;
        data.extend_from_slice(&TRAILER.to_be_bytes());
        data
    }
}

fn field(data: &mut Vec<u8>, bytes: &[u8]) {
    data.extend_from_slice(&length(bytes.len()).to_be_bytes());
    data.extend_from_slice(bytes);
}

fn optional(data: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => field(data, bytes),
        // NULL has the length -1, and no bytes.
        None => data.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

fn json(data: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), serde_json::Error> {
    let at = data.len();
    field(data, &[JSONB_VERSION]);
    serde_json::to_writer(&mut *data, value)?;
    // It is known only now.
    let begin = at + size_of::<i32>();
    let length = length(data.len() - begin);
    data[at..begin].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A value is far below the two gigabytes that PostgreSQL takes.
fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
