//! Tokens for which no person is needed: our client's own (RFC 6749 section 4.4), and a key that the workspace shares.
//! Owns: that they are kept like any other token, so that the next call finds them and deleting them ends them.
//! Must not know: when they are renewed; that is `refresh`, for all tokens alike.
//!
//! Those who ask for the first token of a subject at the same moment may each get one; the last one is kept, and the
//! others live as long as the provider lets them. Nothing of that is used up, so it is not worth a lock.

use std::sync::Arc;

use super::{
    BrokerError,
    authorization::{Begin, Completion, hash, new_request, random_state},
    exchange::{Proof, exchange},
};
use crate::{
    app::App,
    oauth::token::{FailureKind, TokenFailure},
    provider_options::GrantType,
    store::{authorization_requests::Status, providers::Provider, tokens::Token},
};

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

/// Gets a token with `proof` and keeps it for the subject.
///
/// # Errors
/// [`BrokerError::NoToken`] when the provider gives none; [`BrokerError::NotFound`] when it was deleted meanwhile.
pub async fn obtain(app: &Arc<App>, provider: &Provider, ask: Begin, proof: Proof) -> Result<Box<Token>, BrokerError> {
    let now = app.clock.now();
    let mut request = new_request(app, provider, ask);
    request.status = Status::Exchanging;
    request.taken_at = Some(now);
    app.store.create_authorization_request(&request, hash(&random_state()), now).await?;
    let (tenant, id) = (request.subject.tenant.clone(), request.id);
    // On its own task: a caller that goes away does not lose what the provider gave.
    let exchanged = app.tasks.spawn(exchange(Arc::clone(app), request, proof)).await;
    match exchanged.map_err(|error| BrokerError::Internal(error.to_string()))?? {
        Completion::Completed(_) => {
            let kept = app.store.authorization_request(&tenant, id).await?.and_then(|request| request.token);
            let token = match kept {
                Some(token) => app.store.token(&tenant, token).await?,
                None => None,
            };
            token.map(Box::new).ok_or(BrokerError::NotFound("token"))
        }
        Completion::Failed { error, error_description, kind, .. } => Err(BrokerError::NoToken(TokenFailure {
            kind: kind.unwrap_or(FailureKind::Refused),
            error,
            error_description,
            retry_after: None,
        })),
        _ => Err(BrokerError::NotFound("provider")),
    }
}
