//! `agent-auth import`: bringing in providers and grants from elsewhere, directly into the database.
//! Owns: its commands.
//! Must not know: what is taken, or how a source is written.

mod programs;
mod running;

use std::{io::BufReader, path::PathBuf, sync::Arc};

use anyhow::anyhow;
use clap::{Args, Subcommand};

use self::{
    programs::{Auth0Args, LangsmithArgs, NangoArgs},
    running::{How, Running, open},
};
use crate::{
    broker::context::Broker,
    formats::{json_lines, table},
};

/// What `import --help` says at its end.
pub(super) const NOTES: &str = "\
A grant with a refresh token is refreshed here once before any agent gets it: when an agent asks for it, or in this run with
--refresh. Stop the program that it comes from first: many providers end a grant when an old refresh token is used again.

Run the command again if it was interrupted. What was brought in is recognized by its id and skipped.

Secrets are read from files and from the environment, never from arguments.";

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Grants from a table (CSV)
    Csv(FileArgs),
    /// Providers and grants from JSON lines, as `agent-auth export` writes them
    Jsonl(FileArgs),
    /// Integrations and connections of a self-hosted Nango, from its PostgreSQL
    Nango(NangoArgs),
    /// Tokens of users' identities at Auth0, as its Management API returns them. Its Token Vault has no export
    Auth0(Auth0Args),
    /// Providers of LangSmith's Agent Auth, by LANGSMITH_API_KEY and LANGSMITH_API_URL. It gives out no grants
    LangsmithEnv(LangsmithArgs),
}

#[derive(Args, Debug)]
pub(super) struct FileArgs {
    /// The file, or - for standard input
    file: PathBuf,
    /// A file with the age identity (secret key) that decrypts it
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

pub(super) async fn run(command: ImportCommand, broker: &Arc<Broker>) -> anyhow::Result<()> {
    match command {
        ImportCommand::Csv(FileArgs { file, identity, how }) => {
            let rows = table::read(open(&file, identity.as_deref())?);
            let rows = rows.map_err(|problem| anyhow!("{}: {problem}", file.display()))?;
            Running::begin(how, broker).await?.records(rows, &file).await
        }
        ImportCommand::Jsonl(FileArgs { file, identity, how }) => {
            let guard = broker.outbound.guard().clone();
            let lines = json_lines::read(BufReader::new(open(&file, identity.as_deref())?), &guard);
            Running::begin(how, broker).await?.records(lines, &file).await
        }
        ImportCommand::Nango(args) => programs::nango(args, broker).await,
        ImportCommand::Auth0(args) => programs::auth0(args, broker).await,
        ImportCommand::LangsmithEnv(args) => programs::langsmith_env(args, broker).await,
    }
}
