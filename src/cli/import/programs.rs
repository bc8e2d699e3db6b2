//! `agent-auth import nango`, `auth0` and `langsmith-env`: what is imported from other programs.
//! Owns: their arguments, and where their secrets are read from.
//! Must not know: how a program writes anything down.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, anyhow};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::running::{How, Running, open};
use crate::{
    broker::context::Broker,
    cli::named::{named, pairs},
    config::variable_of_another_program,
    formats::{
        auth0, langsmith,
        nango::{Choices, Key, Nango, UserFrom},
    },
    terminal::{explain, print},
};

#[derive(Args, Debug)]
pub(in crate::cli) struct NangoArgs {
    /// A file with the URL of Nango's PostgreSQL; if absent, the variable NANGO_DATABASE_URL
    #[arg(long, value_name = "FILE")]
    database_url_file: Option<PathBuf>,
    /// A file with Nango's encryption key; if absent, the variable NANGO_ENCRYPTION_KEY
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Option<PathBuf>,
    /// The schema of Nango's tables
    #[arg(long, value_name = "NAME", default_value = "nango")]
    schema: String,
    /// The environment, e.g. prod; needed if Nango has several
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// An integration that has another id here, e.g. --provider github-prod=github; may be repeated
    #[arg(long = "provider", value_name = "INTEGRATION=PROVIDER_ID")]
    providers: Vec<String>,
    /// The catalogue's name for an integration's provider, if it is not Nango's; may be repeated
    #[arg(long = "template", value_name = "INTEGRATION=NAME")]
    templates: Vec<String>,
    /// Whose a grant becomes: the connection's end user if it has one (else it is a user itself), or always the connection id
    #[arg(long, value_name = "WHOSE", value_parser = named(&UserFrom::NAMES), default_value = "end-user")]
    user: UserFrom,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Auth0Args {
    /// The file with the users, an array or JSON lines, as GET /api/v2/users/{id} returns them; or - for standard input
    file: PathBuf,
    /// A file with the age identity (secret key) that decrypts it
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A connection whose provider has another id here, e.g. --provider google-oauth2=google; may be repeated
    #[arg(long = "provider", value_name = "CONNECTION=PROVIDER_ID")]
    providers: Vec<String>,
    /// The scopes of a connection's grants, which Auth0 does not write down; may be repeated
    #[arg(long = "scopes", value_name = "CONNECTION=SCOPE,SCOPE")]
    scopes: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct LangsmithArgs {
    /// A file with the client secrets, which LangSmith does not show: a JSON object of provider ids and secrets
    #[arg(long, value_name = "FILE")]
    client_secrets_file: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

pub(super) async fn nango(args: NangoArgs, broker: &Arc<Broker>) -> anyhow::Result<()> {
    let url = secret(args.database_url_file.as_deref(), "NANGO_DATABASE_URL")?;
    let url = url.context("set NANGO_DATABASE_URL, or name a file with --database-url-file")?;
    let key = secret(args.encryption_key_file.as_deref(), "NANGO_ENCRYPTION_KEY")?;
    let key = key.as_ref().map(Key::parse).transpose()?;
    let choices = Choices {
        schema: args.schema,
        environment: args.environment,
        providers: pairs("--provider", &args.providers)?,
        templates: pairs("--template", &args.templates)?,
        user_from: args.user,
    };
    let mut source = Nango::open(&url, key, choices).await?;
    let mut running = Running::begin(args.how, broker).await?;
    let mut next = Ok(Some(source.providers()));
    loop {
        let records = match next {
            Ok(Some(records)) => records,
            Ok(None) => return running.finish().await,
            Err(error) => return running.end(error).await,
        };
        if let Err(error) = running.take_all(records).await {
            return running.end(error).await;
        }
        next = source.next_connections().await;
    }
}

pub(super) async fn auth0(args: Auth0Args, broker: &Arc<Broker>) -> anyhow::Result<()> {
    let scopes: HashMap<String, String> = pairs("--scopes", &args.scopes)?;
    let split =
        |scopes: String| scopes.split([',', ' ']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    let choices = auth0::Choices {
        providers: pairs("--provider", &args.providers)?,
        scopes: scopes.into_iter().map(|(connection, scopes)| (connection, split(scopes))).collect(),
    };
    let users = auth0::read(open(&args.file, args.identity.as_deref())?, &choices);
    let users = users.with_context(|| format!("cannot read {}", args.file.display()))?;
    Running::begin(args.how, broker).await?.records(users.into_iter().map(Ok), &args.file).await
}

pub(super) async fn langsmith_env(args: LangsmithArgs, broker: &Arc<Broker>) -> anyhow::Result<()> {
    let key = variable_of_another_program("LANGSMITH_API_KEY").context("set LANGSMITH_API_KEY")?;
    let url = variable_of_another_program("LANGSMITH_API_URL");
    let base = url.as_ref().map_or(langsmith::HOSTED, ExposeSecret::expose_secret);
    let secrets = match &args.client_secrets_file {
        None => BTreeMap::new(),
        Some(file) => {
            let text = secret(Some(file), "")?.unwrap_or_default();
            langsmith::client_secrets(text.expose_secret()).with_context(|| file.display().to_string())?
        }
    };
    let listed = langsmith::list(&broker.outbound, base, &key, broker.clock.now()).await?;
    explain(&format!("LangSmith lists {} providers.", listed.len()))?;
    let mut running = Running::begin(args.how, broker).await?;
    if let Err(error) = running.take_all(langsmith::records(listed, &secrets, broker.outbound.guard())).await {
        return running.end(error).await;
    }
    print("LangSmith gives out no refresh tokens, so no grants were imported: each person consents once more, here.")?;
    running.finish().await
}

/// A secret from a file, or else from the environment.
fn secret(file: Option<&Path>, variable: &str) -> anyhow::Result<Option<SecretString>> {
    let Some(file) = file else { return Ok(variable_of_another_program(variable)) };
    let text = std::fs::read_to_string(file).map(SecretString::from);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    match text.expose_secret().trim() {
        "" => Err(anyhow!("{} is empty", file.display())),
        secret => Ok(Some(SecretString::from(secret))),
    }
}
