//! `agent-auth sweep`: deletes expired data, as a running server does automatically.
//! Owns: what it prints.
//! Must not know: what has expired.

use std::sync::Arc;

use anyhow::Context;

use crate::{
    broker::{context::Broker, jobs::sweep},
    terminal::print,
};

pub(super) async fn run(dry_run: bool, broker: &Arc<Broker>) -> anyhow::Result<()> {
    let (verb, swept) = if dry_run {
        ("Would delete", sweep::count(broker).await?)
    } else {
        let swept = sweep::run_once(broker).await?;
        ("Deleted", swept.context("a server is sweeping at the moment; nothing to do, or try again later")?)
    };
    print(&format!("{verb} {} expired authorization requests.", swept.authorization_requests))?;
    print(&format!("{verb} {} dead tokens.", swept.dead_tokens))?;
    print(&format!("{verb} {} old webhook deliveries.", swept.webhook_deliveries))?;
    print(&format!("{verb} {} old events.", swept.events))?;
    print(&format!("{verb} {} expired connect links.", swept.connect_links))
}
