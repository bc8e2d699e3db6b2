//! Authorization: beginning a request, and completing it when the person comes back.
//! Owns: that a request is completed once, however often somebody comes back with it.
//! Must not know: how a code is exchanged, pages, or how the browser is answered.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    completion::{CodeResponse, Completion, ErrorResponse, Source},
    exchange::{Credential, check_issuer, exchange},
    request::{Pending, is_interrupted, new_request},
    state::{hash, hash_with_code},
    static_key::{self, key_page},
};

use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{
        authorization_request::{AuthorizationRequest, Status},
        failure::FailureKind,
        grant::GrantRequest,
        options::GrantType,
        provider::Provider,
    },
    oauth::{authorize, token::printable},
    store::error::StoreError,
};

/// How long a browser waits for an exchange, its own or that of an earlier callback.
const EXCHANGE_WAIT: Duration = Duration::from_secs(30);
/// How often a browser looks by itself whether another replica has ended the exchange: the notification may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Begins an authorization: stores the request, with everything it will be completed with, and returns the URL.
///
/// # Errors
/// [`BrokerError::Internal`] if the provider's record is broken.
pub async fn begin(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    redirect_uri: String,
) -> Result<Pending, BrokerError> {
    let mut request = new_request(broker, provider, wanted, redirect_uri);
    let (url, state) = if provider.client.options.grant_type == GrantType::ApiKey {
        key_page(broker, provider)
    } else {
        let quirks = broker.catalog.authorization_quirks_of(provider);
        let begun = authorize::begin(provider, quirks, &request.redirect_uri, &request.wanted.scopes)
            .map_err(|error| BrokerError::Internal(format!("provider {}: {error}", provider.provider_id)))?;
        request.code_verifier = begun.code_verifier;
        (begun.url.into(), begun.state)
    };
    broker.store.create_authorization_request(&request, Some(hash(&state)), broker.clock.now()).await?;
    Ok(Pending { url, id: request.id, device: None })
}

/// Completes the authorization request of `state` with a code, or with a static key in its place. However often it is
/// called, the code is exchanged once and every caller gets the same result.
///
/// # Errors
/// The store fails; [`BrokerError::Invalid`] when the static key is not one. A provider that fails is a
/// [`Completion::Failed`].
pub async fn complete(
    broker: &Arc<Broker>,
    provider_id: &str,
    state: &SecretString,
    response: CodeResponse,
    source: Source<'_>,
) -> Result<Completion, BrokerError> {
    let (state_hash, code_hash) = (hash(state), hash_with_code(state, &response.code));
    let known = broker.store.authorization_request_of_state(state_hash).await?;
    let Some(known) = known.filter(|request| may_complete(request, source)) else {
        return Ok(Completion::InvalidState);
    };
    if known.client.options.grant_type == GrantType::ApiKey {
        let checked = static_key::check(&response.code);
        checked.map_err(|problem| BrokerError::Invalid { field: "code", problem: problem.into() })?;
    }
    let now = broker.clock.now();
    match broker.store.take_authorization_request(state_hash, provider_id, code_hash, now).await? {
        Some(request) => {
            let credential = match request.client.options.grant_type {
                GrantType::ApiKey => Credential::EnteredKey(response.code),
                _ => Credential::Code(response),
            };
            // A task of its own: a browser that disconnects does not undo a consent that was given.
            let exchange = broker.tasks.spawn(exchange(Arc::clone(broker), request, credential).in_current_span());
            match tokio::time::timeout(EXCHANGE_WAIT, exchange).await {
                Ok(ended) => ended.map_err(|error| BrokerError::Internal(error.to_string()))?,
                Err(_) => Err(StoreError::Unavailable("a grant waits to be stored".into()).into()),
            }
        }
        None => completed_before(broker, known.id, state_hash, provider_id, code_hash).await,
    }
}

/// A static key never comes in a URL, and a code never through the page for keys; an application completes only requests
/// of its own tenant.
fn may_complete(request: &AuthorizationRequest, source: Source<'_>) -> bool {
    let is_key = request.client.options.grant_type == GrantType::ApiKey;
    match source {
        Source::Browser => !is_key,
        Source::KeyPage => is_key,
        Source::Application(tenant) => request.wanted.subject.tenant == *tenant,
    }
}

/// Ends the authorization request of `state`, because the provider sent the person back with an error.
pub async fn refuse(
    broker: &Broker,
    provider_id: &str,
    state: &SecretString,
    response: ErrorResponse<'_>,
) -> Result<Completion, BrokerError> {
    let ErrorResponse { error, error_description, iss } = response;
    let begun = broker.store.authorization_request_of_state(hash(state)).await?;
    if begun.is_some_and(|request| !may_complete(&request, Source::Browser) || check_issuer(&request, iss).is_err()) {
        return Ok(Completion::InvalidState);
    }
    let error = printable(error, 64);
    let error_description = error_description.map(|text| printable(text, 300));
    let now = broker.clock.now();
    let refused = broker
        .store
        .refuse_authorization_request(hash(state), provider_id, &error, error_description.as_deref(), now)
        .await?;
    match refused {
        Some(request) => {
            broker.notifications.wake(request.id).await;
            Ok(Completion::Failed { id: request.id, error, error_description, kind: None, retry_after: None })
        }
        None => Ok(Completion::InvalidState),
    }
}

/// What a callback finds whose state can no longer be taken.
async fn completed_before(
    broker: &Broker,
    id: Uuid,
    state_hash: [u8; 32],
    provider_id: &str,
    code_hash: [u8; 32],
) -> Result<Completion, BrokerError> {
    let deadline = tokio::time::Instant::now() + EXCHANGE_WAIT;
    let waiter = broker.notifications.register(id);
    loop {
        let mut woken = std::pin::pin!(waiter.notify.notified());
        // Before the read, so that no wake is missed in between.
        woken.as_mut().enable();
        let Some(request) = broker.store.authorization_request_of_state(state_hash).await? else {
            return Ok(Completion::InvalidState);
        };
        if request.provider_id != provider_id {
            return Ok(Completion::WrongProvider);
        }
        let same_code = request.code_hash.as_deref() == Some(&code_hash[..]);
        match request.status {
            Status::Completed if same_code => return Ok(Completion::AlreadyCompleted(request.id)),
            Status::Failed if same_code => {
                return Ok(Completion::Failed {
                    id: request.id,
                    error: request.error.unwrap_or_default(),
                    error_description: request.error_description,
                    kind: Some(FailureKind::Refused),
                    retry_after: None,
                });
            }
            Status::Completed | Status::Exchanging if !same_code => return Ok(Completion::StateUsed),
            Status::Exchanging if is_interrupted(&request, broker.clock.now()) => return Ok(Completion::InvalidState),
            Status::Exchanging if tokio::time::Instant::now() < deadline => {
                let _ = tokio::time::timeout(LOOK_AGAIN, woken).await;
            }
            _ => return Ok(Completion::InvalidState),
        }
    }
}

/// What the page after a consent shows: the provider's name for people, and the status of the request.
pub async fn outcome(broker: &Broker, provider_id: &str, id: Uuid) -> Result<Option<(String, Status)>, BrokerError> {
    Ok(broker.store.authorization_outcome(provider_id, id).await?)
}
