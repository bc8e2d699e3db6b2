//! `agent-auth sweep`: removes what is over, as a running server does by itself.
//! Owns: what it prints.
//! Must not know: what is over.

use anyhow::Context;

use crate::{app::open_store, broker::jobs::sweep, clock::Clock, config::Settings, terminal::print};

pub(super) async fn run(dry_run: bool, settings: &Settings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let store = open_store(settings, &clock).await?;
    let (verb, swept) = if dry_run {
        ("Would remove", sweep::count(&store, settings, clock.now()).await?)
    } else {
        let swept = sweep::sweep(&store, settings, clock.now()).await?;
        ("Removed", swept.context("a server is sweeping at this moment; there is nothing to do, or try again later")?)
    };
    print(&format!("{verb} {} expired authorization requests.", swept.authorization_requests))?;
    print(&format!("{verb} {} dead tokens.", swept.dead_tokens))
}
