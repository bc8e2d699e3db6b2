//! Refreshing: a token is refreshed once, however many callers and replicas want it.
//! Owns: the single flight over the lease in the token's row, and what a failure means for the grant.
//! Must not know: who called, or how they are answered.

use std::{convert::Infallible, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::time::Instant;
use tracing::Instrument;

use super::{response::grant_from_response, revoke::queue_revocation};

use crate::{
    broker::{
        backoff::Backoff,
        clients::{
            health::note_client,
            registration::{client_is_unknown, client_secret_expired, reregister},
        },
        context::Broker,
        error::BrokerError,
        limits::{LimitKey, Permit},
        persist::{persist, stored},
    },
    model::{
        actor::Act,
        failure::{FailureKind, TokenFailure},
        grant::Grant,
        options::GrantType,
        provider::Provider,
        subject::Tenant,
        token::{State, Token},
    },
    oauth::{
        token::{Grant as TokenGrant, request_token},
        token_response::TokenResponse,
    },
    store::{
        error::StoreError,
        tokens::{
            due::Candidate,
            lease::{Lease, RefreshFailure},
        },
    },
    telemetry::metrics::{METRICS, RefreshOutcome, Trigger},
};

/// How long a lease lasts without being extended: a holder that died or froze is overtaken after this.
const LEASE: Duration = Duration::from_secs(5);
/// How often a running refresh extends its lease.
const EXTEND_EVERY: Duration = Duration::from_secs(2);
/// How long callers wait for somebody else's refresh, beyond what one call to a provider may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// A request whose response was lost is sent again at once: most providers that rotate refresh tokens accept the old
/// one for some seconds more, for exactly this case.
const ATTEMPTS: u32 = 3;
const ATTEMPTS_AFTER_TIMEOUT: u32 = 2;
/// How often those who wait for another's refresh look by themselves: its notification may be lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After a temporary failure the provider is not called for a moment, and longer after each further failure: an outage
/// is probed, not hammered.
const COOL_DOWN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };
/// So many failures in a row take about a minute; no provider accepts an old refresh token for longer.
const RESUMED_FAILURES: i64 = 6;

/// What a refresh returned.
#[derive(Debug)]
pub enum Refreshed {
    /// The token is fresh.
    Fresh(Box<Token>),
    /// The grant is dead, or the token is gone.
    ConsentNeeded,
    /// The provider failed; the grant is kept.
    Failed(TokenFailure),
}

/// Refreshes `token`, or waits for the caller that does. A caller that disconnects does not stop a refresh.
pub async fn refresh(
    broker: &Arc<Broker>,
    token: Token,
    trigger: Trigger,
    act: &Act,
) -> Result<Refreshed, BrokerError> {
    let deadline = Instant::now() + Duration::from_secs(broker.settings.provider_timeout_seconds) + PATIENCE;
    loop {
        let waiter = broker.notifications.register(token.id);
        let mut woken = std::pin::pin!(waiter.notify.notified());
        woken.as_mut().enable();
        if let Some((lease, permit)) = take_lease(broker, &token).await? {
            let id = token.id;
            // A task of its own: neither a caller that disconnects nor one that has waited long enough stops it.
            let run = run(Arc::clone(broker), token, lease, permit, trigger, act.clone());
            let run = broker.tasks.spawn(run.in_current_span());
            let refreshed = stored(&broker.unstored, id, deadline, run).await?;
            return Ok(refreshed.unwrap_or_else(|| Refreshed::Failed(timed_out())));
        }
        let Some(current) = broker.store.token(&token.subject.tenant, token.id).await? else {
            return Ok(Refreshed::ConsentNeeded);
        };
        if current.state == State::ConsentNeeded || !current.has_refresh_token {
            return Ok(Refreshed::ConsentNeeded);
        }
        if current.generation != token.generation {
            return Ok(Refreshed::Fresh(Box::new(current)));
        }
        if let Some(failure) = cooling_down(broker, &current) {
            return Ok(Refreshed::Failed(failure));
        }
        if let Some(outage) = broker.unstored.outage(token.id) {
            return Err(outage);
        }
        if Instant::now() >= deadline {
            return Ok(Refreshed::Failed(timed_out()));
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, woken).await;
    }
}

/// Takes the right to refresh `token`, unless somebody has it. Within this process that does not depend on the lease, which
/// expires while the database cannot be written: a refresh that runs, or whose result waits to be stored, may have used the
/// refresh token up.
async fn take_lease(broker: &Broker, token: &Token) -> Result<Option<(Lease, Permit)>, BrokerError> {
    let Some(permit) = broker.limits.begin(LimitKey::Refresh(token.id)) else { return Ok(None) };
    match broker.store.take_refresh_lease(token, LEASE, broker.clock.now()).await {
        Ok(lease) => Ok(lease.map(|lease| (lease, permit))),
        Err(error @ StoreError::NotOpened(_)) => {
            // Those who waited for this call meet the same.
            drop(permit);
            broker.notifications.wake(token.id).await;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Refreshes a token that a job found. `None`: it was refreshed, deleted or found dead since then.
pub async fn refresh_candidate(
    broker: &Arc<Broker>,
    candidate: &Candidate,
    trigger: Trigger,
) -> Result<Option<Refreshed>, BrokerError> {
    let token = match broker.store.token(&candidate.tenant, candidate.token).await {
        Err(error @ StoreError::NotOpened(_)) => {
            broker.store.set_refresh_aside(&candidate.tenant, candidate.token, None, broker.clock.now()).await?;
            return Err(error.into());
        }
        token => token?,
    };
    match token {
        Some(token) if token.generation == candidate.generation && token.state == State::Active => {
            Box::pin(refresh(broker, token, trigger, &Act::service())).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// Refreshes `token` while the caller already has it: it is still valid. One refresh runs at a time, not one a caller.
pub fn refresh_in_background(broker: &Arc<Broker>, token: Token, act: Act) {
    if cooling_down(broker, &token).is_some() {
        return;
    }
    let Some(permit) = broker.limits.begin(LimitKey::BackgroundRefresh(token.id)) else { return };
    let (broker, tasks) = (Arc::clone(broker), broker.tasks.clone());
    let refresh = async move {
        let id = token.id;
        if let Err(error) = refresh(&broker, token, Trigger::Background, &act).await {
            tracing::warn!(event = "token.background_refresh_failed", token_id = %id, %error, "background refresh failed");
        }
        drop(permit);
    };
    tasks.spawn(refresh.in_current_span());
}

/// One refresh, under the lease and holding nothing else: no connection, no transaction, no lock.
async fn run(
    broker: Arc<Broker>,
    token: Token,
    lease: Lease,
    permit: Permit,
    trigger: Trigger,
    act: Act,
) -> Result<Refreshed, BrokerError> {
    // The provider's record of today: an endpoint or a secret that was corrected counts from the next refresh on.
    let tenant = &token.subject.tenant;
    let mut provider = match broker.store.provider(tenant, &token.provider_id).await {
        Ok(Some(provider)) => provider,
        Ok(None) => return Ok(Refreshed::ConsentNeeded),
        Err(error @ StoreError::NotOpened(_)) => {
            broker.store.set_refresh_aside(tenant, token.id, Some(lease.owner), broker.clock.now()).await?;
            drop(permit);
            broker.notifications.wake(token.id).await;
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    if client_secret_expired(&provider, broker.clock.now()) {
        provider = reregister(&broker, provider, &act).await;
    }
    // The lease is kept until the result is stored: an overtaker would bring a refresh token that is spent.
    let refreshed = with_lease_kept(&broker, tenant, &lease, async {
        let mut response = request(&broker, &provider, &token, &lease).await;
        if response.as_ref().is_err_and(|failure| client_is_unknown(&provider, failure)) {
            provider = reregister(&broker, provider, &act).await;
            response = request(&broker, &provider, &token, &lease).await;
        }
        match response {
            Ok(response) => {
                let grant = grant_from_response(&broker, &provider.client, &response, &token.scopes);
                let kept = keep(&broker, &token, &provider, &lease, trigger, &grant, &act).await;
                note_client(&broker, &provider, None).await;
                kept
            }
            Err(failure) => {
                let failure = classify_client_failure(&provider, failure);
                note_client(&broker, &provider, Some(&failure)).await;
                count(&token, trigger, outcome_of(failure.kind));
                fail(&broker, &token, &lease, failure, &act).await
            }
        }
    });
    let refreshed = Box::pin(refreshed).await;
    drop(permit);
    broker.notifications.wake(token.id).await;
    refreshed
}

/// A client that may no longer have all scopes of a token will never get that token again, only one with the scopes it
/// may have. (A refresh token is sent without scopes, so that no person's grant can end like this.)
fn classify_client_failure(provider: &Provider, mut failure: TokenFailure) -> TokenFailure {
    if provider.client.options.grant_type == GrantType::ClientCredentials && failure.error == "invalid_scope" {
        failure.kind = FailureKind::DeadGrant;
    }
    failure
}

/// Extends the lease while `call` runs. Both run side by side: a transaction of `call` has the token's row locked, and would
/// never end if it had to wait until the row is extended.
async fn with_lease_kept<T>(broker: &Broker, tenant: &Tenant, lease: &Lease, call: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        result = call => result,
        never = extend_repeatedly(broker, tenant, lease) => match never {},
    }
}

async fn extend_repeatedly(broker: &Broker, tenant: &Tenant, lease: &Lease) -> Infallible {
    loop {
        tokio::time::sleep(EXTEND_EVERY).await;
        match broker.store.extend_refresh_lease(tenant, lease, LEASE).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(event = "token.lease_lost", token_id = %lease.token, "the lease of a running refresh was lost");
            }
            Err(error) => {
                tracing::warn!(event = "token.lease_not_extended", token_id = %lease.token, %error, "could not extend the lease of a refresh");
            }
        }
    }
}

/// Sends the refresh token to the provider, a few times if the response may have been lost.
async fn request(
    broker: &Broker,
    provider: &Provider,
    token: &Token,
    lease: &Lease,
) -> Result<TokenResponse, TokenFailure> {
    let quirks = broker.catalog.quirks_of(&provider.client);
    let outbound = broker.outbound.of_provider(&provider.provider_id);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let grant = match provider.client.options.grant_type {
            GrantType::ClientCredentials => TokenGrant::ClientCredentials { scopes: &token.scopes },
            GrantType::AuthorizationCode | GrantType::ApiKey => TokenGrant::Refresh(&lease.refresh_token),
        };
        let failure = match request_token(&outbound, &provider.client, quirks, grant, broker.clock.now()).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let attempts_max = match failure.kind {
            FailureKind::Unavailable if failure.retry_after.is_none() => ATTEMPTS,
            FailureKind::TimedOut => ATTEMPTS_AFTER_TIMEOUT,
            _ => 1,
        };
        if attempts >= attempts_max {
            return Err(failure);
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..250) * u64::from(attempts))).await;
    }
}

/// Stores the refreshed grant before anybody gets it. The old refresh token may be spent by now, so a database that
/// cannot be reached for a while must not cost the grant.
async fn keep(
    broker: &Arc<Broker>,
    token: &Token,
    provider: &Provider,
    lease: &Lease,
    trigger: Trigger,
    grant: &Grant,
    act: &Act,
) -> Result<Refreshed, BrokerError> {
    let tenant = &token.subject.tenant;
    let write = || broker.store.keep_refreshed(token, lease, grant, act, broker.clock.now());
    let kept = persist(&broker.unstored, token.id, write).await;
    count(
        token,
        trigger,
        match kept {
            Ok(true) => RefreshOutcome::Refreshed,
            Ok(false) => RefreshOutcome::Discarded,
            Err(_) => RefreshOutcome::NotStored,
        },
    );
    if kept? {
        tracing::info!(event = "token.refreshed", token_id = %token.id, provider = token.provider_id, "token refreshed");
    } else {
        // Written or deleted in the meantime: what is stored now counts, not this result.
        tracing::warn!(event = "token.late_refresh_discarded", token_id = %token.id, "a late refresh was discarded");
    }
    match broker.store.token(tenant, token.id).await? {
        Some(current) if current.state == State::Active => Ok(Refreshed::Fresh(Box::new(current))),
        Some(_) => Ok(Refreshed::ConsentNeeded),
        None => {
            // Deleted during the call: what the provider issued must not live on there.
            queue_revocation(broker, tenant, &provider.provider_id, &provider.client, grant).await?;
            Ok(Refreshed::ConsentNeeded)
        }
    }
}

fn count(token: &Token, trigger: Trigger, outcome: RefreshOutcome) {
    METRICS.providers.of(&token.provider_id).refreshes.of(trigger).of(outcome).increment();
}

fn outcome_of(failure: FailureKind) -> RefreshOutcome {
    match failure {
        FailureKind::DeadGrant => RefreshOutcome::Dead,
        FailureKind::Unavailable => RefreshOutcome::Unavailable,
        FailureKind::TimedOut => RefreshOutcome::TimedOut,
        FailureKind::RateLimited => RefreshOutcome::RateLimited,
        FailureKind::MisconfiguredClient => RefreshOutcome::MisconfiguredClient,
        FailureKind::Refused => RefreshOutcome::Refused,
        FailureKind::Unreadable => RefreshOutcome::Unreadable,
        FailureKind::AddressRefused => RefreshOutcome::AddressRefused,
    }
}

/// What a failure means: only a dead grant ends the token; every other failure keeps it and waits a while.
async fn fail(
    broker: &Broker,
    token: &Token,
    lease: &Lease,
    failure: TokenFailure,
    act: &Act,
) -> Result<Refreshed, BrokerError> {
    tracing::warn!(
        event = "token.refresh_failed", token_id = %token.id, provider = token.provider_id, error = failure.error,
        error_description = failure.error_description, "refresh failed"
    );
    let now = broker.clock.now();
    let (state, retry_at) = if failure.kind == FailureKind::DeadGrant {
        (State::ConsentNeeded, None)
    } else {
        let wait = failure.retry_after.unwrap_or(COOL_DOWN.after(lease.failures));
        (State::Active, TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)))
    };
    let tenant = &token.subject.tenant;
    let outcome_unknown = outcome_unknown(&failure, lease);
    let failed = RefreshFailure { state, error: failure.error.clone(), retry_at, outcome_unknown };
    broker.store.keep_refresh_failure(token, lease, failed, act, now).await?;
    // Somebody else may have won with a newer refresh token: then theirs counts.
    match broker.store.token(tenant, token.id).await? {
        Some(current) if current.generation != lease.generation && current.state == State::Active => {
            Ok(Refreshed::Fresh(Box::new(current)))
        }
        Some(current) if current.state == State::Active => Ok(Refreshed::Failed(failure)),
        _ => Ok(Refreshed::ConsentNeeded),
    }
}

/// True when the provider may have processed the request and only its response was lost: then the refresh is resumed
/// without a caller, for as long as the provider might accept the old refresh token.
fn outcome_unknown(failure: &TokenFailure, lease: &Lease) -> bool {
    matches!(failure.kind, FailureKind::Unavailable | FailureKind::TimedOut) && lease.failures < RESUMED_FAILURES
}

fn cooling_down(broker: &Broker, token: &Token) -> Option<TokenFailure> {
    let wait = (token.retry_at? - broker.clock.now()).to_std().ok()?;
    let problem = "the provider failed a moment ago and is not called again yet";
    let failure = TokenFailure::new(FailureKind::Unavailable, "provider_unavailable", problem);
    Some(TokenFailure { retry_after: Some(wait), ..failure })
}

fn timed_out() -> TokenFailure {
    let problem = "the provider did not respond in time";
    let failure = TokenFailure::new(FailureKind::TimedOut, "provider_timeout", problem);
    TokenFailure { retry_after: Some(COOL_DOWN.first), ..failure }
}
