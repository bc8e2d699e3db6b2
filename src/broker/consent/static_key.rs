//! Static keys: which texts are one, and the page on which a person enters theirs.
//! Owns: for which provider a person enters a key, and that a key fits where agents put it.
//! Must not know: how the page looks, or how a key is stored.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{
    completion::{Completion, Source},
    interaction::{Closed, Question, check_source, facts_of},
    state::{hash, new_state},
};
use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{
        authorization_request::{AuthorizationRequest, Status},
        grant::Grant,
        options::GrantType,
        provider::Provider,
        token::Token,
    },
};

/// The longest key, in characters.
pub const KEY_MAX: usize = 8192;

/// Why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// It is empty.
    #[error("Enter the key.")]
    Empty,
    /// It is longer than [`KEY_MAX`].
    #[error("This is too long for a key. Copy only the key.")]
    TooLong,
    /// It has spaces, line breaks or special characters.
    #[error("This is not a key: it has spaces, line breaks or special characters. Copy only the key.")]
    Unusable,
}

/// Checks that a text can be a key: agents put it into headers as it is (RFC 9110 section 5.5).
///
/// # Errors
/// Why it cannot.
pub fn check(key: &SecretString) -> Result<(), KeyProblem> {
    let key = key.expose_secret();
    if key.is_empty() {
        return Err(KeyProblem::Empty);
    }
    if key.len() > KEY_MAX {
        return Err(KeyProblem::TooLong);
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyProblem::Unusable);
    }
    Ok(())
}

/// The grant that a static key is. A key of the workspace belongs to no person: its account is given.
#[must_use]
pub fn grant_of_key(key: SecretString, account_id: Option<String>) -> Grant {
    Grant {
        access_token: key,
        refresh_token: None,
        scopes: Some(Vec::new()),
        metadata: Token::static_key_metadata(),
        account_id,
        account_label: None,
        expires_at: None,
        refresh_due_at: None,
        refresh_token_expires_at: None,
    }
}

/// Our page on which a person enters a key, and the state in its URL.
#[must_use]
pub fn key_page(broker: &Broker, provider: &Provider) -> (String, SecretString) {
    let state = new_state();
    let url = format!("{}/host-api-key/{}?state={}", broker.public_url, provider.provider_id, state.expose_secret());
    (url, state)
}

/// What the page of `state` shows in the browser with this cookie.
pub async fn key_page_of(
    broker: &Broker,
    provider_id: &str,
    state: &SecretString,
    cookie: Option<&SecretString>,
) -> Result<Question, BrokerError> {
    let request = broker.store.authorization_request_of_state(hash(state)).await?;
    let Some(request) = request.filter(|request| expects_key(request, provider_id, broker.clock.now())) else {
        return Ok(Question::Closed(Closed::unknown()));
    };
    let completion = match request.status {
        Status::Completed => Completion::AlreadyCompleted { id: request.id, return_url: None },
        Status::Failed => Completion::InvalidState,
        Status::Pending | Status::Exchanging => {
            if let Err(refused) = check_source(broker, provider_id, &request, Source::KeyPage { cookie }) {
                return Ok(Question::Closed(Closed::of(&request, refused)));
            }
            let facts = facts_of(broker, &request).await?;
            return Ok(facts.map_or_else(|| Question::Closed(Closed::unknown()), Question::Open));
        }
    };
    Ok(Question::Closed(Closed::of(&request, completion)))
}

fn expects_key(request: &AuthorizationRequest, provider_id: &str, now: DateTime<Utc>) -> bool {
    let is_key = request.client.options.grant_type == GrantType::ApiKey;
    is_key && request.provider_id == provider_id && request.expires_at > now
}
