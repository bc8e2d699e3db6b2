//! The userinfo call: whose account an access token is for, where its token response did not say.
//! Owns: the call, and the reading of its response.
//! Must not know: where the endpoint is, or what becomes of a grant whose account stays unknown.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::{
    account::{Account, named},
    redaction::Redaction,
};
use crate::{
    model::quirks::Userinfo,
    outbound::client::{CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// A person waits for the end of their consent meanwhile.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the account is not known. Holds nothing of the response.
#[derive(Debug, thiserror::Error)]
pub enum Unnamed {
    /// There was no response.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The response was an error, or a way elsewhere.
    #[error("the userinfo endpoint responded with status {0}")]
    Status(u16),
    /// The response was no JSON object with an id.
    #[error("the userinfo endpoint's response names no account")]
    NoAccount,
}

/// Requests the account of `access_token`.
pub async fn request_account(
    outbound: &Outbound,
    endpoint: &Userinfo,
    access_token: &SecretString,
    now: DateTime<Utc>,
) -> Result<Account, Unnamed> {
    let url = Url::parse(&endpoint.url).map_err(|_| Unnamed::NoAccount)?;
    let mut bearer =
        HeaderValue::from_str(&format!("Bearer {}", access_token.expose_secret())).map_err(|_| Unnamed::NoAccount)?;
    bearer.set_sensitive(true);
    let request = outbound.get(&url)?.header(ACCEPT, "application/json").header(AUTHORIZATION, bearer).timeout(TIMEOUT);
    let answer = outbound.send(Endpoint::Userinfo, request, now).await?;
    if answer.status != 200 {
        return Err(Unnamed::Status(answer.status));
    }
    let fields: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| Unnamed::NoAccount)?;
    let account = read(endpoint, &Value::Object(fields)).ok_or(Unnamed::NoAccount)?;
    account.redacted(&Redaction::of([access_token])).ok_or(Unnamed::NoAccount)
}

fn read(endpoint: &Userinfo, answer: &Value) -> Option<Account> {
    let mut account = named(answer, &endpoint.id, &endpoint.label)?;
    if let Some(issuer) = &endpoint.issuer {
        account.id = format!("{issuer}|{}", account.id);
    }
    Some(account)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        catalog::Catalog,
        model::{client::Client, provider::example},
    };

    fn endpoint(recorded: Option<&str>, token_url: &str, scopes: &[&str]) -> Option<Userinfo> {
        let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        let client = Client { token_url: token_url.to_owned(), ..example().client };
        Catalog::load(None).unwrap().userinfo_of(&client, recorded, &scopes)
    }

    fn asked(recorded: Option<&str>, token_url: &str, scopes: &[&str]) -> Option<String> {
        endpoint(recorded, token_url, scopes).map(|userinfo| userinfo.url)
    }

    const GITHUB: &str = "https://github.com/login/oauth/access_token";
    const GOOGLE: &str = "https://oauth2.googleapis.com/token";

    #[test]
    fn a_known_provider_is_found_by_the_host_of_its_token_endpoint() {
        assert_eq!(asked(None, GITHUB, &["repo"]).as_deref(), Some("https://api.github.com/user"));
        for other in ["https://github.com.evil.example/token", "https://evil.example/github.com", "no url"] {
            assert_eq!(asked(None, other, &["repo"]), None, "{other}");
        }
    }

    #[test]
    fn a_provider_that_would_refuse_for_lack_of_a_scope_is_not_asked() {
        let drive = "https://www.googleapis.com/auth/drive";
        assert_eq!(asked(None, GOOGLE, &[drive]), None);
        assert!(asked(None, GOOGLE, &[drive, "email"]).is_some());
    }

    #[test]
    fn the_address_of_the_record_comes_first() {
        let corporate = "https://git.corp.example/api/v3/user";
        assert_eq!(asked(Some(corporate), GITHUB, &[]).as_deref(), Some(corporate));
    }

    #[test]
    fn every_address_we_know_is_https() {
        let catalog = Catalog::load(None).unwrap();
        let known = catalog.entries().filter_map(|entry| entry.userinfo.as_ref());
        let known: Vec<_> = known.filter(|userinfo| !userinfo.url.is_empty()).collect();
        assert!(known.len() >= 11);
        for userinfo in known {
            assert_eq!(Url::parse(&userinfo.url).unwrap().scheme(), "https");
            assert!(!userinfo.id.is_empty(), "{userinfo:?}");
        }
    }

    fn read(token_url: &str, scopes: &[&str], answer: &Value) -> Option<(String, Option<String>)> {
        let account = super::read(&endpoint(None, token_url, scopes).unwrap(), answer)?;
        Some((account.id, account.label))
    }

    #[test]
    fn the_answer_is_read_as_the_provider_gives_it() {
        let octocat = json!({"id": 583_231, "login": "octocat", "email": null});
        assert_eq!(read(GITHUB, &[], &octocat), Some(("583231".into(), Some("octocat".into()))));
        let tweeter = json!({"data": {"id": "7", "username": "t"}});
        let x = "https://api.x.com/2/oauth2/token";
        assert_eq!(read(x, &["users.read"], &tweeter), Some(("7".into(), Some("t".into()))));
        assert_eq!(read(GITHUB, &[], &json!({"message": "Bad credentials"})), None);
    }

    #[test]
    fn an_account_is_named_as_its_id_token_names_it() {
        let person = json!({"sub": "10", "email": "a@b.c"});
        let expected = ("https://accounts.google.com|10".to_owned(), Some("a@b.c".to_owned()));
        assert_eq!(read(GOOGLE, &["email"], &person), Some(expected));
    }
}
