//! Writing what must not be lost.
//! Owns: how long a write is tried again, and what those who wait for it get meanwhile.
//! Must not know: what is written.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use backon::{ExponentialBuilder, Retryable};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::timeout_at};
use uuid::Uuid;

use super::error::BrokerError;
use crate::store::error::StoreError;

/// How long a grant that was obtained waits for a database that refuses it.
const PERSIST_FOR: Duration = Duration::from_mins(5);
/// How long a caller waits for a grant that cannot be stored: a database that restarts is back by then.
const CALLERS_WAIT: Duration = Duration::from_secs(5);
/// How often a caller looks whether its grant cannot be stored.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The grants of this process that cannot be stored for now, by the id of their token or their authorization request.
#[derive(Debug, Default)]
pub struct Unstored(Mutex<HashMap<Uuid, Delay>>);

#[derive(Debug)]
struct Delay {
    since: Instant,
    /// Why the last attempt failed.
    error: StoreError,
}

impl Unstored {
    /// Why the grant for `id` cannot be stored, once it has waited for longer than a caller should.
    #[must_use]
    pub fn outage(&self, id: Uuid) -> Option<BrokerError> {
        let delays = self.0.lock();
        let delay = delays.get(&id).filter(|delay| delay.since.elapsed() >= CALLERS_WAIT)?;
        Some(delay.error.clone().into())
    }

    fn note(&self, id: Uuid, error: &StoreError) {
        let mut delays = self.0.lock();
        let delay = delays.entry(id).or_insert_with(|| {
            tracing::warn!(event = "grant.storing_delayed", %id, %error, "a grant cannot be stored yet; will retry");
            Delay { since: Instant::now(), error: error.clone() }
        });
        delay.error = error.clone();
    }
}

/// A grant that is being stored. Its delay ends with it.
struct Storing<'u> {
    unstored: &'u Unstored,
    id: Uuid,
    has_ended: bool,
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        let delay = self.unstored.0.lock().remove(&self.id);
        if let Some(Delay { error, .. }) = delay.filter(|_| !self.has_ended) {
            tracing::error!(
                event = "grant.not_stored", id = %self.id, %error,
                "the server stops before a grant could be stored, and it may be lost"
            );
        }
    }
}

/// Writes the grant of `id`, again and again while the database or the audit log refuses it or another writer is in the
/// way, whatever the reason is: what a provider issued is not given up for that. Only what can never be stored is: a grant
/// of a record that was deleted, or one that takes a key which is missing.
pub(in crate::broker) async fn persist<T, F>(
    unstored: &Unstored,
    id: Uuid,
    write: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times();
    let begun = Instant::now();
    let worth_another_try =
        |error: &StoreError| !matches!(error, StoreError::Dangling | StoreError::Cipher(_) | StoreError::NotOpened(_));
    let mut storing = Storing { unstored, id, has_ended: false };
    let written = write
        .retry(backoff)
        .when(|error| worth_another_try(error) && begun.elapsed() < PERSIST_FOR)
        .notify(|error, _| unstored.note(id, error))
        .await;
    storing.has_ended = true;
    drop(storing);
    match &written {
        Ok(_) | Err(StoreError::Dangling) => {}
        Err(error) => {
            tracing::error!(event = "grant.not_stored", %id, %error, "a grant could not be stored and may be lost");
        }
    }
    written
}

/// Waits for a task that persists the grant of `id`, until `deadline`: then `None`. The task goes on.
///
/// # Errors
/// Those of the task; [`BrokerError::Unavailable`] when the grant cannot be stored for now.
pub(in crate::broker) async fn stored<T>(
    unstored: &Unstored,
    id: Uuid,
    deadline: tokio::time::Instant,
    mut task: JoinHandle<Result<T, BrokerError>>,
) -> Result<Option<T>, BrokerError> {
    loop {
        let now = tokio::time::Instant::now();
        match timeout_at(deadline.min(now + LOOK_AGAIN), &mut task).await {
            Ok(ended) => return ended.map_err(|error| BrokerError::Internal(error.to_string()))?.map(Some),
            Err(_) => {
                if let Some(outage) = unstored.outage(id) {
                    return Err(outage);
                }
                if now >= deadline {
                    return Ok(None);
                }
            }
        }
    }
}
