//! Exchange: what completes an authorization request becomes a grant, and the grant is stored.
//! Owns: that a code goes only where its request was begun, that what was granted is stored, and what a failure leaves.
//! Must not know: who brought it, or how they are answered.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::SecretString;

use super::{
    account::identify,
    completion::{CodeResponse, Completion},
    static_key::grant_of_key,
};
use crate::{
    broker::{
        clients::registration::{client_is_unknown, reregister},
        context::Broker,
        error::BrokerError,
        persist::persist,
        tokens::{response::grant_from_response, revoke::queue_revocation},
    },
    model::{
        authorization_request::AuthorizationRequest,
        failure::{FailureKind, TokenFailure},
        grant::Grant,
    },
    oauth::{
        callback_signature::is_signed,
        token::{Grant as TokenGrant, request_token},
    },
};

/// What an authorization request is completed with.
pub enum Credential {
    /// The code a person came back with.
    Code(CodeResponse),
    /// The static key a person entered.
    EnteredKey(SecretString),
}

/// Completes a request that was taken.
///
/// # Errors
/// The store fails. A provider that fails is a [`Completion::Failed`].
pub async fn exchange(
    broker: Arc<Broker>,
    request: AuthorizationRequest,
    credential: Credential,
) -> Result<Completion, BrokerError> {
    let granted = match credential {
        Credential::Code(response) => grant_of_code(&broker, &request, &response).await,
        Credential::EnteredKey(key) => Ok(grant_of_key(key, None)),
    };
    finish(&broker, &request, granted).await
}

/// Stores what was granted, or the failure, and wakes those who wait.
///
/// # Errors
/// Those of [`exchange`].
pub async fn finish(
    broker: &Arc<Broker>,
    request: &AuthorizationRequest,
    granted: Result<Grant, TokenFailure>,
) -> Result<Completion, BrokerError> {
    let completion = match granted {
        Ok(mut grant) => {
            identify(broker, request, &mut grant).await;
            keep(broker, request, grant).await
        }
        Err(failure) => {
            reregister_unknown(broker, request, &failure).await;
            fail(broker, request, failure).await
        }
    };
    broker.notifications.wake(request.id).await;
    completion
}

async fn grant_of_code(
    broker: &Broker,
    request: &AuthorizationRequest,
    response: &CodeResponse,
) -> Result<Grant, TokenFailure> {
    check_issuer(request, response.iss.as_deref())?;
    check_signature(request, response.query.as_ref())?;
    let grant = TokenGrant::Code {
        code: &response.code,
        redirect_uri: &request.redirect_uri,
        code_verifier: request.code_verifier.as_ref(),
    };
    let client = &request.client;
    let quirks = broker.catalog.quirks_of(client);
    let mut tokens = request_token(&broker.outbound, client, quirks, grant, broker.clock.now()).await?;
    if let (Some(_), Some(short)) = (&client.options.renewal_grant, &tokens.refresh_token) {
        // The token that a code is exchanged for lives an hour or two there; the one that it is exchanged for, weeks.
        match request_token(&broker.outbound, client, quirks, TokenGrant::Refresh(short), broker.clock.now()).await {
            Ok(long) => tokens = long,
            Err(failure) => {
                tracing::warn!(
                    event = "token.long_lived_failed", auth_id = %request.id, error = failure.error,
                    "could not get a long-lived token"
                );
            }
        }
    }
    Ok(grant_from_response(broker, client, &tokens, &request.wanted.scopes))
}

/// A client that the server no longer knows is registered again, so that the next attempt works. (This code is lost: it
/// was issued to the old client.)
async fn reregister_unknown(broker: &Broker, request: &AuthorizationRequest, failure: &TokenFailure) {
    if failure.kind != FailureKind::MisconfiguredClient {
        return;
    }
    match broker.store.provider(&request.wanted.subject.tenant, &request.provider_id).await {
        Ok(Some(provider)) if provider.client.id == request.client.id && client_is_unknown(&provider, failure) => {
            reregister(broker, provider).await;
        }
        _ => {}
    }
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
async fn keep(broker: &Arc<Broker>, request: &AuthorizationRequest, grant: Grant) -> Result<Completion, BrokerError> {
    let kept = persist(|| {
        let now = broker.clock.now();
        let readable_until = now + TimeDelta::seconds(broker.settings.authorization_ttl_seconds);
        broker.store.complete_authorization_request(request, &grant, readable_until, now)
    });
    match kept.await {
        Ok(Some(token)) => {
            tracing::info!(
                event = "consent.completed", auth_id = %request.id, token_id = %token, provider = request.provider_id,
                "consent completed"
            );
            return Ok(Completion::Completed { id: request.id });
        }
        Err(error) if !error.is_dangling() => return Err(error.into()),
        Ok(None) | Err(_) => {}
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
) -> Result<Completion, BrokerError> {
    tracing::warn!(
        event = "consent.failed", auth_id = %request.id, provider = request.provider_id, error = failure.error,
        error_description = failure.error_description, "no grant was issued"
    );
    let now = broker.clock.now();
    broker.store.fail_authorization_request(request, &failure.error, failure.error_description.as_deref(), now).await?;
    Ok(Completion::Failed {
        id: request.id,
        error: failure.error,
        error_description: failure.error_description,
        kind: Some(failure.kind),
        retry_after: failure.retry_after,
    })
}
