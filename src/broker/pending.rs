//! How many authorization requests are pending, for each workspace and each user.
//! Owns: the counts of those that this process began. They end when their waiters are woken, or when they expire.
//! Must not know: what a request is for, or how it ends.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use uuid::Uuid;

use super::error::{BrokerError, Owner};
use crate::{
    config::Settings,
    model::subject::{Subject, Tenant},
    telemetry::metrics::{Consent, METRICS},
};

/// How many may be pending. Zero is no limit.
#[derive(Clone, Copy, Debug)]
pub struct PendingMax {
    /// For each workspace.
    pub of_workspace: usize,
    /// For each user.
    pub of_user: usize,
}

impl PendingMax {
    /// As the settings say.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self { of_workspace: settings.pending_requests_per_workspace, of_user: settings.pending_requests_per_user }
    }
}

/// The pending requests of this process, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PendingRequests(Arc<Mutex<Counts>>);

type UserKey = (Tenant, String);

#[derive(Debug, Default)]
struct Counts {
    of_workspace: HashMap<Tenant, usize>,
    of_user: HashMap<UserKey, usize>,
    users: HashMap<Uuid, UserKey>,
    /// In the order in which they expire, which is the order in which they were begun.
    expiring: VecDeque<(DateTime<Utc>, Uuid)>,
}

/// A place for one more request. If it is dropped without a request, it is free again.
#[derive(Debug)]
pub struct Place {
    requests: PendingRequests,
    user: Option<UserKey>,
}

impl PendingRequests {
    /// A place for one more request of this subject.
    ///
    /// # Errors
    /// [`BrokerError::TooManyPending`].
    pub fn reserve(&self, subject: &Subject, max: PendingMax, now: DateTime<Utc>) -> Result<Place, BrokerError> {
        let mut counts = self.0.lock();
        counts.forget_expired(now);
        let user = (subject.tenant.clone(), subject.user_id.clone());
        let is_full = |count: Option<&usize>, max| max > 0 && count.is_some_and(|count| *count >= max);
        let of = if is_full(counts.of_user.get(&user), max.of_user) {
            Owner::User
        } else if is_full(counts.of_workspace.get(&subject.tenant), max.of_workspace) {
            Owner::Workspace
        } else {
            *counts.of_workspace.entry(subject.tenant.clone()).or_default() += 1;
            *counts.of_user.entry(user.clone()).or_default() += 1;
            drop(counts);
            return Ok(Place { requests: self.clone(), user: Some(user) });
        };
        let next = counts.expiring.front().map_or(Duration::ZERO, |(at, _)| (*at - now).to_std().unwrap_or_default());
        Err(BrokerError::TooManyPending { of, retry_after: next })
    }

    /// Forgets, and counts, those that have expired.
    pub fn forget_expired(&self, now: DateTime<Utc>) {
        self.0.lock().forget_expired(now);
    }

    /// The request of this id has ended. Any other id has no effect.
    pub fn end(&self, id: Uuid) {
        let mut counts = self.0.lock();
        if let Some(user) = counts.users.remove(&id) {
            counts.free(&user);
        }
    }
}

impl Place {
    /// It is taken by this request, until then.
    pub fn keep(mut self, id: Uuid, expires_at: DateTime<Utc>) {
        let Some(user) = self.user.take() else { return };
        let mut counts = self.requests.0.lock();
        counts.users.insert(id, user);
        counts.expiring.push_back((expires_at, id));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(user) = self.user.take() {
            self.requests.0.lock().free(&user);
        }
    }
}

impl Counts {
    fn forget_expired(&mut self, now: DateTime<Utc>) {
        while let Some((_, id)) = self.expiring.pop_front_if(|(at, _)| *at <= now) {
            if let Some(user) = self.users.remove(&id) {
                self.free(&user);
                METRICS.consents.of(Consent::Expired).increment();
            }
        }
    }

    fn free(&mut self, user: &UserKey) {
        count_down(&mut self.of_workspace, &user.0);
        count_down(&mut self.of_user, user);
    }
}

fn count_down<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn subject(user: &str) -> Subject {
        let tenant = Tenant { organization: "o".into(), workspace: "w".into() };
        Subject { tenant, user_id: user.into(), agent_id: String::new() }
    }

    #[test]
    fn a_place_is_free_again_when_its_request_ends_expires_or_never_began() {
        let (requests, now) = (PendingRequests::default(), DateTime::UNIX_EPOCH);
        let max = PendingMax { of_workspace: 3, of_user: 2 };
        let later = now + TimeDelta::seconds(60);
        let refused = |user: &str, now| match requests.reserve(&subject(user), max, now) {
            Err(BrokerError::TooManyPending { of, .. }) => Some(of),
            _ => None,
        };
        let [first, second, third] = [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3)];
        requests.reserve(&subject("alice"), max, now).unwrap().keep(first, later);
        requests.reserve(&subject("alice"), max, now).unwrap().keep(second, later);
        assert_eq!(refused("alice", now), Some(Owner::User));
        drop(requests.reserve(&subject("bob"), max, now).unwrap());
        requests.reserve(&subject("bob"), max, now).unwrap().keep(third, later);
        assert_eq!(refused("carol", now), Some(Owner::Workspace));

        requests.end(first);
        requests.end(first);
        assert_eq!(refused("carol", now), None);
        assert_eq!(refused("alice", later), None, "they have expired");
        let counts = requests.0.lock();
        assert!(counts.users.is_empty() && counts.of_user.is_empty() && counts.of_workspace.is_empty());
    }

    #[test]
    fn zero_is_no_limit() {
        let (requests, now) = (PendingRequests::default(), DateTime::UNIX_EPOCH);
        let max = PendingMax { of_workspace: 0, of_user: 0 };
        let places: Vec<_> = (0..10).map(|_| requests.reserve(&subject("alice"), max, now)).collect();
        assert!(places.iter().all(Result::is_ok));
    }
}
