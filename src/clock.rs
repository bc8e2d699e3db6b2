//! The time of day, for every decision that depends on it.
//! Owns: the only access to the system clock, truncated to the microseconds that both databases store.
//! Must not know: what the time is used for. (Leases use the database's own clock instead.)

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A clock whose clones share one offset, so that a test can move the time of a running server.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_microseconds: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// The time of day in UTC, to the microsecond.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    pub fn now(&self) -> DateTime<Utc> {
        let offset = TimeDelta::microseconds(self.offset_microseconds.load(Ordering::Relaxed));
        (Utc::now() + offset).trunc_subsecs(6)
    }

    /// Moves this clock and its clones forward.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.offset_microseconds.fetch_add(by, Ordering::Relaxed);
    }
}
