//! JSON lines: one provider or grant a line. An export is written like this.
//! Owns: which line is which.
//! Must not know: the fields.

use std::{collections::BTreeMap, io::BufRead};

use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value, error::Category, json};
use zeroize::Zeroizing;

use super::fields;
use crate::{
    broker::transfer::records::Record,
    model::{
        moved_grant::{ID_IN_FILE, MovedGrant},
        provider::Provider,
    },
    outbound::address::AddressGuard,
};

/// Reads the records one after the other, each with its place. Empty lines are skipped.
pub fn read<'r>(
    input: impl BufRead + 'r,
    guard: &'r AddressGuard,
) -> impl Iterator<Item = std::io::Result<(String, Record)>> + 'r {
    // Lines of bytes: one that is not UTF-8 must not end the others.
    let lines = input.split(b'\n').zip(1_u64..);
    let lines = lines.filter(|(line, _)| !line.as_ref().is_ok_and(|line| line.trim_ascii().is_empty()));
    lines.map(move |(line, number)| {
        let record = record(&line?, guard).unwrap_or_else(Record::Unusable);
        Ok((format!("line {number}"), record))
    })
}

fn record(line: &[u8], guard: &AddressGuard) -> Result<Record, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    let Object(object) =
        serde_json::from_str(line.trim_start_matches('\u{feff}')).map_err(|error| match error.classify() {
            Category::Data => "not a JSON object, or one that has a field twice".to_owned(),
            // The position, and not what is there.
            _ => format!("not JSON, at column {}", error.column()),
        })?;
    match object.get("type").and_then(Value::as_str) {
        Some("grant") => fields::grant(&object).map(|grant| Record::Grant(Box::new(grant))),
        Some("provider") => fields::provider(object, guard),
        _ => Err("`type` should be \"provider\" or \"grant\"".into()),
    }
}

/// An object in which no field occurs twice: one of the two would be dropped without a word.
struct Object(Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut fields = Map::new();
        while let Some((name, value)) = access.next_entry()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("a field occurs twice"));
            }
        }
        Ok(Object(fields))
    }
}

/// A provider as a line, with its client secret. All that its record holds is written out: a `template` would be read with
/// the catalogue of another version, and without the values of its placeholders.
#[must_use]
pub fn provider_line(provider: &Provider) -> Zeroizing<String> {
    let client = &provider.client;
    line(&json!({
        "type": "provider",
        "provider_id": provider.provider_id,
        "name": provider.name,
        "client_id": present(&client.id),
        "client_secret": client.secret.as_ref().map(ExposeSecret::expose_secret),
        "token_endpoint_auth_method": client.authentication.as_str(),
        "auth_url": present(&provider.auth_url),
        "token_url": present(&client.token_url),
        "revocation_url": client.revocation_url,
        "userinfo_url": provider.userinfo_url,
        "uses_pkce": provider.uses_pkce,
        "provider_type": provider.provider_type,
        "authorization_params": provider.authorization_params,
        "allowed_redirect_uris": provider.allowed_redirect_uris,
        "options": client.options,
        "mcp_server_url": provider.mcp_server_url,
        "is_dynamic_client": provider.is_dynamic_client,
    }))
}

/// A grant as a line, with its tokens.
#[must_use]
pub fn grant_line(grant: &MovedGrant) -> Zeroizing<String> {
    let secret = |token: &Option<SecretString>| token.as_ref().map(|token| token.expose_secret().to_owned());
    line(&json!({
        "type": "grant",
        "id": grant.source_id.strip_prefix(ID_IN_FILE).unwrap_or(&grant.source_id),
        "provider_id": grant.provider_id,
        "user_id": grant.user_id,
        "agent_id": present(&grant.agent_id),
        "ls_user_id": grant.ls_user_id,
        "account_id": grant.account_id,
        "account_label": grant.account_label,
        "access_token": secret(&grant.access_token),
        "refresh_token": secret(&grant.refresh_token),
        "scopes": grant.scopes,
        "metadata": grant.metadata,
        "is_default": grant.is_default,
        "expires_at": grant.expires_at,
        "refresh_token_expires_at": grant.refresh_token_expires_at,
        "agents": grant.agents,
    }))
}

fn present(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// An object as a line, without its fields that are null.
fn line(value: &Value) -> Zeroizing<String> {
    let fields = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let fields: BTreeMap<&String, &Value> = fields.collect();
    let mut line = Zeroizing::new(json!(fields).to_string());
    line.push('\n');
    line
}
