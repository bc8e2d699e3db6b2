//! `agent-auth audit`: exporting and verifying the audit log, directly from the database.
//! Owns: its arguments and what it prints.
//! Must not know: how events are chained.

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::{
    broker::{audit, context::Broker},
    http::api::audit::EventResponse,
    store::audit::read::Verified,
    terminal::{explain, print, print_json},
};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Print every event as a line of JSON, the oldest first
    Export {
        #[command(flatten)]
        organization: OrganizationArg,
    },
    /// Compute the chain of hashes again and report the first event that was changed or is missing
    ///
    /// The exit code is 1 if a chain is broken. Keep the last number and hash that it prints elsewhere: an attacker who puts
    /// back an older copy of the whole log is only noticed by comparing them.
    Verify {
        #[command(flatten)]
        organization: OrganizationArg,
    },
}

#[derive(Args, Debug)]
pub(super) struct OrganizationArg {
    /// The organization; if absent, all of them
    #[arg(long)]
    organization: Option<String>,
}

pub(super) async fn run(command: AuditCommand, broker: &Broker) -> anyhow::Result<()> {
    match command {
        AuditCommand::Export { organization } => export(organization.resolve(broker).await?, broker).await,
        AuditCommand::Verify { organization } => verify(organization.resolve(broker).await?, broker).await,
    }
}

impl OrganizationArg {
    async fn resolve(self, broker: &Broker) -> anyhow::Result<Vec<String>> {
        let known = audit::organizations(broker).await?;
        match self.organization {
            Some(named) if known.contains(&named) => Ok(vec![named]),
            Some(named) => bail!("the audit log has no organization `{named}`; it has: {}", known.join(", ")),
            None => Ok(known),
        }
    }
}

async fn export(organizations: Vec<String>, broker: &Broker) -> anyhow::Result<()> {
    for organization in organizations {
        let mut after = None;
        loop {
            let events = audit::events_after(broker, &organization, after).await?;
            let Some(last) = events.last() else { break };
            after = Some(last.sequence);
            for event in events {
                print_json(&EventResponse::from(event).json_line())?;
            }
        }
    }
    Ok(())
}

async fn verify(organizations: Vec<String>, broker: &Broker) -> anyhow::Result<()> {
    let mut broken = 0;
    for organization in organizations {
        let Some(Verified { events, pruned, last, broken: fault, .. }) = audit::verify(broker, &organization).await?
        else {
            broken += 1;
            explain(&format!("organization {organization}: its events have no recorded end"))?;
            continue;
        };
        if let Some(fault) = fault {
            broken += 1;
            explain(&format!("organization {organization}, event {}: {}", fault.sequence, fault.problem))?;
            continue;
        }
        let first = pruned.sequence + 1;
        let hash = hex::encode(last.hash);
        print(&format!(
            "organization {organization}: {events} events, {first} to {}, last hash {hash}",
            last.sequence
        ))?;
    }
    if broken > 0 {
        bail!("the audit log was changed by another program: {broken} broken chains");
    }
    Ok(())
}
