//! New authorization requests.
//! Owns: what a request remembers when it is begun, and when its exchange counts as interrupted.
//! Must not know: how the person consents.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use uuid::Uuid;

use super::state::hash;
use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{
        actor::Act,
        authorization_request::{AuthorizationRequest, Status},
        grant::GrantRequest,
        provider::Provider,
    },
    store::error::StoreError,
};

/// An exchange that has not ended in this time ended with the process that ran it.
pub const EXCHANGE_MAX: TimeDelta = TimeDelta::seconds(60);

/// An authorization request that waits for its person.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Where to send the person.
    pub url: String,
    /// What to wait for.
    pub id: Uuid,
    /// What the person enters, if they consent on another device.
    pub device: Option<DeviceCodes>,
}

/// What a person who consents on another device needs.
#[derive(Clone, Debug)]
pub struct DeviceCodes {
    /// What they enter ...
    pub user_code: String,
    /// ... here.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the code is valid.
    pub expires_in: Duration,
}

/// What is requested, with the default scopes of the provider if no scope was named.
#[must_use]
pub fn with_default_scopes(provider: &Provider, wanted: GrantRequest) -> GrantRequest {
    if wanted.scopes.is_empty() {
        return GrantRequest { scopes: provider.client.options.default_scopes.clone(), ..wanted };
    }
    wanted
}

/// A request with everything it will be completed with: what the provider's record says by then does not count.
#[must_use]
pub fn new_request(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    redirect_uri: String,
) -> AuthorizationRequest {
    AuthorizationRequest {
        // Not v7: the id is guarded by the API key alone, and should not reveal when it was made.
        id: Uuid::new_v4(),
        wanted: with_default_scopes(provider, wanted),
        provider_id: provider.provider_id.clone(),
        client: provider.client.clone(),
        redirect_uri,
        code_verifier: None,
        device: None,
        status: Status::Pending,
        code_hash: None,
        taken_at: None,
        token: None,
        error: None,
        error_description: None,
        expires_at: broker.clock.now() + TimeDelta::seconds(broker.settings.authorization_ttl_seconds),
    }
}

/// Stores a new request, under its state if it has one.
///
/// # Errors
/// [`BrokerError::NotFound`] when the provider was deleted at the same moment.
pub async fn store_request(
    broker: &Broker,
    request: &AuthorizationRequest,
    state: Option<&SecretString>,
    act: &Act,
) -> Result<(), BrokerError> {
    match broker.store.create_authorization_request(request, state.map(hash), act, broker.clock.now()).await {
        Err(StoreError::Dangling) => Err(BrokerError::NotFound("provider")),
        stored => Ok(stored?),
    }
}

/// When the exchange of a request that is taken counts as interrupted, if it has not ended by then. `None`: never,
/// because a device's request is polled again.
#[must_use]
pub fn interrupted_at(request: &AuthorizationRequest) -> Option<DateTime<Utc>> {
    let is_exchanging = request.status == Status::Exchanging && request.device.is_none();
    request.taken_at.filter(|_| is_exchanging).map(|at| at + EXCHANGE_MAX)
}

/// True when the exchange of a request died with its process: its code is spent, and only a new consent helps.
#[must_use]
pub fn is_interrupted(request: &AuthorizationRequest, now: DateTime<Utc>) -> bool {
    interrupted_at(request).is_some_and(|at| at < now)
}
