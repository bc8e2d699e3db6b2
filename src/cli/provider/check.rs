//! `agent-auth provider check`: a provider's endpoints, asked harmless questions.
//! Owns: which endpoints are asked, the lines that are printed, and the exit code.
//! Must not know: what an answer tells; that is `oauth/probe.rs`.

use anyhow::bail;
use chrono::{DateTime, Utc};

use super::outbound;
use crate::{
    app::public_url,
    broker::{
        clients::redirect_uri::{callback_address, token_client},
        consent::exchange::client_scope,
    },
    config::Settings,
    model::options::GrantType,
    oauth::{
        authorize::Authorization,
        probe::{self, Verdict},
        revocation::known_revocation_url,
    },
    store::providers::Provider,
    terminal::print,
};

pub(super) async fn run(provider: &Provider, settings: &Settings, now: DateTime<Utc>) -> anyhow::Result<()> {
    let outbound = outbound(settings)?;
    let redirect_uri = callback_address(&public_url(settings)?, &provider.provider_id);
    let client = token_client(provider);
    let authorization = Authorization {
        auth_url: &provider.auth_url,
        client_id: &provider.client_id,
        redirect_uri: &redirect_uri,
        scopes: &[],
        provider_type: provider.provider_type.as_deref(),
        uses_pkce: provider.uses_pkce,
        parameters: &provider.authorization_params,
        options: &provider.options,
    };
    let mut findings = match provider.options.grant_type {
        GrantType::AuthorizationCode => vec![
            probe::authorization(&outbound, &authorization, now).await,
            probe::token(&outbound, &client, &redirect_uri, provider.uses_pkce, now).await,
        ],
        GrantType::ClientCredentials => {
            let scope = client_scope(&provider.options.default_scopes, &provider.options);
            vec![probe::client_credentials(&outbound, &client, &scope, now).await]
        }
        GrantType::ApiKey => Vec::new(),
    };
    if provider.options.refresh_url.is_some() {
        findings.push(probe::refresh(&outbound, &client, now).await);
    }
    let known = || known_revocation_url(&provider.token_url, &provider.client_id);
    if let Some(url) = provider.revocation_url.clone().or_else(known) {
        findings.push(probe::revocation(&outbound, &client, &url, now).await);
    }
    if let Some(url) = &provider.userinfo_url {
        findings.push(probe::userinfo(&outbound, url, now).await);
    }
    for finding in &findings {
        let mark = match finding.verdict {
            Verdict::Right => "right",
            Verdict::Unclear => "unclear",
            Verdict::Wrong => "wrong",
        };
        print(&format!("{mark:<8} {}: {}", finding.of, finding.said))?;
    }
    match provider.options.grant_type {
        GrantType::AuthorizationCode => {
            print(&format!("{:<8} redirect URI: {redirect_uri} has to stand at the provider like this", "note"))?;
        }
        GrantType::ApiKey => print(&format!("{:<8} a static key: only its API tells whether it is good", "note"))?,
        GrantType::ClientCredentials => {}
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} endpoints of {} are wrong", findings.len(), provider.provider_id),
    }
}
