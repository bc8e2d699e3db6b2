//! Tables: grants as CSV (RFC 4180), one row each, with a first row that names the columns.
//! Owns: that the columns are fields of a grant.
//! Must not know: what a field means.

use std::io::Read;

use serde_json::{Map, Value};

use super::{
    fields::{self, GRANT_FIELDS},
    json_lines::ORIGIN,
};
use crate::broker::transfer::import::Record;

/// A field that has no place in a table: it is a list whose texts may have any character.
const NOT_IN_TABLES: &str = "agents";

/// Reads the rows one after the other, each with its place.
///
/// # Errors
/// What is wrong with the first row.
pub fn read(input: impl Read) -> Result<impl Iterator<Item = std::io::Result<(String, Record)>>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(input);
    let headers = reader.headers().map_err(|error| fault(&error).to_owned())?.clone();
    let columns: Vec<String> = headers.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
    let known: Vec<&str> = GRANT_FIELDS.into_iter().filter(|name| *name != NOT_IN_TABLES).collect();
    if let Some(position) = columns.iter().position(|name| !known.contains(&name.as_str())) {
        // Not by its name: without a first row with names, it is a value, and that may be a secret.
        let columns = known.join(", ");
        return Err(format!(
            "column {} is not one of ours. The first row names the columns, which may be: {columns}",
            position + 1
        ));
    }
    if let Some(missing) = ["provider_id", "user_id"].iter().find(|name| !columns.iter().any(|column| column == *name))
    {
        return Err(format!("there is no column `{missing}`"));
    }
    Ok(reader.into_records().map(move |row| {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let place = error.position().map_or(0, csv::Position::line);
                return match error.into_kind() {
                    csv::ErrorKind::Io(error) => Err(error),
                    kind => Ok((format!("line {place}"), Record::Unusable(fault_of(&kind).to_owned()))),
                };
            }
        };
        let place = format!("line {}", row.position().map_or(0, csv::Position::line));
        let fields: Map<String, Value> =
            columns.iter().zip(&row).map(|(name, value)| (name.clone(), Value::from(value))).collect();
        let record =
            fields::grant(&fields, ORIGIN).map_or_else(Record::Unusable, |grant| Record::Grant(Box::new(grant)));
        Ok((place, record))
    }))
}

fn fault(error: &csv::Error) -> &'static str {
    fault_of(error.kind())
}

fn fault_of(kind: &csv::ErrorKind) -> &'static str {
    match kind {
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8",
        csv::ErrorKind::UnequalLengths { .. } => "it has more or fewer fields than the first row",
        csv::ErrorKind::Io(_) => "it cannot be read",
        _ => "it is not CSV",
    }
}
