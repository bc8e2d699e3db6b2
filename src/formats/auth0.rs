//! Auth0: users as its Management API returns them, with the tokens of their identities.
//! Owns: which identities are grants.
//! Must not know: how the file was obtained.

use std::{
    collections::{HashMap, VecDeque},
    io::Read,
};

use secrecy::SecretString;
use serde_json::{Deserializer, Map, Value};

use crate::{broker::transfer::import::Record, model::moved_grant::MovedGrant};

/// The provider of identities with a password at Auth0 itself.
const OWN_DATABASE: &str = "auth0";

/// What the operator says of the connections.
#[derive(Debug, Default)]
pub struct Choices {
    /// Connections whose provider has another id here.
    pub providers: HashMap<String, String>,
    /// The scopes of each connection's grants, which Auth0 does not write down.
    pub scopes: HashMap<String, Vec<String>>,
}

/// Reads users one after the other, from an array or from JSON lines, and gives their identities, each with its place.
pub fn read(input: impl Read, choices: &Choices) -> impl Iterator<Item = std::io::Result<(String, Record)>> {
    let mut users = Deserializer::from_reader(input).into_iter::<Value>();
    let (mut waiting, mut number) = (VecDeque::new(), 0_u64);
    std::iter::from_fn(move || {
        loop {
            if let Some(record) = waiting.pop_front() {
                return Some(Ok(record));
            }
            match users.next()? {
                Ok(Value::Array(list)) => {
                    for user in &list {
                        identities(user, &mut number, choices, &mut waiting);
                    }
                }
                Ok(user) => identities(&user, &mut number, choices, &mut waiting),
                Err(error) if error.is_io() => return Some(Err(error.into())),
                // The position, and not what is there.
                Err(error) => {
                    let place = format!("line {}", error.line());
                    return Some(Err(std::io::Error::other(format!("not JSON at {place}"))));
                }
            }
        }
    })
}

fn identities(user: &Value, number: &mut u64, choices: &Choices, records: &mut VecDeque<(String, Record)>) {
    *number += 1;
    let empty = Map::new();
    let user = user.as_object().unwrap_or(&empty);
    let Some(user_id) = text(user, "user_id") else {
        records.push_back((format!("user {number}"), Record::Unusable("it has no user_id".into())));
        return;
    };
    for identity in user.get("identities").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
    {
        if text(identity, "provider").is_none_or(|provider| provider != OWN_DATABASE) {
            let connection = text(identity, "connection").unwrap_or_default();
            let place = format!("user {number}, connection {connection}");
            records.push_back((place, grant(user_id, user, connection, identity, choices)));
        }
    }
}

fn grant(
    user_id: &str,
    user: &Map<String, Value>,
    connection: &str,
    identity: &Map<String, Value>,
    choices: &Choices,
) -> Record {
    let secret = |name: &str| text(identity, name).map(SecretString::from);
    let (access_token, refresh_token) = (secret("access_token"), secret("refresh_token"));
    if access_token.is_none() && refresh_token.is_none() {
        let why = "Auth0 has written no tokens of this identity. They are there only with the scope read:user_idp_tokens, and \
                   those of its Token Vault never are";
        return Record::Unusable(why.into());
    }
    let account_id = match identity.get("user_id") {
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    let profile = identity.get("profileData").and_then(Value::as_object);
    let label = profile.and_then(|profile| text(profile, "email")).or_else(|| text(user, "email"));
    Record::Grant(Box::new(MovedGrant {
        source_id: format!("auth0:{connection}:{}:{user_id}", account_id.as_deref().unwrap_or_default()),
        provider_id: choices.providers.get(connection).map_or(connection, String::as_str).to_owned(),
        user_id: user_id.to_owned(),
        account_id,
        account_label: label.map(ToOwned::to_owned),
        access_token,
        refresh_token,
        scopes: choices.scopes.get(connection).cloned().unwrap_or_default(),
        ..MovedGrant::default()
    }))
}

fn text<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o str> {
    object.get(name)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const USERS: &str = r#"[{"user_id": "google-oauth2|1", "email": "a@acme.example", "identities": [
        {"provider": "google-oauth2", "connection": "google-oauth2", "user_id": "1", "access_token": "a", "refresh_token": "r"},
        {"provider": "auth0", "connection": "Username-Password-Authentication", "user_id": "5f"},
        {"provider": "github", "connection": "github", "user_id": 7, "isSocial": true}]}]"#;

    #[test]
    fn identities_with_tokens_are_grants() {
        let choices = Choices {
            providers: HashMap::from([("google-oauth2".into(), "google".into())]),
            scopes: HashMap::from([("google-oauth2".into(), vec!["openid".into()])]),
        };
        for text in [USERS.to_owned(), format!("{}\n", &USERS.replace('\n', " ")[1..USERS.len() - 1])] {
            let records: Vec<_> = read(text.as_bytes(), &choices).map(Result::unwrap).collect();
            let [(_, Record::Grant(google)), (place, Record::Unusable(why))] = &records[..] else { panic!() };
            assert_eq!((&*google.provider_id, &*google.user_id), ("google", "google-oauth2|1"));
            assert_eq!(google.account_id.as_deref(), Some("1"));
            assert_eq!(google.refresh_token.as_ref().unwrap().expose_secret(), "r");
            assert_eq!(google.scopes, ["openid"]);
            assert_eq!(place, "user 1, connection github");
            assert!(why.contains("Token Vault"), "{why}");
        }
    }
}
