//! Backoff: how long to wait after a failure that is tried again later, by any replica.
//! Owns: the doubling.
//! Must not know: what failed.

use std::time::Duration;

/// The wait after the first failure, doubled with each further one.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row before this one.
    pub fn after(self, failures: i64) -> Duration {
        let doublings = u32::try_from(failures.clamp(0, 30)).unwrap_or(0);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }

    /// The same, up to a tenth longer at random, so that what failed together is not tried again together.
    pub fn after_with_jitter(self, failures: i64) -> Duration {
        self.after(failures).mul_f64(rand::random_range(1.0..1.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_secs(30), max: Duration::from_hours(6) };
        for (failures, seconds) in [(-1, 30), (0, 30), (1, 60), (4, 480), (9, 15_360), (10, 21_600), (i64::MAX, 21_600)]
        {
            assert_eq!(backoff.after(failures), Duration::from_secs(seconds), "{failures}");
            let jittered =
                backoff.after_with_jitter(failures).as_secs_f64() / Duration::from_secs(seconds).as_secs_f64();
            assert!((1.0..1.1).contains(&jittered), "{failures}: {jittered}");
        }
    }
}
