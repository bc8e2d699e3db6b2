//! Background work: what a server does now and then without being asked.
//! Owns: when it is done, that replicas take turns at it, and that it goes on whatever happens, until the server stops.
//! Must not know: what the work is.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::{keep_alive, resume, sweep};
use crate::{
    app::App,
    broker::{
        BrokerError,
        consent::device,
        tokens::{revoke, usage},
    },
    store::Store,
};

/// The first run comes within this time after the start.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// Starts all background work of a server. It ends with `shutdown`.
pub fn start(app: &Arc<App>) {
    let soon = || FIRST_WITHIN.mul_f64(rand::random());
    app.tasks.spawn(every(Arc::clone(app), "usage", usage::WRITE_EVERY, usage::WRITE_EVERY, |app| async move {
        usage::write(&app).await.map_err(BrokerError::from)
    }));
    app.tasks.spawn(every(Arc::clone(app), "resume", Duration::ZERO, resume::EVERY, |app| async move {
        resume::run_once(&app).await
    }));
    app.tasks.spawn(every(Arc::clone(app), "devices", Duration::ZERO, device::EVERY, |app| async move {
        device::ask_due(&app).await
    }));
    app.tasks.spawn(every(Arc::clone(app), "keep-alive", soon(), keep_alive::EVERY, |app| async move {
        // A full batch that went well may have left others behind.
        while keep_alive::run_once(&app).await?.is_some_and(|kept| kept.is_full()) {}
        Ok(())
    }));
    app.tasks.spawn(every(Arc::clone(app), "revocations", Duration::ZERO, revoke::TELL_EVERY, |app| async move {
        revoke::tell_due(&app).await.map_err(BrokerError::from)
    }));
    app.tasks.spawn(every(Arc::clone(app), "sweep", soon(), sweep::EVERY, |app| async move {
        sweep::run_once(&app).await.map(drop)
    }));
}

/// Does `work` after `first` and then again and again, until the server stops. Neither an error nor a panic ends it. A
/// tenth more or less at random keeps replicas that were started together from coming together.
async fn every<F, W>(app: Arc<App>, name: &'static str, first: Duration, period: Duration, work: W)
where
    W: Fn(Arc<App>) -> F,
    F: Future<Output = Result<(), BrokerError>> + Send + 'static,
{
    let mut pause = first;
    while app.shutdown.run_until_cancelled(sleep(pause)).await.is_some() {
        match app.tasks.spawn(work(Arc::clone(&app))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(job = name, %error, "background work failed; it is done again later"),
            Err(error) => tracing::error!(job = name, %error, "background work broke off; it is done again later"),
        }
        pause = period.mul_f64(rand::random_range(0.9..1.1));
    }
}

/// Does `work` unless another replica is at the same job; gives the job back afterwards. The work is cut off when its
/// time is over, so that two are never at it at once. `None`: another one is at it.
///
/// # Errors
/// Those of `work`; [`BrokerError::Store`] when the job cannot be taken; [`BrokerError::Internal`] when it was cut off.
pub async fn alone<T>(
    store: &Store,
    name: &'static str,
    most: Duration,
    work: impl Future<Output = Result<T, BrokerError>>,
) -> Result<Option<T>, BrokerError> {
    let (owner, deadline) = (Uuid::new_v4(), Instant::now() + most);
    if !store.take_job(name, owner, i64::try_from(most.as_millis()).unwrap_or(i64::MAX)).await? {
        return Ok(None);
    }
    let done = timeout_at(deadline, work).await;
    if let Err(error) = store.give_job_back(name, owner).await {
        tracing::warn!(job = name, %error, "a job could not be given back; the next run waits until its time is over");
    }
    match done {
        Ok(done) => done.map(Some),
        Err(_) => Err(BrokerError::Internal(format!("cut off after {} seconds", most.as_secs()))),
    }
}
