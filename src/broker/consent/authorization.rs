//! Authorization: a request is begun, refused by the person or the provider, and looked up for the page after it.
//! Owns: what is stored before the person is sent to the provider.
//! Must not know: how a code is exchanged, pages, or how the browser is answered.

use secrecy::SecretString;
use uuid::Uuid;

use super::{
    completion::{Completion, ErrorResponse, Source},
    exchange::{check_issuer, may_complete},
    request::{Pending, new_request, store_request},
    state::hash,
    static_key::key_page,
};

use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{actor::Act, authorization_request::Status, grant::GrantRequest, options::GrantType, provider::Provider},
    oauth::{authorize, redaction::Redaction},
};

/// Begins an authorization: stores the request, with everything it will be completed with, and returns the URL.
///
/// # Errors
/// [`BrokerError::Internal`] if the provider's record is broken; [`BrokerError::NotFound`] if it was deleted meanwhile.
pub async fn begin(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    redirect_uri: String,
    act: &Act,
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
    store_request(broker, &request, Some(&state), act).await?;
    Ok(Pending { url, id: request.id, device: None })
}

/// Ends the authorization request of `state`, because the provider sent the person back with an error.
pub async fn refuse(
    broker: &Broker,
    provider_id: &str,
    state: &SecretString,
    response: ErrorResponse<'_>,
    act: &Act,
) -> Result<Completion, BrokerError> {
    let ErrorResponse { error, error_description, iss } = response;
    let begun = broker.store.authorization_request_of_state(hash(state)).await?;
    if begun.is_some_and(|request| !may_complete(&request, Source::Browser) || check_issuer(&request, iss).is_err()) {
        return Ok(Completion::InvalidState);
    }
    let redaction = Redaction::of([state]);
    let error = redaction.printable(error, 64);
    let error_description = error_description.map(|text| redaction.printable(text, 300));
    let now = broker.clock.now();
    let refused = broker
        .store
        .refuse_authorization_request(hash(state), provider_id, &error, error_description.as_deref(), act, now)
        .await?;
    match refused {
        Some(request) => {
            broker.notifications.wake(request.id).await;
            Ok(Completion::Failed { id: request.id, error, error_description, kind: None, retry_after: None })
        }
        None => Ok(Completion::InvalidState),
    }
}

/// What the page after a consent shows: the provider's name for people, and the status of the request.
pub async fn outcome(broker: &Broker, provider_id: &str, id: Uuid) -> Result<Option<(String, Status)>, BrokerError> {
    Ok(broker.store.authorization_outcome(provider_id, id).await?)
}
