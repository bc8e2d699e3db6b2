//! Which tokens were handed out and when, noted in memory. `jobs/usage.rs` stores it.
//! Owns: what was noted and is not stored yet. Handing a token out only notes it: no write, no wait.
//! Must not know: what the notes are for.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::{model::token::Token, store::tokens::usage::Use};

/// A written use is not written again for this long: a token in steady use is not worth a write a minute.
const WRITTEN_IS_GOOD_FOR: TimeDelta = TimeDelta::minutes(10);
/// More tokens than this are not noted until the next write; they will be handed out again.
const NOTED_MAX: usize = 100_000;

/// What was handed out since the last write.
#[derive(Debug, Default)]
pub struct Usage(Mutex<HashMap<Uuid, Use>>);

impl Usage {
    /// Notes that `token` is handed out, unless a use a short while ago is written already.
    pub fn note(&self, token: &Token, now: DateTime<Utc>) {
        if token.last_used_at.is_some_and(|at| now - at < WRITTEN_IS_GOOD_FOR) {
            return;
        }
        let mut noted = self.0.lock();
        if let Some(used) = noted.get_mut(&token.id) {
            used.at = now;
        } else if noted.len() < NOTED_MAX {
            let used = Use { tenant: token.subject.tenant.clone(), token: token.id, at: now };
            noted.insert(token.id, used);
        }
    }

    /// When a token was handed out, if that is noted and not stored yet.
    #[must_use]
    pub fn noted(&self, token: Uuid) -> Option<DateTime<Utc>> {
        self.0.lock().get(&token).map(|used| used.at)
    }

    /// Returns what was noted, sorted by token, and forgets it.
    pub(super) fn take(&self) -> Vec<Use> {
        let mut uses: Vec<Use> = std::mem::take(&mut *self.0.lock()).into_values().collect();
        uses.sort_unstable_by_key(|used| used.token);
        uses
    }

    /// Notes again what could not be written, in addition to what was noted since.
    pub(super) fn give_back(&self, uses: &[Use]) {
        let mut noted = self.0.lock();
        for used in uses {
            noted.entry(used.token).or_insert_with(|| used.clone());
        }
    }
}
