//! Auth0: users as its Management API returns them, with the tokens of their identities.
//! Owns: which identities are grants.
//! Must not know: how the file was obtained.

use std::{collections::HashMap, io::Read};

use secrecy::SecretString;
use serde_json::{Deserializer, Map, Value};
use zeroize::Zeroizing;

use crate::{
    broker::transfer::records::Record,
    model::moved_grant::{ID_IN_AUTH0, MovedGrant},
};

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

/// Reads users, from an array or from JSON lines, and gives their identities, each with its place.
///
/// # Errors
/// When the input cannot be read.
pub fn read(mut input: impl Read, choices: &Choices) -> std::io::Result<Vec<(String, Record)>> {
    let mut bytes = Zeroizing::new(Vec::new());
    input.read_to_end(&mut bytes)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let (mut records, mut number, mut at) = (Vec::new(), 0, 0);
    // An array of users, users one after the other, or several arrays: what is between the users says nothing of them.
    while let Some(next) = text[at..].iter().position(|byte| !byte.is_ascii_whitespace() && !b"[,]".contains(byte)) {
        at += next;
        number += 1;
        let mut users = Deserializer::from_slice(&text[at..]).into_iter::<Value>();
        match users.next() {
            Some(Ok(user)) => {
                identities(&user, number, choices, &mut records);
                at += users.byte_offset();
            }
            // The position, and not what is there.
            _ => {
                let line = text[..at].split(|byte| *byte == b'\n').count();
                let next = next_user(text, at);
                let rest = if next.is_some() { "" } else { ", and nothing after it is read" };
                records.push((format!("line {line}"), Record::Unusable(format!("not JSON{rest}"))));
                at = next.unwrap_or(text.len());
            }
        }
    }
    Ok(records)
}

/// Where reading goes on after a user that is not JSON: at the next line that begins with an object as far to the right as the
/// line of the one that is left out.
fn next_user(text: &[u8], at: usize) -> Option<usize> {
    let indent = |line: &[u8]| line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let begins = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let depth = indent(&text[begins..]);
    let mut line = begins;
    loop {
        line += text[line..].iter().position(|byte| *byte == b'\n')? + 1;
        if indent(&text[line..]) == depth && text.get(line + depth) == Some(&b'{') {
            return Some(line + depth);
        }
    }
}

fn identities(user: &Value, number: u64, choices: &Choices, records: &mut Vec<(String, Record)>) {
    let unusable = |place: String, why: &str| (place, Record::Unusable(why.into()));
    let place = format!("user {number}");
    let Some(user) = user.as_object() else { return records.push(unusable(place, "it is not an object")) };
    let Some(user_id) = text(user, "user_id") else { return records.push(unusable(place, "it has no user_id")) };
    let Some(Value::Array(identities)) = user.get("identities") else {
        return records.push(unusable(place, "its identities are not a list"));
    };
    for (position, identity) in (1..).zip(identities) {
        let place = format!("user {number}, identity {position}");
        let Some(identity) = identity.as_object() else {
            records.push(unusable(place, "it is not an object"));
            continue;
        };
        if text(identity, "provider").is_none_or(|provider| provider != OWN_DATABASE) {
            let connection = text(identity, "connection").unwrap_or_default();
            // What the operator has named can be named.
            let is_named = choices.providers.contains_key(connection) || choices.scopes.contains_key(connection);
            let place = if is_named { format!("{place}, connection {connection}") } else { place };
            records.push((place, grant(user_id, user, connection, identity, choices)));
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
        source_id: format!("{ID_IN_AUTH0}{connection}:{}:{user_id}", account_id.as_deref().unwrap_or_default()),
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
            let records = read(text.as_bytes(), &choices).unwrap();
            let [(_, Record::Grant(google)), (place, Record::Unusable(why))] = &records[..] else { panic!() };
            assert_eq!((&*google.provider_id, &*google.user_id), ("google", "google-oauth2|1"));
            assert_eq!(google.account_id.as_deref(), Some("1"));
            assert_eq!(google.refresh_token.as_ref().unwrap().expose_secret(), "r");
            assert_eq!(google.scopes, ["openid"]);
            assert_eq!(place, "user 1, identity 3");
            assert!(why.contains("Token Vault"), "{why}");
        }
    }

    #[test]
    fn a_user_that_cannot_be_read_is_reported_and_the_others_are_taken() {
        let user = |name: &str| {
            format!(
                "{{\"user_id\": \"{name}\", \"identities\": [\n    {{\"provider\": \"p\", \"connection\": \"c\", \"user_id\": 1, \
                 \"refresh_token\": \"r\"}}\n  ]}}"
            )
        };
        let one_line = |name: &str| user(name).replace('\n', " ");
        let cut = |text: String| text[..text.len() - 4].to_owned();
        let of = |text: Vec<u8>| {
            let records = read(&text[..], &Choices::default()).unwrap();
            let said = records.into_iter().map(|(place, record)| match record {
                Record::Grant(grant) => grant.user_id,
                Record::Unusable(why) => format!("{place}: {why}"),
                _ => panic!("{place}"),
            });
            said.collect::<Vec<_>>().join("; ")
        };
        let lines = format!("\u{feff}{}\n{}\n{}\n", one_line("a"), cut(one_line("b")), one_line("c"));
        assert_eq!(of(lines.into()), "a; line 2: not JSON; c");
        let not_utf_8 = [one_line("a").as_bytes(), b"\n{\"user_id\": \"\xff\"}\n", one_line("c").as_bytes()].concat();
        assert_eq!(of(not_utf_8), "a; line 2: not JSON; c");
        let indented = format!("[\n  {},\n  {},\n  {}\n]\n", user("a"), cut(user("b")), user("c"));
        assert_eq!(of(indented.into()), "a; line 5: not JSON; c");
        let in_one_line = format!("[{},{},{}]", one_line("a"), cut(one_line("b")), one_line("c"));
        assert_eq!(of(in_one_line.into()), "a; line 1: not JSON, and nothing after it is read");
        let wrong = "{\"user_id\": \"a\", \"identities\": \"none\"}\n{\"user_id\": \"a\", \"identities\": [7]}\n7\n";
        let said = "user 1: its identities are not a list; user 2, identity 1: it is not an object; user 3: it is not an object";
        assert_eq!(of(wrong.into()), said);
    }
}
