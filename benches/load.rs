//! Load against the running server, side by side with its yardstick. `scripts/bench` runs it.
//! Owns: the order of the measurements, and the table of figures with their targets.
//! Must not know: how each figure is taken. Time alone never makes it fail; a wrong answer does.
#![expect(clippy::print_stdout, reason = "figures are what this program is for")]

#[path = "load/client.rs"]
mod client;
#[path = "load/consent.rs"]
mod consent;
#[path = "load/hits.rs"]
mod hits;
#[path = "load/process.rs"]
mod process;
#[path = "load/seed.rs"]
mod seed;
#[path = "load/waiters.rs"]
mod waiters;
#[path = "load/wakes.rs"]
mod wakes;
#[path = "load/yardstick.rs"]
mod yardstick;

use agent_auth::cipher::KeyRing;
use anyhow::{Context, bail};

use self::{
    consent::FakeProvider,
    hits::Level,
    process::{Process, Replica},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench` to what it was told.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [database_url] => measure(database_url).await,
        [yardstick::ARGUMENT, database_url] => yardstick::serve(database_url).await,
        _ => bail!("expected the URL of an empty PostgreSQL database; scripts/bench starts one and gives it"),
    }
}

async fn measure(database_url: &str) -> anyhow::Result<()> {
    let provider = FakeProvider::start().await?;
    let keys = KeyRing::generate();
    println!("Seeding {} tokens", seed::USERS);
    seed::seed(database_url, &keys, &provider).await.context("seeding")?;

    let levels = {
        let ours = Replica::start(database_url, &keys).await?;
        let yardstick = Process::start_yardstick(database_url)?;
        hits::measure(&ours, &yardstick).context("hits")?
    };
    println!("Opening {} waiters", waiters::WAITERS);
    let waiters = {
        let replica = Replica::start(database_url, &keys).await?;
        waiters::measure(&replica).await.context("waiters")?
    };
    println!("Waking waiters across two replicas");
    let wakes = {
        let (here, there) = (Replica::start(database_url, &keys).await?, Replica::start(database_url, &keys).await?);
        wakes::measure(&here, &there).await.context("wakes")?
    };

    print_hits(&levels);
    print_rest(&waiters, &wakes);
    Ok(())
}

fn print_hits(levels: &[Level]) {
    println!(
        "\nPOST /v2/auth/authenticate with a stored token, {} users, beside a bare axum + sqlx handler",
        seed::USERS
    );
    println!(
        "{:>11} | {:>9} {:>8} {:>8} | {:>9} {:>8} {:>8} | {:>5} {:<20} target",
        "connections", "ours", "p50", "p99", "yardstick", "p50", "p99", "ratio", "of each round"
    );
    for level in levels {
        let (ours, yardstick) = (level.ours(), level.yardstick());
        let rounds: Vec<String> = level.ratios().iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!(
            "{:>11} | {:>7.0}/s {:>6.2}ms {:>6.2}ms | {:>7.0}/s {:>6.2}ms {:>6.2}ms | {:>5.2} {:<20} {}",
            level.connections,
            ours.per_second,
            ours.p50,
            ours.p99,
            yardstick.per_second,
            yardstick.p50,
            yardstick.p99,
            level.ratio(),
            rounds.join(" "),
            level.target
        );
    }
}

fn print_rest(waiters: &waiters::Figures, wakes: &wakes::Figures) {
    println!("\n{:<58} | {:>12} | target", "GET /v2/auth/wait", "figure");
    let line = |what: &str, figure: String, target: &str| println!("{what:<58} | {figure:>12} | {target}");
    line("memory before (KiB)", waiters.before_kib.to_string(), "");
    line(&format!("memory with {} waiters (KiB)", waiters::WAITERS), waiters.with_kib.to_string(), "");
    line("memory for each waiter (KiB)", format!("{:.1}", waiters.kib_each()), "at most 16");
    line("opening all of them (s)", format!("{:.2}", waiters.opening.as_secs_f64()), "");
    line(
        &format!("answering all of them, by {} callbacks (s)", waiters::CONSENTS),
        format!("{:.2}", waiters.answering.as_secs_f64()),
        "",
    );
    line("callback on one replica to answer on another, median (ms)", format!("{:.1}", wakes.median), "below 50");
    line("the same, slowest (ms)", format!("{:.1}", wakes.slowest), "");
    line("of which the callback itself, median (ms)", format!("{:.1}", wakes.callback), "");
}
