//! Limits: how many things of a kind run at a time in this process, and what was refused a moment ago.
//! Owns: both counts, by key.
//! Must not know: what is done under a limit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::model::{failure::TokenFailure, subject::Tenant};

/// Refusals remembered at most.
const REFUSALS_MAX: u64 = 10_000;
/// A refusal is remembered for this long if the provider names no time, and at most.
const REFUSED_FOR: Duration = Duration::from_secs(1);
const REFUSED_FOR_MAX: Duration = Duration::from_mins(5);

/// What is limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// Discoveries of a workspace: each makes us send requests to servers that somebody else names.
    Discovery(Tenant),
    /// The refresh of a token.
    Refresh(Uuid),
    /// The refresh of a token that no caller waits for.
    BackgroundRefresh(Uuid),
    /// Polls for people who consent on another device.
    DevicePoll,
    /// Requests for a token of our own client: the provider's record in that version, and the scopes.
    ClientToken(Uuid, i64, Vec<String>),
    /// The deliveries to a webhook, all of which are one task's.
    Webhook(Uuid),
    /// Webhooks to which something is being delivered.
    Webhooks,
    /// Waits of a caller.
    Wait {
        /// What the caller is counted as.
        caller: Uuid,
        /// How many one caller may have.
        max: usize,
    },
    /// Pages of a session of the console that follow what happens.
    LivePage(Uuid),
}

impl LimitKey {
    /// How many run at a time.
    #[must_use]
    pub fn limit(&self) -> usize {
        match self {
            // Over HTTP/1.1 browsers open six connections to a server: some are left for other pages.
            Self::Discovery(_) | Self::LivePage(_) => 4,
            Self::Refresh(_) | Self::BackgroundRefresh(_) | Self::ClientToken(..) | Self::Webhook(_) => 1,
            Self::DevicePoll | Self::Webhooks => 64,
            Self::Wait { max, .. } => *max,
        }
    }
}

/// The limits of this process, cheap to clone.
#[derive(Clone, Debug)]
pub struct Limits {
    running: Arc<Mutex<HashMap<LimitKey, usize>>>,
    refusals: Cache<LimitKey, (DateTime<Utc>, TokenFailure)>,
}

/// One that runs, until this is dropped.
#[derive(Debug)]
pub struct Permit {
    limits: Limits,
    key: LimitKey,
}

impl Default for Limits {
    fn default() -> Self {
        let refusals = Cache::builder().max_capacity(REFUSALS_MAX).time_to_live(REFUSED_FOR_MAX).build();
        Self { running: Arc::default(), refusals }
    }
}

impl Limits {
    /// Begins one more; `None` if as many run as may.
    #[must_use]
    pub fn begin(&self, key: LimitKey) -> Option<Permit> {
        let mut running = self.running.lock();
        let count = running.get(&key).copied().unwrap_or(0);
        if count >= key.limit() {
            return None;
        }
        running.insert(key.clone(), count + 1);
        drop(running);
        Some(Permit { limits: self.clone(), key })
    }

    /// How many more may begin.
    #[must_use]
    pub fn free(&self, key: &LimitKey) -> usize {
        key.limit() - self.running.lock().get(key).copied().unwrap_or(0)
    }

    /// Remembers that a provider refused this, for as long as it asked us to wait.
    pub fn refuse(&self, key: LimitKey, failure: &TokenFailure, now: DateTime<Utc>) {
        let wait = failure.retry_after.unwrap_or(REFUSED_FOR).clamp(REFUSED_FOR, REFUSED_FOR_MAX);
        let until = now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::seconds(1));
        self.refusals.insert(key, (until, failure.clone()));
    }

    /// The refusal that is still remembered, with the time that is left.
    #[must_use]
    pub fn refusal(&self, key: &LimitKey, now: DateTime<Utc>) -> Option<TokenFailure> {
        let (until, failure) = self.refusals.get(key)?;
        let left = (until - now).to_std().ok().filter(|left| !left.is_zero())?;
        Some(TokenFailure { retry_after: Some(left), ..failure })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.limits.running.lock();
        match running.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                running.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ends_makes_room_for_another_and_leaves_nothing_behind() {
        let limits = Limits::default();
        let tenant = Tenant { organization: "o".into(), workspace: "w".into() };
        let key = || LimitKey::Discovery(tenant.clone());
        let mut running: Vec<_> = (0..key().limit()).map(|_| limits.begin(key()).unwrap()).collect();
        assert!(limits.begin(key()).is_none());
        assert!(limits.begin(LimitKey::DevicePoll).is_some(), "another key has a limit of its own");
        running.pop();
        assert_eq!(limits.free(&key()), 1);
        running.push(limits.begin(key()).unwrap());
        assert!(limits.begin(key()).is_none());
        drop(running);
        assert!(limits.running.lock().is_empty());
    }
}
