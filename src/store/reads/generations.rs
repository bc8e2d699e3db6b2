//! A bounded map of what is remembered for a while. A look-up writes nothing to it.
//! Owns: what is forgotten, and when.
//! Must not know: what is remembered.
//!
//! A cache that notes each look-up, to forget what was used least, takes about as long for that as for the look-up.
//! Everything here is good for a while only. So it is kept in two generations: new values go to the younger one; when that
//! is full, or as old as a value may be, it becomes the older one, and the older one is forgotten.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    time::{Duration, Instant},
};

use parking_lot::RwLock;

/// Parts with a lock each. A power of two.
const PARTS: usize = 32;

/// What is remembered, by the hash of what it is remembered for.
pub(super) struct Generations<V> {
    parts: Box<[RwLock<Part<V>>]>,
    /// Of a generation of a part.
    bytes_max: usize,
    good_for: Duration,
}

struct Part<V> {
    younger: Values<V>,
    older: Values<V>,
    younger_bytes: usize,
    younger_since: Instant,
}

type Values<V> = HashMap<u64, V, BuildHasherDefault<Hashed>>;

/// The keys are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<V: Clone> Generations<V> {
    /// With a limit on the bytes of all values. They are forgotten at the latest when twice `good_for` has passed and
    /// others come.
    pub(super) fn new(bytes_max: usize, good_for: Duration) -> Self {
        let part = || Part {
            younger: Values::default(),
            older: Values::default(),
            younger_bytes: 0,
            younger_since: Instant::now(),
        };
        let parts = std::iter::repeat_with(|| RwLock::new(part())).take(PARTS).collect();
        Self { parts, bytes_max: bytes_max / PARTS / 2, good_for }
    }

    /// The last value that was kept for this key, unless it is forgotten.
    pub(super) fn get(&self, key: u64) -> Option<V> {
        let part = self.part(key).read();
        part.younger.get(&key).or_else(|| part.older.get(&key)).cloned()
    }

    /// Keeps a value of so many bytes, unless it is too large.
    pub(super) fn keep(&self, key: u64, value: V, bytes: usize, now: Instant) {
        if bytes > self.bytes_max {
            return;
        }
        let mut part = self.part(key).write();
        let is_full = part.younger_bytes + bytes > self.bytes_max;
        let is_old = now.saturating_duration_since(part.younger_since) >= self.good_for;
        let forgotten = (is_full || is_old).then(|| {
            (part.younger_bytes, part.younger_since) = (0, now);
            let younger = std::mem::take(&mut part.younger);
            std::mem::replace(&mut part.older, younger)
        });
        // What it replaces in this generation counts until the generation ends.
        part.younger_bytes += bytes;
        part.younger.insert(key, value);
        // There may be many: nobody should wait until they are freed.
        drop(part);
        drop(forgotten);
    }

    fn part(&self, key: u64) -> &RwLock<Part<V>> {
        // Not the bits by which a map places its keys, which are the lowest and the highest.
        let at = usize::try_from(key >> 40).unwrap_or_default() % PARTS;
        &self.parts[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD_FOR: Duration = Duration::from_secs(30);

    /// In one part.
    fn keys(many: u64) -> impl Iterator<Item = u64> {
        0..many
    }

    #[test]
    fn the_last_value_of_a_key_is_found() {
        let (values, now) = (Generations::new(1_000_000, GOOD_FOR), Instant::now());
        for key in (0..1000).map(|key| key << 38) {
            values.keep(key, key, 10, now);
            values.keep(key, key + 1, 10, now);
            assert_eq!(values.get(key), Some(key + 1));
        }
        assert_eq!(values.get(1), None);
    }

    #[test]
    fn no_more_bytes_are_kept_than_allowed_and_the_first_ones_are_forgotten_first() {
        let (values, now) = (Generations::new(2 * PARTS * 100, GOOD_FOR), Instant::now());
        for key in keys(1000) {
            values.keep(key, (), 10, now);
            let kept = keys(key + 1).filter(|key| values.get(*key).is_some()).count();
            assert!(kept <= 20, "{kept}");
            assert!((key.saturating_sub(9)..=key).all(|key| values.get(key).is_some()), "{key}");
        }
        values.keep(5000, (), 101, now);
        assert_eq!(values.get(5000), None);
    }

    #[test]
    fn what_is_old_is_forgotten_when_others_come() {
        let (values, now) = (Generations::new(1_000_000, GOOD_FOR), Instant::now());
        values.keep(1, (), 10, now);
        values.keep(2, (), 10, now + GOOD_FOR);
        assert_eq!((values.get(1), values.get(2)), (Some(()), Some(())));
        values.keep(3, (), 10, now + 2 * GOOD_FOR);
        assert_eq!((values.get(1), values.get(2), values.get(3)), (None, Some(()), Some(())));
    }
}
