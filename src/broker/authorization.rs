//! Authorization requests: beginning one, and completing it when the person comes back.
//! Owns: that a code is exchanged once, where the request was begun, and that what it gave is kept.
//! Must not know: pages, or how the browser is answered.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    BrokerError,
    discovery::{is_forgotten, renewed},
    expiry,
    identify::identify,
    persist,
    revoke::queue_grant_of_request,
};
use crate::{
    app::App,
    oauth::{
        account::Account,
        authorize::Authorization,
        scopes::covered,
        token::{Client, FailureKind, Grant as TokenGrant, TokenFailure, printable, request_token},
        token_response::TokenResponse,
    },
    store::{
        StoreError, Subject, Tenant,
        authorization_requests::{AuthorizationRequest, Status},
        grants::Grant,
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
}

/// How a callback ended.
#[derive(Clone, Debug)]
pub enum Completion {
    /// There is a token.
    Completed(Uuid),
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
pub async fn begin(app: &App, provider: &Provider, mut ask: Begin) -> Result<Pending, BrokerError> {
    if ask.scopes.is_empty() {
        ask.scopes.clone_from(&provider.options.default_scopes);
    }
    let begun = Authorization {
        auth_url: &provider.auth_url,
        client_id: &provider.client_id,
        redirect_uri: &ask.redirect_uri,
        scopes: &ask.scopes,
        provider_type: provider.provider_type.as_deref(),
        uses_pkce: provider.uses_pkce,
        parameters: &provider.authorization_params,
        options: &provider.options,
    }
    .begin()
    .map_err(|error| BrokerError::Internal(format!("provider {}: {error}", provider.provider_id)))?;
    let now = app.clock.now();
    let request = AuthorizationRequest {
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
        code_verifier: begun.code_verifier,
        scopes: ask.scopes,
        is_default: ask.is_default,
        force_new: ask.force_new,
        status: Status::Pending,
        code_hash: None,
        taken_at: None,
        token: None,
        error: None,
        error_description: None,
        expires_at: now + TimeDelta::seconds(app.settings.authorization_ttl_seconds),
    };
    app.store.create_authorization_request(&request, hash(&begun.state), now).await?;
    Ok(Pending { url: begun.url.into(), id: request.id })
}

/// What a provider sent the person back with.
pub struct CodeResponse {
    /// The code.
    pub code: SecretString,
    /// Who issued it, by its own word (RFC 9207).
    pub iss: Option<String>,
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

/// Completes the authorization request of `state` with `code`. `tenant` is the caller's, where the callback came
/// with an API key. However often it is called, the code is exchanged once and everybody gets the same end.
///
/// # Errors
/// [`BrokerError`] when the store fails. A provider that fails is a [`Completion::Failed`].
pub async fn complete(
    app: &Arc<App>,
    provider_id: &str,
    state: &SecretString,
    response: CodeResponse,
    tenant: Option<&Tenant>,
) -> Result<Completion, BrokerError> {
    let (state_hash, code_hash) = (hash(state), hash(&response.code));
    if let Some(tenant) = tenant {
        let known = app.store.authorization_request_of_state(state_hash).await?;
        if known.is_none_or(|request| request.subject.tenant != *tenant) {
            return Ok(Completion::InvalidState);
        }
    }
    match app.store.take_authorization_request(state_hash, provider_id, code_hash, app.clock.now()).await? {
        Some(request) => {
            // On its own task: a browser that goes away does not undo a consent that was given.
            let exchange = app.tasks.spawn(exchange(Arc::clone(app), request, response));
            match tokio::time::timeout(EXCHANGE_WAIT, exchange).await {
                Ok(ended) => ended.map_err(|error| BrokerError::Internal(error.to_string()))?,
                Err(_) => Err(StoreError::Unavailable("a grant waits to be kept".into()).into()),
            }
        }
        None => completed_before(app, state_hash, provider_id, code_hash).await,
    }
}

/// Ends the authorization request of `state`, because the provider sent the person back with an error.
///
/// # Errors
/// [`BrokerError::Store`].
pub async fn refuse(
    app: &App,
    provider_id: &str,
    state: &SecretString,
    response: ErrorResponse<'_>,
) -> Result<Completion, BrokerError> {
    let ErrorResponse { error, error_description, iss } = response;
    let begun = app.store.authorization_request_of_state(hash(state)).await?;
    if begun.is_some_and(|request| check_issuer(&request, iss).is_err()) {
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
            Ok(Completion::Failed { id: request.id, error, error_description, kind: None })
        }
        None => Ok(Completion::InvalidState),
    }
}

async fn exchange(
    app: Arc<App>,
    request: AuthorizationRequest,
    response: CodeResponse,
) -> Result<Completion, BrokerError> {
    let CodeResponse { code, iss } = response;
    let client = Client {
        token_url: &request.token_url,
        id: &request.client_id,
        secret: request.client_secret.as_ref(),
        authentication: request.token_endpoint_auth_method,
        options: &request.options,
    };
    let grant = TokenGrant::Code {
        code: &code,
        redirect_uri: &request.redirect_uri,
        code_verifier: request.code_verifier.as_ref(),
    };
    let answered = match check_issuer(&request, iss.as_deref()) {
        Ok(()) => request_token(&app.outbound, &client, grant, app.clock.now()).await,
        Err(failure) => Err(failure),
    };
    let kept = match answered {
        Ok(response) => {
            let mut grant = granted(&app, &response, &request.scopes, &request.token_url);
            identify(&app, &request, &mut grant).await;
            keep(&app, &request, grant).await
        }
        Err(failure) => {
            renew_forgotten(&app, &request, &failure).await;
            fail(&app, &request, failure).await
        }
    };
    app.wake(request.id).await;
    kept
}

/// A client that the server has forgotten is registered anew, so that the next attempt works. (This code is lost: it
/// was given to the old one.)
async fn renew_forgotten(app: &App, request: &AuthorizationRequest, failure: &TokenFailure) {
    if failure.kind != FailureKind::MisconfiguredClient {
        return;
    }
    match app.store.provider(&request.subject.tenant, &request.provider_id).await {
        Ok(Some(provider)) if provider.client_id == request.client_id && is_forgotten(&provider, failure) => {
            renewed(app, provider).await;
        }
        _ => {}
    }
}

/// A response that names another issuer than the one the person was sent to is an attack in which the code would go to
/// the wrong server (RFC 9207 section 2.4): no token request is made, and nothing of the response is shown.
fn check_issuer(request: &AuthorizationRequest, iss: Option<&str>) -> Result<(), TokenFailure> {
    let Some(issuer) = &request.options.issuer else { return Ok(()) };
    let problem = match iss {
        Some(iss) if iss == issuer => return Ok(()),
        None if !request.options.iss_required => return Ok(()),
        Some(_) => "the response names another authorization server than the one that was asked",
        None => "the response does not name its authorization server, which this one always does",
    };
    Err(TokenFailure {
        kind: FailureKind::Refused,
        error: "issuer_mismatch".into(),
        error_description: Some(problem.into()),
        retry_after: None,
    })
}

/// Keeps what was granted. The code is spent, so a database that is away for a moment must not cost the grant.
async fn keep(app: &Arc<App>, request: &AuthorizationRequest, grant: Grant) -> Result<Completion, BrokerError> {
    let kept = persist(|| {
        let now = app.clock.now();
        let readable_until = now + TimeDelta::seconds(app.settings.authorization_ttl_seconds);
        app.store.keep_grant(request, &grant, readable_until, now)
    });
    match kept.await {
        Ok(Some(token)) => {
            tracing::info!(auth_id = %request.id, token_id = %token, provider = request.provider_id, "consent completed");
            Ok(Completion::Completed(request.id))
        }
        // The provider, and with it the request, was deleted while the person was away: nobody keeps the grant.
        Ok(None) => {
            queue_grant_of_request(app, request, &grant).await?;
            Ok(Completion::InvalidState)
        }
        Err(error) if error.is_dangling() => {
            queue_grant_of_request(app, request, &grant).await?;
            Ok(Completion::InvalidState)
        }
        Err(error) => Err(error.into()),
    }
}

async fn fail(app: &App, request: &AuthorizationRequest, failure: TokenFailure) -> Result<Completion, BrokerError> {
    tracing::warn!(
        auth_id = %request.id, provider = request.provider_id, error = failure.error,
        error_description = failure.error_description, "the code could not be exchanged"
    );
    app.store
        .fail_authorization_request(request, &failure.error, failure.error_description.as_deref(), app.clock.now())
        .await?;
    Ok(Completion::Failed {
        id: request.id,
        error: failure.error,
        error_description: failure.error_description,
        kind: Some(failure.kind),
    })
}

/// True when the exchange of a request died with its process: its code is spent, and only a new consent helps.
#[must_use]
pub fn is_interrupted(request: &AuthorizationRequest, now: DateTime<Utc>) -> bool {
    request.status == Status::Exchanging && request.taken_at.is_some_and(|at| at + EXCHANGE_MAX < now)
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

/// What the response of a token endpoint grants, with its times made absolute. `asked` are the scopes that were asked
/// for, or, at a refresh, those the token has.
#[must_use]
pub fn granted(app: &App, response: &TokenResponse, asked: &[String], token_url: &str) -> Grant {
    let now = app.clock.now();
    let (expires_at, refresh_due_at) = expiry::of(response.expires_in, now);
    let (refresh_token_expires_at, _) = expiry::of(response.refresh_token_expires_in, now);
    let account = Account::of(response);
    Grant {
        access_token: response.access_token.clone(),
        refresh_token: response.refresh_token.clone(),
        scopes: response.scopes.clone().map(|granted| covered(granted, asked, token_url)),
        metadata: response.metadata.clone(),
        account_label: account.as_ref().and_then(|account| account.label.clone()),
        account_id: account.map(|account| account.id),
        expires_at,
        refresh_due_at,
        refresh_token_expires_at,
    }
}

fn hash(value: &SecretString) -> [u8; 32] {
    Sha256::digest(value.expose_secret()).into()
}
