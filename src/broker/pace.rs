//! A pace that tasks share.
//! Owns: when the next one may begin.
//! Must not know: what begins.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Interval, MissedTickBehavior, interval},
};

/// Lets one of its tasks begin at a time, cheap to clone.
#[derive(Clone)]
pub struct Pace(Arc<Mutex<Interval>>);

impl Pace {
    /// The first begins at once, and each of the others at least this much later than the one before.
    #[must_use]
    pub fn every(time: Duration) -> Self {
        let mut turns = interval(time);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Arc::new(Mutex::new(turns)))
    }

    /// Waits for the next turn.
    pub async fn turn(&self) {
        self.0.lock().await.tick().await;
    }
}
