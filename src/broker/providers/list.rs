//! Looking up providers.
//! Owns: reading them for those who manage them.
//! Must not know: what a provider is used for.

use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{key_limits::Reach, provider::Provider, subject::Tenant},
};

/// Every provider that the caller reaches, ordered by `provider_id`, without its client secret.
pub async fn list(broker: &Broker, reach: Reach<'_>) -> Result<Vec<Provider>, BrokerError> {
    Ok(broker.store.providers_without_secrets(reach).await?)
}

/// The provider of that `provider_id`, if there is one.
pub async fn find(broker: &Broker, tenant: &Tenant, provider_id: &str) -> Result<Option<Provider>, BrokerError> {
    Ok(broker.store.provider(tenant, provider_id).await?)
}

/// The provider of that `provider_id`.
///
/// # Errors
/// [`BrokerError::NotFound`].
pub async fn get(broker: &Broker, tenant: &Tenant, provider_id: &str) -> Result<Provider, BrokerError> {
    find(broker, tenant, provider_id).await?.ok_or(BrokerError::NotFound("provider"))
}

/// The same without its client secret, which may be one that cannot be opened. Only to look at.
///
/// # Errors
/// [`BrokerError::NotFound`].
pub async fn describe(broker: &Broker, tenant: &Tenant, provider_id: &str) -> Result<Provider, BrokerError> {
    let provider = broker.store.provider_without_secret(tenant, provider_id).await?;
    provider.ok_or(BrokerError::NotFound("provider"))
}

/// How many grants a provider has, dead ones too: what would be deleted with it.
pub async fn count_grants(broker: &Broker, provider: &Provider) -> Result<u64, BrokerError> {
    Ok(broker.store.count_grants(provider).await?)
}

/// The names of providers of several workspaces that share a callback address, from before addresses were distinct.
pub async fn shared_callbacks(broker: &Broker) -> Result<Vec<String>, BrokerError> {
    Ok(broker.store.shared_callbacks().await?)
}
