//! Changing where the secrets of a provider go: its client secret, codes and tokens are sent to its endpoints.
//! Owns: which endpoints these are, and what a change of one has to prove or confirm.
//! Must not know: the rest of a change, or the shape of the request.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::draft::ProviderDraft;
use crate::{
    broker::{
        context::Broker,
        error::{BrokerError, Exposure},
    },
    model::provider::Provider,
};

/// Checks a change that moves an endpoint. Whoever could move one of a provider that holds a client secret would receive
/// that secret: so the change has to bring the secret again, or a new one in its place, which exposes nothing. The grants
/// of the provider would be sent to the new endpoint too: a change that does not bring the stored secret has to confirm
/// how many they are.
///
/// # Errors
/// [`BrokerError::Exposure`].
pub(super) async fn check_moved_endpoints(
    broker: &Broker,
    provider: &Provider,
    changed: &Provider,
    draft: &ProviderDraft,
) -> Result<(), BrokerError> {
    let moved = moved(provider, changed);
    if moved.is_empty() {
        return Ok(());
    }
    let grants = broker.store.count_grants(provider).await?;
    let (stored, sent) = (provider.client.secret.as_ref(), draft.client_secret.as_ref());
    let is_proven = stored.zip(sent).is_some_and(|(stored, sent)| digest(stored) == digest(sent));
    let is_confirmed = grants == 0 || draft.expose_grants == Some(grants);
    let what_to_do = match (stored, sent) {
        _ if is_proven => None,
        (Some(_), None) => Some(match grants {
            0 => "Send the provider's client_secret again with the change.".to_owned(),
            _ => "Send the provider's client_secret again with the change. (To replace it at the same time, send the \
                  new one and confirm with expose_grants.)"
                .to_owned(),
        }),
        _ if is_confirmed => None,
        (Some(_), Some(_)) => Some(format!(
            "The client_secret of the request is not the stored one. Send the stored one, or confirm with \
             \"expose_grants\": {grants}."
        )),
        (None, _) => Some(format!("Confirm it with \"expose_grants\": {grants}.")),
    };
    match what_to_do {
        Some(what_to_do) => {
            let secret = if stored.is_some() { "its client secret and " } else { "" };
            let moved = moved.join(", ");
            let message = format!(
                "This change of {moved} would expose {secret}{grants} grants of the provider to the new address. {what_to_do}"
            );
            Err(BrokerError::Exposure(Box::new(Exposure { grants, message })))
        }
        None => {
            let (provider_id, endpoints) = (&provider.provider_id, moved.join(" "));
            tracing::info!(
                event = "provider.endpoints_changed",
                provider = provider_id,
                endpoints,
                grants,
                "a provider's endpoints change"
            );
            Ok(())
        }
    }
}

/// The endpoints that differ, by the names of their fields.
fn moved(before: &Provider, after: &Provider) -> Vec<&'static str> {
    let endpoints = |provider: &Provider| {
        let options = &provider.client.options;
        [
            ("auth_url", Some(provider.auth_url.clone())),
            ("token_url", Some(provider.client.token_url.clone())),
            ("revocation_url", provider.client.revocation_url.clone()),
            ("userinfo_url", provider.userinfo_url.clone()),
            ("refresh_url", options.refresh_url.clone()),
            ("device_authorization_url", options.device_authorization_url.clone()),
            ("registration_url", options.registration_url.clone()),
            ("issuer", options.issuer.clone()),
        ]
    };
    let pairs = endpoints(before).into_iter().zip(endpoints(after));
    pairs.filter(|(before, after)| before.1 != after.1).map(|((field, _), _)| field).collect()
}

/// Compared instead of the secrets, so that the time it takes reveals nothing of them.
fn digest(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}
