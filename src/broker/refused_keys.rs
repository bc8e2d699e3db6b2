//! Callers without a valid API key, counted in memory for the audit log. A row for each would let anybody fill the database.
//! Owns: the counts that are not recorded yet.
//! Must not know: what a key is, or when the counts are recorded.

use std::{collections::HashMap, net::IpAddr};

use parking_lot::Mutex;

/// More addresses than this are counted together.
const ADDRESSES_MAX: usize = 1000;

/// How often callers at each address were refused since the counts were taken.
#[derive(Debug, Default)]
pub struct RefusedKeys(Mutex<HashMap<Option<IpAddr>, u64>>);

impl RefusedKeys {
    /// Counts a caller at this address, if it is known.
    pub fn note(&self, address: Option<IpAddr>) {
        self.add(address, 1);
    }

    fn add(&self, address: Option<IpAddr>, many: u64) {
        let mut counts = self.0.lock();
        let known = counts.len() < ADDRESSES_MAX || counts.contains_key(&address);
        *counts.entry(address.filter(|_| known)).or_default() += many;
    }

    /// Returns the counts, and begins again.
    pub(super) fn take(&self) -> HashMap<Option<IpAddr>, u64> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Adds counts that could not be recorded.
    pub(super) fn give_back(&self, counts: HashMap<Option<IpAddr>, u64>) {
        for (address, many) in counts {
            self.add(address, many);
        }
    }
}
