//! Keeping grants alive: refreshes that nobody asked for.
//! Owns: which tokens are worth it, how many at a time, and how gently their providers are asked.
//! Must not know: how a refresh is done, or when this is run.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::{
    BrokerError,
    background::alone,
    refresh::{Refreshed, refresh},
};
use crate::{
    app::App,
    store::{
        keep_alive::{Candidate, Worth},
        tokens::State,
    },
};

/// How often a server looks for tokens to refresh.
pub const EVERY: Duration = Duration::from_secs(30);
/// How many tokens one run refreshes at the most.
const BATCH: usize = 100;
/// How long one run may take; a replica that dies at it is replaced after that.
const MOST: Duration = Duration::from_mins(2);
/// Between two refreshes at one provider: five in a second.
const PACE: Duration = Duration::from_millis(200);
/// Tokens that fall due before the next run but one are refreshed now, so that no agent finds them due.
const AHEAD: TimeDelta = TimeDelta::seconds(60);
/// No token is handed out that was due for longer than this: more than the greatest leeway.
const DUE_WHEN_USED: TimeDelta = TimeDelta::minutes(10);
/// A token that was refreshed, or failed to be, is left alone for a while: one with a very short life would else be
/// refreshed all day, and one that always fails be tried all day.
const REST: TimeDelta = TimeDelta::minutes(5);
/// A refresh token that expires within this is about to die ...
const ENDING: TimeDelta = TimeDelta::days(3);
/// ... and a refresh may give a new one. If it did not, as with providers that never extend it, a few more tries are
/// made until the end and not one every few minutes.
const ENDING_REST: TimeDelta = TimeDelta::hours(12);

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Tokens that are fresh now.
    pub fresh: usize,
    /// Tokens whose grant turned out to be dead.
    pub dead: usize,
    /// Refreshes that failed for now.
    pub failed: usize,
}

impl Kept {
    /// True when every token of a full batch is fresh now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.fresh == BATCH
    }
}

/// Refreshes a batch of tokens, unless another replica is at it: those that were handed out lately and are about to
/// expire, and, if the settings say so, those whose refresh token is about to die. `None`: another one is at it.
///
/// # Errors
/// [`BrokerError`]; one token that fails is logged and does not stop the others.
pub async fn run_once(app: &Arc<App>) -> Result<Option<Kept>, BrokerError> {
    let worth = worth(app);
    if worth.used_since.is_none() && worth.idle_since.is_none() {
        return Ok(Some(Kept::default()));
    }
    alone(&app.store, "keep-alive", MOST, Box::pin(batch(app, worth))).await
}

fn worth(app: &App) -> Worth {
    let now = app.clock.now();
    let hours = Some(app.settings.keep_alive_used_within_hours).filter(|hours| *hours > 0);
    let days = Some(app.settings.keep_alive_idle_days).filter(|days| *days > 0);
    let used_since = hours.map(|hours| now - TimeDelta::hours(hours));
    Worth {
        now,
        rested_since: now - REST,
        due_before: now + AHEAD,
        due_since: used_since.map(|since| since - DUE_WHEN_USED),
        used_since,
        idle_since: days.map(|days| now - TimeDelta::days(days)),
        ends_before: days.map(|_| now + ENDING),
        tried_before: now - ENDING_REST,
    }
}

async fn batch(app: &Arc<App>, worth: Worth) -> Result<Kept, BrokerError> {
    let most = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let mut of_provider: HashMap<Uuid, Vec<Candidate>> = HashMap::new();
    for candidate in app.store.tokens_worth_a_refresh(&worth, most).await? {
        of_provider.entry(candidate.provider).or_default().push(candidate);
    }
    let providers = of_provider.into_values().map(|candidates| at_one_provider(app, candidates));
    let kept = join_all(providers).await.into_iter().fold(Kept::default(), |sum, kept| Kept {
        fresh: sum.fresh + kept.fresh,
        dead: sum.dead + kept.dead,
        failed: sum.failed + kept.failed,
    });
    if kept != Kept::default() {
        tracing::info!(fresh = kept.fresh, dead = kept.dead, failed = kept.failed, "tokens were kept alive");
    }
    Ok(kept)
}

/// Refreshes tokens of one provider, one after the other and not too fast. One that fails ends it: the provider may be
/// down, and the others can wait for the next run.
async fn at_one_provider(app: &Arc<App>, candidates: Vec<Candidate>) -> Kept {
    let mut kept = Kept::default();
    sleep(PACE.mul_f64(rand::random())).await;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for candidate in candidates {
        if app.shutdown.run_until_cancelled(pace.tick()).await.is_none() {
            break;
        }
        match keep(app, &candidate).await {
            Ok(None) => {}
            Ok(Some(Refreshed::Fresh(_))) => kept.fresh += 1,
            Ok(Some(Refreshed::ConsentNeeded)) => kept.dead += 1,
            Ok(Some(Refreshed::Failed(_))) => {
                kept.failed += 1;
                break;
            }
            Err(error) => {
                tracing::warn!(token_id = %candidate.token, %error, "a token could not be kept alive");
                kept.failed += 1;
            }
        }
    }
    kept
}

/// Refreshes one token. `None`: it was refreshed, deleted or found dead since it was looked up.
async fn keep(app: &Arc<App>, candidate: &Candidate) -> Result<Option<Refreshed>, BrokerError> {
    match app.store.token(&candidate.tenant, candidate.token).await? {
        Some(token) if token.generation == candidate.generation && token.state == State::Active => {
            Box::pin(refresh(app, token)).await.map(Some)
        }
        _ => Ok(None),
    }
}
