//! `agent-auth export`: taking providers and grants out of a workspace, encrypted.
//! Owns: its arguments, the file, and what is printed.
//! Must not know: what leaves, or its format.

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use age::x25519::Recipient;
use anyhow::{Context, bail};
use clap::Args;

use super::api_key::TenantArgs;
use crate::{
    broker::{
        context::Broker,
        transfer::export::{Export, Exported},
    },
    formats::{age_file, json_lines},
    model::actor::Act,
    terminal::explain,
};

#[derive(Args, Debug)]
pub(super) struct ExportArgs {
    /// Who can decrypt it: a recipient of age, age1...; may be repeated
    #[arg(long = "recipient", value_name = "RECIPIENT", required = true, value_parser = age_file::recipient)]
    recipients: Vec<Recipient>,
    /// The file to write, which must not exist; if absent, standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    tenant: TenantArgs,
}

/// What left.
#[derive(Default)]
struct Counts {
    providers: u64,
    grants: u64,
    not_opened: u64,
}

pub(super) async fn run(args: ExportArgs, broker: &Arc<Broker>) -> anyhow::Result<()> {
    let tenant = args.tenant.tenant(broker.store(), broker.clock.now()).await?;
    explain(&format!("organization {}, workspace {}", tenant.organization, tenant.workspace))?;
    let output = output(args.output.as_deref())?;
    let recipients: Vec<String> = args.recipients.iter().map(ToString::to_string).collect();
    let mut export = Export::begin(Arc::clone(broker), tenant, &recipients, &Act::command_line()).await?;
    let mut encrypted = age_file::encrypt(&args.recipients, output)?;
    let mut counts = Counts::default();
    while let Some(exported) = export.next().await? {
        let line = match &exported {
            Exported::Provider(provider) => {
                counts.providers += 1;
                json_lines::provider_line(provider)
            }
            Exported::Grant(grant) => {
                counts.grants += 1;
                json_lines::grant_line(grant)
            }
            Exported::NotOpened(problem) => {
                counts.not_opened += 1;
                explain(problem)?;
                continue;
            }
        };
        encrypted.write_all(line.as_bytes()).context("cannot write the export")?;
    }
    let mut output = encrypted.finish().context("cannot write the export")?;
    output.flush().context("cannot write the export")?;
    explain(&format!("Exported {} providers and {} grants.", counts.providers, counts.grants))?;
    match counts.not_opened {
        0 => Ok(()),
        not_opened => bail!("{not_opened} records were not exported, because their secrets cannot be opened"),
    }
}

/// A new file that only its owner can read, or standard output.
fn output(file: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    match file {
        Some(file) => {
            let opened: Result<File, _> = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
            let opened = opened.with_context(|| format!("cannot create {}", file.display()))?;
            Ok(Box::new(BufWriter::new(opened)))
        }
        None if std::io::stdout().is_terminal() => {
            bail!("an export is not text: add --output FILE, or redirect standard output")
        }
        None => Ok(Box::new(BufWriter::new(std::io::stdout()))),
    }
}
