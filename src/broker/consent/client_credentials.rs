//! Tokens that need no person: our client's own (RFC 6749 section 4.4), and a static key that the workspace shares.
//! Owns: that they are stored like any other token, so that the next call finds them and deleting them ends them.
//! Must not know: when they are refreshed; that is `tokens/refresh.rs`, for all tokens.
//!
//! Callers that request the first token of a subject at the same moment may each get one; the last one is stored, and the
//! others live as long as the provider lets them. Nothing is used up by that, so it is not worth a lock.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::{request::with_default_scopes, static_key::grant_of_key};

use crate::{
    broker::{
        clients::health::note_client,
        context::Broker,
        error::BrokerError,
        limits::LimitKey,
        persist::{persist, stored},
        tokens::{explain::REPLACED, response::grant_from_response, revoke::queue_revocation},
    },
    model::{
        actor::Act,
        failure::{FailureKind, TokenFailure},
        grant::{Grant, GrantRequest},
        options::GrantType,
        provider::Provider,
        token::Token,
    },
    oauth::token::{Grant as TokenGrant, request_token},
    store::error::StoreError,
};

/// How long a caller waits for the token, beyond what one call to a provider may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The account of a grant that belongs to no person: a subject has one.
const CLIENT_ACCOUNT: &str = "client";

/// What the provider's record gets tokens with, without a person.
pub enum ClientCredential {
    /// Our client itself.
    Client,
    /// The static key of the workspace.
    WorkspaceKey(SecretString),
}

/// The credential of a provider; `None` if it needs a person.
#[must_use]
pub fn credential_of(provider: &Provider) -> Option<ClientCredential> {
    match (provider.client.options.grant_type, &provider.client.secret) {
        (GrantType::AuthorizationCode, _) | (GrantType::ApiKey, None) => None,
        (GrantType::ClientCredentials, _) => Some(ClientCredential::Client),
        (GrantType::ApiKey, Some(key)) => Some(ClientCredential::WorkspaceKey(key.clone())),
    }
}

/// Gets a token with `credential`, good for the scopes that are `needed`, and stores it for the subject. What the
/// provider refused is not requested again at once: no person slows down an agent that retries. A
/// provider whose record is corrected is asked at once.
///
/// # Errors
/// [`BrokerError::NoToken`] when the provider issues none; [`BrokerError::NotFound`] when it was deleted in the meantime.
pub async fn obtain(
    broker: &Arc<Broker>,
    provider: &Provider,
    wanted: GrantRequest,
    credential: ClientCredential,
    needed: &[String],
    act: &Act,
) -> Result<Box<Token>, BrokerError> {
    let key = LimitKey::ClientToken(provider.id, provider.generation, wanted.scopes.clone());
    if let Some(failure) = broker.limits.refusal(&key, broker.clock.now()) {
        return Err(BrokerError::NoToken(failure));
    }
    // A task of its own: a caller that disconnects does not lose what the provider issued.
    let id = Uuid::now_v7();
    let request =
        request(Arc::clone(broker), provider.clone(), wanted.clone(), credential, id, act.clone()).in_current_span();
    let deadline = Instant::now() + Duration::from_secs(broker.settings.provider_timeout_seconds) + PATIENCE;
    let requested = stored(&broker.unstored, id, deadline, broker.tasks.spawn(request)).await?;
    let requested = requested.unwrap_or_else(|| Err(timed_out()));
    let obtained = match requested {
        Ok(token) if token.covers(needed) => Ok(token),
        Ok(_) => Err(insufficient()),
        Err(failure) => Err(failure),
    };
    match obtained {
        Ok(token) => {
            // That a key is stored does not mean that it is good: an agent's report of it stays until it is replaced.
            if provider.client.options.grant_type != GrantType::ApiKey {
                note_client(broker, provider, None).await;
            }
            unless_replaced(broker, provider, wanted, token, needed, act).await
        }
        Err(failure) => {
            note_client(broker, provider, Some(&failure)).await;
            broker.limits.refuse(key, &failure, broker.clock.now());
            Err(BrokerError::NoToken(failure))
        }
    }
}

/// The stored token, or why the provider issued no token.
async fn request(
    broker: Arc<Broker>,
    provider: Provider,
    wanted: GrantRequest,
    credential: ClientCredential,
    id: Uuid,
    act: Act,
) -> Result<Result<Box<Token>, TokenFailure>, BrokerError> {
    let wanted = with_default_scopes(&provider, wanted);
    let granted = match credential {
        ClientCredential::Client => grant_of_client(&broker, &provider, &wanted).await,
        ClientCredential::WorkspaceKey(key) => Ok(grant_of_key(key, Some(CLIENT_ACCOUNT.into()))),
    };
    let grant = match granted {
        Ok(grant) => grant,
        Err(failure) => {
            tracing::warn!(
                event = "client_token.failed",
                provider = provider.provider_id,
                error = failure.error,
                error_description = failure.error_description,
                "the provider issued no token to our client"
            );
            return Ok(Err(failure));
        }
    };
    let tenant = &provider.tenant;
    let write = || broker.store.keep_grant(&wanted, &provider.provider_id, &grant, &act, broker.clock.now());
    match persist(&broker.unstored, id, write).await {
        Ok(id) => {
            tracing::info!(
                event = "client_token.stored", token_id = %id, provider = provider.provider_id,
                "a client credentials token was stored"
            );
            let token = broker.store.token(tenant, id).await?;
            token.map(|token| Ok(Box::new(token))).ok_or(BrokerError::NotFound("token"))
        }
        Err(StoreError::Dangling) => {
            queue_revocation(&broker, tenant, &provider.provider_id, &provider.client, &grant).await?;
            Err(BrokerError::NotFound("provider"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn grant_of_client(broker: &Broker, provider: &Provider, wanted: &GrantRequest) -> Result<Grant, TokenFailure> {
    let grant = TokenGrant::ClientCredentials { scopes: &wanted.scopes };
    let quirks = broker.catalog.quirks_of(&provider.client);
    let outbound = broker.outbound.of_provider(&provider.provider_id);
    let response = request_token(&outbound, &provider.client, quirks, grant, broker.clock.now()).await?;
    let grant = grant_from_response(broker, &provider.client, &response, &wanted.scopes);
    Ok(Grant { account_id: Some(CLIENT_ACCOUNT.into()), ..grant })
}

/// The token, unless it is a key that was replaced in the provider's record while it was being stored: then the new one.
/// Replacing a key ends the tokens that are stored by then, and misses one that is stored a moment later.
async fn unless_replaced(
    broker: &Arc<Broker>,
    provider: &Provider,
    wanted: GrantRequest,
    token: Box<Token>,
    needed: &[String],
    act: &Act,
) -> Result<Box<Token>, BrokerError> {
    if provider.client.options.grant_type != GrantType::ApiKey {
        return Ok(token);
    }
    let current = broker.store.provider(&provider.tenant, &provider.provider_id).await?;
    let current = current.ok_or(BrokerError::NotFound("provider"))?;
    let is_current = |key: &SecretString| key.expose_secret() == token.access_token.expose_secret();
    match credential_of(&current) {
        Some(credential) if !current.client.secret.as_ref().is_some_and(is_current) => {
            broker.store.end_grant(&token, REPLACED, act, broker.clock.now()).await?;
            Box::pin(obtain(broker, &current, wanted, credential, needed, act)).await
        }
        _ => Ok(token),
    }
}

fn timed_out() -> TokenFailure {
    TokenFailure::new(FailureKind::TimedOut, "provider_timeout", "the provider did not respond in time")
}

fn insufficient() -> TokenFailure {
    let problem = "the provider does not grant this server's client all of these scopes";
    TokenFailure::new(FailureKind::Refused, "insufficient_scope", problem)
}
