//! Exchange: an authorization request is completed. Its state is taken, the code becomes a grant, the grant is stored.
//! Owns: that this happens once, that a code goes only where its request was begun, and what a failure leaves.
//! Must not know: pages, or how the browser is answered.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use secrecy::SecretString;
use tracing::Instrument;

use super::{
    account::identify,
    callback_parameters::{self, KeptCode},
    completion::{CodeResponse, Completion, Source},
    interaction::{await_confirmation, check_source, is_user, other_user},
    request::is_interrupted,
    state::{hash, hash_with_code},
    static_key::{self, grant_of_key},
};
use crate::{
    broker::{
        clients::registration::{client_is_unknown, reregister},
        context::Broker,
        error::BrokerError,
        persist::{persist, stored},
        refusals::Replay,
        tokens::{response::grant_from_response, revoke::queue_revocation},
    },
    model::{
        actor::Act,
        authorization_request::{AuthorizationRequest, Status},
        consent::Consent,
        failure::{FailureKind, TokenFailure},
        grant::Grant,
        key_limits::Reach,
        options::GrantType,
        outage::Outage,
    },
    oauth::{
        callback_signature::is_signed,
        token::{Grant as TokenGrant, request_token},
    },
    store::error::StoreError,
};

/// How long a browser waits for an exchange, its own or that of an earlier callback.
const EXCHANGE_WAIT: Duration = Duration::from_secs(30);
/// How often a browser looks by itself whether another replica has ended the exchange: the notification may be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What an authorization request is completed with.
pub(super) enum Credential {
    /// The code a person came back with.
    Code(CodeResponse),
    /// A code that was kept until the application had confirmed the user, as [`KeptCode`] writes it. It was checked when
    /// it came.
    KeptCode(SecretString),
    /// The static key a person entered.
    EnteredKey(SecretString),
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
    act: &Act,
) -> Result<Completion, BrokerError> {
    let (state_hash, code_hash) = (hash(state), hash_with_code(state, &response.code));
    let known = broker.store.authorization_request_of_state(state_hash).await?;
    let Some(known) = known else { return Ok(Completion::InvalidState) };
    if let Err(refused) = check_source(broker, provider_id, &known, source) {
        note_replay(broker, &known, &refused, act);
        return Ok(refused);
    }
    if known.client.options.grant_type == GrantType::ApiKey {
        let checked = static_key::check(&response.code);
        checked.map_err(|problem| BrokerError::Invalid { field: "code", problem: problem.to_string() })?;
    }
    let is_same = |found: &AuthorizationRequest| found.code_hash.as_deref() == Some(&code_hash[..]);
    match (known.consent, source) {
        // A code that did not come from the provider is not kept. It goes on, and is refused there before any token request.
        (Consent::Verify, Source::Browser { .. }) if check_response(&known, &response).is_err() => {}
        (Consent::Verify, Source::Browser { .. } | Source::KeyPage { .. }) => {
            return match await_confirmation(broker, &known, state, &response, code_hash, act).await? {
                Some(completion) => Ok(completion),
                None => completed_before(broker, &known, is_same).await,
            };
        }
        (Consent::Verify, Source::Application { user_id: None, .. }) => {
            let problem = "Field required: this provider's consents have to be confirmed with the user who consented";
            return Err(BrokerError::Invalid { field: "user_id", problem: problem.into() });
        }
        (_, Source::Application { user_id: Some(user), .. }) if !is_user(&known, user) => {
            return other_user(broker, &known, act).await;
        }
        _ => {}
    }
    let now = broker.clock.now();
    match broker.store.take_authorization_request(state_hash, provider_id, code_hash, act, now).await? {
        Some(request) => {
            let credential = match request.client.options.grant_type {
                GrantType::ApiKey => Credential::EnteredKey(response.code),
                _ => Credential::Code(response),
            };
            run_exchange(broker, request, credential, act).await
        }
        None => {
            let completion = completed_before(broker, &known, is_same).await?;
            note_replay(broker, &known, &completion, act);
            Ok(completion)
        }
    }
}

/// Completes a request that was taken, in a task of its own: a browser that disconnects does not undo a consent that was
/// given.
pub(super) async fn run_exchange(
    broker: &Arc<Broker>,
    request: AuthorizationRequest,
    credential: Credential,
    act: &Act,
) -> Result<Completion, BrokerError> {
    let (id, deadline) = (request.id, tokio::time::Instant::now() + EXCHANGE_WAIT);
    let exchange = exchange(Arc::clone(broker), request, credential, act.clone()).in_current_span();
    let exchange = broker.tasks.spawn(exchange);
    let late = || BrokerError::Unavailable(Outage::Unreachable, "a grant waits to be stored".into());
    stored(&broker.unstored, id, deadline, exchange).await?.ok_or_else(late)
}

/// Notes that a state came back with another code, at another provider's callback, or in another browser. It is counted: an
/// event for each would let a caller in a loop fill the database.
pub(super) fn note_replay(broker: &Broker, request: &AuthorizationRequest, completion: &Completion, act: &Act) {
    let error = match completion {
        Completion::StateUsed => "state_used",
        Completion::WrongProvider => "wrong_provider",
        Completion::OtherBrowser => "other_browser",
        Completion::NotTheBrowser => "not_the_browser",
        _ => return,
    };
    let replay = Replay {
        subject: request.wanted.subject.clone(),
        provider_id: request.provider_id.clone(),
        auth_id: request.id,
        actor: act.actor.clone(),
        error,
    };
    broker.replays.note(Some(replay), act);
}

/// What a caller finds whose request can no longer be taken. `is_same`: the caller brings what it was taken with.
pub(super) async fn completed_before(
    broker: &Broker,
    known: &AuthorizationRequest,
    is_same: impl Fn(&AuthorizationRequest) -> bool,
) -> Result<Completion, BrokerError> {
    let deadline = tokio::time::Instant::now() + EXCHANGE_WAIT;
    let waiter = broker.notifications.register(known.id);
    loop {
        let mut woken = std::pin::pin!(waiter.notify.notified());
        // Before the read, so that no wake is missed in between.
        woken.as_mut().enable();
        let found = broker.store.authorization_request(Reach::whole(&known.wanted.subject.tenant), known.id).await?;
        let Some(request) = found else { return Ok(Completion::InvalidState) };
        let is_same = is_same(&request);
        match request.status {
            Status::Completed if is_same => {
                return Ok(Completion::AlreadyCompleted { id: request.id, return_url: request.return_url });
            }
            Status::Failed if is_same => {
                return Ok(Completion::Failed {
                    id: request.id,
                    error: request.error.unwrap_or_default(),
                    error_description: request.error_description,
                    kind: Some(FailureKind::Refused),
                    retry_after: None,
                });
            }
            Status::Completed | Status::Exchanging if !is_same => return Ok(Completion::StateUsed),
            // It waits for its application, with another code.
            Status::Pending if request.code.is_some() => return Ok(Completion::StateUsed),
            Status::Exchanging if is_interrupted(&request, broker.clock.now()) => return Ok(Completion::InvalidState),
            Status::Exchanging if tokio::time::Instant::now() < deadline => {
                let _ = tokio::time::timeout(LOOK_AGAIN, woken).await;
            }
            _ => return Ok(Completion::InvalidState),
        }
    }
}

/// Completes a request that was taken.
async fn exchange(
    broker: Arc<Broker>,
    request: AuthorizationRequest,
    credential: Credential,
    act: Act,
) -> Result<Completion, BrokerError> {
    let granted = match credential {
        Credential::Code(response) => match check_response(&request, &response) {
            Ok(()) => grant_of_code(&broker, &request, &response.code, response.query.as_ref()).await,
            Err(failure) => Err(failure),
        },
        Credential::KeptCode(kept) => {
            let KeptCode { code, query } = KeptCode::read(&kept);
            grant_of_code(&broker, &request, &code, query.as_ref()).await
        }
        Credential::EnteredKey(key) => Ok(grant_of_key(key, None)),
    };
    finish(&broker, &request, granted, &act).await
}

/// Stores what was granted, or the failure, and wakes those who wait.
///
/// # Errors
/// The store fails. A provider that fails is a [`Completion::Failed`].
pub async fn finish(
    broker: &Arc<Broker>,
    request: &AuthorizationRequest,
    granted: Result<Grant, TokenFailure>,
    act: &Act,
) -> Result<Completion, BrokerError> {
    let completion = match granted {
        Ok(mut grant) => {
            identify(broker, request, &mut grant).await;
            keep(broker, request, grant, act).await
        }
        Err(failure) => {
            reregister_unknown(broker, request, &failure, act).await;
            fail(broker, request, failure, act).await
        }
    };
    broker.notifications.wake(request.id).await;
    completion
}

async fn grant_of_code(
    broker: &Broker,
    request: &AuthorizationRequest,
    code: &SecretString,
    query: Option<&SecretString>,
) -> Result<Grant, TokenFailure> {
    let grant =
        TokenGrant::Code { code, redirect_uri: &request.redirect_uri, code_verifier: request.code_verifier.as_ref() };
    let client = &request.client;
    let quirks = broker.catalog.quirks_of(client);
    let outbound = broker.outbound.of_provider(&request.provider_id);
    let mut tokens = request_token(&outbound, client, quirks, grant, broker.clock.now()).await?;
    if let (Some(_), Some(short)) = (&client.options.renewal_grant, &tokens.refresh_token) {
        // The token that a code is exchanged for lives an hour or two there; the one that it is exchanged for, weeks.
        match request_token(&outbound, client, quirks, TokenGrant::Refresh(short), broker.clock.now()).await {
            Ok(long) => tokens = long,
            Err(failure) => {
                tracing::warn!(
                    event = "token.long_lived_failed", auth_id = %request.id, error = failure.error,
                    "could not get a long-lived token"
                );
            }
        }
    }
    tokens.add_callback_parameters(
        callback_parameters::read(query, broker.catalog.callback_parameters_of(client)),
        quirks,
    );
    Ok(grant_from_response(broker, client, &tokens, &request.wanted.scopes))
}

/// A client that the server no longer knows is registered again, so that the next attempt works. (This code is lost: it
/// was issued to the old client.)
async fn reregister_unknown(broker: &Broker, request: &AuthorizationRequest, failure: &TokenFailure, act: &Act) {
    if failure.kind != FailureKind::MisconfiguredClient {
        return;
    }
    match broker.store.provider(&request.wanted.subject.tenant, &request.provider_id).await {
        Ok(Some(provider)) if provider.client.id == request.client.id && client_is_unknown(&provider, failure) => {
            reregister(broker, provider, act).await;
        }
        _ => {}
    }
}

/// Checks that the response comes from the provider, as far as it says.
fn check_response(request: &AuthorizationRequest, response: &CodeResponse) -> Result<(), TokenFailure> {
    check_issuer(request, response.iss.as_deref())?;
    check_signature(request, response.query.as_ref())
}

/// A query that the provider did not sign, although it signs all of them, was forged.
fn check_signature(request: &AuthorizationRequest, query: Option<&SecretString>) -> Result<(), TokenFailure> {
    let Some(query) = query.filter(|_| request.client.options.signed_callback) else { return Ok(()) };
    if request.client.secret.as_ref().is_some_and(|secret| is_signed(query, secret)) {
        return Ok(());
    }
    let problem = "the callback is not signed by the provider; check the provider's client_secret";
    Err(TokenFailure::new(FailureKind::Refused, "signature_mismatch", problem))
}

/// A response that names another issuer than the one the person was sent to is an attack in which the code would go to
/// the wrong server (RFC 9207 section 2.4): no token request is made, and nothing of the response is shown.
pub(super) fn check_issuer(request: &AuthorizationRequest, iss: Option<&str>) -> Result<(), TokenFailure> {
    let Some(issuer) = &request.client.options.issuer else { return Ok(()) };
    let problem = match iss {
        Some(iss) if iss == issuer => return Ok(()),
        None if !request.client.options.iss_required => return Ok(()),
        Some(_) => "the response names another authorization server than the one that was asked",
        None => "the response does not name its authorization server, although this server always does",
    };
    Err(TokenFailure::new(FailureKind::Refused, "issuer_mismatch", problem))
}

/// Stores what was granted. The code is spent, so a database that cannot be reached for a moment must not cost the grant.
async fn keep(
    broker: &Arc<Broker>,
    request: &AuthorizationRequest,
    grant: Grant,
    act: &Act,
) -> Result<Completion, BrokerError> {
    let kept = persist(&broker.unstored, request.id, || {
        let now = broker.clock.now();
        let readable_until = now + TimeDelta::seconds(broker.settings.authorization_ttl_seconds);
        broker.store.complete_authorization_request(request, &grant, readable_until, act, now)
    });
    match kept.await {
        Ok(Some(token)) => {
            tracing::info!(
                event = "consent.completed", auth_id = %request.id, token_id = %token, provider = request.provider_id,
                "consent completed"
            );
            return Ok(Completion::Completed { id: request.id, return_url: request.return_url.clone() });
        }
        Ok(None) | Err(StoreError::Dangling) => {}
        Err(error) => return Err(error.into()),
    }
    // The provider, and with it the request, was deleted while the person was consenting: nobody keeps the grant.
    let tenant = &request.wanted.subject.tenant;
    queue_revocation(broker, tenant, &request.provider_id, &request.client, &grant).await?;
    Ok(Completion::InvalidState)
}

async fn fail(
    broker: &Broker,
    request: &AuthorizationRequest,
    failure: TokenFailure,
    act: &Act,
) -> Result<Completion, BrokerError> {
    tracing::warn!(
        event = "consent.failed", auth_id = %request.id, provider = request.provider_id, error = failure.error,
        error_description = failure.error_description, "no grant was issued"
    );
    let now = broker.clock.now();
    let description = failure.error_description.as_deref();
    broker.store.fail_authorization_request(request, &failure.error, description, act, now).await?;
    Ok(Completion::Failed {
        id: request.id,
        error: failure.error,
        error_description: failure.error_description,
        kind: Some(failure.kind),
        retry_after: failure.retry_after,
    })
}
