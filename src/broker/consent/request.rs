//! New authorization requests.
//! Owns: what a request remembers when it is begun, and when its exchange counts as interrupted.
//! Must not know: how the person consents.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    broker::{clients::redirect_uri::redirect_uri, context::Broker, error::BrokerError},
    model::{
        actor::Act,
        authorization_request::{AuthorizationRequest, Status},
        consent::Consent,
        grant::GrantRequest,
        provider::Provider,
    },
    store::{authorization_requests::row::RequestHashes, error::StoreError},
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

/// How the person goes to the provider, and comes back.
#[derive(Clone, Debug)]
pub struct ConsentOptions {
    /// How strictly the request is bound to its person.
    pub consent: Consent,
    /// Where the provider sends the browser.
    pub redirect_uri: String,
    /// Where the browser goes after that, if not to a page of ours.
    pub return_url: Option<String>,
    /// The account that the person probably has at the provider (`OpenID` Connect Core section 3.1.2.1).
    pub login_hint: Option<String>,
}

/// What a caller says about the way of the person.
#[derive(Clone, Copy, Debug)]
pub struct Requested<'a> {
    /// The least strict consent.
    pub consent: Consent,
    /// The redirect URI, if it is not ours.
    pub redirect_uri: Option<&'a str>,
    /// Where the browser goes afterwards.
    pub return_url: Option<&'a str>,
    /// The account that the person probably has.
    pub login_hint: Option<&'a str>,
}

/// How the person goes to the provider and comes back, if the provider's record allows what is requested. The strictest of
/// the server's, the provider's and the caller's consent counts.
///
/// # Errors
/// [`BrokerError::Invalid`] when an address is not allowed, or an application that has to confirm names none.
pub fn consent_options(
    broker: &Broker,
    provider: &Provider,
    requested: Requested<'_>,
) -> Result<ConsentOptions, BrokerError> {
    let options = &provider.client.options;
    let redirect_uri = redirect_uri(broker, provider, requested.redirect_uri)?;
    // Compared byte by byte: anything else would make an open redirector of this server (RFC 9700 section 4.11).
    if requested.return_url.is_some_and(|url| !options.return_urls.iter().any(|allowed| allowed == url)) {
        let problem = "must be one of the provider's return_urls";
        return Err(BrokerError::Invalid { field: "return_url", problem: problem.into() });
    }
    Ok(ConsentOptions {
        consent: broker.consent.max(options.consent.unwrap_or_default()).max(requested.consent),
        redirect_uri,
        return_url: requested.return_url.map(ToOwned::to_owned),
        login_hint: requested.login_hint.map(ToOwned::to_owned),
    })
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
    options: ConsentOptions,
) -> AuthorizationRequest {
    AuthorizationRequest {
        // Not v7: the id is guarded by the API key alone, and should not reveal when it was made.
        id: Uuid::new_v4(),
        wanted: with_default_scopes(provider, wanted),
        provider_id: provider.provider_id.clone(),
        client: provider.client.clone(),
        redirect_uri: options.redirect_uri,
        code_verifier: None,
        consent: options.consent,
        authorization_url: None,
        browser_hash: None,
        return_url: options.return_url,
        code: None,
        confirmation_hash: None,
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

/// Stores a new request under the hashes of what a browser brings to it.
///
/// # Errors
/// [`BrokerError::NotFound`] when the provider was deleted at the same moment.
pub async fn store_request(
    broker: &Broker,
    request: &AuthorizationRequest,
    hashes: RequestHashes,
    act: &Act,
) -> Result<(), BrokerError> {
    match broker.store.create_authorization_request(request, hashes, act, broker.clock.now()).await {
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
