//! Fields: one record of our own formats, read field by field.
//! Owns: the names of the fields, and what a value of each looks like.
//! Must not know: whether it was a line of JSON or a row of a table.
//!
//! Nothing here repeats a value in a message: any of them may be a secret that is in the wrong place.

use chrono::{DateTime, Datelike, Utc};
use secrecy::SecretString;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    broker::transfer::records::{MovedProvider, Record, Restored},
    http::{api::provider_bodies::ProviderCreateRequest, body::JsonBody},
    model::{
        moved_grant::{ID_BY_PERSON, ID_IN_AUTH0, ID_IN_FILE, ID_IN_NANGO, MovedGrant},
        options::ProviderOptions,
    },
    outbound::address::AddressGuard,
};

/// No time in seconds is so late; in milliseconds it is in 1973.
const SECONDS_MAX: i64 = 100_000_000_000;
/// The longest id of a grant.
const ID_MAX: usize = 256;

/// The fields of a grant.
pub const GRANT_FIELDS: [&str; 15] = [
    "id",
    "provider_id",
    "user_id",
    "agent_id",
    "ls_user_id",
    "account_id",
    "account_label",
    "access_token",
    "refresh_token",
    "scopes",
    "metadata",
    "is_default",
    "expires_at",
    "refresh_token_expires_at",
    "agents",
];

/// The fields of a provider beyond those of `POST /v2/auth/providers`: what an export writes.
const RESTORED_FIELDS: [&str; 3] = ["options", "mcp_server_url", "is_dynamic_client"];

/// A grant.
///
/// # Errors
/// Which field is wrong and why.
pub fn grant(fields: &Map<String, Value>) -> Result<MovedGrant, String> {
    if fields.keys().any(|name| !GRANT_FIELDS.contains(&name.as_str()) && *name != "type") {
        return Err(format!("it has a field that is not one of a grant; these are: {}", GRANT_FIELDS.join(", ")));
    }
    let mut grant = MovedGrant {
        source_id: String::new(),
        provider_id: text(fields, "provider_id")?.ok_or("provider_id is missing")?,
        user_id: text(fields, "user_id")?.ok_or("user_id is missing")?,
        agent_id: text(fields, "agent_id")?.unwrap_or_default(),
        ls_user_id: text(fields, "ls_user_id")?,
        account_id: text(fields, "account_id")?,
        account_label: text(fields, "account_label")?,
        access_token: text(fields, "access_token")?.map(SecretString::from),
        refresh_token: text(fields, "refresh_token")?.map(SecretString::from),
        is_static_key: false,
        response: None,
        scopes: scopes(fields)?,
        metadata: metadata(fields)?,
        is_default: boolean(fields, "is_default")?,
        expires_at: time(fields, "expires_at")?,
        refresh_token_expires_at: time(fields, "refresh_token_expires_at")?,
        agents: texts(fields, "agents")?,
    };
    grant.source_id = match text(fields, "id")? {
        Some(id) => in_file(id)?,
        None => format!("{ID_BY_PERSON}{}", id_of_subject(&grant)),
    };
    Ok(grant)
}

/// An id of a file. One that an export wrote may be older than the file: it is the one that the grant came with.
fn in_file(id: String) -> Result<String, String> {
    if [ID_IN_FILE, ID_BY_PERSON, ID_IN_NANGO, ID_IN_AUTH0].iter().any(|source| id.starts_with(source)) {
        return Ok(id);
    }
    if id.len() > ID_MAX { Err(format!("id: at most {ID_MAX} characters")) } else { Ok(format!("{ID_IN_FILE}{id}")) }
}

/// What stands for an id that a grant does not have: whose it is. A hash, because its length has a limit.
fn id_of_subject(grant: &MovedGrant) -> String {
    let mut hash = Sha256::new();
    for part in
        [&grant.provider_id, &grant.user_id, &grant.agent_id, grant.account_id.as_ref().unwrap_or(&String::new())]
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

/// A provider: the fields of `POST /v2/auth/providers`, or what an export wrote.
///
/// # Errors
/// Which field is wrong and why. Faults of the draft's own fields are in the draft.
pub fn provider(fields: Map<String, Value>, guard: &AddressGuard) -> Result<Record, String> {
    let restored = match fields.get("options") {
        None | Some(Value::Null) => None,
        // Its values are no secrets, but serde repeats them in its errors.
        Some(options) => Some(Restored {
            options: serde_json::from_value::<ProviderOptions>(options.clone())
                .map_err(|_| "options: these are not the options of a provider")?,
            mcp_server_url: text(&fields, "mcp_server_url")?,
            is_dynamic_client: boolean(&fields, "is_dynamic_client")?,
        }),
    };
    let mut body = fields;
    for name in RESTORED_FIELDS.iter().chain(&["type"]) {
        body.remove(*name);
    }
    if let Some(Restored { options, .. }) = &restored {
        // The addresses are checked like those of any new provider.
        body.insert("grant_type".into(), serde_json::to_value(options.grant_type).unwrap_or_default());
        for (name, url) in
            [("refresh_url", &options.refresh_url), ("device_authorization_url", &options.device_authorization_url)]
        {
            if let Some(url) = url {
                body.insert(name.into(), url.as_str().into());
            }
        }
    }
    let draft = ProviderCreateRequest::read(&JsonBody(Value::Object(body)), guard);
    Ok(Record::Provider(Box::new(MovedProvider { draft, restored })))
}

/// A text; absent, null and empty are the same.
fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        // Ids are often numbers in the place where they come from.
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("{name}: expected a text")),
    }
}

fn texts(fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            let list: Option<Vec<String>> = list.iter().map(|one| one.as_str().map(ToOwned::to_owned)).collect();
            list.ok_or_else(|| format!("{name}: expected a list of texts"))
        }
        Some(_) => Err(format!("{name}: expected a list of texts")),
    }
}

/// A list, or one text with spaces between the scopes (RFC 6749 section 3.3).
fn scopes(fields: &Map<String, Value>) -> Result<Vec<String>, String> {
    match fields.get("scopes") {
        Some(Value::String(text)) => Ok(text.split_whitespace().map(ToOwned::to_owned).collect()),
        _ => texts(fields, "scopes").map_err(|_| "scopes: expected a list, or a text with spaces between them".into()),
    }
}

/// An object, or a text that is one.
fn metadata(fields: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let parsed = match fields.get("metadata") {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::String(text)) if text.is_empty() => return Ok(Map::new()),
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(value) => Some(value.clone()),
    };
    match parsed {
        Some(Value::Object(object)) => Ok(object),
        _ => Err("metadata: expected a JSON object".into()),
    }
}

fn boolean(fields: &Map<String, Value>, name: &str) -> Result<bool, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            _ => Err(format!("{name}: expected true or false")),
        },
        Some(_) => Err(format!("{name}: expected true or false")),
    }
}

/// RFC 3339, or seconds since 1970. A number that would be a time after the year 5138 is one of milliseconds, which many
/// programs count in.
fn time(fields: &Map<String, Value>, name: &str) -> Result<Option<DateTime<Utc>>, String> {
    let Some(text) = text(fields, name)? else { return Ok(None) };
    let number = || match text.parse().ok()? {
        seconds if seconds < SECONDS_MAX => DateTime::from_timestamp(seconds, 0),
        milliseconds => DateTime::from_timestamp_millis(milliseconds),
    };
    let time = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.with_timezone(&Utc)).or_else(number);
    let expected = || {
        format!("{name}: expected a time such as 2026-12-31T23:59:59Z, or seconds since 1970, before the year 10000")
    };
    time.filter(|time| time.year() < 10_000).map(Some).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_rfc_3339_or_seconds_or_milliseconds_and_within_reason() {
        let read = |value: Value| time(&Map::from_iter([("expires_at".to_owned(), value)]), "expires_at");
        let expected = "2026-11-27T10:00:00+00:00";
        for value in [
            json!(1_795_773_600),
            json!("1795773600"),
            json!(1_795_773_600_000_i64),
            json!("2026-11-27T11:00:00+01:00"),
        ] {
            assert_eq!(read(value.clone()).unwrap().unwrap().to_rfc3339(), expected, "{value}");
        }
        for value in [json!(""), Value::Null] {
            assert_eq!(read(value), Ok(None));
        }
        for value in
            [json!(1_795_773_600_000_000_i64), json!(i64::MAX), json!("soon"), json!(1.5), json!(true), json!([1])]
        {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }
}
