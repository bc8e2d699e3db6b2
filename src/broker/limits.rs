//! How many discoveries a workspace runs at a time: each makes us ask servers that somebody else names.
//! Owns: the count, in this process.
//! Must not know: what is discovered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::store::Tenant;

/// More than somebody who connects servers by hand begins at once.
pub const DISCOVERIES_MAX: usize = 4;

/// The discoveries under way, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Discoveries(Arc<Mutex<HashMap<Tenant, usize>>>);

/// One of them, which ends when it is dropped.
#[derive(Debug)]
pub struct Discovering {
    all: Discoveries,
    tenant: Tenant,
}

impl Discoveries {
    /// Begins another discovery; `None` if the workspace has as many as it may.
    #[must_use]
    pub fn begin(&self, tenant: &Tenant) -> Option<Discovering> {
        let mut running = self.lock();
        let count = running.entry(tenant.clone()).or_default();
        (*count < DISCOVERIES_MAX).then(|| {
            *count += 1;
            Discovering { all: self.clone(), tenant: tenant.clone() }
        })
    }

    /// A panic elsewhere cannot leave the map half changed, so a poisoned lock is used on.
    fn lock(&self) -> MutexGuard<'_, HashMap<Tenant, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Discovering {
    fn drop(&mut self) {
        let mut running = self.all.lock();
        if let Some(count) = running.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovery_that_ends_makes_room_for_another_and_leaves_nothing_behind() {
        let all = Discoveries::default();
        let tenant = Tenant { organization: "o".into(), workspace: "w".into() };
        let mut running: Vec<_> = (0..DISCOVERIES_MAX).map(|_| all.begin(&tenant).unwrap()).collect();
        assert!(all.begin(&tenant).is_none());
        running.pop();
        running.push(all.begin(&tenant).unwrap());
        assert!(all.begin(&tenant).is_none());
        drop(running);
        assert!(all.lock().is_empty());
    }
}
