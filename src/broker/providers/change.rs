//! Changing a provider.
//! Owns: that a change and what follows from it are one transaction.
//! Must not know: the rules of a draft.

use secrecy::ExposeSecret;

use super::{
    definition::Definition,
    draft::ProviderDraft,
    endpoints::check_moved_endpoints,
    list::{describe, get},
};
use crate::{
    broker::{context::Broker, error::BrokerError, tokens::explain::REPLACED},
    model::{actor::Act, options::GrantType, provider::Provider, subject::Tenant},
};

/// Changes a provider. Its tokens stay and are refreshed with the new settings, at once if they were waiting after a
/// failure. Tokens that hold a key of the workspace end when the key is replaced. A new client secret also takes the place of
/// one that cannot be opened.
///
/// # Errors
/// [`BrokerError::NotFound`]; [`BrokerError::Faults`]; [`BrokerError::Exposure`] when it moves an endpoint without what
/// that takes; a conflict in the store when it was changed in the meantime.
pub async fn change(
    broker: &Broker,
    tenant: &Tenant,
    provider_id: &str,
    draft: ProviderDraft,
    act: &Act,
) -> Result<Provider, BrokerError> {
    let provider = match get(broker, tenant, provider_id).await {
        // As one without a secret: that of the draft proves nothing.
        Err(BrokerError::NotOpened(_)) if draft.client_secret.is_some() => {
            describe(broker, tenant, provider_id).await?
        }
        provider => provider?,
    };
    let is_new_key = provider.client.options.grant_type == GrantType::ApiKey && draft.client_secret.is_some();
    let definition = Definition { catalog: &broker.catalog, guard: broker.outbound.guard() };
    let changed = definition.changed_provider(&provider, &draft).map_err(BrokerError::Faults)?;
    check_moved_endpoints(broker, &provider, &changed, &draft).await?;
    let replaced_key = is_new_key.then_some(REPLACED);
    let fields = changed_fields(&provider, &changed);
    Ok(broker.store.correct_provider(&changed, &fields, replaced_key, act, broker.clock.now()).await?)
}

/// The names of the fields in which two versions differ, for the audit log. None of their values is recorded.
fn changed_fields(before: &Provider, after: &Provider) -> Vec<&'static str> {
    let secret = |provider: &Provider| provider.client.secret.as_ref().map(|secret| secret.expose_secret().to_owned());
    let fields = [
        ("name", before.name != after.name),
        ("client_id", before.client.id != after.client.id),
        ("client_secret", secret(before) != secret(after)),
        ("token_endpoint_auth_method", before.client.authentication != after.client.authentication),
        ("auth_url", before.auth_url != after.auth_url),
        ("token_url", before.client.token_url != after.client.token_url),
        ("userinfo_url", before.userinfo_url != after.userinfo_url),
        ("revocation_url", before.client.revocation_url != after.client.revocation_url),
        ("uses_pkce", before.uses_pkce != after.uses_pkce),
        ("authorization_params", before.authorization_params != after.authorization_params),
        ("allowed_redirect_uris", before.allowed_redirect_uris != after.allowed_redirect_uris),
        ("options", before.client.options != after.client.options),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}
