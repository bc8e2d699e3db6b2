//! The hub of waiters: who sleeps until something happens to an id.
//! Owns: registering and waking inside this process.
//! Must not know: what the ids are, or what woke them. A wake is only a reason to look again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use uuid::Uuid;

type Sleepers = HashMap<Uuid, Arc<Notify>>;

/// The hub, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Waiters(Arc<Mutex<Sleepers>>);

/// A registration, which ends when it is dropped.
pub struct Waiter {
    hub: Waiters,
    id: Uuid,
    /// Enable its `notified()` before looking, or a wake between the look and the sleep is lost.
    pub notify: Arc<Notify>,
}

impl Waiters {
    /// Registers a waiter for `id`.
    #[must_use]
    pub fn register(&self, id: Uuid) -> Waiter {
        let notify = Arc::clone(self.lock().entry(id).or_default());
        Waiter { hub: self.clone(), id, notify }
    }

    /// Wakes all who wait for `id` in this process.
    pub fn wake(&self, id: Uuid) {
        tracing::trace!(%id, "wake");
        if let Some(notify) = self.lock().get(&id) {
            notify.notify_waiters();
        }
    }

    /// True when nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// A panic elsewhere cannot leave the map half changed, so a poisoned lock is used on.
    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut sleepers = self.hub.lock();
        // The map's own reference and this one: nobody else waits.
        if Arc::strong_count(&self.notify) <= 2 {
            sleepers.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_waiters_of_an_id_are_woken_and_then_forgotten() {
        let (hub, id) = (Waiters::default(), Uuid::new_v4());
        let waiters = [hub.register(id), hub.register(id), hub.register(Uuid::new_v4())];
        let woken: Vec<_> = waiters[..2].iter().map(|waiter| Box::pin(waiter.notify.notified())).collect();
        let mut woken = woken;
        for sleeper in &mut woken {
            sleeper.as_mut().enable();
        }
        hub.wake(id);
        for sleeper in woken {
            sleeper.await;
        }
        drop(waiters);
        assert!(hub.is_empty());
    }
}
