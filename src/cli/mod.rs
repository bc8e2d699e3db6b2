//! The command line: what can be asked for, and its help.
//! Owns: arguments and what is printed.
//! Must not know: how anything is done.

#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "clap prints these comments as help, where backticks would stand"
)]

mod api_key;
mod healthcheck;
mod provider;
mod sweep;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use secrecy::ExposeSecret;

use crate::{
    app::open_store,
    cipher::KeyRing,
    clock::Clock,
    config::{DEFAULT, Settings},
    http, server,
    terminal::print,
};

/// Get a person's consent once, then live access tokens for agents: a self-hosted OAuth token broker.
///
/// `agent-auth demo` shows the whole job with a sample provider, without any account.
/// `agent-auth serve` runs the server; its --help lists every setting.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    sources: Sources,
    #[command(subcommand)]
    command: Command,
}

/// Where settings come from beside the environment.
#[derive(Args, Debug)]
struct Sources {
    /// A settings file (TOML); the environment (AGENT_AUTH_<KEY>) beats it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the server listens, e.g. 0.0.0.0:8080
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The address browsers reach the server at, e.g. https://auth.example.com
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
    /// The folder for SQLite and its key
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// What is logged: error, warn, info, debug, trace, or a list of targets
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(after_long_help = settings_help())]
    Serve,
    /// Run the server with a sample provider on this machine, and print three commands to try it
    Demo,
    /// Bring the database's schema up to date and exit (`serve` does so by itself)
    Migrate,
    /// Make encryption keys
    #[command(subcommand)]
    Keys(Keys),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// Look up, register, check, list and remove providers
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// Remove what is over: expired authorization requests and tokens long dead (a running server does so by itself)
    Sweep {
        /// Change nothing, only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the OpenAPI description
    Openapi,
    /// Ask the server of these settings whether it is ready; exit 0 if so
    Healthcheck,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Print a new encryption key as ENCRYPTION_KEYS wants it
    Generate,
}

fn settings_help() -> String {
    format!(
        "Every setting, as in a --config file; in the environment AGENT_AUTH_<KEY IN UPPER CASE>, for secrets also \
         AGENT_AUTH_<KEY>_FILE:\n\n{DEFAULT}"
    )
}

/// Does what was asked for.
///
/// # Errors
/// One line that says what went wrong and what to do.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let settings = cli.sources.settings()?;
    match cli.command {
        Command::Serve => server::serve(settings).await,
        Command::Demo => crate::demo::demo(settings, cli.sources.data_dir.is_some()).await,
        Command::Migrate => {
            open_store(&settings, &Clock::system()).await?;
            print("The database is up to date.")
        }
        Command::Keys(Keys::Generate) => print(KeyRing::generate().expose_secret()),
        Command::ApiKey(command) => api_key::run(command, &settings).await,
        Command::Provider(command) => provider::run(command, &settings).await,
        Command::Sweep { dry_run } => sweep::run(dry_run, &settings).await,
        Command::Openapi => print(&http::description().to_pretty_json().context("the description cannot be written")?),
        Command::Healthcheck => healthcheck::run(&settings).await,
    }
}

impl Sources {
    fn settings(&self) -> anyhow::Result<Settings> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let flags: BTreeMap<String, String> = [
            ("listen", self.listen.clone()),
            ("public_url", self.public_url.clone()),
            ("data_dir", self.data_dir.as_ref().map(text)),
            ("log", self.log.clone()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
        Ok(Settings::load(self.config.as_deref(), flags)?)
    }
}
