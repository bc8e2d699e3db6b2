//! The first refresh of grants that were brought in.
//! Owns: its pace, and when a provider is given up for this run.
//! Must not know: how a refresh is done; it goes through the same single flight as every other.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use uuid::Uuid;

use super::records::NotTaken;
use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        pace::Pace,
        tokens::refresh::{Refreshed, refresh},
    },
    model::{actor::Act, subject::Tenant, token::State},
    store::tokens::due::Candidate,
    telemetry::metrics::Trigger,
};

/// So many tokens are read at a time.
const PAGE: i64 = 500;
/// So many refreshes run at a time at one provider.
const AT_ONCE: usize = 8;
/// After so many failures in a row, a provider is left alone: it is down, or its client is wrong.
const FAILURES_MAX: u32 = 10;

/// What became of the grants.
#[derive(Clone, Debug, Default)]
pub struct FirstRefreshes {
    /// Refreshed: they can be handed out.
    pub fresh: u64,
    /// The provider says that these are dead.
    pub dead: Vec<NotTaken>,
    /// Not refreshed for now. They are refreshed when an agent asks for them.
    pub failed: Vec<NotTaken>,
}

impl FirstRefreshes {
    /// How many were looked at.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.fresh + (self.dead.len() + self.failed.len()) as u64
    }
}

/// What became of one grant.
enum Outcome {
    Fresh,
    Dead(NotTaken),
    Failed(NotTaken),
    /// It was refreshed or deleted since it was found.
    Gone,
}

/// Refreshes every imported grant of the workspace that was not refreshed yet, and begins at most `per_second` a second at
/// each provider. `progress` sees what was done so far.
///
/// # Errors
/// [`BrokerError`] when the database cannot be used. What a provider says is not an error.
pub async fn refresh_imported(
    broker: &Arc<Broker>,
    tenant: &Tenant,
    per_second: u32,
    act: &Act,
    mut progress: impl FnMut(&FirstRefreshes),
) -> Result<FirstRefreshes, BrokerError> {
    let mut done = FirstRefreshes::default();
    let at_providers = of_providers(broker, tenant).await?.into_values();
    let at_providers = at_providers.map(|candidates| Box::pin(at_provider(broker, candidates, per_second, act)));
    let mut outcomes = stream::select_all(at_providers);
    while let Some(outcome) = outcomes.next().await {
        match outcome? {
            Outcome::Fresh => done.fresh += 1,
            Outcome::Dead(dead) => done.dead.push(dead),
            Outcome::Failed(failed) => done.failed.push(failed),
            Outcome::Gone => {}
        }
        progress(&done);
    }
    Ok(done)
}

/// The grants to refresh, by their provider's record.
async fn of_providers(broker: &Broker, tenant: &Tenant) -> Result<BTreeMap<Uuid, Vec<Candidate>>, BrokerError> {
    let mut of_providers: BTreeMap<Uuid, Vec<Candidate>> = BTreeMap::new();
    let mut after = Uuid::nil();
    loop {
        let page = broker.store.imported_not_refreshed(tenant, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(of_providers) };
        after = last.token;
        for candidate in page {
            of_providers.entry(candidate.provider).or_default().push(candidate);
        }
    }
}

/// Refreshes the grants of one provider at its pace.
fn at_provider<'a>(
    broker: &'a Arc<Broker>,
    candidates: Vec<Candidate>,
    per_second: u32,
    act: &'a Act,
) -> impl Stream<Item = Result<Outcome, BrokerError>> + 'a {
    let pace = Pace::every(Duration::from_secs(1) / per_second.max(1));
    let failures = Arc::new(AtomicU32::new(0));
    let one = move |candidate: Candidate| {
        let (pace, failures) = (pace.clone(), Arc::clone(&failures));
        async move {
            let given_up = || failures.load(Ordering::Relaxed) >= FAILURES_MAX;
            if !given_up() {
                pace.turn().await;
            }
            let outcome = refresh_one(broker, &candidate, given_up(), act).await;
            match &outcome {
                Ok(Outcome::Failed(_)) | Err(_) => drop(failures.fetch_add(1, Ordering::Relaxed)),
                Ok(_) => failures.store(0, Ordering::Relaxed),
            }
            outcome
        }
    };
    stream::iter(candidates).map(one).buffer_unordered(AT_ONCE)
}

async fn refresh_one(
    broker: &Arc<Broker>,
    candidate: &Candidate,
    given_up: bool,
    act: &Act,
) -> Result<Outcome, BrokerError> {
    let token = match broker.store.token(&candidate.tenant, candidate.token).await? {
        Some(token) if token.generation == candidate.generation && token.state == State::Active => token,
        _ => return Ok(Outcome::Gone),
    };
    let place = format!("{} at {}", token.subject.user_id, token.provider_id);
    let of = |why: String| NotTaken { place: place.clone(), why };
    if given_up {
        return Ok(Outcome::Failed(of(format!("not tried: {FAILURES_MAX} refreshes in a row failed"))));
    }
    Ok(match Box::pin(refresh(broker, token, Trigger::Background, act)).await {
        Ok(Refreshed::Fresh(_)) => Outcome::Fresh,
        Ok(Refreshed::ConsentNeeded) => Outcome::Dead(of("the provider refused the refresh token for good".into())),
        Ok(Refreshed::Failed(failure)) => Outcome::Failed(of(failure.to_string())),
        Err(error @ BrokerError::NotOpened(_)) => Outcome::Failed(of(error.to_string())),
        Err(error) => return Err(error),
    })
}
