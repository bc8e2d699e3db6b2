//! Refreshing: a due token is renewed once, however many callers and replicas want it.
//! Owns: the single flight over the lease in the token's row, and what a failure means for the grant.
//! Must not know: who asked, or how they are answered.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use tokio::time::Instant;
use uuid::Uuid;

use super::revoke::queue_grant;
use crate::{
    app::App,
    broker::{
        BrokerError,
        clients::redirect_uri::token_client,
        consent::exchange::{client_scope, granted},
        persist,
        providers::mcp::{has_expired, is_forgotten, renewed},
    },
    model::options::GrantType,
    oauth::{
        token::{FailureKind, Grant as TokenGrant, TokenFailure, request_token},
        token_response::TokenResponse,
    },
    store::{
        Tenant,
        providers::Provider,
        tokens::{
            grant::{Grant, Lease, RefreshFailure},
            row::{State, Token},
        },
    },
};

/// How long a lease holds without being held on to: whoever died or froze is overtaken after this.
const LEASE: Duration = Duration::from_secs(5);
/// How often a running refresh holds on to its lease.
const HOLD_EVERY: Duration = Duration::from_secs(2);
/// How long callers wait for a refresh of somebody else beyond what one call to a provider may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// A request whose answer was lost is sent again at once: most providers that rotate refresh tokens take the old one
/// for some seconds more, for exactly this case.
const TRIES: u32 = 3;
const TRIES_AFTER_TIME_OUT: u32 = 2;
/// How often those who wait for another's refresh look for themselves: its hint may be lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// After a failure that will pass, the provider is left alone for a moment, and longer after each further one: an
/// outage is probed, not hammered.
const COOL_DOWN_MIN: Duration = Duration::from_secs(1);
const COOL_DOWN_MAX: Duration = Duration::from_secs(30);
/// So many failures in a row take about a minute; no provider takes an old refresh token for longer.
const RESUMED_FAILURES: i64 = 6;

/// What became of a token that was due.
#[derive(Debug)]
pub enum Refreshed {
    /// It is fresh.
    Fresh(Box<Token>),
    /// The grant is dead, or the token is gone.
    ConsentNeeded,
    /// The provider failed; the grant is kept.
    Failed(TokenFailure),
}

/// Refreshes `token`, or waits for whoever does. The caller's going away does not stop a refresh.
pub async fn refresh(app: &Arc<App>, token: Token) -> Result<Refreshed, BrokerError> {
    let deadline = Instant::now() + Duration::from_secs(app.settings.provider_timeout_seconds) + PATIENCE;
    loop {
        let waiter = app.waiters.register(token.id);
        let mut woken = std::pin::pin!(waiter.notify.notified());
        woken.as_mut().enable();
        if let Some(lease) = app.store.take_refresh_lease(&token, milliseconds(LEASE), app.clock.now()).await? {
            // On its own task: neither a caller that goes away nor one that has waited long enough stops it.
            let run = app.tasks.spawn(run(Arc::clone(app), token, lease));
            return match tokio::time::timeout_at(deadline, run).await {
                Ok(ended) => ended.map_err(|error| BrokerError::Internal(error.to_string()))?,
                Err(_) => Ok(Refreshed::Failed(timed_out())),
            };
        }
        let Some(current) = app.store.token(&token.subject.tenant, token.id).await? else {
            return Ok(Refreshed::ConsentNeeded);
        };
        if current.state == State::ConsentNeeded || !current.has_refresh_token {
            return Ok(Refreshed::ConsentNeeded);
        }
        if current.generation != token.generation {
            return Ok(Refreshed::Fresh(Box::new(current)));
        }
        if let Some(failure) = cooling_down(app, &current) {
            return Ok(Refreshed::Failed(failure));
        }
        if Instant::now() >= deadline {
            return Ok(Refreshed::Failed(timed_out()));
        }
        let _ = tokio::time::timeout(LOOK_AGAIN, woken).await;
    }
}

/// Refreshes `token` behind the caller's back: it is still good, and is handed out as it is.
pub fn refresh_behind(app: &Arc<App>, token: Token) {
    if cooling_down(app, &token).is_some() {
        return;
    }
    let Some(begun) = app.refreshing.begin(token.id) else { return };
    let app = Arc::clone(app);
    app.tasks.clone().spawn(async move {
        let id = token.id;
        if let Err(error) = refresh(&app, token).await {
            tracing::warn!(token_id = %id, %error, "a refresh behind the caller failed");
        }
        drop(begun);
    });
}

/// The tokens this process refreshes behind its callers, so that each is begun once and not by every caller.
#[derive(Clone, Debug, Default)]
pub struct Refreshing(Arc<Mutex<HashSet<Uuid>>>);

/// One of them, until this is dropped.
struct Begun {
    refreshing: Refreshing,
    id: Uuid,
}

impl Refreshing {
    /// `None` when it is being refreshed already.
    fn begin(&self, id: Uuid) -> Option<Begun> {
        self.lock().insert(id).then(|| Begun { refreshing: self.clone(), id })
    }

    /// A panic elsewhere cannot leave the set half changed, so a poisoned lock is used on.
    fn lock(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.refreshing.lock().remove(&self.id);
    }
}

/// One refresh, with the lease in hand and nothing else: no connection, no transaction, no lock.
async fn run(app: Arc<App>, token: Token, lease: Lease) -> Result<Refreshed, BrokerError> {
    let tenant = &token.subject.tenant;
    // The provider's record of today: an address or a secret that was corrected counts from the next refresh on.
    let Some(mut provider) = app.store.provider(tenant, &token.provider_id).await? else {
        return Ok(Refreshed::ConsentNeeded);
    };
    if has_expired(&provider, app.clock.now()) {
        provider = renewed(&app, provider).await;
    }
    // The lease is held on to until the result is kept: an overtaker would bring a refresh token that is spent.
    let outcome = hold(
        &app,
        tenant,
        &lease,
        Box::pin(async {
            let mut asked = ask(&app, &provider, &token, &lease).await;
            if asked.as_ref().is_err_and(|failure| is_forgotten(&provider, failure)) {
                provider = renewed(&app, provider).await;
                asked = ask(&app, &provider, &token, &lease).await;
            }
            match asked {
                Ok(response) => {
                    let grant = granted(&app, &response, &token.scopes, &provider.token_url);
                    let kept = keep(&app, &token, &provider, &lease, &grant).await;
                    note_client(&app, &provider, None).await;
                    kept
                }
                Err(failure) => {
                    let failure = about_client(&provider, failure);
                    note_client(&app, &provider, Some(&failure)).await;
                    fail(&app, &token, &lease, failure).await
                }
            }
        }),
    )
    .await;
    app.wake(token.id).await;
    outcome
}

/// A client that may no longer have all of a token's scopes gets it never again, but another one with those it may have.
/// (A refresh token is brought without scopes, so that no person's grant can end like this.)
fn about_client(provider: &Provider, mut failure: TokenFailure) -> TokenFailure {
    if provider.options.grant_type == GrantType::ClientCredentials && failure.error == "invalid_scope" {
        failure.kind = FailureKind::DeadGrant;
    }
    failure
}

/// Notes what an answer says of the provider's client: wrong, if that is why it failed; right again, if it did not fail.
pub(in crate::broker) async fn note_client(app: &App, provider: &Provider, failure: Option<&TokenFailure>) {
    match failure {
        None if provider.client_error.is_some() => mark_client(app, provider, None).await,
        Some(failure) if failure.kind == FailureKind::MisconfiguredClient => {
            mark_client(app, provider, Some(&failure.error)).await;
        }
        _ => {}
    }
}

/// Marks the provider's client as wrong, or as right again. A mark that cannot be written is no reason to fail.
pub(in crate::broker) async fn mark_client(app: &App, provider: &Provider, error: Option<&str>) {
    let marked = app.store.mark_client_error(&provider.tenant, provider.id, error, app.clock.now()).await;
    if let Err(error) = marked {
        tracing::warn!(provider = provider.provider_id, %error, "the state of a provider's client was not noted");
    }
}

/// Holds on to the lease while `call` runs.
async fn hold<T>(app: &App, tenant: &Tenant, lease: &Lease, call: impl Future<Output = T>) -> T {
    let mut call = std::pin::pin!(call);
    loop {
        match tokio::time::timeout(HOLD_EVERY, call.as_mut()).await {
            Ok(result) => return result,
            Err(_) => match app.store.extend_refresh_lease(tenant, lease, milliseconds(LEASE)).await {
                Ok(true) => {}
                Ok(false) => tracing::warn!(token_id = %lease.token, "the lease of a running refresh was lost"),
                Err(error) => tracing::warn!(token_id = %lease.token, %error, "a lease could not be held on to"),
            },
        }
    }
}

/// Brings the refresh token to the provider, a few times where the answer may have been lost on the way.
async fn ask(app: &App, provider: &Provider, token: &Token, lease: &Lease) -> Result<TokenResponse, TokenFailure> {
    let client = token_client(provider);
    let scope = client_scope(&token.scopes, &provider.options);
    let mut tries = 0;
    loop {
        tries += 1;
        let grant = match provider.options.grant_type {
            GrantType::ClientCredentials => TokenGrant::ClientCredentials { scope: &scope },
            GrantType::AuthorizationCode | GrantType::ApiKey => TokenGrant::Refresh(&lease.refresh_token),
        };
        let failure = match request_token(&app.outbound, &client, grant, app.clock.now()).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let tries_max = match failure.kind {
            FailureKind::Unavailable if failure.retry_after.is_none() => TRIES,
            FailureKind::TimedOut => TRIES_AFTER_TIME_OUT,
            _ => 1,
        };
        if tries >= tries_max {
            return Err(failure);
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..250) * u64::from(tries))).await;
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Keeps the renewed grant before anybody is told of it. The old refresh token may be spent by now, so a database
/// that is away for a while must not cost the grant.
async fn keep(
    app: &Arc<App>,
    token: &Token,
    provider: &Provider,
    lease: &Lease,
    grant: &Grant,
) -> Result<Refreshed, BrokerError> {
    let tenant = &token.subject.tenant;
    let kept = persist(|| app.store.keep_refreshed(tenant, lease, grant, app.clock.now())).await?;
    if kept {
        tracing::info!(token_id = %token.id, provider = token.provider_id, "token refreshed");
    } else {
        // Written or deleted meanwhile: what is there now counts, not this result.
        tracing::warn!(token_id = %token.id, "a late refresh was discarded");
    }
    match app.store.token(tenant, token.id).await? {
        Some(current) if current.state == State::Active => Ok(Refreshed::Fresh(Box::new(current))),
        Some(_) => Ok(Refreshed::ConsentNeeded),
        None => {
            // Deleted while the provider was asked: what it gave in the meantime must not live on there.
            queue_grant(app, tenant, provider, grant).await?;
            Ok(Refreshed::ConsentNeeded)
        }
    }
}

/// What a failure means: only a dead grant ends the token; everything else keeps it and waits a while.
async fn fail(app: &App, token: &Token, lease: &Lease, failure: TokenFailure) -> Result<Refreshed, BrokerError> {
    tracing::warn!(
        token_id = %token.id, provider = token.provider_id, error = failure.error,
        error_description = failure.error_description, "a refresh failed"
    );
    let now = app.clock.now();
    let (state, retry_at) = if failure.kind == FailureKind::DeadGrant {
        (State::ConsentNeeded, None)
    } else {
        let wait = failure.retry_after.unwrap_or(cool_down(lease.failures));
        (State::Active, TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)))
    };
    let tenant = &token.subject.tenant;
    let failed = RefreshFailure { state, error: failure.error.clone(), retry_at, is_open: is_open(&failure, lease) };
    app.store.keep_refresh_failure(tenant, lease, failed, now).await?;
    // Somebody else may have won with a newer refresh token: then theirs counts.
    match app.store.token(tenant, token.id).await? {
        Some(current) if current.generation != lease.generation && current.state == State::Active => {
            Ok(Refreshed::Fresh(Box::new(current)))
        }
        Some(current) if current.state == State::Active => Ok(Refreshed::Failed(failure)),
        _ => Ok(Refreshed::ConsentNeeded),
    }
}

/// True when the provider may have done what it was asked, only its answer was lost: then it is asked again without
/// anybody's asking, for as long as it might take the old refresh token.
fn is_open(failure: &TokenFailure, lease: &Lease) -> bool {
    matches!(failure.kind, FailureKind::Unavailable | FailureKind::TimedOut) && lease.failures < RESUMED_FAILURES
}

/// Doubled with each failure in a row.
fn cool_down(failures: i64) -> Duration {
    let doublings = u32::try_from(failures.clamp(0, 10)).unwrap_or(0);
    COOL_DOWN_MIN.saturating_mul(1 << doublings).min(COOL_DOWN_MAX)
}

fn cooling_down(app: &App, token: &Token) -> Option<TokenFailure> {
    let wait = (token.retry_at? - app.clock.now()).to_std().ok()?;
    Some(TokenFailure {
        kind: FailureKind::Unavailable,
        error: "provider_unavailable".into(),
        error_description: Some("the provider failed a moment ago and is not asked again yet".into()),
        retry_after: Some(wait),
    })
}

fn timed_out() -> TokenFailure {
    TokenFailure {
        kind: FailureKind::TimedOut,
        error: "provider_timeout".into(),
        error_description: Some("the provider did not answer in time".into()),
        retry_after: Some(COOL_DOWN_MIN),
    }
}
