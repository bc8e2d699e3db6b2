//! `agent-auth provider`: the operator's way to providers, straight to the database.
//! Owns: its arguments and what it prints. What a provider may be is checked where the API checks it.
//! Must not know: how a provider is spoken to.

mod add;
mod catalog;
mod check;
mod mcp;

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;

use super::api_key::TenantArgs;
use crate::{
    app::open_store,
    broker::tokens::revoke::client_of,
    catalog::Catalog,
    clock::Clock,
    config::Settings,
    model::options::GrantType,
    outbound::{address::AddressGuard, client::Outbound},
    terminal::print,
};

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// Show the providers that are known by name, or how to register an app at one of them
    Catalog {
        /// The name of one, e.g. github: where to make an app there, and what to enter
        name: Option<String>,
    },
    /// Register a provider, and print the redirect URI to enter there
    #[command(after_long_help = add::EXAMPLES)]
    Add(Box<add::Add>),
    /// Ask a provider's endpoints harmless questions, and say what is right and what is wrong
    ///
    /// A made-up code is brought to the token endpoint. A provider that takes our client refuses the code
    /// (invalid_grant); one that does not refuses the client (invalid_client). The exit code is 1 if anything is wrong.
    Check {
        /// The provider's id
        provider_id: String,
        #[command(flatten)]
        tenant: TenantArgs,
    },
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

pub(super) async fn run(command: ProviderCommand, settings: &Settings) -> anyhow::Result<()> {
    let catalog = Catalog::load(settings.catalog_file.as_deref()).context("AGENT_AUTH_CATALOG_FILE")?;
    if let ProviderCommand::Catalog { name } = &command {
        return catalog::show(&catalog, name.as_deref(), settings);
    }
    let clock = Clock::system();
    let store = open_store(settings, &clock).await?;
    match command {
        ProviderCommand::Catalog { .. } => Ok(()),
        ProviderCommand::Add(add) => add::run(&add, &store, &catalog, settings, clock.now()).await,
        ProviderCommand::Check { provider_id, tenant } => {
            let tenant = tenant.tenant(&store).await?;
            let Some(provider) = store.provider(&tenant, &provider_id).await? else { bail!(none(&provider_id)) };
            check::run(&provider, settings, clock.now()).await
        }
        ProviderCommand::List { tenant } => {
            for provider in store.providers(&tenant.tenant(&store).await?).await? {
                let place = match provider.options.grant_type {
                    GrantType::AuthorizationCode => provider.auth_url.as_str(),
                    GrantType::ClientCredentials => provider.token_url.as_str(),
                    GrantType::ApiKey => "a static key",
                };
                print(&format!("{}\t{}\t{place}", provider.provider_id, provider.name))?;
            }
            Ok(())
        }
        ProviderCommand::Remove { provider_id, tenant } => {
            let tenant = tenant.tenant(&store).await?;
            let Some(deleted) = store.delete_provider(&tenant, &provider_id, client_of, clock.now()).await? else {
                bail!(none(&provider_id));
            };
            print(&format!("Deleted {provider_id} and its tokens."))?;
            match deleted.revocations.len() {
                0 => Ok(()),
                queued => print(&format!("The server revokes {queued} of them at the provider within a minute.")),
            }
        }
    }
}

/// The way out, as the settings have it.
fn outbound(settings: &Settings) -> anyhow::Result<Outbound> {
    let guard = AddressGuard::parse(&settings.allow_private_upstreams).map_err(anyhow::Error::msg)?;
    Outbound::new(guard, Duration::from_secs(settings.provider_timeout_seconds))
        .context("the machine's trusted certificates cannot be read")
}

fn none(provider_id: &str) -> String {
    format!("there is no provider `{provider_id}`; `agent-auth provider list` shows them all")
}

/// What is not in the catalogue, and what may have been meant.
fn unknown(catalog: &Catalog, name: &str) -> String {
    match &catalog.near(name)[..] {
        [] => format!("the catalogue has no `{name}`; `agent-auth provider catalog` shows what it has"),
        near => format!("the catalogue has no `{name}`, but {}", near.join(", ")),
    }
}
