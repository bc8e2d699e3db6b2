//! Registration: getting a client at an authorization server, and getting a new one when the server no longer accepts it.
//! Owns: when our client is registered again, and what is returned while we have no client.
//! Must not know: the shape of a registration on the wire.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::redirect_uri::{callback_address, callback_address_of};
use crate::{
    broker::{
        context::Broker,
        error::{BrokerError, RegistrationRequired},
    },
    model::{actor::Act, client::ClientAuthentication, failure::TokenFailure, options::GrantType, provider::Provider},
    oauth::registration::{Purpose, RegistrationError, client_metadata, register},
    store::error::StoreError,
};

/// Makes sure that there is a client at the provider. If its authorization server does not let clients register
/// themselves, somebody has to do it by hand.
///
/// # Errors
/// [`BrokerError::RegistrationRequired`].
pub fn require_client(public_url: &str, provider: &Provider) -> Result<(), BrokerError> {
    if !provider.client.id.is_empty() {
        return Ok(());
    }
    Err(BrokerError::RegistrationRequired(Box::new(RegistrationRequired {
        issuer: provider.client.options.issuer.clone().unwrap_or_default(),
        redirect_uri: callback_address_of(public_url, provider),
        authorization_endpoint: provider.auth_url.clone(),
        token_endpoint: provider.client.token_url.clone(),
    })))
}

/// The provider with a client that can be used: one that we registered is registered again if its secret has expired.
///
/// # Errors
/// [`BrokerError::RegistrationRequired`].
pub async fn ready_client(broker: &Broker, provider: Provider, act: &Act) -> Result<Provider, BrokerError> {
    if provider.client.options.grant_type != GrantType::ApiKey {
        require_client(&broker.public_url, &provider)?;
    }
    let is_expired = client_secret_expired(&provider, broker.clock.now());
    Ok(if is_expired { reregister(broker, provider, act).await } else { provider })
}

/// The address of our client metadata document for a provider, which is the client id there. Each provider has its own,
/// because it names the provider's callback address.
#[must_use]
pub fn client_metadata_url(public_url: &str, provider_id: &str, callback_tag: &str) -> String {
    let plain = format!("{public_url}/oauth/client-metadata.json/{provider_id}");
    if callback_tag.is_empty() { plain } else { format!("{plain}/{callback_tag}") }
}

/// Our client metadata document for a provider: what we say of ourselves to authorization servers that accept a URL as a
/// client id.
#[must_use]
pub fn client_metadata_document(public_url: &str, provider_id: &str, callback_tag: &str) -> Value {
    let redirect_uri = callback_address(public_url, provider_id, callback_tag);
    let mut document = client_metadata(&redirect_uri, ClientAuthentication::None);
    document["client_id"] = client_metadata_url(public_url, provider_id, callback_tag).into();
    document["client_uri"] = public_url.into();
    document
}

/// True when the secret of a client that we registered has expired: the client has to be registered again before it is
/// used.
#[must_use]
pub fn client_secret_expired(provider: &Provider, now: DateTime<Utc>) -> bool {
    let options = &provider.client.options;
    options.registration_url.is_some() && options.client_secret_expires_at.is_some_and(|at| at <= now)
}

/// True when the token endpoint does not know a client that we registered. Tried once: a client that is marked as wrong
/// already is not registered again and again.
#[must_use]
pub fn client_is_unknown(provider: &Provider, failure: &TokenFailure) -> bool {
    provider.client.options.registration_url.is_some()
        && provider.client_error.is_none()
        && failure.error == "invalid_client"
}

/// The provider with our client registered again; unchanged if that fails.
pub async fn reregister(broker: &Broker, provider: Provider, act: &Act) -> Provider {
    match Box::pin(register_again(broker, &provider, act)).await {
        Ok(Some(reregistered)) => reregistered,
        Ok(None) => provider,
        Err(error) => {
            tracing::warn!(
                event = "client.registration_failed", provider = provider.provider_id, %error,
                "could not register our client again"
            );
            provider
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RegisterAgainError {
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Registers our client again. Returns the provider with the new client, or as somebody else wrote it in the meantime;
/// `None` if we did not register the client, or the provider is gone.
async fn register_again(
    broker: &Broker,
    provider: &Provider,
    act: &Act,
) -> Result<Option<Provider>, RegisterAgainError> {
    let Some(endpoint) = &provider.client.options.registration_url else { return Ok(None) };
    let (redirect_uri, now) = (callback_address_of(&broker.public_url, provider), broker.clock.now());
    let purpose = Purpose {
        redirect_uri: &redirect_uri,
        scopes: &provider.client.options.registered_scopes,
        on_devices: provider.client.options.device_authorization_url.is_some(),
    };
    let outbound = broker.outbound.of_provider(&provider.provider_id);
    let registered = register(&outbound, endpoint, purpose, provider.client.authentication, now).await?;
    let mut changed = provider.clone();
    changed.client.id = registered.client_id;
    changed.client.secret = registered.client_secret;
    changed.client.authentication = registered.authentication;
    changed.client.options.client_secret_expires_at = registered.secret_expires_at;
    match broker.store.replace_client(&changed, act, now).await {
        Ok(updated) => {
            tracing::info!(
                event = "client.reregistered",
                provider = updated.provider_id,
                "our client was registered again"
            );
            Ok(Some(updated))
        }
        Err(StoreError::Conflict) => Ok(broker.store.provider(&provider.tenant, &provider.provider_id).await?),
        Err(error) => Err(error.into()),
    }
}
