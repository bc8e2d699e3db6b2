//! Keeping grants alive: refreshes without a caller.
//! Owns: which tokens are refreshed, how many at a time, and how fast their providers are called.
//! Must not know: how a refresh is done, or when this runs.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::exclusive::exclusively;
use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        tokens::refresh::{Refreshed, refresh_candidate},
    },
    store::{
        error::StoreError,
        tokens::due::{Candidate, Ending, InUse, RefreshFilter},
    },
    telemetry::metrics::Trigger,
};

/// How often a server looks for tokens to refresh.
pub(super) const EVERY: Duration = Duration::from_secs(30);
/// How many tokens one run refreshes at most: those in use, and those about to die, which have days for it.
const BATCH: i64 = 100;
const ENDING_BATCH: i64 = 20;
/// How long one run may take; if a replica dies during it, another one takes over after that.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Between two refreshes at one provider: five in a second.
const PACE: Duration = Duration::from_millis(200);
/// Tokens that fall due before the next run but one are refreshed now, so that no agent finds them due.
const AHEAD: TimeDelta = TimeDelta::seconds(60);
/// No token is handed out that was due for longer than this: more than the greatest leeway.
const DUE_WHEN_USED: TimeDelta = TimeDelta::minutes(10);
/// A token that was refreshed, or could not be, is not refreshed again for a while: otherwise one with a very short life
/// would be refreshed all day, and one that always fails would be tried all day.
const REST: TimeDelta = TimeDelta::minutes(5);
/// A refresh token that expires within this is about to die ...
const ENDING: TimeDelta = TimeDelta::days(3);
/// ... and a refresh may return a new one. If it does not, as with providers that never extend it, a few more attempts are
/// made until the end, and not one every few minutes.
const ENDING_REST: TimeDelta = TimeDelta::hours(12);

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Tokens that are fresh now.
    pub fresh: i64,
    /// Tokens whose grant turned out to be dead.
    pub dead: i64,
    /// Refreshes that failed for now.
    pub failed: i64,
}

impl Kept {
    /// True when so much went well that there may be more to do.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.fresh >= BATCH
    }
}

/// Refreshes a batch of tokens, unless another replica does it at the moment: those that were handed out lately and are
/// about to expire, and, if the settings say so, those whose refresh token is about to die. `None`: another replica does it.
pub async fn run_once(broker: &Arc<Broker>) -> Result<Option<Kept>, BrokerError> {
    if broker.settings.keep_alive_used_within_hours == 0 && broker.settings.keep_alive_idle_days == 0 {
        return Ok(Some(Kept::default()));
    }
    exclusively(&broker.store, "keep-alive", TIMEOUT, Box::pin(batch(broker))).await
}

async fn batch(broker: &Arc<Broker>) -> Result<Kept, BrokerError> {
    let mut of_provider: HashMap<Uuid, Vec<Candidate>> = HashMap::new();
    for candidate in candidates(broker).await? {
        of_provider.entry(candidate.provider).or_default().push(candidate);
    }
    let providers = of_provider.into_values().map(|candidates| at_one_provider(broker, candidates));
    let kept = join_all(providers).await.into_iter().fold(Kept::default(), |sum, kept| Kept {
        fresh: sum.fresh + kept.fresh,
        dead: sum.dead + kept.dead,
        failed: sum.failed + kept.failed,
    });
    if kept != Kept::default() {
        tracing::info!(
            event = "keep_alive.finished",
            fresh = kept.fresh,
            dead = kept.dead,
            failed = kept.failed,
            "tokens were refreshed in the background"
        );
    }
    Ok(kept)
}

/// The tokens to refresh now.
async fn candidates(broker: &Broker) -> Result<Vec<Candidate>, StoreError> {
    let (now, settings) = (broker.clock.now(), &broker.settings);
    let filter = RefreshFilter { now, since: now - REST };
    let mut candidates = Vec::new();
    if settings.keep_alive_used_within_hours > 0 {
        let used_since = now - TimeDelta::hours(settings.keep_alive_used_within_hours);
        let in_use = InUse { due_before: now + AHEAD, due_since: used_since - DUE_WHEN_USED, used_since };
        candidates.extend(broker.store.tokens_in_use(&in_use, &filter, BATCH).await?);
    }
    if settings.keep_alive_idle_days > 0 {
        let idle_since = now - TimeDelta::days(settings.keep_alive_idle_days);
        let ending = Ending { idle_since, ends_before: now + ENDING, tried_before: now - ENDING_REST };
        candidates.extend(broker.store.tokens_ending(&ending, &filter, ENDING_BATCH).await?);
    }
    Ok(candidates)
}

/// Refreshes tokens of one provider, one after the other and not too fast. One that fails ends it: the provider may be
/// down, and the others can wait for the next run.
async fn at_one_provider(broker: &Arc<Broker>, candidates: Vec<Candidate>) -> Kept {
    let mut kept = Kept::default();
    sleep(PACE.mul_f64(rand::random())).await;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for candidate in candidates {
        if broker.shutdown.run_until_cancelled(pace.tick()).await.is_none() {
            break;
        }
        match refresh_candidate(broker, &candidate, Trigger::KeepAlive).await {
            Ok(None) => {}
            Ok(Some(Refreshed::Fresh(_))) => kept.fresh += 1,
            Ok(Some(Refreshed::ConsentNeeded)) => kept.dead += 1,
            Ok(Some(Refreshed::Failed(_))) => {
                kept.failed += 1;
                break;
            }
            Err(error) => {
                tracing::warn!(event = "keep_alive.failed", token_id = %candidate.token, %error, "could not refresh a token in the background");
                kept.failed += 1;
            }
        }
    }
    kept
}
