//! Shared reads: one statement reads for all callers that came while the database was busy.
//! Owns: which caller reads alone, which are gathered, and how many statements run at a time.
//! Must not know: what is read.
//!
//! On PostgreSQL a statement for thirty subjects costs little more than one for a single subject. So few statements run
//! at a time: a caller that finds one free reads alone and at once; those that come in the meantime are gathered and
//! read together as soon as one ends. Under load that answers more callers in less time; without load it changes nothing.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
};

use super::{
    statements::{ReadKey, read_one, read_several},
    stored_token::StoredToken,
};
use crate::store::{db::Db, error::StoreError};

/// For as many one statement reads.
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
    /// With so many statements under way at the most.
    pub(in crate::store) fn new(db: Db, at_once: usize) -> Self {
        Self(Arc::new(Inner { db, free: Arc::new(Semaphore::new(at_once)), gathered: Mutex::default() }))
    }

    /// What the database has for `key`.
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
        answered.await.unwrap_or_else(|_| Err(StoreError::Unavailable("a shared read was given up".into())))
    }

    /// Reads for those who were gathered, unless enough is under way: then it is done when that ends.
    fn read_for_gathered(&self) {
        // Turns also end while the server itself does; then there is nobody left to read for.
        let Ok(runtime) = Handle::try_current() else { return };
        while !self.gathered().is_empty() {
            let Some(turn) = self.turn() else { return };
            let some: Vec<Gathered> = {
                let mut gathered = self.gathered();
                let many = gathered.len().min(TOGETHER_MAX);
                gathered.drain(..many).collect()
            };
            // On its own task: one caller that goes away must not take the answer from the others.
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

/// The right to one statement. When it ends, however it ends, those who were gathered meanwhile have theirs.
struct Turn {
    reads: SharedReads,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    async fn read_for(self, gathered: Vec<Gathered>) {
        let (keys, answers): (Vec<ReadKey>, Vec<_>) =
            gathered.into_iter().map(|gathered| (gathered.key, gathered.answer)).unzip();
        // Who went away meanwhile is not told; that is no error.
        match read_several(&self.reads.0.db, keys).await {
            Ok(rows) => answers.into_iter().zip(rows).for_each(|(answer, rows)| drop(answer.send(Ok(rows)))),
            Err(error) => {
                let problem = error.to_string();
                for answer in answers {
                    drop(answer.send(Err(StoreError::Unavailable(problem.clone()))));
                }
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.reads.read_for_gathered();
    }
}
