//! When tokens were last handed out: noted in memory, written once a minute and at the end, to within ten minutes.
//! Owns: what was noted and not yet written. Handing a token out only notes it; no write, no wait.
//! Must not know: what the notes are for.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{
    app::App,
    store::{
        StoreError,
        tokens::{row::Token, usage::Use},
    },
};

/// How often the notes are written. A server that is killed loses as much.
pub const WRITE_EVERY: Duration = Duration::from_mins(1);
/// What is written is left as it is for so long: a token in steady use is not worth a write a minute.
const WRITTEN_IS_GOOD_FOR: TimeDelta = TimeDelta::minutes(10);
/// More tokens than this are not noted until the next write; they will be handed out again.
const NOTED_MAX: usize = 100_000;
/// How many tokens one transaction writes. It holds on to their rows until its end, and whoever refreshes one of them
/// has to wait for it.
const ROWS_MAX: usize = 200;

/// What was handed out since the last write.
#[derive(Debug, Default)]
pub struct Usage(Mutex<HashMap<Uuid, Use>>);

impl Usage {
    /// Notes that `token` is handed out, unless it is written that it was a short while ago.
    pub fn note(&self, token: &Token, now: DateTime<Utc>) {
        if token.last_used_at.is_some_and(|at| now - at < WRITTEN_IS_GOOD_FOR) {
            return;
        }
        let mut noted = self.lock();
        if let Some(used) = noted.get_mut(&token.id) {
            used.at = now;
        } else if noted.len() < NOTED_MAX {
            let used = Use { tenant: token.subject.tenant.clone(), token: token.id, at: now };
            noted.insert(token.id, used);
        }
    }

    /// Gives what was noted, sorted by token, and forgets it.
    fn take(&self) -> Vec<Use> {
        let mut uses: Vec<Use> = std::mem::take(&mut *self.lock()).into_values().collect();
        uses.sort_unstable_by_key(|used| used.token);
        uses
    }

    /// Notes again what could not be written, beside what was noted since.
    fn give_back(&self, uses: &[Use]) {
        let mut noted = self.lock();
        for used in uses {
            noted.entry(used.token).or_insert_with(|| used.clone());
        }
    }

    /// A panic elsewhere cannot leave the map half changed, so a poisoned lock is used on.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what was noted. What could not be written is kept for the next time.
pub async fn write(app: &App) -> Result<(), StoreError> {
    let uses = app.usage.take();
    let mut written = 0;
    for some in uses.chunks(ROWS_MAX) {
        if let Err(error) = app.store.write_uses(some).await {
            app.usage.give_back(&uses[written..]);
            return Err(error);
        }
        written += some.len();
    }
    Ok(())
}
