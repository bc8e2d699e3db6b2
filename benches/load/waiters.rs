//! Ten thousand waiters on one replica.
//! Owns: what they cost in memory, and that every one of them is answered.
//! Must not know: how they are woken.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};

use super::{
    client::Sent,
    consent::{Pending, begin, come_back},
    process::Replica,
};

pub const WAITERS: u32 = 10_000;
/// As many consents do they wait for.
pub const CONSENTS: usize = 100;
const TIMEOUT_SECONDS: u64 = 60;
/// Connections opened at the same time.
const OPENING: usize = 128;
/// Until the last one sleeps, and what looking into the database took is given back.
const SETTLE: Duration = Duration::from_secs(3);

pub struct Figures {
    pub before_kib: u64,
    pub with_kib: u64,
    pub opening: Duration,
    pub answering: Duration,
}

impl Figures {
    pub fn kib_each(&self) -> f64 {
        (f64::from(u32::try_from(self.with_kib.saturating_sub(self.before_kib)).unwrap_or(u32::MAX)))
            / f64::from(WAITERS)
    }
}

pub async fn measure(replica: &Replica) -> anyhow::Result<Figures> {
    let pending: Vec<Pending> = stream::iter(0..CONSENTS)
        .map(async |number| begin(replica, &format!("waits-{number}")).await)
        .buffered(8)
        .try_collect()
        .await?;
    // Whatever a server allocates once, it has allocated now.
    for pending in &pending {
        replica.wait(&pending.auth_id, 0).await?.answer().await?.json()?;
    }
    let before_kib = replica.process.memory_kib()?;

    let begun = Instant::now();
    let sent: Vec<Sent> = stream::iter(pending.iter().cycle().take(WAITERS as usize))
        .map(|pending| replica.wait(&pending.auth_id, TIMEOUT_SECONDS))
        .buffer_unordered(OPENING)
        .try_collect()
        .await
        .context("opening")?;
    let opening = begun.elapsed();
    let waiting: Vec<_> = sent.into_iter().map(|sent| tokio::spawn(sent.answer())).collect();
    tokio::time::sleep(SETTLE).await;
    let with_kib = replica.process.memory_kib()?;
    let early = waiting.iter().filter(|waiter| waiter.is_finished()).count();
    ensure!(early == 0, "{early} waiters were answered before anybody consented");

    let begun = Instant::now();
    try_join_all(pending.iter().map(|pending| come_back(replica, pending))).await?;
    for waiter in waiting {
        let answer = waiter.await??.json()?;
        ensure!(answer["status"] == "completed" && answer["token"] == "granted", "a waiter was told: {answer}");
    }
    Ok(Figures { before_kib, with_kib, opening, answering: begun.elapsed() })
}
