//! Background work: what a server does now and then without being asked.
//! Owns: when it is done, that replicas take turns at it, and that it goes on whatever happens, until the server stops.
//! Must not know: what the work is.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::{BrokerError, keep_alive, sweep, usage};
use crate::{app::App, store::Store};

/// The first run comes within this time after the start.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// Starts all background work of a server. It ends with `shutdown`.
pub fn start(app: &Arc<App>) {
    let soon = FIRST_WITHIN.mul_f64(rand::random());
    app.tasks.spawn(every(Arc::clone(app), "usage", usage::WRITE_EVERY, usage::WRITE_EVERY, async |app| {
        usage::write(&app).await.map_err(BrokerError::from)
    }));
    app.tasks.spawn(every(Arc::clone(app), "keep-alive", soon, keep_alive::EVERY, async |app| {
        // A full batch that went well may have left others behind.
        while keep_alive::run_once(&app).await?.is_some_and(|kept| kept.is_full()) {}
        Ok(())
    }));
    app.tasks.spawn(every(Arc::clone(app), "sweep", soon, sweep::EVERY, async |app| {
        sweep::run_once(&app).await.map(drop)
    }));
}
