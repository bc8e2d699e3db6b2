//! JSON lines: one provider or grant a line. An export is written like this.
//! Owns: which line is which.
//! Must not know: the fields.

use std::io::BufRead;

use serde_json::Value;

use super::fields;
use crate::{broker::transfer::import::Record, outbound::address::AddressGuard};

/// What the ids of grants in files are ids of.
pub const ORIGIN: &str = "file";

/// Reads the records one after the other, each with its place. Empty lines are skipped.
pub fn read<'r>(
    input: impl BufRead + 'r,
    guard: &'r AddressGuard,
) -> impl Iterator<Item = std::io::Result<(String, Record)>> + 'r {
    let lines = input.lines().zip(1_u64..);
    let lines = lines.filter(|(line, _)| !line.as_ref().is_ok_and(|line| line.trim().is_empty()));
    lines.map(move |(line, number)| {
        let record = record(&line?, guard).unwrap_or_else(Record::Unusable);
        Ok((format!("line {number}"), record))
    })
}

fn record(line: &str, guard: &AddressGuard) -> Result<Record, String> {
    let value = serde_json::from_str(line.trim_start_matches('\u{feff}'));
    // The position, and not what is there.
    let value = value.map_err(|error| format!("not JSON, at column {}", error.column()))?;
    let Value::Object(object) = value else { return Err("not a JSON object".into()) };
    match object.get("type").and_then(Value::as_str) {
        Some("grant") => fields::grant(&object, ORIGIN).map(|grant| Record::Grant(Box::new(grant))),
        Some("provider") => fields::provider(object, guard),
        _ => Err("`type` should be \"provider\" or \"grant\"".into()),
    }
}
