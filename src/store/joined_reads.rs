//! Reads that callers share: of those who ask for the same at the same moment, one reads for all.
//! Owns: that each gets the result of a read that began after it asked, and that nothing is kept when nobody asks.
//! Must not know: what is read, or how.

use std::{collections::HashMap, hash::Hash, sync::Arc, time::Instant};

use parking_lot::Mutex;

/// The reads of one kind.
pub struct JoinedReads<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
}

/// When the last read began, and its result.
type Slot<V> = Arc<tokio::sync::Mutex<Option<(Instant, V)>>>;

impl<K, V> Default for JoinedReads<K, V> {
    fn default() -> Self {
        Self { slots: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> JoinedReads<K, V> {
    /// What `read` returns, to this caller or to another who began it after this call began.
    pub async fn get<F: Future<Output = V>>(&self, key: K, read: impl FnOnce() -> F) -> V {
        let asked = Instant::now();
        let asking = Asking::begin(self, key);
        let mut last = asking.slot.lock().await;
        if let Some((_, value)) = last.as_ref().filter(|(began, _)| *began >= asked) {
            return value.clone();
        }
        let began = Instant::now();
        let value = read().await;
        *last = Some((began, value.clone()));
        value
    }
}

/// A caller; the last one removes what was read, which may be secret.
struct Asking<'s, K: Eq + Hash, V> {
    shared: &'s JoinedReads<K, V>,
    key: K,
    slot: Slot<V>,
}

impl<'s, K: Eq + Hash + Clone, V> Asking<'s, K, V> {
    fn begin(shared: &'s JoinedReads<K, V>, key: K) -> Self {
        let slot = Arc::clone(shared.slots.lock().entry(key.clone()).or_default());
        Self { shared, key, slot }
    }
}

impl<K: Eq + Hash, V> Drop for Asking<'_, K, V> {
    fn drop(&mut self) {
        let mut slots = self.shared.slots.lock();
        // The map's own reference and this one: nobody else asks.
        if Arc::strong_count(&self.slot) <= 2 {
            slots.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt, future::join_all};
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_while_one_reads_share_the_next_read() {
        let (shared, reads, go_on) = (JoinedReads::<u8, usize>::default(), AtomicUsize::new(0), Notify::new());
        let ask = || {
            shared.get(1, async || {
                let number = reads.fetch_add(1, Ordering::SeqCst);
                if number == 0 {
                    go_on.notified().await;
                }
                number
            })
        };
        let (first, (others, ())) = tokio::join!(ask(), async {
            tokio::join!(join_all((0..100).map(|_| ask())), async { go_on.notify_one() })
        });
        assert_eq!((first, reads.load(Ordering::SeqCst)), (0, 2));
        // What was read before they asked may be outdated.
        assert!(others.iter().all(|number| *number == 1), "{others:?}");
        assert_eq!(ask().await, 2, "nothing is remembered");
        assert!(shared.slots.lock().is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_gives_up_leaves_the_read_to_the_next() {
        let shared = JoinedReads::<u8, u8>::default();
        let mut given_up = Box::pin(shared.get(1, async || std::future::pending::<u8>().await));
        assert!((&mut given_up).now_or_never().is_none());
        let mut next = Box::pin(shared.get(1, async || 7));
        assert!((&mut next).now_or_never().is_none());
        drop(given_up);
        assert_eq!(next.await, 7);
        assert!(shared.slots.lock().is_empty());
    }
}
