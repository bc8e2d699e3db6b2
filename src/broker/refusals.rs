//! Refusals, counted in memory for the audit log. A row for each would let a caller in a loop fill the database.
//! Owns: the counts that are not recorded yet.
//! Must not know: why something is refused, or when the counts are recorded.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

use parking_lot::Mutex;

use uuid::Uuid;

use crate::model::{
    actor::{Act, Actor},
    subject::{Subject, Tenant},
};

/// Refusals of more kinds than this are counted together.
const KINDS_MAX: usize = 1000;

/// An identified caller who may not do what it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Denial {
    /// Where.
    pub tenant: Tenant,
    /// Who.
    pub actor: Actor,
    /// The method and the route.
    pub request: String,
    /// What the request is outside of.
    pub outside: &'static str,
    /// The error code of the response.
    pub code: &'static str,
}

/// A consent that came back when or where it must not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replay {
    /// Whose consent.
    pub subject: Subject,
    /// The provider's name on the wire.
    pub provider_id: String,
    /// The authorization request.
    pub auth_id: Uuid,
    /// Who brought it.
    pub actor: Actor,
    /// Why it was refused.
    pub error: &'static str,
}

/// A sign-in to the console through the identity provider that failed before it was known who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FailedSignIn {
    /// From where.
    pub address: Option<IpAddr>,
    /// Why, in one word for programs.
    pub reason: &'static str,
}

/// How often something was refused, by kind, since the counts were taken. `None`: kinds beyond those that are counted.
#[derive(Debug)]
pub struct Refusals<K>(Mutex<Counts<K>>);

/// Counts by kind.
pub(super) type Counts<K> = HashMap<Option<K>, Count>;

/// How often, and through which request first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) many: u64,
    pub(super) request_id: Option<String>,
    pub(super) address: Option<IpAddr>,
}

impl<K> Default for Refusals<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Refusals<K> {
    /// Counts a refusal of this kind, if it is known, that came through the request of `act`.
    pub fn note(&self, kind: Option<K>, act: &Act) {
        self.add(kind, || Count { many: 1, request_id: act.request_id.clone(), address: act.address }, 1);
    }

    fn add(&self, kind: Option<K>, first: impl FnOnce() -> Count, many: u64) {
        let mut counts = self.0.lock();
        let kinds = counts.len() - usize::from(counts.contains_key(&None));
        let known = kinds < KINDS_MAX || counts.contains_key(&kind);
        let kind = kind.filter(|_| known);
        match counts.get_mut(&kind) {
            Some(count) => count.many += many,
            None => drop(counts.insert(kind, first())),
        }
    }

    /// Returns the counts, and begins again.
    pub(super) fn take(&self) -> Counts<K> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Adds counts that could not be recorded.
    pub(super) fn give_back(&self, counts: Counts<K>) {
        for (kind, count) in counts {
            let many = count.many;
            self.add(kind, || count, many);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_kinds_is_counted_in_a_bounded_number_of_rows() {
        let refusals = Refusals::default();
        for kind in 0..5000 {
            refusals.note(Some(kind), &Act::service());
        }
        refusals.note(Some(7), &Act::service());
        let counts = refusals.take();
        assert_eq!(counts.len(), KINDS_MAX + 1);
        assert_eq!((counts[&Some(7)].many, counts[&None].many), (2, 4000));
        refusals.give_back(counts.clone());
        assert!(refusals.take() == counts, "they are what they were");
    }
}
