//! Ten thousand waiters and more, on one replica and on the yardstick of waiting.
//! Owns: what they cost in memory, how soon one of them and all of them are answered, and that each is.
//! Must not know: how they are woken.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};

use super::{
    client::{self, Answer, Sent},
    consent::{Pending, begin, come_back},
    hits::median,
    process::{API_KEY, Process, Replica},
};

pub const WAITERS: usize = 10_000;
/// As many as the limit of open files that most machines have permits, on either side.
pub const MANY_WAITERS: usize = 19_000;
/// Of them, so many wait for something of their own, and are woken one at a time.
const SINGLES: usize = 200;
/// The others share what they wait for with so many.
const TOGETHER: usize = 100;
const TIMEOUT_SECONDS: u64 = 290;
/// Connections opened at the same time.
const OPENING: usize = 128;
/// Until the last one sleeps, and what looking into the database took is given back.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two wakes, so that each is measured by itself.
const PAUSE: Duration = Duration::from_millis(10);

pub struct Figures {
    pub waiters: usize,
    pub before_kib: u64,
    pub with_kib: u64,
    pub opening: Duration,
    /// Milliseconds from the end of what woke one waiter to the end of that waiter's answer; below 0 if it came first.
    pub one: Spread,
    /// From waking the first to the answer of the last, of all that are left.
    pub all: Duration,
    pub wakes: usize,
}

/// Milliseconds.
pub struct Spread {
    pub p50: f64,
    pub p99: f64,
}

impl Figures {
    pub fn kib_each(&self) -> f64 {
        let more = u32::try_from(self.with_kib.saturating_sub(self.before_kib)).unwrap_or(u32::MAX);
        f64::from(more) / f64::from(u32::try_from(self.waiters).unwrap_or(u32::MAX))
    }
}

/// What is waited on: the server, with a consent for each slot, or the yardstick.
pub enum Side<'p> {
    Server(&'p Replica, Vec<Pending>),
    Bare(&'p Process),
}

impl<'p> Side<'p> {
    /// The server with as many consents as `waiters` of them need.
    pub async fn server(replica: &'p Replica, waiters: usize) -> anyhow::Result<Self> {
        let pending: Vec<Pending> = stream::iter(0..slots(waiters))
            .map(async |number| begin(replica, &format!("waits-{waiters}-{number}")).await)
            .buffered(8)
            .try_collect()
            .await?;
        // Whatever a server allocates once, it has allocated now.
        for pending in &pending {
            replica.wait(&pending.auth_id, 0).await?.answer().await?.json()?;
        }
        Ok(Self::Server(replica, pending))
    }

    fn process(&self) -> &Process {
        match self {
            Self::Server(replica, _) => &replica.process,
            Self::Bare(process) => process,
        }
    }

    async fn wait(&self, slot: usize) -> anyhow::Result<Sent> {
        match self {
            Self::Server(replica, pending) => replica.wait(&pending[slot].auth_id, TIMEOUT_SECONDS).await,
            Self::Bare(process) => client::send(process.address, API_KEY, "GET", &format!("/{slot}"), "").await,
        }
    }

    async fn wake(&self, slot: usize) -> anyhow::Result<()> {
        match self {
            Self::Server(replica, pending) => come_back(replica, &pending[slot]).await,
            Self::Bare(process) => {
                let woken = client::send(process.address, API_KEY, "POST", &format!("/{slot}"), "").await?;
                woken.answer().await?.json().map(drop)
            }
        }
    }
}

/// How many slots so many waiters need.
pub fn slots(waiters: usize) -> usize {
    SINGLES + (waiters - SINGLES).div_ceil(TOGETHER)
}

fn slot_of(waiter: usize) -> usize {
    if waiter < SINGLES { waiter } else { SINGLES + (waiter - SINGLES) / TOGETHER }
}

pub async fn measure(side: &Side<'_>, waiters: usize) -> anyhow::Result<Figures> {
    let before_kib = side.process().memory_kib()?;
    let begun = Instant::now();
    let sent: Vec<Sent> = stream::iter(0..waiters)
        .map(|waiter| side.wait(slot_of(waiter)))
        // In their order, so that a waiter is found by its number.
        .buffered(OPENING)
        .try_collect()
        .await?;
    let opening = begun.elapsed();
    let mut waiting: Vec<_> = sent.into_iter().map(|sent| tokio::spawn(answered(sent))).collect();
    tokio::time::sleep(SETTLE).await;
    let with_kib = side.process().memory_kib()?;
    let early = waiting.iter().filter(|waiter| waiter.is_finished()).count();
    ensure!(early == 0, "{early} waiters were answered before anybody consented");

    let together = waiting.split_off(SINGLES);
    let mut after = Vec::new();
    for (slot, waiter) in waiting.into_iter().enumerate() {
        side.wake(slot).await?;
        let woken = Instant::now();
        let (answer, at) = waiter.await??;
        check(&answer)?;
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        after.push(
            milliseconds(at.saturating_duration_since(woken)) - milliseconds(woken.saturating_duration_since(at)),
        );
        tokio::time::sleep(PAUSE).await;
    }
    let begun = Instant::now();
    let wakes = SINGLES..slots(waiters);
    try_join_all(wakes.clone().map(|slot| side.wake(slot))).await?;
    for waiter in together {
        check(&waiter.await??.0)?;
    }
    let all = begun.elapsed();
    Ok(Figures { waiters, before_kib, with_kib, opening, one: spread(after), all, wakes: wakes.len() })
}

/// Two thousand waiters whose clients disconnect: how much memory, in KiB, and how many waiters are left.
pub async fn vanish(replica: &Replica) -> anyhow::Result<(i64, u64)> {
    const GONE: usize = 2_000;
    let side = Side::server(replica, GONE).await?;
    let mut before = 0;
    // What a first round leaves behind is what it allocated once.
    for round in 0..2 {
        before = replica.process.memory_kib()?;
        let sent: Vec<Sent> =
            stream::iter(0..GONE).map(|waiter| side.wait(slot_of(waiter))).buffered(OPENING).try_collect().await?;
        tokio::time::sleep(SETTLE).await;
        ensure!(waiting_now(replica).await? == GONE as u64, "not all wait, in round {round}");
        drop(sent);
        tokio::time::sleep(SETTLE).await;
    }
    let more = i64::try_from(replica.process.memory_kib()?)? - i64::try_from(before)?;
    Ok((more, waiting_now(replica).await?))
}

async fn waiting_now(replica: &Replica) -> anyhow::Result<u64> {
    let text = String::from_utf8(replica.get("/metrics").await?.body)?;
    let line = text.lines().find_map(|line| line.strip_prefix("agent_auth_waiters "));
    Ok(line.unwrap_or_default().parse()?)
}

async fn answered(sent: Sent) -> anyhow::Result<(Answer, Instant)> {
    let answer = sent.answer().await?;
    Ok((answer, Instant::now()))
}

fn check(answer: &Answer) -> anyhow::Result<()> {
    let answer = answer.json()?;
    ensure!(answer["status"] == "completed" && answer["token"] == "granted", "a waiter got {answer}");
    Ok(())
}

fn spread(mut milliseconds: Vec<f64>) -> Spread {
    milliseconds.sort_by(f64::total_cmp);
    let p99 = milliseconds.get(milliseconds.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    Spread { p50: median(milliseconds), p99 }
}
