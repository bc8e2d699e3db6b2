//! Confirmation: the application says which user consented, and only then is the code exchanged.
//! Owns: that a code is exchanged for the user it was begun for, and is lost for any other.
//! Must not know: how the application knows its user.

use std::sync::Arc;

use secrecy::SecretString;
use uuid::Uuid;

use super::{
    completion::Completion,
    exchange::{Credential, completed_before, run_exchange},
    interaction::{is_user, other_user},
    state::hash,
};
use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{actor::Act, authorization_request::AuthorizationRequest, key_limits::Reach, options::GrantType},
};

/// Completes the request `id` whose browser came to the application with this reference, if `user_id` is the user that the
/// request was begun for. However often it is called, the code is exchanged once and every caller gets the same result.
pub async fn confirm(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    id: Uuid,
    user_id: &str,
    reference: &SecretString,
    act: &Act,
) -> Result<Completion, BrokerError> {
    let reference_hash = hash(reference);
    let is_of_reference =
        |request: &AuthorizationRequest| request.confirmation_hash.as_deref() == Some(&reference_hash[..]);
    let request = broker.store.authorization_request(reach, id).await?;
    let now = broker.clock.now();
    let request = request.filter(|request| is_of_reference(request) && request.expires_at > now);
    let Some(request) = request else { return Ok(Completion::InvalidState) };
    if !is_user(&request, user_id) {
        return other_user(broker, &request, act).await;
    }
    let taken = broker.store.take_confirmed_request(reach.tenant, id, reference_hash, act, now).await?;
    match taken.map(|mut request| (request.code.take(), request)) {
        Some((Some(code), request)) => {
            let credential = match request.client.options.grant_type {
                GrantType::ApiKey => Credential::EnteredKey(code),
                _ => Credential::KeptCode(code),
            };
            run_exchange(broker, request, credential, act).await
        }
        Some((None, _)) => Err(BrokerError::Internal("a confirmed request has no code".into())),
        None => completed_before(broker, &request, is_of_reference).await,
    }
}
