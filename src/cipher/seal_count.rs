//! How many values a key of AES-256-GCM has sealed.
//! Owns: the limit, and that the database's count is never behind by more than its reserve.
//! Must not know: the database.
//!
//! Random nonces of 96 bits may collide, so one key may seal fewer than 2^32 values (NIST SP 800-38D, section 8.3). All
//! replicas seal with the same key, so the database holds the count, and each process keeps it ahead of what it seals: a
//! process that is killed leaves it too high rather than too low. Only a process that seals more than its reserve between
//! two records and is killed then leaves it too low, by what the margin below 2^32 has room for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many values a key may seal in all: 2^32, less a margin of 2^24 for processes that are killed.
pub const SEALS_MAX: u64 = (1 << 32) - (1 << 24);
/// How far the database's count is kept ahead for the key that seals.
const RESERVE: u64 = 4096;

/// The count of one key in this process.
#[derive(Default)]
pub(super) struct SealCount {
    /// What this process sealed.
    sealed: AtomicU64,
    /// What the database counts for this process.
    recorded: AtomicU64,
    /// What the database counts for all.
    total: AtomicU64,
}

/// What the database is to add to its count of a key.
#[derive(Debug, PartialEq, Eq)]
pub struct UnrecordedSeals {
    /// The key.
    pub key_id: String,
    /// How many.
    pub seals: u64,
}

impl UnrecordedSeals {
    pub(super) fn of(key_id: &str, seals: u64) -> Self {
        Self { key_id: key_id.to_owned(), seals }
    }
}

impl SealCount {
    /// Counts one more. `false`: the key has sealed enough.
    pub(super) fn count(&self) -> bool {
        let sealed = self.sealed.fetch_add(1, Relaxed) + 1;
        let ahead = sealed.saturating_sub(self.recorded.load(Relaxed));
        self.total.load(Relaxed) + ahead <= SEALS_MAX
    }

    /// What the database is to add, if it is time.
    pub(super) fn unrecorded(&self, seals_now: bool) -> Option<u64> {
        let reserve = if seals_now { RESERVE } else { 0 };
        let (sealed, recorded) = (self.sealed.load(Relaxed), self.recorded.load(Relaxed));
        (sealed + reserve / 2 > recorded).then(|| sealed + reserve - recorded)
    }

    pub(super) fn recorded(&self, seals: u64, total: u64) {
        self.recorded.fetch_add(seals, Relaxed);
        self.total.store(total, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_count_is_ahead_of_what_is_sealed() {
        let count = SealCount::default();
        assert_eq!(count.unrecorded(false), None, "a key that only opens needs no reserve");
        assert_eq!(count.unrecorded(true), Some(RESERVE));
        count.recorded(RESERVE, RESERVE);
        assert_eq!(count.unrecorded(true), None);
        for _ in 0..=RESERVE / 2 {
            assert!(count.count());
        }
        assert_eq!(count.unrecorded(true), Some(RESERVE / 2 + 1));
    }

    #[test]
    fn a_key_that_has_sealed_enough_seals_no_more() {
        let count = SealCount::default();
        count.recorded(2, SEALS_MAX - 1);
        assert!(count.count() && count.count(), "these two are counted already");
        assert!(count.count(), "the last one");
        assert!(!count.count());
    }
}
