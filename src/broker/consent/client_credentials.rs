//! Tokens for which no person is needed: our client's own (RFC 6749 section 4.4), and a key that the workspace shares.
//! Owns: that they are kept like any other token, so that the next call finds them and deleting them ends them.
//! Must not know: when they are renewed; that is `refresh`, for all tokens alike.
//!
//! Those who ask for the first token of a subject at the same moment may each get one; the last one is kept, and the
//! others live as long as the provider lets them. Nothing of that is used up, so it is not worth a lock.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    authorization::{Begin, Completion, new_request, no_state},
    exchange::{Proof, exchange},
};
use crate::{
    app::App,
    broker::{BrokerError, authenticate::covers, tokens::refresh::note_client},
    model::options::GrantType,
    oauth::token::{FailureKind, TokenFailure, failure},
    store::{authorization_requests::row::Status, providers::Provider, tokens::row::Token},
};

/// How long a provider that gave nothing is left alone, if it does not say, and at the most.
const COOL_DOWN: Duration = Duration::from_secs(1);
const COOL_DOWN_MAX: Duration = Duration::from_mins(5);
/// Refusals remembered at the most.
const REFUSALS_MAX: u64 = 10_000;

/// The error of a token whose key was replaced in the provider's record. The next call gets the new one.
pub const REPLACED: &str = "key_replaced";

/// What the provider's record gives tokens by, without any person; `None` where one is needed.
#[must_use]
pub fn proof_of(provider: &Provider) -> Option<Proof> {
    match (provider.options.grant_type, &provider.client_secret) {
        (GrantType::AuthorizationCode, _) | (GrantType::ApiKey, None) => None,
        (GrantType::ClientCredentials, _) => Some(Proof::Client),
        (GrantType::ApiKey, Some(key)) => Some(Proof::WorkspaceKey(key.clone())),
    }
}

/// What providers refused a moment ago: no person stands between an agent that asks again and the provider. A provider
/// whose record is corrected is asked at once.
#[derive(Clone, Debug)]
pub struct Refusals(Cache<Asked, (DateTime<Utc>, TokenFailure)>);

/// The provider's record in that version, and the scopes.
type Asked = (Uuid, i64, Vec<String>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(REFUSALS_MAX).time_to_live(COOL_DOWN_MAX).build())
    }
}

impl Refusals {
    fn of(&self, asked: &Asked, now: DateTime<Utc>) -> Option<TokenFailure> {
        let (until, failure) = self.0.get(asked)?;
        let left = (until - now).to_std().ok().filter(|left| !left.is_zero())?;
        Some(TokenFailure { retry_after: Some(left), ..failure })
    }

    fn note(&self, asked: Asked, failure: &TokenFailure, now: DateTime<Utc>) {
        let wait = failure.retry_after.unwrap_or(COOL_DOWN).clamp(COOL_DOWN, COOL_DOWN_MAX);
        let until = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::seconds(1));
        self.0.insert(asked, (until, failure.clone()));
    }
}

/// Gets a token with `proof`, good for the scopes that are `needed`, and keeps it for the subject.
///
/// # Errors
/// [`BrokerError::NoToken`] when the provider gives none; [`BrokerError::NotFound`] when it was deleted meanwhile.
pub async fn obtain(
    app: &Arc<App>,
    provider: &Provider,
    ask: Begin,
    proof: Proof,
    needed: &[String],
) -> Result<Box<Token>, BrokerError> {
    let asked: Asked = (provider.id, provider.generation, ask.scopes.clone());
    if let Some(failure) = app.refusals.of(&asked, app.clock.now()) {
        return Err(BrokerError::NoToken(failure));
    }
    let obtained = match exchanged(app, provider, ask.clone(), proof).await? {
        Ok(token) if covers(&token, needed) => Ok(token),
        Ok(_) => Err(insufficient()),
        Err(failure) => Err(failure),
    };
    match obtained {
        Ok(token) => {
            // That a key is kept does not say that it is good: an agent's report of it stays until it is replaced.
            if provider.options.grant_type != GrantType::ApiKey {
                note_client(app, provider, None).await;
            }
            unless_replaced(app, provider, ask, token, needed).await
        }
        Err(failure) => {
            note_client(app, provider, Some(&failure)).await;
            app.refusals.note(asked, &failure, app.clock.now());
            Err(BrokerError::NoToken(failure))
        }
    }
}

/// The kept token, or why there is none.
async fn exchanged(
    app: &Arc<App>,
    provider: &Provider,
    ask: Begin,
    proof: Proof,
) -> Result<Result<Box<Token>, TokenFailure>, BrokerError> {
    let now = app.clock.now();
    let mut request = new_request(app, provider, ask);
    request.status = Status::Exchanging;
    request.taken_at = Some(now);
    app.store.create_authorization_request(&request, no_state(), now).await?;
    // On its own task: a caller that goes away does not lose what the provider gave.
    let ended = app.tasks.spawn(exchange(Arc::clone(app), request, proof)).await;
    match ended.map_err(|error| BrokerError::Internal(error.to_string()))?? {
        Completion::Completed { token, .. } => {
            let token = app.store.token(&provider.tenant, token).await?;
            token.map(|token| Ok(Box::new(token))).ok_or(BrokerError::NotFound("token"))
        }
        Completion::Failed { error, error_description, kind, retry_after, .. } => {
            let kind = kind.unwrap_or(FailureKind::Refused);
            Ok(Err(TokenFailure { kind, error, error_description, retry_after }))
        }
        _ => Err(BrokerError::NotFound("provider")),
    }
}

/// The token, unless it is a key that was replaced in the provider's record while it was kept: then the new one. Whoever
/// replaces a key ends the tokens that are there, and so cannot see one that comes a moment later.
async fn unless_replaced(
    app: &Arc<App>,
    provider: &Provider,
    ask: Begin,
    token: Box<Token>,
    needed: &[String],
) -> Result<Box<Token>, BrokerError> {
    if provider.options.grant_type != GrantType::ApiKey {
        return Ok(token);
    }
    let current = app.store.provider(&provider.tenant, &provider.provider_id).await?;
    let current = current.ok_or(BrokerError::NotFound("provider"))?;
    let is_current = |key: &secrecy::SecretString| key.expose_secret() == token.access_token.expose_secret();
    match proof_of(&current) {
        Some(proof) if !current.client_secret.as_ref().is_some_and(is_current) => {
            app.store.end_grant(&token, REPLACED, app.clock.now()).await?;
            Box::pin(obtain(app, &current, ask, proof, needed)).await
        }
        _ => Ok(token),
    }
}

fn insufficient() -> TokenFailure {
    let problem = "the provider does not grant this server's client all of these scopes";
    failure(FailureKind::Refused, "insufficient_scope", problem)
}
