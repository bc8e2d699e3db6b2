//! The schedule: what a server does from time to time without a caller.
//! Owns: when each job runs, and that it goes on after an error, until the server stops.
//! Must not know: what the jobs do.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{audit, device_polls, encryption_keys, ended, ending, keep_alive, resume, stock, sweep, usage, webhooks};
use crate::broker::{
    audit::record_refusals,
    context::Broker,
    error::BrokerError,
    handouts,
    tokens::revoke::{self, run_due},
};

/// The first run comes within this time after the start.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// How often it is recorded how many callers were refused.
const REFUSALS_EVERY: Duration = Duration::from_mins(1);

/// Starts every job, and listens to other replicas. It ends with `shutdown`.
pub fn start(broker: &Arc<Broker>) {
    if broker.settings.token_cache == "on" {
        broker.store.remember_tokens();
    }
    if broker.store.is_shared() {
        let until_stop = || broker.shutdown.clone();
        tokio::spawn(until_stop().run_until_cancelled_owned(broker.notifications.clone().listen()));
        tokio::spawn(until_stop().run_until_cancelled_owned(broker.notifications.clone().catch_up_repeatedly()));
    }
    let soon = || FIRST_WITHIN.mul_f64(rand::random());
    repeat(broker, "usage", usage::EVERY, usage::EVERY, |broker| async move { Ok(usage::write(&broker).await?) });
    repeat(broker, "encryption-keys", encryption_keys::EVERY, encryption_keys::EVERY, |broker| async move {
        encryption_keys::announce(&broker).await
    });
    repeat(broker, "hand-outs", handouts::EVERY, handouts::EVERY, |broker| async move {
        Ok(broker.handouts.write().await?)
    });
    repeat(broker, "refusals", REFUSALS_EVERY, REFUSALS_EVERY, |broker| async move { record_refusals(&broker).await });
    repeat(broker, "audit", soon(), audit::EVERY, |broker| async move { audit::run_once(&broker).await.map(drop) });
    repeat(broker, "stock", Duration::ZERO, stock::EVERY, |broker| async move { stock::measure(&broker).await });
    repeat(broker, "resume", Duration::ZERO, resume::EVERY, |broker| async move { resume::run_once(&broker).await });
    repeat(broker, "devices", Duration::ZERO, device_polls::EVERY, |broker| async move {
        device_polls::run_due(&broker).await
    });
    repeat(broker, "keep-alive", soon(), keep_alive::EVERY, |broker| async move {
        // A full batch that went well may have left others behind.
        while keep_alive::run_once(&broker).await?.is_some_and(|kept| kept.is_full()) {}
        Ok(())
    });
    repeat(
        broker,
        "revocations",
        Duration::ZERO,
        revoke::DUE_EVERY,
        |broker| async move { Ok(run_due(&broker).await?) },
    );
    deliver_to_webhooks(broker);
    repeat(broker, "ended", soon(), ended::EVERY, |broker| async move { ended::report(&broker).await });
    repeat(broker, "ending", soon(), ending::EVERY, |broker| async move { ending::report(&broker).await });
    repeat(broker, "sweep", soon(), sweep::EVERY, |broker| async move { sweep::run_once(&broker).await.map(drop) });
}

/// Looks for due deliveries from time to time, and as soon as this process has written one.
fn deliver_to_webhooks(broker: &Arc<Broker>) {
    let woken = Arc::clone(broker);
    repeat_when(
        broker,
        "webhooks",
        move |pause| {
            let broker = Arc::clone(&woken);
            async move {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = broker.store.outbox_written() => {}
                }
            }
        },
        Duration::ZERO,
        webhooks::EVERY,
        |broker| async move { webhooks::begin_due(&broker).await.map(drop) },
    );
}

/// Does `work` after `first` and then again and again, until the server stops. Neither an error nor a panic ends it. A
/// tenth more or less at random keeps replicas that were started together from running at the same time.
fn repeat<F>(
    broker: &Arc<Broker>,
    name: &'static str,
    first: Duration,
    period: Duration,
    work: impl Fn(Arc<Broker>) -> F + Send + 'static,
) where
    F: Future<Output = Result<(), BrokerError>> + Send + 'static,
{
    repeat_when(broker, name, sleep, first, period, work);
}

/// The same, where `wait` may end a pause early.
fn repeat_when<F, W>(
    broker: &Arc<Broker>,
    name: &'static str,
    wait: impl Fn(Duration) -> W + Send + 'static,
    first: Duration,
    period: Duration,
    work: impl Fn(Arc<Broker>) -> F + Send + 'static,
) where
    F: Future<Output = Result<(), BrokerError>> + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let broker = Arc::clone(broker);
    broker.tasks.clone().spawn(async move {
        let mut pause = first;
        while broker.shutdown.run_until_cancelled(wait(pause)).await.is_some() {
            match broker.tasks.spawn(work(Arc::clone(&broker))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(event = "job.failed", job = name, %error, "job failed; will retry"),
                Err(error) => tracing::error!(event = "job.panicked", job = name, %error, "job panicked; will retry"),
            }
            pause = period.mul_f64(rand::random_range(0.9..1.1));
        }
    });
}
