//! `agent-auth provider check --all`: whether the endpoints of the catalogue are alive.
//! Owns: the table that is printed, and the exit code.
//! Must not know: what is sent, or what a response means.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;

use super::catalog::unknown;
use crate::{
    broker::{
        open::{outbound, public_url},
        providers::check_catalog::{EntryCheck, check_catalog},
    },
    catalog::{Catalog, Entry},
    clock::Clock,
    config::Settings,
    oauth::probe::Verdict,
    terminal::{explain, print},
};

pub(super) async fn run(search: &str, settings: &Settings) -> anyhow::Result<()> {
    let catalog = Catalog::load(settings.catalog_file.as_deref()).context("AGENT_AUTH_CATALOG_FILE")?;
    let entries: Vec<&Entry> = catalog.search(search).collect();
    if entries.is_empty() {
        bail!(unknown(&catalog, search));
    }
    let many = entries.len();
    explain(&format!("Checking {many} entries of the catalogue. No client of yours is used."))?;
    let outbound = outbound(settings, Duration::from_secs(settings.provider_timeout_seconds))?;
    let public_url = public_url(settings)?;
    let mut checks = Box::pin(check_catalog(&catalog, entries, &outbound, &public_url, Clock::system().now()));
    explain(&format!("{:<24} {:<8} {}", "NAME", "RESULT", "WHAT WAS FOUND"))?;
    let (mut right, mut unclear, mut wrong, mut skipped) = (0, 0, 0, 0);
    while let Some(check) = checks.next().await {
        let (result, count) = match check.verdict() {
            Some(Verdict::Right) => ("right", &mut right),
            Some(Verdict::Unclear) => ("unclear", &mut unclear),
            Some(Verdict::Wrong) => ("wrong", &mut wrong),
            None => ("skipped", &mut skipped),
        };
        *count += 1;
        print(&format!("{:<24} {result:<8} {}", check.name, found(&check)))?;
    }
    print(&format!("\n{right} right, {unclear} unclear, {wrong} wrong, {skipped} skipped"))?;
    if wrong > 0 {
        bail!("{wrong} of {many} entries failed");
    }
    Ok(())
}

fn found(check: &EntryCheck) -> String {
    let findings = check.findings.iter().map(|finding| format!("{} {}", finding.of, finding.said));
    check.skipped.clone().into_iter().chain(findings).collect::<Vec<_>>().join("; ")
}
