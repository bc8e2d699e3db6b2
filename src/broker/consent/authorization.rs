//! Authorization requests: beginning one, and completing it when the person comes back.
//! Owns: what a request remembers, and that it is completed once, however often somebody comes back with it.
//! Must not know: what a code is exchanged for, pages, or how the browser is answered.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    exchange::{Proof, check_issuer, exchange},
    static_key::{self, key_page},
};
use crate::{
    app::App,
    broker::BrokerError,
    model::options::GrantType,
    oauth::{
        authorize::Authorization,
        token::{FailureKind, printable},
    },
    store::{
        StoreError, Subject, Tenant,
        authorization_requests::row::{AuthorizationRequest, Status},
        providers::Provider,
    },
};

/// How long a browser waits for an exchange, its own or that of an earlier callback.
const EXCHANGE_WAIT: Duration = Duration::from_secs(30);

/// An exchange that has not ended in this time ended with the process that ran it.
const EXCHANGE_MAX: TimeDelta = TimeDelta::seconds(60);

/// The channel on which replicas tell each other that an id is worth another look.
pub const WAKE_CHANNEL: &str = "agent_auth_wake";

/// What an application asks consent for.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Whose token it is to become.
    pub subject: Subject,
    /// The caller, as the platform names it.
    pub ls_user_id: Option<String>,
    /// The requested scopes.
    pub scopes: Vec<String>,
    /// Where the person comes back to.
    pub redirect_uri: String,
    /// Whether the token is to become the subject's default.
    pub is_default: bool,
    /// Whether the token may stand beside one that is there.
    pub force_new: bool,
}

/// An authorization request that waits for its person.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Where to send the person.
    pub url: String,
    /// What to wait for.
    pub id: Uuid,
    /// What the person enters, where they consent on another device.
    pub device: Option<DeviceCodes>,
}

/// What a person who consents on another device is told.
#[derive(Clone, Debug)]
pub struct DeviceCodes {
    /// What they enter ...
    pub user_code: String,
    /// ... here.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the code lives.
    pub expires_in: Duration,
}

/// How a callback ended.
#[derive(Clone, Debug)]
pub enum Completion {
    /// There is a token.
    Completed {
        /// The request.
        id: Uuid,
        /// What it became.
        token: Uuid,
    },
    /// It was there before: a reload or a double submit.
    AlreadyCompleted(Uuid),
    /// The person or the provider said no, or the exchange failed.
    Failed {
        /// The request.
        id: Uuid,
        /// The provider's code, or ours.
        error: String,
        /// The provider's explanation, or ours.
        error_description: Option<String>,
        /// The kind of the exchange's failure; none when the provider sent the person back with the error.
        kind: Option<FailureKind>,
        /// How long the provider asked us to stay away.
        retry_after: Option<Duration>,
    },
    /// No request of this state can be completed: unknown, expired, or never ours.
    InvalidState,
    /// The state was used, with another code.
    StateUsed,
    /// The state belongs to another provider than the one whose callback was called.
    WrongProvider,
}

/// Begins an authorization: keeps the request, with all it will be completed with, and gives the URL.
///
/// # Errors
/// [`BrokerError::Store`], or [`BrokerError::Internal`] if the provider's record is broken.
pub async fn begin(app: &App, provider: &Provider, ask: Begin) -> Result<Pending, BrokerError> {
    let mut request = new_request(app, provider, ask);
    if provider.options.grant_type == GrantType::ApiKey {
        let (url, state) = key_page(app, provider);
        app.store.create_authorization_request(&request, hash(&state), app.clock.now()).await?;
        return Ok(Pending { url, id: request.id, device: None });
    }
    let begun = Authorization {
        auth_url: &provider.auth_url,
        client_id: &provider.client_id,
        redirect_uri: &request.redirect_uri,
        scopes: &request.scopes,
        provider_type: provider.provider_type.as_deref(),
        uses_pkce: provider.uses_pkce,
        parameters: &provider.authorization_params,
        options: &provider.options,
    }
    .begin()
    .map_err(|error| BrokerError::Internal(format!("provider {}: {error}", provider.provider_id)))?;
    request.code_verifier = begun.code_verifier;
    app.store.create_authorization_request(&request, hash(&begun.state), app.clock.now()).await?;
    Ok(Pending { url: begun.url.into(), id: request.id, device: None })
}

/// A request with all it will be completed with: what the provider's record says by then does not count.
pub(in crate::broker) fn new_request(app: &App, provider: &Provider, ask: Begin) -> AuthorizationRequest {
    let default = || provider.options.default_scopes.clone();
    AuthorizationRequest {
        // Not v7: the id is guarded by the API key alone, and should not tell when it was made.
        id: Uuid::new_v4(),
        subject: ask.subject,
        ls_user_id: ask.ls_user_id,
        provider: provider.id,
        provider_id: provider.provider_id.clone(),
        client_id: provider.client_id.clone(),
        client_secret: provider.client_secret.clone(),
        token_endpoint_auth_method: provider.token_endpoint_auth_method,
        token_url: provider.token_url.clone(),
        revocation_url: provider.revocation_url.clone(),
        options: provider.options.clone(),
        redirect_uri: ask.redirect_uri,
        code_verifier: None,
        device: None,
        scopes: if ask.scopes.is_empty() { default() } else { ask.scopes },
        is_default: ask.is_default,
        force_new: ask.force_new,
        status: Status::Pending,
        code_hash: None,
        taken_at: None,
        token: None,
        error: None,
        error_description: None,
        expires_at: app.clock.now() + TimeDelta::seconds(app.settings.authorization_ttl_seconds),
    }
}

/// What a provider sent the person back with.
pub struct CodeResponse {
    /// The code.
    pub code: SecretString,
    /// Who issued it, by its own word (RFC 9207).
    pub iss: Option<String>,
    /// The whole query it stood in, where the browser brought it here. An application that received the redirect itself
    /// has checked that query itself.
    pub query: Option<SecretString>,
}

/// The error a provider sent the person back with.
pub struct ErrorResponse<'a> {
    /// Its code.
    pub error: &'a str,
    /// Its explanation.
    pub error_description: Option<&'a str>,
    /// Who says so, by its own word (RFC 9207).
    pub iss: Option<&'a str>,
}

/// Who brings what completes an authorization request.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A browser that a provider sent back, with a code in its address.
    Browser,
    /// Our page for static keys.
    KeyPage,
    /// An application that received the redirect, or was told the key, itself.
    Application(&'a Tenant),
}

/// Completes the authorization request of `state` with a code, or with a static key in its place. However often it is
/// called, that is exchanged once and everybody gets the same end.
///
/// # Errors
/// [`BrokerError`] when the store fails; [`BrokerError::Invalid`] when what should be a key is none. A provider that
/// fails is a [`Completion::Failed`].
pub async fn complete(
    app: &Arc<App>,
    provider_id: &str,
    state: &SecretString,
    response: CodeResponse,
    source: Source<'_>,
) -> Result<Completion, BrokerError> {
    let (state_hash, code_hash) = (hash(state), hash_with(state, &response.code));
    let known = app.store.authorization_request_of_state(state_hash).await?;
    let Some(known) = known.filter(|request| may_complete(request, source)) else {
        return Ok(Completion::InvalidState);
    };
    if known.options.grant_type == GrantType::ApiKey {
        let is_key = static_key::check(&response.code);
        is_key.map_err(|problem| BrokerError::Invalid { field: "code", problem: problem.into() })?;
    }
    match app.store.take_authorization_request(state_hash, provider_id, code_hash, app.clock.now()).await? {
        Some(request) => {
            let proof = match request.options.grant_type {
                GrantType::ApiKey => Proof::EnteredKey(response.code),
                _ => Proof::Code(response),
            };
            // On its own task: a browser that goes away does not undo a consent that was given.
            let exchange = app.tasks.spawn(exchange(Arc::clone(app), request, proof));
            match tokio::time::timeout(EXCHANGE_WAIT, exchange).await {
                Ok(ended) => ended.map_err(|error| BrokerError::Internal(error.to_string()))?,
                Err(_) => Err(StoreError::Unavailable("a grant waits to be kept".into()).into()),
            }
        }
        None => completed_before(app, state_hash, provider_id, code_hash).await,
    }
}

/// A key never comes in an address, and a code never through the page for keys; an application has its own tenant only.
fn may_complete(request: &AuthorizationRequest, source: Source<'_>) -> bool {
    let is_key = request.options.grant_type == GrantType::ApiKey;
    match source {
        Source::Browser => !is_key,
        Source::KeyPage => is_key,
        Source::Application(tenant) => request.subject.tenant == *tenant,
    }
}

/// Ends the authorization request of `state`, because the provider sent the person back with an error.
pub async fn refuse(
    app: &App,
    provider_id: &str,
    state: &SecretString,
    response: ErrorResponse<'_>,
) -> Result<Completion, BrokerError> {
    let ErrorResponse { error, error_description, iss } = response;
    let begun = app.store.authorization_request_of_state(hash(state)).await?;
    if begun.is_some_and(|request| !may_complete(&request, Source::Browser) || check_issuer(&request, iss).is_err()) {
        return Ok(Completion::InvalidState);
    }
    let error = printable(error, 64);
    let error_description = error_description.map(|text| printable(text, 300));
    let refused = app
        .store
        .refuse_authorization_request(hash(state), provider_id, &error, error_description.as_deref(), app.clock.now())
        .await?;
    match refused {
        Some(request) => {
            app.wake(request.id).await;
            Ok(Completion::Failed { id: request.id, error, error_description, kind: None, retry_after: None })
        }
        None => Ok(Completion::InvalidState),
    }
}

/// True when the exchange of a request died with its process: its code is spent, and only a new consent helps.
#[must_use]
pub fn is_interrupted(request: &AuthorizationRequest, now: DateTime<Utc>) -> bool {
    let is_asked_again = request.device.is_some();
    request.status == Status::Exchanging
        && !is_asked_again
        && request.taken_at.is_some_and(|at| at + EXCHANGE_MAX < now)
}

/// What a callback finds whose state is not there to be taken.
async fn completed_before(
    app: &App,
    state_hash: [u8; 32],
    provider_id: &str,
    code_hash: [u8; 32],
) -> Result<Completion, BrokerError> {
    let deadline = tokio::time::Instant::now() + EXCHANGE_WAIT;
    loop {
        let Some(request) = app.store.authorization_request_of_state(state_hash).await? else {
            return Ok(Completion::InvalidState);
        };
        let waiter = app.waiters.register(request.id);
        let mut woken = std::pin::pin!(waiter.notify.notified());
        woken.as_mut().enable();
        // Looked at again after registering, so that no wake is missed in between.
        let Some(request) = app.store.authorization_request_of_state(state_hash).await? else {
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
            Status::Exchanging if is_interrupted(&request, app.clock.now()) => return Ok(Completion::InvalidState),
            Status::Exchanging if tokio::time::Instant::now() < deadline => {
                // The slow look is for an exchange on another replica whose hint was lost.
                let _ = tokio::time::timeout(Duration::from_secs(1), woken).await;
            }
            _ => return Ok(Completion::InvalidState),
        }
    }
}

/// Stands in the place of a state's hash where nobody comes back: there is no state.
pub(in crate::broker) fn no_state() -> [u8; 32] {
    rand::random()
}

/// The hash of a code, or of a key in its place, together with its state: only the state's own hash is kept, so a reader
/// of the database cannot try out what the code or the key may be.
fn hash_with(state: &SecretString, code: &SecretString) -> [u8; 32] {
    Sha256::new()
        .chain_update(hash(state))
        .chain_update(state.expose_secret())
        .chain_update(code.expose_secret())
        .finalize()
        .into()
}

pub(in crate::broker) fn hash(value: &SecretString) -> [u8; 32] {
    Sha256::digest(value.expose_secret()).into()
}
