//! Jobs that one replica does at a time.
//! Owns: that a job is taken, cut off in time, and given back.
//! Must not know: what the job is.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{broker::error::BrokerError, store::handle::Store};

/// Does `work` unless another replica does it at the moment, and gives the job back afterwards. The work is cut off after
/// `timeout`, so that two replicas never do it at the same time. `None`: another replica does it.
///
/// # Errors
/// Those of `work`; [`BrokerError::Internal`] when it was cut off.
pub async fn exclusively<T>(
    store: &Store,
    name: &'static str,
    timeout: Duration,
    work: impl Future<Output = Result<T, BrokerError>>,
) -> Result<Option<T>, BrokerError> {
    let (owner, deadline) = (Uuid::new_v4(), Instant::now() + timeout);
    if !store.take_job(name, owner, timeout).await? {
        return Ok(None);
    }
    let done = timeout_at(deadline, work).await;
    if let Err(error) = store.give_job_back(name, owner).await {
        tracing::warn!(event = "job.not_released", job = name, %error, "could not release a job; its next run waits for the timeout");
    }
    match done {
        Ok(done) => done.map(Some),
        Err(_) => Err(BrokerError::Internal(format!("cut off after {} seconds", timeout.as_secs()))),
    }
}
