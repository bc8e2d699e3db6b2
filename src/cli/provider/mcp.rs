//! `agent-auth provider add ID --mcp URL`: an MCP server, by its address alone.
//! Owns: what is said when it is connected, and when a client has to be registered by hand.
//! Must not know: how a server is discovered.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::super::print;
use crate::{
    app::public_url,
    broker::{
        BrokerError,
        discovery::{ConnectError, Connector, McpServer, connect},
    },
    clock::Clock,
    config::Settings,
    oauth::{address::AddressGuard, client::Outbound},
    store::Store,
};

pub(super) async fn run(server: McpServer, store: &Store, settings: &Settings) -> anyhow::Result<()> {
    let guard = AddressGuard::parse(&settings.allow_private_upstreams).map_err(anyhow::Error::msg)?;
    let outbound = Outbound::new(guard, Duration::from_secs(settings.provider_timeout_seconds))
        .context("the machine's trusted certificates cannot be read")?;
    let (public_url, now) = (public_url(settings)?, Clock::system().now());
    let connector = Connector { store, outbound: &outbound, public_url: &public_url, now };
    let provider_id = server.provider_id.clone();
    match connect(&connector, server).await {
        Ok(provider) => {
            let issuer = provider.options.issuer.as_deref().unwrap_or(&provider.auth_url);
            print(&format!("Connected {provider_id}. Its authorization server is {issuer}."))?;
            match provider.options.default_scopes.join(" ") {
                scopes if scopes.is_empty() => Ok(()),
                scopes => print(&format!("An agent that names no scope asks for: {scopes}")),
            }
        }
        Err(ConnectError::Broker(BrokerError::RegistrationRequired(needed))) => bail!(
            "the authorization server {} lets no client register itself. Register one there by hand, with the redirect \
             URI {}. Then `agent-auth provider remove {provider_id}`, and add it again with --client-id and \
             --client-secret-file",
            needed.issuer,
            needed.redirect_uri
        ),
        Err(error) => Err(anyhow!("{provider_id} was not connected: {error}")),
    }
}
