//! Tables: grants as CSV, one row each, with a first row that names the columns.
//! Owns: that the columns are fields of a grant.
//! Must not know: what a field means, or where a row ends.

use std::io::{BufReader, Read};

use serde_json::{Map, Value};

use super::{
    fields::{self, GRANT_FIELDS},
    rows::{Row, Rows},
};
use crate::broker::transfer::records::Record;

/// A field that has no place in a table: it is a list whose texts may have any character.
const NOT_IN_TABLES: &str = "agents";
/// The only field that may have line breaks: JSON is often written with them.
const MAY_BREAK: &str = "metadata";

/// Reads the rows one after the other, each with its place.
///
/// # Errors
/// What is wrong with the first row.
pub fn read(input: impl Read) -> Result<impl Iterator<Item = std::io::Result<(String, Record)>>, String> {
    let mut rows = Rows::of(BufReader::new(input));
    let columns = match rows.next() {
        None => return Err("it is empty: the first row names the columns".into()),
        Some(Err(error)) => return Err(format!("it cannot be read: {error}")),
        Some(Ok(Row { fields: Err(problem), .. })) => return Err(format!("the first row: {problem}")),
        Some(Ok(Row { fields: Ok(columns), .. })) => columns,
    };
    let known: Vec<&str> = GRANT_FIELDS.into_iter().filter(|name| *name != NOT_IN_TABLES).collect();
    // Not by their names: without a first row with names, they are values, and these may be secrets.
    for (position, name) in (1..).zip(&columns) {
        if !known.contains(&name.as_str()) {
            let columns = known.join(", ");
            return Err(format!(
                "column {position} is not one of ours. The first row names the columns, which may be: {columns}"
            ));
        }
        if let Some(first) = (1..position).find(|first| columns[first - 1] == *name) {
            return Err(format!("columns {first} and {position} have the same name"));
        }
    }
    if let Some(missing) = ["provider_id", "user_id"].iter().find(|name| !columns.iter().any(|column| column == *name))
    {
        return Err(format!("there is no column `{missing}`"));
    }
    Ok(rows.map(move |row| {
        let row = row?;
        let place = match row.first {
            first if first == row.last => format!("line {first}"),
            first => format!("lines {first} to {}", row.last),
        };
        let record = grant(&columns, row).unwrap_or_else(Record::Unusable);
        Ok((place, record))
    }))
}

fn grant(columns: &[String], row: Row) -> Result<Record, String> {
    let fields = row.fields?;
    if fields.len() != columns.len() {
        return Err("it has more or fewer fields than the first row".into());
    }
    let is_broken = |(name, value): &(&String, &String)| *name != MAY_BREAK && value.contains('\n');
    if let Some((name, _)) = columns.iter().zip(&fields).find(is_broken) {
        return Err(format!("{name}: a line break; is a quote missing?"));
    }
    let fields: Map<String, Value> = columns.iter().cloned().zip(fields.into_iter().map(Value::from)).collect();
    fields::grant(&fields).map(|grant| Record::Grant(Box::new(grant)))
}
