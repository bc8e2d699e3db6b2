//! Everything about `GET /v2/auth/wait`: memory, wakes, and clients that disconnect.
//! Owns: the order of these measurements, and their table.
//! Must not know: how each figure is taken.
#![expect(clippy::print_stdout, reason = "figures are what this program is for")]

use anyhow::Context;
use secrecy::SecretString;

use super::{
    process::{Process, Replica},
    waiters::{self, MANY_WAITERS, Side, WAITERS},
    wakes,
};

pub struct Figures {
    idle_kib: (u64, u64),
    /// Of the server and of the yardstick, with so many waiters.
    pairs: Vec<(waiters::Figures, waiters::Figures)>,
    /// KiB more, and waiters that are still counted.
    vanished: (i64, u64),
    wakes: wakes::Figures,
}

pub async fn measure(database_url: &str, keys: &SecretString) -> anyhow::Result<Figures> {
    let mut idle_kib = (0, 0);
    let mut pairs = Vec::new();
    for waiters in [WAITERS, MANY_WAITERS] {
        println!("Opening {waiters} waiters");
        let server = {
            let replica = Replica::start(database_url, keys).await?;
            idle_kib = (replica.process.own_memory_kib()?, replica.process.memory_kib()?);
            waiters::measure(&Side::server(&replica, waiters).await?, waiters).await.context("waiters")?
        };
        let bare = Process::start_bare_long_poll(waiters)?;
        pairs.push((server, waiters::measure(&Side::Bare(&bare), waiters).await.context("bare waiters")?));
    }
    println!("Disconnecting waiters");
    let vanished = waiters::vanish(&Replica::start(database_url, keys).await?).await.context("vanishing")?;
    println!("Waking waiters across two replicas");
    let (here, there) = (Replica::start(database_url, keys).await?, Replica::start(database_url, keys).await?);
    let wakes = wakes::measure(&here, &there).await.context("wakes")?;
    Ok(Figures { idle_kib, pairs, vanished, wakes })
}

impl Figures {
    pub fn print(&self) {
        println!("\n{:<60} | {:>10} | {:>10} | target", "GET /v2/auth/wait", "agent-auth", "bare hyper");
        let line = |what: &str, server: String, bare: String, target: &str| {
            println!("{what:<60} | {server:>10} | {bare:>10} | {target}");
        };
        let (own, resident) = self.idle_kib;
        line("own memory of a replica that just started (KiB)", own.to_string(), String::new(), "at most 12288");
        line("  with the pages of its program", resident.to_string(), String::new(), "");
        for (server, bare) in &self.pairs {
            let many = server.waiters;
            let kib = |figures: &waiters::Figures| format!("{:.1}", figures.kib_each());
            line(&format!("{many} waiters: memory for each (KiB)"), kib(server), kib(bare), "at most 12");
            let total = |figures: &waiters::Figures| figures.with_kib.to_string();
            line("  memory with all of them (KiB)", total(server), total(bare), "");
            let opening = |figures: &waiters::Figures| format!("{:.2}", figures.opening.as_secs_f64());
            line("  opening all of them (s)", opening(server), opening(bare), "");
            let one = |milliseconds: f64| format!("{milliseconds:.2}");
            let text = "  the answer of one, after that of its wake, median (ms)";
            line(text, one(server.one.p50), one(bare.one.p50), "0.5 more");
            line("  the same, 99th percentile (ms)", one(server.one.p99), one(bare.one.p99), "1.5 more");
            let all = |figures: &waiters::Figures| format!("{:.2}", figures.all.as_secs_f64());
            line(&format!("  answering the rest, by {} wakes (s)", server.wakes), all(server), all(bare), "1.2x");
        }
        let (kib, left) = self.vanished;
        line("2000 waiters that disconnect: memory more than before (KiB)", kib.to_string(), String::new(), "about 0");
        line("  waiters that are left", left.to_string(), String::new(), "0");
        let wakes = &self.wakes;
        let of = |milliseconds: f64| format!("{milliseconds:.1}");
        let text = "callback on one replica to answer on another, median (ms)";
        line(text, of(wakes.median), String::new(), "below 50");
        line("  the same, slowest (ms)", of(wakes.slowest), String::new(), "");
        line("  of which the callback itself, median (ms)", of(wakes.callback), String::new(), "");
    }
}
