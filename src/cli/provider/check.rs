//! `agent-auth provider check`: harmless checks of a provider's endpoints.
//! Owns: the lines that are printed, and the exit code.
//! Must not know: which endpoints are checked, or what a response means.

use anyhow::bail;

use crate::{
    broker::{clients::redirect_uri::callback_address_of, context::Broker, providers::check::check},
    model::{options::GrantType, provider::Provider},
    oauth::probe::Verdict,
    terminal::print,
};

pub(super) async fn run(provider: &Provider, broker: &Broker) -> anyhow::Result<()> {
    let redirect_uri = callback_address_of(&broker.public_url, provider);
    let findings = check(broker, provider).await;
    for finding in &findings {
        let mark = match finding.verdict {
            Verdict::Right => "right",
            Verdict::Unclear => "unclear",
            Verdict::Wrong => "wrong",
        };
        print(&format!("{mark:<8} {}: {}", finding.of, finding.said))?;
    }
    match provider.client.options.grant_type {
        GrantType::AuthorizationCode => {
            print(&format!("{:<8} redirect URI: enter exactly {redirect_uri} at the provider", "note"))?;
        }
        GrantType::ApiKey => print(&format!("{:<8} a static key: only its API can verify it", "note"))?,
        GrantType::ClientCredentials => {}
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} checks of {} failed", findings.len(), provider.provider_id),
    }
}
