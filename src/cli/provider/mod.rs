//! `agent-auth provider`: managing providers, directly in the database.
//! Owns: its arguments and what it prints.
//! Must not know: what a provider may be; that is `broker/providers`.

mod add;
mod catalog;
mod check;
mod check_all;

use anyhow::{Context, bail};
use clap::Subcommand;

use super::api_key::TenantArgs;
use crate::{
    broker::{
        context::Broker,
        providers::{delete::delete, list},
    },
    catalog::Catalog,
    clock::Clock,
    config::Settings,
    http::api::provider_response::ProviderResponse,
    model::{actor::Act, key_limits::Reach, options::GrantType},
    terminal::{explain, print, print_json, print_row},
};

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// Show the built-in providers, or how to register an app at one of them
    Catalog {
        /// The name of one, e.g. github: where to create an app there, and what to enter
        name: Option<String>,
        /// List only those with these words in their names or their category, e.g. accounting
        #[arg(long, value_name = "WORDS", conflicts_with = "name", default_value = "", hide_default_value = true)]
        search: String,
        /// Print each entry as a line of JSON
        #[arg(long, conflicts_with = "name")]
        json: bool,
    },
    /// Add a provider, and print the redirect URI to enter there
    #[command(after_long_help = add::EXAMPLES)]
    Add(Box<add::Add>),
    /// Check a provider's endpoints and credentials
    ///
    /// The token endpoint is sent a made-up code. If the client is accepted, the code is refused (invalid_grant); if not,
    /// the client is refused (invalid_client). The exit code is 1 if a check fails.
    ///
    /// With --all, the endpoints of the catalogue are checked instead, with a client that is registered nowhere: whether
    /// they are reached by TLS, do not redirect token requests, and refuse as OAuth says. Eight at a time, five a second.
    Check {
        /// The provider's id
        #[arg(required_unless_present = "all")]
        provider_id: Option<String>,
        /// Check the entries of the catalogue, and no provider of the workspace; no database is needed
        #[arg(long, conflicts_with = "provider_id")]
        all: bool,
        /// With --all: only those with these words in their names or their category
        #[arg(long, value_name = "WORDS", requires = "all", default_value = "", hide_default_value = true)]
        search: String,
        #[command(flatten)]
        tenant: TenantArgs,
    },
    /// List the providers of the workspace
    List {
        /// Print each provider as a line of JSON, as the API returns it
        #[arg(long)]
        json: bool,
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

pub(super) async fn run(command: ProviderCommand, settings: Settings) -> anyhow::Result<()> {
    if let ProviderCommand::Catalog { name, search, json } = &command {
        let catalog = Catalog::load(settings.catalog_file.as_deref()).context("AGENT_AUTH_CATALOG_FILE")?;
        return catalog::show(&catalog, name.as_deref(), search, *json, &settings);
    }
    if let ProviderCommand::Check { all: true, search, .. } = &command {
        return check_all::run(search, &settings).await;
    }
    let broker = Broker::open(settings, Clock::system()).await?;
    match command {
        ProviderCommand::Catalog { .. } => Ok(()),
        ProviderCommand::Add(add) => add::run(*add, &broker).await,
        ProviderCommand::Check { provider_id, tenant, .. } => {
            let provider_id = provider_id.unwrap_or_default();
            let tenant = tenant.tenant(broker.store(), broker.clock.now()).await?;
            let Some(provider) = list::find(&broker, &tenant, &provider_id).await? else { bail!(none(&provider_id)) };
            check::run(&provider, &broker).await
        }
        ProviderCommand::List { json, tenant } => {
            let tenant = tenant.tenant(broker.store(), broker.clock.now()).await?;
            let providers = list::list(&broker, Reach::whole(&tenant)).await?;
            if !json {
                explain("ID\tNAME\tPLACE")?;
            }
            for provider in providers {
                if json {
                    let shown = ProviderResponse::of(provider, &broker.public_url);
                    print_json(&serde_json::to_string(&shown).context("the provider cannot be written as JSON")?)?;
                    continue;
                }
                let place = match provider.client.options.grant_type {
                    GrantType::AuthorizationCode => provider.auth_url.as_str(),
                    GrantType::ClientCredentials => provider.client.token_url.as_str(),
                    GrantType::ApiKey => "a static key",
                };
                print_row([&provider.provider_id, &provider.name, place])?;
            }
            Ok(())
        }
        ProviderCommand::Remove { provider_id, tenant } => {
            let tenant = tenant.tenant(broker.store(), broker.clock.now()).await?;
            let Some(deletion) = delete(&broker, &tenant, &provider_id, &Act::command_line()).await? else {
                bail!(none(&provider_id))
            };
            broker.stop().await;
            print(&format!("Deleted {provider_id} and its tokens."))?;
            match (deletion.revoked, deletion.queued) {
                (0, 0) => Ok(()),
                (revoked, 0) => print(&format!("Revoked {revoked} grants at the provider.")),
                (_, queued) => print(&format!("{queued} grants are still to be revoked; a running server does it.")),
            }
        }
    }
}

fn none(provider_id: &str) -> String {
    format!("there is no provider `{provider_id}`; `agent-auth provider list` shows all providers")
}
