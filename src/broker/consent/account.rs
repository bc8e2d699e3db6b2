//! Finding out whose account a fresh grant is for, where its token response did not say.
//! Owns: that the question costs a consent a moment at the most, and never the grant.
//! Must not know: how single providers name accounts.

use crate::{
    app::App,
    oauth::userinfo::Userinfo,
    store::{authorization_requests::row::AuthorizationRequest, providers::Provider, tokens::grant::Grant},
};

/// Asks the provider whose account `grant` is for, unless that is known. Whatever goes wrong, the account stays unknown
/// and the consent goes on.
pub async fn identify(app: &App, request: &AuthorizationRequest, grant: &mut Grant) {
    if grant.account_id.is_some() {
        return;
    }
    let provider = match app.store.provider(&request.subject.tenant, &request.provider_id).await {
        Ok(provider) => provider.filter(|provider| is_that_of(provider, request)),
        Err(error) => {
            tracing::debug!(auth_id = %request.id, %error, "the account stays unknown");
            None
        }
    };
    let userinfo_url = provider.as_ref().and_then(|provider| provider.userinfo_url.as_deref());
    let scopes = grant.scopes.as_deref().unwrap_or(&request.scopes);
    let Some(userinfo) = Userinfo::of(userinfo_url, &request.token_url, scopes) else { return };
    match userinfo.ask(&app.outbound, &grant.access_token, app.clock.now()).await {
        Ok(account) => {
            grant.account_id = Some(account.id);
            grant.account_label = account.label;
        }
        Err(reason) => {
            tracing::info!(auth_id = %request.id, provider = request.provider_id, %reason, "the account stays unknown");
        }
    }
}

/// A record that was given another token endpoint while the person was away may lead to another provider, whom this
/// access token must not reach.
fn is_that_of(provider: &Provider, request: &AuthorizationRequest) -> bool {
    provider.id == request.provider && provider.token_url == request.token_url
}
