//! Deleting a provider.
//! Owns: that its tokens go with it, and are revoked.
//! Must not know: how a grant is revoked.

use std::sync::Arc;

use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        tokens::revoke::{Deletion, of_provider, revoke_deleted},
    },
    model::{actor::Act, subject::Tenant},
};

/// Deletes a provider with its tokens, and revokes their grants; `None` if it does not exist.
pub async fn delete(
    broker: &Arc<Broker>,
    tenant: &Tenant,
    provider_id: &str,
    act: &Act,
) -> Result<Option<Deletion>, BrokerError> {
    match broker.store.delete_provider(tenant, provider_id, &of_provider(broker), act, broker.clock.now()).await? {
        Some(deleted) => Ok(Some(revoke_deleted(broker, deleted).await)),
        None => Ok(None),
    }
}
