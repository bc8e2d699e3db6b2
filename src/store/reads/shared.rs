//! Shared reads: one statement reads for all callers that came while the database was busy.
//! Owns: which caller reads on its own, which are batched, and how many statements run at a time.
//! Must not know: what is read.
//!
//! On PostgreSQL a statement for thirty subjects costs little more than one for a single subject. So few statements run
//! at a time: a caller that finds one free reads at once; those that arrive in the meantime are batched and read
//! together as soon as one ends. Under load this serves more callers in less time; without load it changes nothing.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{
    statements::{ReadKey, read_one, read_several},
    stored_token::StoredToken,
};
use crate::{
    model::outage::Outage,
    store::{db::Db, error::StoreError, postgres::RESPONSE_TIMEOUT},
};

/// The largest batch of one statement.
const TOGETHER_MAX: usize = 64;

/// The reads of one process, cheap to clone.
#[derive(Clone)]
pub(in crate::store) struct SharedReads(Arc<Inner>);

struct Inner {
    db: Db,
    free: Arc<Semaphore>,
    gathered: Mutex<Vec<Gathered>>,
}

type Answer = Result<Vec<StoredToken>, StoreError>;

struct Gathered {
    key: ReadKey,
    answer: oneshot::Sender<Answer>,
}

impl SharedReads {
    /// With a limit on the statements that run at a time.
    pub(in crate::store) fn new(db: Db, at_once: usize) -> Self {
        Self(Arc::new(Inner { db, free: Arc::new(Semaphore::new(at_once)), gathered: Mutex::default() }))
    }

    /// Reads the tokens for `key`.
    pub(in crate::store) async fn read(&self, key: ReadKey) -> Answer {
        if let Some(turn) = self.turn() {
            let answer = read_one(&self.0.db, key).await;
            drop(turn);
            return answer;
        }
        let (answer, answered) = oneshot::channel();
        self.gathered().push(Gathered { key, answer });
        // A turn may have ended since.
        self.read_for_gathered();
        match timeout(RESPONSE_TIMEOUT, answered).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(given_up("a shared read was given up"))),
            Err(_) => Err(given_up("the reads before this one got no response in time")),
        }
    }

    /// Reads for the batched callers, or leaves this to a running statement when the limit is reached.
    fn read_for_gathered(&self) {
        // When the server stops, there is no caller left to read for.
        let Ok(runtime) = Handle::try_current() else { return };
        while !self.gathered().is_empty() {
            let Some(turn) = self.turn() else { return };
            let some: Vec<Gathered> = {
                let mut gathered = self.gathered();
                // Nobody reads for callers that have disconnected, or waited long enough.
                gathered.retain(|waiting| !waiting.answer.is_closed());
                let many = gathered.len().min(TOGETHER_MAX);
                gathered.drain(..many).collect()
            };
            // A separate task: if one caller disconnects, the others still get their results.
            runtime.spawn(turn.read_for(some));
        }
    }

    fn turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(Turn { reads: self.clone(), permit: Some(permit) })
    }

    fn gathered(&self) -> MutexGuard<'_, Vec<Gathered>> {
        self.0.gathered.lock()
    }
}

/// The right to run one statement. When it is dropped, the callers that were batched meanwhile get theirs.
struct Turn {
    reads: SharedReads,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    async fn read_for(self, gathered: Vec<Gathered>) {
        let (keys, answers): (Vec<ReadKey>, Vec<_>) =
            gathered.into_iter().map(|gathered| (gathered.key, gathered.answer)).unzip();
        // A caller that has disconnected receives nothing; this is not an error.
        match read_several(&self.reads.0.db, keys).await {
            Ok(rows) => answers.into_iter().zip(rows).for_each(|(answer, rows)| drop(answer.send(Ok(rows)))),
            Err(error) => {
                let problem = error.to_string();
                for answer in answers {
                    drop(answer.send(Err(given_up(&problem))));
                }
            }
        }
    }
}

fn given_up(problem: &str) -> StoreError {
    StoreError::Unavailable(Outage::Unreachable, problem.to_owned())
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.reads.read_for_gathered();
    }
}
