//! Whether our client works: providers whose token endpoint refuses it are marked, for their operator.
//! Owns: when a mark is set and removed.
//! Must not know: what was requested.

use crate::{
    broker::context::Broker,
    model::{
        failure::{FailureKind, TokenFailure},
        provider::Provider,
    },
};

/// Notes what a response says of the provider's client: it is wrong if that is why the request failed, and right again if
/// the request did not fail.
pub async fn note_client(broker: &Broker, provider: &Provider, failure: Option<&TokenFailure>) {
    match failure {
        None if provider.client_error.is_some() => mark_client(broker, provider, None).await,
        Some(failure) if failure.kind == FailureKind::MisconfiguredClient => {
            mark_client(broker, provider, Some(&failure.error)).await;
        }
        _ => {}
    }
}

/// Marks the provider's client as wrong, or as right again. A mark that cannot be written is no reason to fail.
pub async fn mark_client(broker: &Broker, provider: &Provider, error: Option<&str>) {
    let marked = broker.store.mark_client_error(provider, error, broker.clock.now()).await;
    if let Err(error) = marked {
        tracing::warn!(
            event = "client.state_not_stored", provider = provider.provider_id, %error,
            "could not store whether a provider's client works"
        );
    }
}
