//! Looking up tokens, without their secrets.
//! Owns: what a user, or a workspace, is shown of its tokens; and changing a label or the default.
//! Must not know: how a token is used.

use uuid::Uuid;

use super::explain::{Explanation, explain};
use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{
        actor::Act,
        key_limits::Reach,
        provider::ProviderType,
        token::{TokenChange, TokenSummary},
        token_state::TokenState,
    },
};

/// The tokens of a user, at one provider or at all of them.
pub async fn list(
    broker: &Broker,
    reach: Reach<'_>,
    user: &str,
    provider_id: Option<&str>,
) -> Result<Vec<TokenSummary>, BrokerError> {
    Ok(broker.store.tokens_of_user(reach, user, provider_id).await?)
}

/// The providers at which a user has an active token.
pub async fn providers_with_token(broker: &Broker, reach: Reach<'_>, user: &str) -> Result<Vec<String>, BrokerError> {
    Ok(broker.store.providers_with_token(reach, user).await?)
}

/// True when anybody in the workspace has an active token at a provider of that type.
pub async fn workspace_has_token(
    broker: &Broker,
    reach: Reach<'_>,
    provider_type: ProviderType,
) -> Result<bool, BrokerError> {
    Ok(broker.store.workspace_has_token(reach, provider_type.as_str()).await?)
}

/// The state of a user's token, explained; `None` if the user has no such token.
pub async fn state(
    broker: &Broker,
    reach: Reach<'_>,
    user: &str,
    id: Uuid,
) -> Result<Option<(TokenState, Explanation)>, BrokerError> {
    let state = broker.store.token_state(reach, user, id).await?;
    Ok(state.map(|state| {
        let explanation = explain(&state, broker.clock.now());
        (state, explanation)
    }))
}

/// Changes the label or the default mark of a user's token; `None` if the user has no such token.
pub async fn change(
    broker: &Broker,
    reach: Reach<'_>,
    user: &str,
    id: Uuid,
    change: &TokenChange,
    act: &Act,
) -> Result<Option<TokenSummary>, BrokerError> {
    Ok(broker.store.change_token(reach, user, id, change, act, broker.clock.now()).await?)
}
