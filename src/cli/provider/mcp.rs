//! `agent-auth provider add ID --mcp URL`: an MCP server, by its address alone.
//! Owns: what is said when it is connected, and when a client has to be registered by hand.
//! Must not know: how a server is discovered.

use anyhow::{anyhow, bail};
use chrono::{DateTime, Utc};

use crate::{
    app::public_url,
    broker::{
        BrokerError,
        providers::mcp::{ConnectError, Connector, McpServer, connect},
    },
    config::Settings,
    outbound::client::Outbound,
    store::Store,
    terminal::print,
};

pub(super) async fn run(
    server: McpServer,
    store: &Store,
    outbound: &Outbound,
    settings: &Settings,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let public_url = public_url(settings)?;
    let connector = Connector { store, outbound, public_url: &public_url, now };
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
