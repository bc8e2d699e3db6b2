//! A callback on one replica, a waiter on another.
//! Owns: how long it takes from sending the callback to the waiter's answer.
//! Must not know: how replicas tell each other.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{
    consent::{begin, come_back},
    hits::median,
    process::Replica,
};

const ROUNDS: u32 = 50;
/// Not measured: connections are opened, and the other replica begins to listen.
const WARM_UPS: u32 = 5;
/// Until the waiter sleeps.
const ASLEEP: Duration = Duration::from_millis(50);

/// Milliseconds.
pub struct Figures {
    /// From sending the callback to the waiter's answer.
    pub median: f64,
    pub slowest: f64,
    /// From sending the callback to its own answer.
    pub callback: f64,
}

pub async fn measure(here: &Replica, there: &Replica) -> anyhow::Result<Figures> {
    let (mut wakes, mut callbacks) = (Vec::new(), Vec::new());
    for round in 0..WARM_UPS + ROUNDS {
        let pending = begin(here, &format!("wakes-{round}")).await?;
        let waiter = there.wait(&pending.auth_id, 10).await?;
        let waiter = tokio::spawn(async move { (waiter.answer().await, Instant::now()) });
        tokio::time::sleep(ASLEEP).await;
        ensure!(!waiter.is_finished(), "the waiter did not wait");
        let begun = Instant::now();
        come_back(here, &pending).await?;
        let callback = begun.elapsed();
        let (answer, answered) = waiter.await?;
        let answer = answer?.json()?;
        ensure!(answer["status"] == "completed", "the waiter was told: {answer}");
        if round >= WARM_UPS {
            wakes.push(answered.saturating_duration_since(begun).as_secs_f64() * 1e3);
            callbacks.push(callback.as_secs_f64() * 1e3);
        }
    }
    let slowest = wakes.iter().copied().fold(0.0, f64::max);
    Ok(Figures { median: median(wakes), slowest, callback: median(callbacks) })
}
