//! `agent-auth provider`: the operator's way to providers, straight to the database.
//! Owns: its arguments and what it prints. What a provider may be is checked where the API checks it.
//! Must not know: how a provider is spoken to.

use std::{io::Read, path::PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{api_key::TenantArgs, print};
use crate::{
    app::{open_store, public_url},
    broker::revoke::client_of,
    clock::Clock,
    config::Settings,
    http::provider_of_json,
    oauth::address::AddressGuard,
};

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// Register a provider, and print the redirect URI to enter there
    Add(Box<Add>),
    /// List the workspace's providers
    List {
        #[command(flatten)]
        tenant: TenantArgs,
    },
    /// Delete a provider with all of its tokens
    Remove {
        /// The provider's id
        provider_id: String,
        #[command(flatten)]
        tenant: TenantArgs,
    },
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// The id that agents and the callback address use, e.g. github
    provider_id: String,
    /// The name for people
    #[arg(long)]
    name: Option<String>,
    /// The client id of your OAuth app there
    #[arg(long)]
    client_id: String,
    /// A file with the client secret, or - for standard input; absent for a public client
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// The authorization endpoint
    #[arg(long, value_name = "URL")]
    auth_url: String,
    /// The token endpoint
    #[arg(long, value_name = "URL")]
    token_url: String,
    /// Where the provider tells whose an access token is, so that accounts have a name
    #[arg(long, value_name = "URL")]
    userinfo_url: Option<String>,
    /// The revocation endpoint, if the provider is none of the well-known
    #[arg(long, value_name = "URL")]
    revocation_url: Option<String>,
    /// Send a code challenge (PKCE, S256)
    #[arg(long)]
    pkce: bool,
    /// microsoft, salesforce, slack or x: habits of their own are met
    #[arg(long = "type", value_name = "TYPE")]
    provider_type: Option<String>,
    /// client_secret_post, client_secret_basic or none
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<String>,
    /// A parameter for every authorization URL, e.g. --param access_type=offline; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    #[command(flatten)]
    tenant: TenantArgs,
}

pub(super) async fn run(command: ProviderCommand, settings: &Settings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let store = open_store(settings, &clock).await?;
    match command {
        ProviderCommand::Add(add) => {
            let guard = AddressGuard::parse(&settings.allow_private_upstreams).map_err(anyhow::Error::msg)?;
            let tenant = add.tenant.tenant(&store).await?;
            let provider = provider_of_json(&guard, tenant, body(&add)?, clock.now()).map_err(anyhow::Error::msg)?;
            store
                .create_provider(&provider)
                .await
                .with_context(|| format!("the provider {} was not registered", provider.provider_id))?;
            print(&format!("Registered {}. Enter this redirect URI there:", provider.provider_id))?;
            print(&format!("{}/host-oauth-callback/{}", public_url(settings)?, provider.provider_id))
        }
        ProviderCommand::List { tenant } => {
            for provider in store.providers(&tenant.tenant(&store).await?).await? {
                print(&format!("{}\t{}\t{}", provider.provider_id, provider.name, provider.auth_url))?;
            }
            Ok(())
        }
        ProviderCommand::Remove { provider_id, tenant } => {
            let tenant = tenant.tenant(&store).await?;
            let Some(deleted) = store.delete_provider(&tenant, &provider_id, client_of, clock.now()).await? else {
                bail!("there is no provider `{provider_id}`; `agent-auth provider list` shows them all");
            };
            print(&format!("Deleted {provider_id} and its tokens."))?;
            match deleted.revocations.len() {
                0 => Ok(()),
                queued => print(&format!("The server revokes {queued} of them at the provider within a minute.")),
            }
        }
    }
}

fn body(add: &Add) -> anyhow::Result<Value> {
    let secret = match &add.client_secret_file {
        None => None,
        Some(path) if path.as_os_str() == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("the client secret cannot be read")?;
            Some(text)
        }
        Some(path) => Some(std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?),
    };
    let params = add.params.iter().map(|param| match param.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), Value::from(value))),
        None => bail!("--param {param}: expected NAME=VALUE"),
    });
    let method = add.auth_method.clone().or_else(|| secret.is_none().then(|| "none".to_owned()));
    Ok(json!({
        "provider_id": add.provider_id,
        "name": add.name.as_ref().unwrap_or(&add.provider_id),
        "client_id": add.client_id,
        "client_secret": secret.map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned()),
        "auth_url": add.auth_url,
        "token_url": add.token_url,
        "userinfo_url": add.userinfo_url,
        "revocation_url": add.revocation_url,
        "uses_pkce": add.pkce,
        "provider_type": add.provider_type,
        "token_endpoint_auth_method": method,
        "authorization_params": params.collect::<anyhow::Result<serde_json::Map<_, _>>>()?,
    }))
}
