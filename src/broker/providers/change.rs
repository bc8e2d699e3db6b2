//! Changing a provider.
//! Owns: that a change and what follows from it are one transaction.
//! Must not know: the rules of a draft.

use super::{definition::Definition, draft::ProviderDraft, endpoints::check_moved_endpoints, list::get};
use crate::{
    broker::{context::Broker, error::BrokerError, tokens::explain::REPLACED},
    model::{options::GrantType, provider::Provider, subject::Tenant},
};

/// Changes a provider. Its tokens stay and are refreshed with the new settings, at once if they were waiting after a
/// failure. Tokens that hold a key of the workspace end when the key is replaced.
///
/// # Errors
/// [`BrokerError::NotFound`]; [`BrokerError::Faults`]; [`BrokerError::Exposure`] when it moves an endpoint without what
/// that takes; a conflict in the store when it was changed in the meantime.
pub async fn change(
    broker: &Broker,
    tenant: &Tenant,
    provider_id: &str,
    draft: ProviderDraft,
) -> Result<Provider, BrokerError> {
    let provider = get(broker, tenant, provider_id).await?;
    let is_new_key = provider.client.options.grant_type == GrantType::ApiKey && draft.client_secret.is_some();
    let definition = Definition { catalog: &broker.catalog, guard: broker.outbound.guard() };
    let changed = definition.changed_provider(&provider, &draft).map_err(BrokerError::Faults)?;
    check_moved_endpoints(broker, &provider, &changed, &draft).await?;
    let replaced_key = is_new_key.then_some(REPLACED);
    Ok(broker.store.correct_provider(&changed, replaced_key, broker.clock.now()).await?)
}
