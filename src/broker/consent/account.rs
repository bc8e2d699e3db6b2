//! Finding out which account a new grant is for, if its token response did not say.
//! Owns: that this costs a consent a moment at most, and never the grant.
//! Must not know: how single providers name accounts.

use crate::{
    broker::context::Broker,
    model::{authorization_request::AuthorizationRequest, grant::Grant, provider::Provider},
    oauth::userinfo::request_account,
};

/// Asks the provider which account `grant` is for, unless that is known. Whatever goes wrong, the account stays unknown
/// and the consent goes on.
pub async fn identify(broker: &Broker, request: &AuthorizationRequest, grant: &mut Grant) {
    if grant.account_id.is_some() {
        return;
    }
    let provider = match broker
        .store
        .provider_without_secret(&request.wanted.subject.tenant, &request.provider_id)
        .await
    {
        Ok(provider) => provider.filter(|provider| is_same(provider, request)),
        Err(error) => {
            tracing::info!(event = "account.unknown", auth_id = %request.id, reason = %error, "the account is unknown");
            None
        }
    };
    let userinfo_url = provider.as_ref().and_then(|provider| provider.userinfo_url.as_deref());
    let scopes = grant.scopes.as_deref().unwrap_or(&request.wanted.scopes);
    let Some(endpoint) = broker.catalog.userinfo_of(&request.client, userinfo_url, scopes) else { return };
    let outbound = broker.outbound.of_provider(&request.provider_id);
    match request_account(&outbound, &endpoint, &grant.access_token, broker.clock.now()).await {
        Ok(account) => {
            grant.account_id = Some(account.id);
            grant.account_label = account.label;
        }
        Err(reason) => {
            tracing::info!(
                event = "account.unknown", auth_id = %request.id, provider = request.provider_id, %reason,
                "the account is unknown"
            );
        }
    }
}

/// A record that was given another token endpoint in the meantime may lead to another provider, which must not get this
/// access token.
fn is_same(provider: &Provider, request: &AuthorizationRequest) -> bool {
    provider.id == request.wanted.provider && provider.client.token_url == request.client.token_url
}
