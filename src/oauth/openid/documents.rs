//! What an identity provider publishes of itself: its metadata and its keys.
//! Owns: what must be right in them, how long they are kept, and how often they are read at most.
//! Must not know: what is verified with a key.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::ACCEPT;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::{error::OpenIdError, keys::Key};
use crate::{
    model::{client::ClientAuthentication, failure::FailureKind},
    outbound::client::{CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// How long metadata and keys are kept.
const KEPT_FOR: TimeDelta = TimeDelta::hours(1);
/// An ID token with an unknown key makes the keys be read again this often at most: anybody can make one.
const KEYS_READ_EVERY: TimeDelta = TimeDelta::minutes(1);
/// How long a failure counts before the provider is asked again.
const FAILED_FOR: TimeDelta = TimeDelta::seconds(5);
/// No provider publishes more.
const KEYS_MAX: usize = 100;

/// The documents of one provider.
pub(super) struct Documents {
    outbound: Outbound,
    issuer: String,
    /// The lock is held while a document is read, so it is read once for all who need it.
    known: Mutex<Known>,
    is_failing: AtomicBool,
}

/// What was read, and when.
#[derive(Default)]
struct Known {
    metadata: Option<(DateTime<Utc>, Metadata)>,
    keys: Option<(DateTime<Utc>, Keys)>,
    failure: Option<(DateTime<Utc>, OpenIdError)>,
}

/// The keys of a provider.
pub(super) type Keys = Arc<Vec<Key>>;

/// What is used of the metadata.
#[derive(Clone)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    jwks_uri: Url,
    pub(super) client_authentication: ClientAuthentication,
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// The document (`OpenID` Connect Discovery, section 3).
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// RFC 7517 section 5.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Documents {
    /// Those of the provider with this issuer. Nothing is requested yet.
    pub(super) fn new(outbound: Outbound, issuer: String) -> Self {
        Self { outbound, issuer, known: Mutex::default(), is_failing: AtomicBool::default() }
    }

    /// The issuer.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The provider's metadata.
    pub(super) async fn metadata(&self, now: DateTime<Utc>) -> Result<Metadata, OpenIdError> {
        let mut known = self.known.lock().await;
        self.current_metadata(&mut known, now).await
    }

    /// The provider's keys.
    pub(super) async fn keys(&self, now: DateTime<Utc>) -> Result<Keys, OpenIdError> {
        let mut known = self.known.lock().await;
        if let Some((read_at, keys)) = &known.keys
            && is_within(KEPT_FOR, *read_at, now)
        {
            return Ok(Arc::clone(keys));
        }
        self.read_keys(&mut known, now).await
    }

    /// The provider's keys, other than these, which are too old; `None` if they were read a moment ago.
    pub(super) async fn newer_keys(&self, old: &Keys, now: DateTime<Utc>) -> Result<Option<Keys>, OpenIdError> {
        let mut known = self.known.lock().await;
        match &known.keys {
            // Somebody else has read them meanwhile.
            Some((_, keys)) if !Arc::ptr_eq(keys, old) => Ok(Some(Arc::clone(keys))),
            Some((read_at, _)) if is_within(KEYS_READ_EVERY, *read_at, now) => Ok(None),
            _ => self.read_keys(&mut known, now).await.map(Some),
        }
    }

    async fn current_metadata(&self, known: &mut Known, now: DateTime<Utc>) -> Result<Metadata, OpenIdError> {
        if let Some((read_at, metadata)) = &known.metadata
            && is_within(KEPT_FOR, *read_at, now)
        {
            return Ok(metadata.clone());
        }
        check_failure(known, now)?;
        let place = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let place = Url::parse(&place).map_err(|_| unusable("the issuer is not a URL"));
        let read = match place {
            Ok(place) => match self.read(&place, "metadata", now).await {
                Ok(document) => metadata(&document, &self.issuer),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let metadata = self.noted(known, read, now)?;
        known.metadata = Some((now, metadata.clone()));
        Ok(metadata)
    }

    async fn read_keys(&self, known: &mut Known, now: DateTime<Utc>) -> Result<Keys, OpenIdError> {
        let metadata = self.current_metadata(known, now).await?;
        check_failure(known, now)?;
        let read = self.read(&metadata.jwks_uri, "keys", now).await;
        let KeySet { keys } = self.noted(known, read, now)?;
        // Keys of a kind that is not known here are for others.
        let keys = keys.into_iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value(key).ok());
        let keys: Keys = Arc::new(keys.collect());
        known.keys = Some((now, Arc::clone(&keys)));
        Ok(keys)
    }

    async fn read<T: DeserializeOwned>(&self, url: &Url, what: &str, now: DateTime<Utc>) -> Result<T, OpenIdError> {
        let failed = |error: CallError| {
            let kind = match error {
                CallError::Refused(_) => FailureKind::AddressRefused,
                CallError::TimedOut => FailureKind::TimedOut,
                CallError::TooLarge => FailureKind::Unreadable,
                CallError::NotConnected | CallError::Untrusted | CallError::Broken => FailureKind::Unavailable,
            };
            OpenIdError::Provider(kind, format!("the identity provider's {what} cannot be read: {error}"))
        };
        let request = self.outbound.get(url).map_err(failed)?.header(ACCEPT, "application/json");
        let answer = self.outbound.send(Endpoint::Metadata, request, now).await.map_err(failed)?;
        if answer.status != 200 {
            let kind = if answer.status >= 500 { FailureKind::Unavailable } else { FailureKind::Unreadable };
            let status = answer.status;
            let problem = format!("the identity provider's {what} cannot be read: the response has status {status}");
            return Err(OpenIdError::Provider(kind, problem));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| unusable(&format!("the identity provider's {what} are not the JSON that is expected")))
    }

    /// Remembers a failure for a moment, and says in the log once that the provider cannot be used, and once that it can again.
    fn noted<T>(&self, known: &mut Known, read: Result<T, OpenIdError>, now: DateTime<Utc>) -> Result<T, OpenIdError> {
        let was_failing = self.is_failing.swap(read.is_err(), Ordering::Relaxed);
        known.failure = read.as_ref().err().map(|error| (now, error.clone()));
        match &read {
            Err(error) if !was_failing => {
                tracing::warn!(
                    event = "openid.unavailable", %error,
                    "the identity provider of the console cannot be used; nobody can sign in there until it can"
                );
            }
            Ok(_) if was_failing => {
                tracing::info!(event = "openid.available", "the identity provider of the console can be used again");
            }
            _ => {}
        }
        read
    }
}

/// The failure of a moment ago: all who wait for the lock would ask a provider that does not respond, one after the other.
fn check_failure(known: &Known, now: DateTime<Utc>) -> Result<(), OpenIdError> {
    match &known.failure {
        Some((at, failure)) if is_within(FAILED_FOR, *at, now) => Err(failure.clone()),
        _ => Ok(()),
    }
}

/// What the document says, if it is of this issuer (`OpenID` Connect Discovery, section 4.3).
fn metadata(document: &Document, issuer: &str) -> Result<Metadata, OpenIdError> {
    if document.issuer != issuer {
        return Err(unusable(
            "the identity provider's metadata names another issuer than CONSOLE_OIDC_ISSUER; both must be the same, to \
             the last slash",
        ));
    }
    let endpoint = |name: &str, text: &str| {
        let url = Url::parse(text).ok().filter(|url| url.fragment().is_none());
        // Secrets for a provider with https are not sent without it.
        let url = url.filter(|url| url.scheme() == "https" || !issuer.starts_with("https:"));
        url.ok_or_else(|| unusable(&format!("`{name}` in the identity provider's metadata is not an https:// URL")))
    };
    let methods = document.token_endpoint_auth_methods_supported.as_deref();
    let knows = |method: ClientAuthentication| {
        methods.is_some_and(|methods| methods.iter().any(|known| known == method.as_str()))
    };
    // HTTP Basic is the default (`OpenID` Connect Discovery, section 3).
    let is_basic = methods.is_none() || knows(ClientAuthentication::ClientSecretBasic);
    let client_authentication = if !is_basic && knows(ClientAuthentication::ClientSecretPost) {
        ClientAuthentication::ClientSecretPost
    } else {
        ClientAuthentication::ClientSecretBasic
    };
    Ok(Metadata {
        authorization_endpoint: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
        token_endpoint: endpoint("token_endpoint", &document.token_endpoint)?,
        jwks_uri: endpoint("jwks_uri", &document.jwks_uri)?,
        client_authentication,
        authorization_response_iss_parameter_supported: document.authorization_response_iss_parameter_supported,
    })
}

fn unusable(problem: &str) -> OpenIdError {
    OpenIdError::Provider(FailureKind::Unreadable, problem.to_owned())
}

fn is_within(time: TimeDelta, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - since < time
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document {
            issuer: "https://id.example".into(),
            authorization_endpoint: "https://id.example/authorize".into(),
            token_endpoint: "https://id.example/token".into(),
            jwks_uri: "https://keys.example/jwks".into(),
            token_endpoint_auth_methods_supported: None,
            authorization_response_iss_parameter_supported: false,
        }
    }

    #[test]
    fn the_issuer_must_be_the_same_to_the_last_slash() {
        assert!(metadata(&document(), "https://id.example").is_ok());
        for other in
            ["https://id.example/", "https://ID.example", "http://id.example", "https://id.example.evil.example"]
        {
            assert!(metadata(&document(), other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_provider_with_https_has_no_endpoint_without_it() {
        for plain in ["http://id.example/x", "javascript:alert(1)", "/token", "https://id.example/#x"] {
            let read = metadata(&Document { token_endpoint: plain.into(), ..document() }, "https://id.example");
            let Err(OpenIdError::Provider(_, problem)) = read else { panic!("{plain}") };
            assert!(problem.contains("`token_endpoint`"), "{problem}");
        }
    }

    #[test]
    fn the_client_authenticates_as_the_provider_says() {
        let method = |methods: Option<&[&str]>| {
            let methods = methods.map(|methods| methods.iter().map(|&method| method.to_owned()).collect());
            let document = Document { token_endpoint_auth_methods_supported: methods, ..document() };
            metadata(&document, "https://id.example").unwrap().client_authentication
        };
        assert_eq!(method(None), ClientAuthentication::ClientSecretBasic);
        assert_eq!(method(Some(&["client_secret_post"])), ClientAuthentication::ClientSecretPost);
        let both = ["client_secret_post", "client_secret_basic"];
        assert_eq!(method(Some(&both)), ClientAuthentication::ClientSecretBasic);
    }
}
