//! Creating a provider.
//! Owns: the steps from a draft to a stored provider.
//! Must not know: the rules of a draft.

use std::time::Duration;

use super::{
    definition::Definition,
    draft::{ProviderDraft, check_text},
    metadata::check_server,
};
use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        limits::{LimitKey, Permit},
        rules::Fault,
    },
    model::{actor::Act, audit::EventName, client::ClientAuthentication, provider::Provider, subject::Tenant},
    oauth::{discovery::Discovery, metadata::ServerMetadata, registration::authentication},
    store::error::StoreError,
};

/// When another try makes sense if a workspace runs as many discoveries as it may: most have ended by then; the slowest
/// takes some 15 seconds.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Creates a provider. What the draft does not say is read from the metadata of its issuer, if it names one.
///
/// # Errors
/// [`BrokerError::Faults`]; [`BrokerError::Conflict`] when the workspace has a provider of that `provider_id`;
/// [`BrokerError::Discovery`] when the issuer cannot be reached.
pub async fn create(broker: &Broker, tenant: Tenant, draft: ProviderDraft, act: &Act) -> Result<Provider, BrokerError> {
    let event = draft.creation();
    let provider = define(broker, tenant, draft).await?;
    store(broker, provider, event, act).await
}

/// Stores a provider that was just defined, and chooses its callback address.
///
/// # Errors
/// [`BrokerError::Conflict`] when the workspace has a provider of that `provider_id`.
pub async fn store(
    broker: &Broker,
    mut provider: Provider,
    event: EventName,
    act: &Act,
) -> Result<Provider, BrokerError> {
    provider.callback_tag = free_callback_tag(broker, &provider.provider_id).await?;
    loop {
        match broker.store.create_provider(&provider, event, act).await {
            Ok(()) => return Ok(provider),
            // It may be the callback address that is taken, by another workspace at the same moment.
            Err(StoreError::Conflict) if provider.callback_tag.is_empty() => provider.callback_tag = new_callback_tag(),
            Err(StoreError::Conflict) => return Err(id_taken()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The provider that a draft describes, which is not stored. What the draft does not say is read from the metadata of its
/// issuer, if it names one.
///
/// # Errors
/// [`BrokerError::Faults`]; [`BrokerError::Discovery`] when the issuer cannot be reached.
pub async fn define(broker: &Broker, tenant: Tenant, mut draft: ProviderDraft) -> Result<Provider, BrokerError> {
    let definition = Definition { catalog: &broker.catalog, guard: broker.outbound.guard() };
    let server = match draft.issuer.clone() {
        Some(issuer) => {
            let checked = check_text("issuer", &issuer, definition.guard);
            checked.map_err(|problem| BrokerError::Faults(vec![Fault::of("issuer", problem)]))?;
            let _permit = begin_discovery(broker, &tenant)?;
            let found = Discovery::new(&broker.outbound, broker.clock.now()).of_issuer(&issuer).await;
            let failed = |error| BrokerError::discovery("issuer", "The issuer was not discovered", &error);
            let server = found.map_err(failed)?;
            check_server(&server, definition.guard).map_err(failed)?;
            fill(&mut draft, &server);
            Some(server)
        }
        None if draft.has("issuer") => {
            draft.unreadable.retain(|fault| fault.field() == "issuer");
            return Err(BrokerError::Faults(draft.unreadable));
        }
        None => None,
    };
    let mut provider = definition.new_provider(tenant, &draft, broker.clock.now()).map_err(BrokerError::Faults)?;
    if let Some(server) = server {
        provider.client.options.issuer = Some(server.issuer);
        provider.client.options.iss_required = server.authorization_response_iss_parameter_supported;
    }
    Ok(provider)
}

/// The tag of a new provider's callback address: none if no other workspace has the plain address.
pub(super) async fn free_callback_tag(broker: &Broker, provider_id: &str) -> Result<String, BrokerError> {
    let is_free = broker.store.plain_callback_is_free(provider_id).await?;
    Ok(if is_free { String::new() } else { new_callback_tag() })
}

/// The tag of a callback address that no other provider has.
pub(super) fn new_callback_tag() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// Begins a discovery, unless the workspace runs as many as it may.
pub(super) fn begin_discovery(broker: &Broker, tenant: &Tenant) -> Result<Permit, BrokerError> {
    let key = LimitKey::Discovery(tenant.clone());
    let limit = key.limit();
    broker.limits.begin(key).ok_or(BrokerError::Busy { limit, retry_after: RETRY_AFTER })
}

pub(super) fn id_taken() -> BrokerError {
    BrokerError::Conflict(
        "This workspace has a provider with that provider_id. Choose another id, change the provider with PATCH, or \
         delete it first."
            .into(),
    )
}

/// What the draft says counts; the rest is filled in.
fn fill(draft: &mut ProviderDraft, server: &ServerMetadata) {
    let knows_s256 = server.code_challenge_methods_supported.iter().flatten().any(|method| method == "S256");
    if !draft.has("token_endpoint_auth_method") {
        let unnamed = ClientAuthentication::unnamed(draft.has("client_secret"), authentication(server));
        draft.authentication = Some(unnamed);
    }
    if !draft.has("uses_pkce") {
        draft.uses_pkce = Some(knows_s256);
    }
    let unsaid = |field: &str, metadata: &Option<String>| metadata.clone().filter(|_| !draft.has(field));
    let auth_url = unsaid("auth_url", &Some(server.authorization_endpoint.clone()));
    let token_url = unsaid("token_url", &Some(server.token_endpoint.clone()));
    let userinfo_url = unsaid("userinfo_url", &server.userinfo_endpoint);
    let revocation_url = unsaid("revocation_url", &server.revocation_endpoint);
    let device_url = unsaid("device_authorization_url", &server.device_authorization_endpoint);
    draft.auth_url = auth_url.or(draft.auth_url.take());
    draft.token_url = token_url.or(draft.token_url.take());
    draft.userinfo_url = userinfo_url.or(draft.userinfo_url.take());
    draft.revocation_url = revocation_url.or(draft.revocation_url.take());
    draft.options.device_authorization_url = device_url.or(draft.options.device_authorization_url.take());
}
