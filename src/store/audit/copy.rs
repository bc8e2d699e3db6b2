//! Audit events as PostgreSQL's COPY takes them: its binary format, which costs the database a fraction of an INSERT.
//! Owns: the encoding of each column, in the order of its statement.
//! Must not know: when events are copied, or what their hashes cover.

use sqlx::types::Json;

use crate::model::audit::RecordedEvent;

/// The rows that follow are encoded for it.
pub(super) const STATEMENT: &str = "COPY audit_events (organization_id, sequence, at, event, result, actor, actor_id, \
     workspace_id, user_id, agent_id, provider_id, token_id, auth_id, scopes, error, details, request_id, address, hash) \
     FROM STDIN (FORMAT binary)";
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

/// The events as the data of one COPY.
pub(super) fn rows(events: &[RecordedEvent]) -> Result<Vec<u8>, serde_json::Error> {
    let mut data = Vec::with_capacity(HEADER.len() + events.len() * ROW_BYTES);
    data.extend_from_slice(HEADER);
    for event in events {
        // By name, so that a column that is added is not forgotten here.
        let RecordedEvent {
            organization_id,
            sequence,
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
            scopes: Json(scopes),
            error,
            details: Json(details),
            request_id,
            address,
            hash,
        } = event;
        data.extend_from_slice(&COLUMNS.to_be_bytes());
        field(&mut data, organization_id.as_bytes());
        field(&mut data, &sequence.to_be_bytes());
        field(&mut data, &(at.timestamp_micros() - YEAR_2000).to_be_bytes());
        for text in [name, result, actor] {
            field(&mut data, text.as_bytes());
        }
        optional(&mut data, actor_id.as_ref().map(String::as_bytes));
        field(&mut data, workspace_id.as_bytes());
        for text in [user_id, agent_id, provider_id] {
            optional(&mut data, text.as_ref().map(String::as_bytes));
        }
        for id in [token_id, auth_id] {
            optional(&mut data, id.as_ref().map(|id| &id.as_bytes()[..]));
        }
        json(&mut data, scopes)?;
        optional(&mut data, error.as_ref().map(String::as_bytes));
        json(&mut data, details)?;
        for text in [request_id, address] {
            optional(&mut data, text.as_ref().map(String::as_bytes));
        }
        field(&mut data, hash);
    }
    data.extend_from_slice(&TRAILER.to_be_bytes());
    Ok(data)
}

fn field(data: &mut Vec<u8>, bytes: &[u8]) {
    // A value is far below the two gigabytes that PostgreSQL takes.
    let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
    data.extend_from_slice(&length.to_be_bytes());
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
    let mut bytes = vec![JSONB_VERSION];
    serde_json::to_writer(&mut bytes, value)?;
    field(data, &bytes);
    Ok(())
}
