//! The values of metrics: counters, gauges and histograms of atomics.
//! Owns: that recording takes no lock and no memory.
//! Must not know: what is measured.

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// Upper bounds in microseconds: a stored token takes less than a millisecond, a provider up to a minute.
pub(super) const BOUNDS: [u64; 15] = [
    500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];

/// Durations, counted by how long they are.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last one is of those beyond every bound.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// The values of a label, which are known beforehand.
pub trait Label: Copy + 'static {
    /// All of them, in their order.
    const NAMES: &'static [&'static str];

    /// Which of them it is.
    fn index(self) -> usize;

    /// Its text.
    fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// One value for each value of a label.
#[derive(Debug)]
pub struct Each<L: Label, V> {
    values: Box<[V]>,
    label: PhantomData<L>,
}

/// A label and its values: `Name { Variant = "value", ... }`.
macro_rules! label {
    ($(#[$doc:meta])* $label:ident { $($(#[$of:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $label {
            $($(#[$of])* $value,)+
        }

        impl $crate::telemetry::metrics::value::Label for $label {
            const NAMES: &'static [&'static str] = &[$($name,)+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use label;

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, many: u64) {
        self.0.fetch_add(many, Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Counts one as long as the result exists.
    #[must_use]
    pub fn count(&self) -> Counted<'_> {
        self.0.fetch_add(1, Relaxed);
        Counted(self)
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One that a gauge counts.
#[derive(Debug)]
pub struct Counted<'g>(&'g Gauge);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| microseconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts the time until the result is dropped: also that of work that is abandoned.
    #[must_use]
    pub fn time(&self) -> Timed<'_> {
        Timed { histogram: self, since: Instant::now() }
    }

    pub(super) fn is_used(&self) -> bool {
        self.counts.iter().any(|count| count.load(Relaxed) > 0)
    }

    /// How many are at most as long as each bound, and how many there are; and their sum in seconds.
    pub(super) fn cumulated(&self) -> ([u64; BOUNDS.len() + 1], f64) {
        let mut sum = 0;
        let counts = self.counts.each_ref().map(|count| {
            sum += count.load(Relaxed);
            sum
        });
        (counts, Duration::from_nanos(self.nanoseconds.load(Relaxed)).as_secs_f64())
    }
}

/// A duration that is counted when this is dropped.
#[derive(Debug)]
pub struct Timed<'h> {
    histogram: &'h Histogram,
    since: Instant,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.since.elapsed());
    }
}

impl<L: Label, V: Default> Default for Each<L, V> {
    fn default() -> Self {
        Self { values: L::NAMES.iter().map(|_| V::default()).collect(), label: PhantomData }
    }
}

impl<L: Label, V> Each<L, V> {
    /// The value for this value of the label.
    #[must_use]
    pub fn of(&self, label: L) -> &V {
        &self.values[label.index()]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &V)> {
        L::NAMES.iter().copied().zip(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_its_bound_and_at_every_larger_one() {
        let histogram = Histogram::default();
        for milliseconds in [0, 1, 3, 40_000] {
            histogram.record(Duration::from_millis(milliseconds));
        }
        let (counts, sum) = histogram.cumulated();
        assert_eq!(counts[..4], [1, 2, 2, 3]);
        assert_eq!(counts[BOUNDS.len() - 1..], [3, 4]);
        assert!((sum - 40.004).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn a_gauge_counts_what_exists() {
        let gauge = Gauge::default();
        let both = (gauge.count(), gauge.count());
        assert_eq!(gauge.value(), 2);
        drop(both);
        assert_eq!(gauge.value(), 0);
    }
}
