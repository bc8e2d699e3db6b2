//! Load against the running server, side by side with its yardstick. `scripts/bench` runs it.
//! Owns: the order of the measurements, and the table of figures with their targets.
//! Must not know: how each figure is taken. Time alone never makes it fail; a wrong answer does.
#![expect(clippy::print_stdout, reason = "figures are what this program is for")]
#![expect(clippy::disallowed_methods, reason = "it asks PostgreSQL for its process")]

#[path = "load/bare.rs"]
mod bare;
#[path = "load/client.rs"]
mod client;
#[path = "load/consent.rs"]
mod consent;
#[path = "load/cpu.rs"]
mod cpu;
#[path = "load/hits.rs"]
mod hits;
#[path = "load/process.rs"]
mod process;
#[path = "load/seed.rs"]
mod seed;
#[path = "load/targets.rs"]
mod targets;
#[path = "load/waiters.rs"]
mod waiters;
#[path = "load/waiting.rs"]
mod waiting;
#[path = "load/wakes.rs"]
mod wakes;
#[path = "load/yardstick.rs"]
mod yardstick;

use agent_auth::cipher::KeyRing;
use anyhow::{Context, bail};
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};

use self::{
    consent::FakeProvider,
    hits::{Level, Plan, Sides},
    process::{Process, Replica},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench` to what it was told.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--short", database_url] => measure_shortly(database_url).await,
        ["--handouts", database_url] => measure_handouts(database_url).await,
        ["--waiters", database_url] => measure_waiting(database_url).await,
        [bare::ARGUMENT, slots] => bare::serve(slots.parse()?).await,
        [yardstick::ARGUMENT, database_url] => yardstick::serve(database_url).await,
        [database_url] => measure(database_url).await,
        _ => bail!("expected the URL of an empty PostgreSQL database; scripts/bench starts one and gives it"),
    }
}

async fn measure(database_url: &str) -> anyhow::Result<()> {
    let keys = KeyRing::generate();
    let _provider = seeded(database_url, &keys, hits::FULL.users).await?;
    let levels = measure_hits(database_url, &keys, &hits::FULL).await?;
    let waiting = waiting::measure(database_url, &keys).await?;
    targets::print(&levels);
    waiting.print();
    Ok(())
}

/// Only what recording hand-outs costs: little, so that it takes many rounds to see.
async fn measure_handouts(database_url: &str) -> anyhow::Result<()> {
    targets::print(&measure_only_hits(database_url, &hits::HANDOUTS).await?);
    Ok(())
}

/// Only the part about waiting, for which a few tokens suffice.
async fn measure_waiting(database_url: &str) -> anyhow::Result<()> {
    let keys = KeyRing::generate();
    let _provider = seeded(database_url, &keys, hits::SHORT.users).await?;
    waiting::measure(database_url, &keys).await?.print();
    Ok(())
}

/// About a minute, and it fails only if something became less than half as fast as it should be.
async fn measure_shortly(database_url: &str) -> anyhow::Result<()> {
    let levels = measure_only_hits(database_url, &hits::SHORT).await?;
    targets::print(&levels);
    targets::refuse_gross_regressions(&levels)
}

async fn measure_only_hits(database_url: &str, plan: &Plan) -> anyhow::Result<Vec<Level>> {
    let keys = KeyRing::generate();
    let _provider = seeded(database_url, &keys, plan.users).await?;
    measure_hits(database_url, &keys, plan).await
}

async fn seeded(database_url: &str, keys: &SecretString, users: u32) -> anyhow::Result<FakeProvider> {
    let provider = FakeProvider::start().await?;
    println!("Seeding {users} tokens");
    seed::seed(database_url, keys, &provider, users).await.context("seeding")?;
    Ok(provider)
}

async fn measure_hits(database_url: &str, keys: &SecretString, plan: &Plan) -> anyhow::Result<Vec<Level>> {
    let start = async |cache, handouts| {
        let settings = [("TOKEN_CACHE", cache), ("AUDIT_HANDOUTS", handouts)];
        Replica::start_with(database_url, keys, &settings).await
    };
    let sides = Sides {
        yardstick: &Process::start_yardstick(database_url)?,
        database: &start("off", "off").await?,
        database_audited: &start("off", "batched").await?,
        memory: &start("on", "off").await?,
        memory_audited: &start("on", "batched").await?,
        postmaster: postmaster(database_url).await?,
        users: plan.users,
    };
    hits::measure(&sides, plan).context("hits")
}

/// The process that starts all others of the database.
async fn postmaster(database_url: &str) -> anyhow::Result<u32> {
    let mut connection = PgConnection::connect(database_url).await?;
    let session: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
    cpu::parent(u32::try_from(session)?)
}
