//! The command line: commands, their arguments, and their help.
//! Owns: arguments and what is printed.
//! Must not know: how the commands do their work.

#![expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "clap prints these comments as help, where backticks would show"
)]

mod api_key;
mod audit;
mod export;
mod generate;
mod healthcheck;
mod import;
mod keys;
mod named;
mod provider;
mod sweep;
mod token;
mod webhook;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::{
    broker::{context::Broker, open::open_store},
    clock::Clock,
    config::{DEFAULT, Settings},
    demo, http, server,
    terminal::print,
};

/// Get a person's consent once, then valid access tokens for agents: a self-hosted OAuth token broker.
///
/// `agent-auth demo` shows the whole flow with a sample provider; no account is needed.
/// `agent-auth serve` runs the server; its --help lists every setting.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    sources: Sources,
    #[command(subcommand)]
    command: Command,
}

/// Where settings come from, in addition to the environment.
#[derive(Args, Debug)]
struct Sources {
    /// A settings file (TOML); the environment (AGENT_AUTH_<KEY>) overrides it
    #[arg(long, global = true, help_heading = "Settings", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the server listens, e.g. 0.0.0.0:8080
    #[arg(long, global = true, help_heading = "Settings", value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The address that browsers use to reach the server, e.g. https://auth.example.com
    #[arg(long, global = true, help_heading = "Settings", value_name = "URL")]
    public_url: Option<String>,
    /// The folder for SQLite and its key
    #[arg(long, global = true, help_heading = "Settings", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The log level: error, warn, info, debug, trace, or a list of targets
    #[arg(long, global = true, help_heading = "Settings", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    #[command(after_long_help = settings_help())]
    Serve,
    /// Run the server with a sample provider on this machine, and print the commands and links to try it
    Demo,
    /// Bring the database schema up to date and exit (`serve` also does this)
    Migrate,
    /// Generate and rotate encryption keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    ApiKey(api_key::ApiKeyCommand),
    /// Export and verify the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Bring in providers and grants from a file or another program
    #[command(subcommand, after_long_help = import::NOTES)]
    Import(import::ImportCommand),
    /// Take the providers and grants of a workspace out, encrypted with age
    ///
    /// Writes JSON lines that `agent-auth import jsonl` reads. The audit log records the export and its recipients before
    /// anything is written. It is a move and not a backup: once either side has refreshed a grant, its refresh token on the
    /// other side may be worthless, or end the grant.
    Export(export::ExportArgs),
    /// Look up, add, check, list and remove providers
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// List, show and revoke the tokens of a workspace
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Send events to an application: add, list, test and remove webhooks, and send events again
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Delete expired authorization requests and dead tokens (a running server also does this)
    Sweep {
        /// Delete nothing, only count what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the OpenAPI description
    Openapi,
    /// Check whether the server of these settings is ready; exit code 0 if it is
    Healthcheck,
    /// Print a script that completes commands in a shell
    #[command(hide = true)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The folder to write them to
        folder: PathBuf,
    },
}

fn settings_help() -> String {
    format!(
        "Every setting, as in a --config file; in the environment AGENT_AUTH_<KEY IN UPPER CASE>, for secrets also \
         AGENT_AUTH_<KEY>_FILE:\n\n{DEFAULT}"
    )
}

/// Runs the command.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let settings = cli.sources.settings()?;
    match cli.command {
        Command::Serve => server::serve(settings).await,
        Command::Demo => Box::pin(demo::demo(settings, cli.sources.data_dir.is_some())).await,
        Command::Migrate => {
            open_store(&settings, &Clock::system()).await?;
            print("The database is up to date.")
        }
        Command::Keys(command) => keys::run(command, settings).await,
        Command::ApiKey(command) => api_key::run(command, &settings).await,
        Command::Audit(command) => audit::run(command, &*open(settings).await?).await,
        Command::Export(args) => export::run(args, &open(settings).await?).await,
        Command::Import(command) => Box::pin(import::run(command, &open(settings).await?)).await,
        Command::Provider(command) => provider::run(command, settings).await,
        Command::Token(command) => token::run(command, &open(settings).await?).await,
        Command::Webhook(command) => webhook::run(command, settings).await,
        Command::Sweep { dry_run } => sweep::run(dry_run, &open(settings).await?).await,
        Command::Openapi => print(&http::description().to_pretty_json().context("the description cannot be written")?),
        Command::Healthcheck => healthcheck::run(&settings).await,
        Command::Completions { shell } => generate::completions(Cli::command(), shell),
        Command::Man { folder } => generate::manual(Cli::command(), &folder),
    }
}

async fn open(settings: Settings) -> anyhow::Result<Arc<Broker>> {
    Ok(Broker::open(settings, Clock::system()).await?)
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
