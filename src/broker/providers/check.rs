//! Checking a provider: what its endpoints answer to requests that can do no harm.
//! Owns: which endpoints are checked.
//! Must not know: what a response means; that is `oauth/probe.rs`.

pub use crate::oauth::probe::{Finding, Verdict};
use crate::{
    broker::{clients::redirect_uri::callback_address_of, context::Broker, tokens::revoke::revocation_client},
    model::{options::GrantType, provider::Provider},
    oauth::probe,
};

/// Checks every endpoint of a provider.
pub async fn check(broker: &Broker, provider: &Provider) -> Vec<Finding> {
    let outbound = &broker.outbound.of_provider(&provider.provider_id);
    let (client, now) = (&provider.client, broker.clock.now());
    let quirks = broker.catalog.quirks_of(client);
    let redirect_uri = callback_address_of(&broker.public_url, provider);
    let mut findings = match client.options.grant_type {
        GrantType::AuthorizationCode => vec![
            probe::authorization(
                outbound,
                provider,
                broker.catalog.authorization_quirks_of(provider),
                &redirect_uri,
                now,
            )
            .await,
            probe::token(outbound, client, quirks, &redirect_uri, provider.uses_pkce, now).await,
        ],
        GrantType::ClientCredentials => {
            vec![probe::client_credentials(outbound, client, quirks, &client.options.default_scopes, now).await]
        }
        GrantType::ApiKey => Vec::new(),
    };
    if client.options.refresh_url.is_some() {
        findings.push(probe::refresh(outbound, client, quirks, now).await);
    }
    if let Some(url) = revocation_client(&broker.catalog, client).and_then(|client| client.revocation_url) {
        let revocation = broker.catalog.revocation_at(client, &url);
        findings.push(probe::revocation(outbound, client, &url, &revocation, now).await);
    }
    if let Some(url) = &provider.userinfo_url {
        findings.push(probe::userinfo(outbound, url, now).await);
    }
    findings
}
