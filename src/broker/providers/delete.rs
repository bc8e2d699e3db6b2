//! Deleting a provider.
//! Owns: that its tokens go with it, and are revoked.
//! Must not know: how a grant is revoked.

use std::{sync::Arc, time::Duration};

use backon::{ConstantBuilder, Retryable};

use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        tokens::revoke::{Deletion, of_provider, revoke_deleted},
    },
    model::{actor::Act, outage::Outage, subject::Tenant},
    store::error::StoreError,
};

/// How often it is tried again when other writers were in the way: consents and refreshes of the provider hold its record for
/// a moment, and all changes of an organization take turns at its audit log.
const RETRIES: usize = 2;
const PAUSE: Duration = Duration::from_millis(50);

/// Deletes a provider with its tokens, and revokes their grants; `None` if it does not exist.
pub async fn delete(
    broker: &Arc<Broker>,
    tenant: &Tenant,
    provider_id: &str,
    act: &Act,
) -> Result<Option<Deletion>, BrokerError> {
    let revocation_client = of_provider(broker);
    let delete = || broker.store.delete_provider(tenant, provider_id, &revocation_client, act, broker.clock.now());
    let backoff = ConstantBuilder::default().with_delay(PAUSE).with_max_times(RETRIES);
    let was_busy = |error: &StoreError| matches!(error, StoreError::Unavailable(Outage::Busy, _));
    match delete.retry(backoff).when(was_busy).await? {
        Some(deleted) => Ok(Some(revoke_deleted(broker, deleted).await)),
        None => Ok(None),
    }
}
