//! `agent-auth import`: bringing in providers and grants from elsewhere, directly into the database.
//! Owns: its arguments, progress on standard error, the report on standard output, and the exit code.
//! Must not know: what is taken, or how a source is written.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::api_key::TenantArgs;
use crate::{
    broker::{
        context::Broker,
        transfer::{
            first_refresh::{FirstRefreshes, refresh_imported},
            import::{Import, ImportReport, Record},
        },
    },
    formats::{json_lines, table},
    model::{actor::Act, subject::Tenant},
    terminal::{explain, print},
};

/// How often an import says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

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
}

#[derive(Args, Debug)]
pub(super) struct FileArgs {
    /// The file, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

/// How an import runs, whatever its source is.
#[derive(Args, Clone, Debug)]
pub(super) struct How {
    /// Change nothing, and say what would be taken and what not
    #[arg(long, conflicts_with = "refresh")]
    dry_run: bool,
    /// Refresh every imported grant now, and report those that are dead. From then on the program that they come from
    /// cannot use them any more if the provider replaces refresh tokens
    #[arg(long)]
    refresh: bool,
    /// How many refreshes begin in a second at each provider
    #[arg(long, value_name = "NUMBER", default_value_t = 5, requires = "refresh",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    per_second: u32,
    #[command(flatten)]
    tenant: TenantArgs,
}

pub(super) async fn run(command: ImportCommand, broker: &Arc<Broker>) -> anyhow::Result<()> {
    match command {
        ImportCommand::Csv(FileArgs { file, how }) => {
            let rows = table::read(open(&file)?).map_err(|problem| anyhow::anyhow!("{}: {problem}", file.display()))?;
            Running::begin(how, broker).await?.records(rows, &file).await
        }
        ImportCommand::Jsonl(FileArgs { file, how }) => {
            let guard = broker.outbound.guard().clone();
            let lines = json_lines::read(open(&file)?, &guard);
            Running::begin(how, broker).await?.records(lines, &file).await
        }
    }
}

/// The file, or standard input.
fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// A running import.
struct Running<'b> {
    broker: &'b Arc<Broker>,
    import: Import,
    how: How,
    tenant: Tenant,
    said: Instant,
}

impl<'b> Running<'b> {
    async fn begin(how: How, broker: &'b Arc<Broker>) -> anyhow::Result<Self> {
        let tenant = how.tenant.tenant(broker.store(), broker.clock.now()).await?;
        explain(&format!("organization {}, workspace {}", tenant.organization, tenant.workspace))?;
        let import = Import::new(Arc::clone(broker), tenant.clone(), how.dry_run, Act::command_line());
        Ok(Self { broker, import, how, tenant, said: Instant::now() })
    }

    /// Takes what the file holds, and reports.
    async fn records(
        mut self,
        records: impl Iterator<Item = std::io::Result<(String, Record)>>,
        file: &Path,
    ) -> anyhow::Result<()> {
        for record in records {
            let (place, record) = record.with_context(|| format!("cannot read {}", file.display()))?;
            self.take(place, record).await?;
        }
        self.finish().await
    }

    async fn take(&mut self, place: String, record: Record) -> anyhow::Result<()> {
        self.import.take(place, record).await?;
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            explain(&format!("Looked at {} records.", self.import.so_far().looked_at()))?;
        }
        Ok(())
    }

    async fn finish(self) -> anyhow::Result<()> {
        let Self { broker, import, how, tenant, .. } = self;
        let report = import.finish().await?;
        explain(&format!("Looked at {} records.", report.looked_at()))?;
        show(&report, how.dry_run, how.refresh)?;
        if how.refresh {
            refresh(broker, &tenant, how.per_second).await?;
        }
        broker.stop().await;
        match report.not_taken.len() {
            0 => Ok(()),
            1 => bail!("one record was not taken; the report says why"),
            not_taken => bail!("{not_taken} records were not taken; the report says why"),
        }
    }
}

fn show(report: &ImportReport, dry_run: bool, refreshes: bool) -> anyhow::Result<()> {
    let verb = if dry_run { "Would take" } else { "Took" };
    for provider_id in &report.providers_created {
        print(&format!("{} provider {provider_id}.", if dry_run { "Would create" } else { "Created" }))?;
    }
    for provider_id in &report.providers_kept {
        print(&format!("Provider {provider_id} is here already and was not changed."))?;
    }
    let next = if refreshes { "" } else { " Each is refreshed before an agent gets it for the first time." };
    print(&format!("{verb} {} grants with a refresh token.{next}", report.taken))?;
    if report.as_they_are > 0 {
        let unknown = match report.without_expiry {
            0 => String::new(),
            unknown => format!(" {unknown} of them do not say when they expire."),
        };
        print(&format!(
            "{verb} {} grants without a refresh token as they are. They cannot be refreshed, so they were not verified.{unknown}",
            report.as_they_are
        ))?;
    }
    if report.before > 0 {
        print(&format!("{} grants were brought in before.", report.before))?;
    }
    for not_taken in &report.not_taken {
        print(&format!("Not taken: {}: {}", not_taken.place, not_taken.why))?;
    }
    Ok(())
}

async fn refresh(broker: &Arc<Broker>, tenant: &Tenant, per_second: u32) -> anyhow::Result<()> {
    let mut said = Instant::now();
    let progress = |done: &FirstRefreshes| {
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            let _ = explain(&format!("Refreshed {} grants, looked at {}.", done.fresh, done.looked_at()));
        }
    };
    let done = refresh_imported(broker, tenant, per_second, &Act::command_line(), progress).await?;
    print(&format!("Refreshed {} imported grants.", done.fresh))?;
    for dead in &done.dead {
        print(&format!("Dead: {}: {}. The person has to consent again.", dead.place, dead.why))?;
    }
    for failed in &done.failed {
        print(&format!("Not refreshed yet: {}: {}.", failed.place, failed.why))?;
    }
    if !done.failed.is_empty() {
        print(
            "What was not refreshed yet is kept, and is refreshed when an agent asks for it, or by another run with --refresh.",
        )?;
    }
    Ok(())
}
