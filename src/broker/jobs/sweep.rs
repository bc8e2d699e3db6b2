//! Sweeping: what is over is removed.
//! Owns: how long it is kept.
//! Must not know: who asks for it, or when.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::schedule::alone;
use crate::{
    app::App,
    broker::BrokerError,
    config::Settings,
    store::{Store, StoreError},
};

const JOB: &str = "sweep";
/// How often a server sweeps.
pub const EVERY: Duration = Duration::from_mins(10);
/// How long one run may take; what is left is for the next one.
const MOST: Duration = Duration::from_mins(5);
/// How many rows one statement deletes at the most. Others wait for their locks.
const BATCH: u16 = 500;
/// How long an authorization request is kept after it expired, so that a person who comes back late is told so.
const REQUESTS_KEPT_FOR: TimeDelta = TimeDelta::hours(1);

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Authorization requests that expired.
    pub authorization_requests: u64,
    /// Tokens whose grant is dead and was not renewed for long.
    pub dead_tokens: u64,
}

/// Removes what is over, unless another replica is at it; stops where it is when the server stops. `None`: another one
/// is at it.
pub async fn run_once(app: &Arc<App>) -> Result<Option<Swept>, BrokerError> {
    let remove = Box::pin(remove(&app.store, &app.settings, app.clock.now()));
    let work = async { app.shutdown.run_until_cancelled(remove).await.unwrap_or(Ok(Swept::default())) };
    alone(&app.store, JOB, MOST, work).await
}

/// Removes what is over at `now` by these settings. `None`: a server is at it.
pub async fn sweep(store: &Store, settings: &Settings, now: DateTime<Utc>) -> Result<Option<Swept>, BrokerError> {
    alone(store, JOB, MOST, Box::pin(remove(store, settings, now))).await
}

async fn remove(store: &Store, settings: &Settings, now: DateTime<Utc>) -> Result<Swept, BrokerError> {
    let mut swept = Swept::default();
    loop {
        let requests = store.delete_expired_authorization_requests(now - REQUESTS_KEPT_FOR, BATCH.into()).await?;
        let dead = match dead_before(settings, now) {
            Some(before) => store.delete_dead_tokens(before, BATCH.into()).await?,
            None => 0,
        };
        swept.authorization_requests += requests;
        swept.dead_tokens += dead;
        if requests.max(dead) < BATCH.into() {
            break;
        }
    }
    if swept != Swept::default() {
        tracing::info!(
            authorization_requests = swept.authorization_requests,
            dead_tokens = swept.dead_tokens,
            "removed what is over"
        );
    }
    Ok(swept)
}

/// Counts what [`sweep`] would remove, and removes nothing.
pub async fn count(store: &Store, settings: &Settings, now: DateTime<Utc>) -> Result<Swept, StoreError> {
    Ok(Swept {
        authorization_requests: store.count_expired_authorization_requests(now - REQUESTS_KEPT_FOR).await?,
        dead_tokens: match dead_before(settings, now) {
            Some(before) => store.count_dead_tokens(before).await?,
            None => 0,
        },
    })
}

/// Tokens that died before this are removed, if the settings say so.
fn dead_before(settings: &Settings, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    Some(settings.dead_token_days).filter(|days| *days > 0).map(|days| now - TimeDelta::days(days))
}
