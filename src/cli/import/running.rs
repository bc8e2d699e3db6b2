//! A running import: its options, progress on standard error, and the report on standard output.
//! Owns: these, and how a file is opened.
//! Must not know: which source it has.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use zeroize::Zeroizing;

use crate::{
    broker::{
        context::Broker,
        transfer::{
            first_refresh::{FirstRefreshes, refresh_imported},
            import::Import,
            records::{ImportReport, Record},
        },
    },
    cli::api_key::TenantArgs,
    formats::age_file,
    model::{actor::Act, subject::Tenant},
    terminal::{explain, one_line, print},
};

/// How often an import says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// How an import runs, whatever its source is.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct How {
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

/// The content of the file, or of standard input, decrypted if there is an identity.
pub(super) fn open(file: &Path, identity: Option<&Path>) -> anyhow::Result<Box<dyn Read>> {
    let input: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot read {}", file.display()))?))
    };
    let identities = match identity {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map(Zeroizing::new);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            age_file::identities(&text).with_context(|| path.display().to_string())?
        }
    };
    age_file::open(input, &identities).with_context(|| file.display().to_string())
}

/// A running import.
pub(super) struct Running<'b> {
    broker: &'b Arc<Broker>,
    import: Import,
    how: How,
    tenant: Tenant,
    said: Instant,
}

impl<'b> Running<'b> {
    pub(super) async fn begin(how: How, broker: &'b Arc<Broker>) -> anyhow::Result<Self> {
        let tenant = how.tenant.tenant(broker.store(), broker.clock.now()).await?;
        explain(&format!("organization {}, workspace {}", tenant.organization, tenant.workspace))?;
        let import = Import::new(Arc::clone(broker), tenant.clone(), how.dry_run, Act::command_line());
        Ok(Self { broker, import, how, tenant, said: Instant::now() })
    }

    /// Takes what the file holds, and reports.
    pub(super) async fn records(
        mut self,
        records: impl Iterator<Item = std::io::Result<(String, Record)>>,
        file: &Path,
    ) -> anyhow::Result<()> {
        for record in records {
            let taken = match record.with_context(|| format!("cannot read {}", file.display())) {
                Ok((place, record)) => self.take(place, record).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                return self.end(error).await;
            }
        }
        self.finish().await
    }

    pub(super) async fn take_all(&mut self, records: Vec<(String, Record)>) -> anyhow::Result<()> {
        for (place, record) in records {
            self.take(place, record).await?;
        }
        Ok(())
    }

    async fn take(&mut self, place: String, record: Record) -> anyhow::Result<()> {
        self.import.take(place, record).await?;
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            explain(&format!("Looked at {} records.", self.import.so_far().looked_at()))?;
        }
        Ok(())
    }

    /// Ends with an error that ends the whole import. What was read before it is taken as far as possible and reported, and
    /// another run brings in the rest.
    pub(super) async fn end(mut self, error: anyhow::Error) -> anyhow::Result<()> {
        // If nothing can be written, that is what has ended it.
        let _ = self.import.write().await;
        show(self.import.so_far(), self.how.dry_run, false)?;
        self.broker.stop().await;
        Err(error.context("the import ended before its end; run it again when this is mended"))
    }

    pub(super) async fn finish(mut self) -> anyhow::Result<()> {
        if let Err(error) = self.import.write().await {
            return self.end(error.into()).await;
        }
        let Self { broker, import, how, tenant, .. } = self;
        let report = import.so_far();
        explain(&format!("Looked at {} records.", report.looked_at()))?;
        show(report, how.dry_run, how.refresh)?;
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
        print(&one_line(&format!("Not taken: {}: {}", not_taken.place, not_taken.why)))?;
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
        print(&one_line(&format!("Dead: {}: {}. The person has to consent again.", dead.place, dead.why)))?;
    }
    for failed in &done.failed {
        print(&one_line(&format!("Not refreshed yet: {}: {}.", failed.place, failed.why)))?;
    }
    if !done.failed.is_empty() {
        print(
            "What was not refreshed yet is kept, and is refreshed when an agent asks for it, or by another run with --refresh.",
        )?;
    }
    Ok(())
}
