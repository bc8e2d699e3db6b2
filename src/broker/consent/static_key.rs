//! Static keys: what is one, and the page on which a person enters theirs.
//! Owns: who is asked for a key, and that a key fits where agents put it.
//! Must not know: how the page looks, or how a key is kept.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::authorization::{Completion, hash};
use crate::{
    app::App,
    broker::BrokerError,
    model::options::GrantType,
    store::{
        authorization_requests::row::{AuthorizationRequest, Status},
        providers::Provider,
        tokens::row::Token,
    },
};

/// Characters of a key at the most.
pub const KEY_MAX: usize = 8192;
/// What stands in the metadata of a token that is a static key. No provider's answer can put it there.
const TOKEN_TYPE: (&str, &str) = ("token_type", "api_key");

/// The metadata of a token that is a static key.
#[must_use]
pub fn metadata() -> Map<String, Value> {
    Map::from_iter([(TOKEN_TYPE.0.to_owned(), TOKEN_TYPE.1.into())])
}

/// True when the token is a static key. It has no scopes: its owner's rights are its own.
#[must_use]
pub fn is_static_key(token: &Token) -> bool {
    token.metadata.get(TOKEN_TYPE.0).is_some_and(|kind| kind == TOKEN_TYPE.1)
}

/// Checks that a text can be a key: agents put it into headers as it is (RFC 9110 section 5.5).
pub fn check(key: &SecretString) -> Result<(), &'static str> {
    let key = key.expose_secret();
    if key.is_empty() {
        return Err("Enter the key.");
    }
    if key.len() > KEY_MAX {
        return Err("That is longer than any key. Copy the key alone.");
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("That is not a key: it has spaces, line breaks or special characters. Copy the key alone.");
    }
    Ok(())
}

/// Our page on which a person enters a key, and the state in its address.
#[must_use]
pub fn key_page(app: &App, provider: &Provider) -> (String, SecretString) {
    let state = SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let url = format!("{}/host-api-key/{}?state={}", app.public_url, provider.provider_id, state.expose_secret());
    (url, state)
}

/// Who wants a key from the person with a state.
#[derive(Clone, Debug)]
pub enum KeyWanted {
    /// The provider, by its name for people.
    By(String),
    /// Nobody any more: this is how it ended.
    Ended(Completion),
    /// Nobody ever did, or the time is over.
    Unknown,
}

/// Which provider a person with this `state` is to enter a key for.
pub async fn key_wanted(app: &App, provider_id: &str, state: &SecretString) -> Result<KeyWanted, BrokerError> {
    let request = app.store.authorization_request_of_state(hash(state)).await?;
    let Some(request) = request.filter(|request| wants_key(request, provider_id, app.clock.now())) else {
        return Ok(KeyWanted::Unknown);
    };
    let Some((name, status)) = app.store.authorization_outcome(provider_id, request.id).await? else {
        return Ok(KeyWanted::Unknown);
    };
    Ok(match status {
        Status::Pending | Status::Exchanging => KeyWanted::By(name),
        Status::Completed => KeyWanted::Ended(Completion::AlreadyCompleted(request.id)),
        Status::Failed => KeyWanted::Unknown,
    })
}

fn wants_key(request: &AuthorizationRequest, provider_id: &str, now: DateTime<Utc>) -> bool {
    request.options.grant_type == GrantType::ApiKey && request.provider_id == provider_id && request.expires_at > now
}
