//! Hand-outs of tokens in the audit log: gathered in memory and written in batches, or waited for.
//! Owns: what was handed out and is not written yet, and that it has a limit.
//! Must not know: which tokens are handed out.
//!
//! A hand-out is a read: a row of its own transaction for each would cost more than the read. With `batched` it waits in
//! memory for the next batch, at most a second; with `strict` the answer waits for the commit of its batch. One batch of a
//! process is written at a time, so that hand-outs that come meanwhile make up the next one.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::error::BrokerError;
use crate::{
    model::{actor::Act, handed_out::HandedOut, token::Token},
    store::{
        audit::append::{NotRecorded, Unconfirmed},
        error::StoreError,
        handle::Store,
    },
    telemetry::metrics::METRICS,
};

/// How often what was gathered is written.
pub const EVERY: Duration = Duration::from_secs(1);
/// So many are written at once, without waiting for the second to end.
const BATCH: usize = 1000;
/// So many are gathered at most while the database is away; some ten megabytes.
const GATHERED_MAX: usize = 20_000;
/// How long a hand-out waits for room when so many are gathered.
const ROOM_WITHIN: Duration = Duration::from_secs(5);

/// How hand-outs are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Soon after the answer.
    Batched,
    /// Before the answer.
    Strict,
    /// Not at all.
    Off,
}

/// The hand-outs of one process that are not written yet, cheap to clone.
#[derive(Clone)]
pub struct Handouts(Arc<Inner>);

struct Inner {
    mode: Mode,
    store: Store,
    tasks: TaskTracker,
    /// A permit for each that may still be gathered.
    room: Semaphore,
    gathered: Mutex<Gathered>,
    /// When the oldest was handed out of those that are being written, or could not be.
    oldest_taken: Mutex<Option<DateTime<Utc>>>,
    /// Locked by the one that writes; what it could not write, and is to be written first.
    writing: tokio::sync::Mutex<Vec<Batch>>,
}

/// What nobody has taken yet to write it.
#[derive(Default)]
struct Gathered {
    /// Each has [`BATCH`] hand-outs.
    full: Vec<Batch>,
    /// By their organization.
    others: HashMap<String, Batch>,
}

/// Hand-outs in one organization that are written together.
struct Batch {
    handed_out: HandedOut,
    /// Those who wait for the commit: nobody, or one for each hand-out.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// An earlier attempt whose commit was not confirmed.
    unconfirmed: Option<Unconfirmed>,
}

/// What is written at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// What makes up a whole batch. The rest waits: under load, many small batches would cost more than a few large ones.
    FullBatches,
    Everything,
}

impl Handouts {
    /// Nothing is gathered yet.
    #[must_use]
    pub fn new(mode: Mode, store: Store, tasks: TaskTracker) -> Self {
        let room = Semaphore::new(GATHERED_MAX);
        Self(Arc::new(Inner {
            mode,
            store,
            tasks,
            room,
            gathered: Mutex::default(),
            oldest_taken: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    /// Records that `token` is handed out to this agent. The last thing before the response: a caller that turns out to have
    /// lost its rights gets nothing.
    ///
    /// # Errors
    /// [`BrokerError::Audit`] when as many are gathered as may be and none can be written, and in `strict` when it is not
    /// written: then the token must not be handed out.
    pub async fn record(
        &self,
        token: &Token,
        agent_id: &str,
        act: &Act,
        now: DateTime<Utc>,
    ) -> Result<(), BrokerError> {
        match self.0.mode {
            Mode::Off => Ok(()),
            Mode::Batched => {
                self.take_room().await?;
                if self.0.gathered.lock().add(token, agent_id, act, now, None) {
                    self.write_in_background(Due::FullBatches);
                }
                Ok(())
            }
            Mode::Strict => Box::pin(self.write_now(token, agent_id, act, now)).await,
        }
    }

    async fn write_now(&self, token: &Token, agent_id: &str, act: &Act, now: DateTime<Utc>) -> Result<(), BrokerError> {
        self.take_room().await?;
        let (written, is_written) = oneshot::channel();
        self.0.gathered.lock().add(token, agent_id, act, now, Some(written));
        // A task of its own: a caller that disconnects does not stop the batch of others.
        self.write_in_background(Due::Everything);
        match is_written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problem)) => Err(BrokerError::Audit(problem)),
            Err(_) => Err(BrokerError::Audit("the batch was given up".into())),
        }
    }

    async fn take_room(&self) -> Result<(), BrokerError> {
        let permit = match self.0.room.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match timeout(ROOM_WITHIN, self.0.room.acquire()).await {
                Ok(Ok(permit)) => permit,
                _ => {
                    let problem = format!("{GATHERED_MAX} hand-outs wait to be written");
                    return Err(BrokerError::Audit(problem));
                }
            },
        };
        permit.forget();
        Ok(())
    }

    fn write_in_background(&self, due: Due) {
        let handouts = self.clone();
        self.0.tasks.spawn(async move {
            if let Err(error) = handouts.write_due(due).await {
                tracing::warn!(event = "audit.handouts_not_written", %error, "hand-outs could not be recorded yet; will retry");
            }
        });
    }

    /// Writes everything that is gathered. What cannot be written stays for the next time, unless somebody waits for it.
    ///
    /// # Errors
    /// Why something was not written.
    pub async fn write(&self) -> Result<(), StoreError> {
        self.write_due(Due::Everything).await
    }

    async fn write_due(&self, due: Due) -> Result<(), StoreError> {
        let mut unwritten = self.0.writing.lock().await;
        let mut round = Round::default();
        for batch in std::mem::take(&mut *unwritten) {
            self.write_batch(batch, &mut round).await;
        }
        for batch in self.take(due) {
            self.write_batch(batch, &mut round).await;
        }
        *unwritten = round.unwritten;
        *self.0.oldest_taken.lock() = unwritten.iter().filter_map(|batch| batch.handed_out.since()).min();
        if !unwritten.is_empty() {
            // The one that failed is the last to be tried next time, so that it does not keep the others waiting.
            unwritten.rotate_left(1);
        }
        match round.error {
            None => Ok(()),
            Some(error) => {
                self.refuse_waiting(&error);
                Err(error)
            }
        }
    }

    /// The hand-outs that are not written yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        GATHERED_MAX - self.0.room.available_permits()
    }

    /// Measures what is not written yet.
    pub fn measure(&self, now: DateTime<Utc>) {
        let gathered = self.0.gathered.lock().batches().filter_map(|batch| batch.handed_out.since()).min();
        let oldest = gathered.into_iter().chain(*self.0.oldest_taken.lock()).min();
        let waited = oldest.and_then(|at| (now - at).to_std().ok()).unwrap_or_default();
        METRICS.handouts_waiting.set(self.waiting() as u64);
        METRICS.handouts_oldest.set(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
    }

    fn take(&self, due: Due) -> Vec<Batch> {
        let mut gathered = self.0.gathered.lock();
        let mut taken = std::mem::take(&mut gathered.full);
        if due == Due::Everything {
            let others = std::mem::take(&mut gathered.others).into_values();
            taken.extend(others.filter(|batch| !batch.handed_out.is_empty()));
        }
        let since = taken.iter().filter_map(|batch| batch.handed_out.since()).min();
        let mut oldest = self.0.oldest_taken.lock();
        *oldest = oldest.into_iter().chain(since).min();
        taken
    }

    /// Writes a batch, and answers those who wait for it. Nobody gets the tokens of a batch that failed while they waited,
    /// so that one is not written later either. What failed in this round is not tried again in it.
    async fn write_batch(&self, mut batch: Batch, round: &mut Round) {
        let many = batch.handed_out.len();
        if !round.is_hopeless(batch.handed_out.organization()) {
            match self.record_alone(&batch).await {
                Ok(()) => {
                    self.0.room.add_permits(many);
                    return batch.answer(&Ok(()));
                }
                Err(NotRecorded { error, unconfirmed }) => {
                    batch.unconfirmed = unconfirmed.or(batch.unconfirmed);
                    round.failed.insert(batch.handed_out.organization().to_owned());
                    round.error = Some(error);
                }
            }
        }
        if batch.waiting.is_empty() {
            round.unwritten.push(batch);
        } else {
            self.0.room.add_permits(many);
            let problem = round.error.as_ref().map(ToString::to_string).unwrap_or_default();
            batch.answer(&Err(problem));
        }
    }

    async fn record_alone(&self, batch: &Batch) -> Result<(), NotRecorded> {
        let handed_out = &batch.handed_out;
        self.0.store.record_alone(handed_out.organization(), handed_out.events(), batch.unconfirmed.as_ref()).await
    }

    /// Answers everybody who waits that nothing can be written.
    fn refuse_waiting(&self, error: &StoreError) {
        let refused = self.0.gathered.lock().take_waiting();
        self.0.room.add_permits(refused.iter().map(|batch| batch.handed_out.len()).sum());
        for batch in refused {
            batch.answer(&Err(error.to_string()));
        }
    }
}

impl Gathered {
    /// Adds a hand-out, and returns whether it was the last one of a batch.
    fn add(
        &mut self,
        token: &Token,
        agent_id: &str,
        act: &Act,
        now: DateTime<Utc>,
        written: Option<oneshot::Sender<Result<(), String>>>,
    ) -> bool {
        let organization = &token.subject.tenant.organization;
        let batch = match self.others.get_mut(organization) {
            Some(batch) => batch,
            None => {
                let first = Batch::of(HandedOut::new(organization));
                self.others.entry(organization.clone()).or_insert(first)
            }
        };
        batch.handed_out.add(token, agent_id, act, now);
        batch.waiting.extend(written);
        let is_full = batch.handed_out.len() >= BATCH;
        if is_full {
            let next = Batch::of(batch.handed_out.another());
            self.full.push(std::mem::replace(batch, next));
        }
        is_full
    }

    fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.full.iter().chain(self.others.values())
    }

    /// Takes the batches that somebody waits for.
    fn take_waiting(&mut self) -> Vec<Batch> {
        let is_waited_for = |batch: &Batch| !batch.waiting.is_empty();
        let full = self.full.extract_if(.., |batch| is_waited_for(batch));
        let others = self.others.extract_if(|_, batch| is_waited_for(batch)).map(|(_, batch)| batch);
        full.chain(others).collect()
    }
}

/// What could not be written when everything was tried once.
#[derive(Default)]
struct Round {
    unwritten: Vec<Batch>,
    /// The organizations of which something failed.
    failed: BTreeSet<String>,
    error: Option<StoreError>,
}

impl Round {
    /// True when another attempt would fail too.
    fn is_hopeless(&self, organization: &str) -> bool {
        matches!(self.error, Some(StoreError::Unavailable(..))) || self.failed.contains(organization)
    }
}

impl Batch {
    fn of(handed_out: HandedOut) -> Self {
        Self { handed_out, waiting: Vec::new(), unconfirmed: None }
    }

    fn answer(self, result: &Result<(), String>) {
        self.waiting.into_iter().for_each(|written| drop(written.send(result.clone())));
    }
}
