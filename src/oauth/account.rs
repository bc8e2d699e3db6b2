//! Whose account a grant is for, as its token response or another response of the provider tells.
//! Owns: reading the id token's claims and the fields in which providers name the account.
//! Must not know: what the identity is used for.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{redaction::Redaction, token_response::TokenResponse};
use crate::model::quirks::AccountPaths;

/// Longer names are cut off: they are for people.
const LABEL_MAX: usize = 200;
const ID_MAX: usize = 512;

/// An account at a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Stable and unique at the provider.
    pub id: String,
    /// For people.
    pub label: Option<String>,
}

impl Account {
    /// The account of a token response, or `None` when it does not say.
    #[must_use]
    pub fn of(response: &TokenResponse, paths: &[AccountPaths]) -> Option<Self> {
        let account = of_id_token(&response.fields).or_else(|| of_fields(&response.fields, paths))?;
        account.redacted(&response.redaction)
    }

    /// Without secrets in its name for people; `None` if its id repeats one.
    pub(super) fn redacted(self, redaction: &Redaction) -> Option<Self> {
        let label = self.label.map(|label| redaction.printable(&label, LABEL_MAX));
        (!redaction.is_repeated_in(&self.id)).then_some(Self { label, ..self })
    }
}

/// The subject of the id token. It came from the token endpoint over the connection we opened ourselves, so its
/// signature need not be checked to know who issued it (`OpenID` Connect Core, section 3.1.3.7, point 6).
fn of_id_token(fields: &Map<String, Value>) -> Option<Account> {
    let claims = fields.get("id_token")?.as_str()?.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&claims).ok()?;
    let id = format!("{}|{}", text(claims.get("iss")?)?, text(claims.get("sub")?)?);
    let label = ["email", "preferred_username", "name"].iter().find_map(|name| text(claims.get(*name)?));
    account(id, label)
}

fn of_fields(fields: &Map<String, Value>, paths: &[AccountPaths]) -> Option<Account> {
    let fields = Value::Object(fields.clone());
    let read = |pointer: &String| fields.pointer(pointer).and_then(text);
    paths.iter().find_map(|paths| {
        let id: Option<Vec<String>> = paths.id.iter().map(read).collect();
        account(id?.join("|"), paths.label.iter().find_map(read))
    })
}

/// The account of a response: its id is the first of the pointers `id` that is there, its label the first of `labels`.
pub(super) fn named(answer: &Value, id: &[String], labels: &[String]) -> Option<Account> {
    let first = |pointers: &[String]| pointers.iter().find_map(|pointer| answer.pointer(pointer).and_then(text));
    account(first(id)?, first(labels))
}

fn account(id: String, label: Option<String>) -> Option<Account> {
    let usable = id.len() <= ID_MAX && !id.chars().any(char::is_control);
    usable.then_some(Account { id, label })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{catalog::Catalog, model::provider::example};

    fn id_token(claims: &Value) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn of(fields: Value) -> Option<Account> {
        let Value::Object(fields) = fields else { panic!() };
        let catalog = Catalog::load(None).unwrap();
        let quirks = catalog.quirks_of(&example().client);
        of_id_token(&fields).or_else(|| of_fields(&fields, &quirks.accounts))
    }

    #[test]
    fn an_id_token_names_the_account() {
        let token = id_token(&json!({"iss": "https://i", "sub": "1", "email": "a@b.c"}));
        let account = of(json!({"id_token": token})).unwrap();
        assert_eq!((account.id.as_str(), account.label.as_deref()), ("https://i|1", Some("a@b.c")));
    }

    #[test]
    fn a_junk_id_token_names_nobody() {
        for junk in ["", "x", "a.b.c", "e30.e30.e30", "..", "e30.bnVsbA.x"] {
            assert_eq!(of(json!({"id_token": junk})), None, "{junk}");
        }
    }

    #[test]
    fn slack_accounts_are_told_apart_by_workspace_and_person() {
        let account = of(json!({"team": {"id": "T1", "name": "Acme"}, "authed_user": {"id": "U1"}})).unwrap();
        assert_eq!((account.id.as_str(), account.label.as_deref()), ("T1|U1", Some("Acme")));
    }

    #[test]
    fn hubspot_accounts_are_told_apart_by_portal_and_person() {
        let account = of(json!({"hub_id": 62_515, "user_id": 123})).unwrap();
        assert_eq!((account.id.as_str(), account.label.as_deref()), ("62515|123", Some("62515")));
    }
}
