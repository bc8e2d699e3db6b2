//! Deleting tokens: gone here at once, and revoked at the provider as soon as it can be told.
//! Owns: when a provider is told, how often, and what the caller hears of it.
//! Must not know: the wire of revocation endpoints.

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use metrics::counter;
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use crate::{
    app::App,
    broker::{clients::redirect_uri::token_client, consent::exchange::client_of as request_client},
    model::options::GrantType,
    oauth::{
        revocation::{self, Granted, RevocationFailure, Revoked, known_revocation_url},
        token::{Client, FailureKind, Grant as TokenGrant, request_token},
    },
    store::{
        StoreError, Tenant,
        authorization_requests::row::AuthorizationRequest,
        providers::Provider,
        revocations::{Revocation, RevocationClient},
        tokens::{delete::Deleted, grant::Grant},
    },
};

/// How long whoever deletes waits for the providers. What is left then goes on behind them.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How many grants are revoked side by side.
const PARALLEL: usize = 8;
/// How often a replica looks for what is due.
pub const TELL_EVERY: Duration = Duration::from_secs(30);
const TELL_AT_MOST: i64 = 1000;
/// Longer than an attempt can take, with every call in it: nobody else takes the row meanwhile.
const ATTEMPT_MAX: TimeDelta = TimeDelta::minutes(5);
/// After a failure, doubled with each further one.
const BACKOFF_MIN: Duration = Duration::from_secs(30);
const BACKOFF_MAX: Duration = Duration::from_hours(6);
/// Some three days, with the backoff.
const ATTEMPTS_MAX: i64 = 20;

/// What became of a deletion.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    /// How many tokens were deleted.
    pub tokens: usize,
    /// How many of them are revoked at the provider.
    pub revoked: usize,
    /// How many are yet to be.
    pub queued: usize,
}

impl Deletion {
    /// True when no deleted grant lives on at a provider.
    #[must_use]
    pub fn upstream_revoked(&self) -> bool {
        self.revoked == self.tokens
    }
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Revoked,
    /// It failed, or somebody else is at it.
    Queued,
    /// No attempt can succeed.
    Impossible,
}

/// How the grants of a provider are revoked; `None` where they cannot be.
#[must_use]
pub fn client_of(provider: &Provider) -> Option<RevocationClient> {
    Some(RevocationClient {
        provider_id: provider.provider_id.clone(),
        revocation_url: revocation_url(&token_client(provider), provider.revocation_url.as_ref())?,
        token_url: provider.token_url.clone(),
        client_id: provider.client_id.clone(),
        client_secret: provider.client_secret.clone(),
        authentication: provider.token_endpoint_auth_method,
        options: provider.options.clone(),
    })
}

/// Where the grants of a client are revoked: as the provider's record says, else where it is known of the provider.
fn revocation_url(client: &Client<'_>, recorded: Option<&String>) -> Option<String> {
    match client.options.grant_type {
        GrantType::AuthorizationCode => recorded.cloned().or_else(|| known_revocation_url(client.token_url, client.id)),
        // A service may give its client one token again and again: to end it is the operator's decision.
        GrantType::ClientCredentials => recorded.cloned(),
        // It was not given for us alone: it is only forgotten.
        GrantType::ApiKey => None,
    }
}

/// Deletes one token of a user; `None` if there is none.
pub async fn delete_token(
    app: &Arc<App>,
    tenant: &Tenant,
    user: &str,
    id: Uuid,
) -> Result<Option<Deletion>, StoreError> {
    let deleted = app.store.delete_token(tenant, user, id, client_of, app.clock.now()).await?;
    Ok(if deleted.tokens == 0 { None } else { Some(revoke(app, deleted).await) })
}

/// Deletes the tokens of a user at a provider.
pub async fn delete_tokens_of_user(
    app: &Arc<App>,
    tenant: &Tenant,
    user: &str,
    provider_id: &str,
) -> Result<Deletion, StoreError> {
    let deleted = app.store.delete_tokens_of_user(tenant, user, provider_id, client_of, app.clock.now()).await?;
    Ok(revoke(app, deleted).await)
}

/// Deletes every token of a workspace at providers of that type.
pub async fn delete_tokens_of_workspace(
    app: &Arc<App>,
    tenant: &Tenant,
    provider_type: &str,
) -> Result<Deletion, StoreError> {
    let deleted = app.store.delete_tokens_of_workspace(tenant, provider_type, client_of, app.clock.now()).await?;
    Ok(revoke(app, deleted).await)
}

/// Deletes a provider with its tokens; `None` if there is none.
pub async fn delete_provider(
    app: &Arc<App>,
    tenant: &Tenant,
    provider_id: &str,
) -> Result<Option<Deletion>, StoreError> {
    match app.store.delete_provider(tenant, provider_id, client_of, app.clock.now()).await? {
        Some(deleted) => Ok(Some(revoke(app, deleted).await)),
        None => Ok(None),
    }
}

/// Revokes a grant that came from the provider after its token was deleted here.
pub async fn queue_grant(
    app: &Arc<App>,
    tenant: &Tenant,
    provider: &Provider,
    grant: &Grant,
) -> Result<(), StoreError> {
    queue(app, tenant, &provider.provider_id, client_of(provider), grant).await
}

/// Revokes a grant whose authorization request was deleted while it came, with its provider.
pub async fn queue_grant_of_request(
    app: &Arc<App>,
    request: &AuthorizationRequest,
    grant: &Grant,
) -> Result<(), StoreError> {
    let revocation_url = revocation_url(&request_client(request), request.revocation_url.as_ref());
    let client = revocation_url.map(|revocation_url| RevocationClient {
        provider_id: request.provider_id.clone(),
        revocation_url,
        token_url: request.token_url.clone(),
        client_id: request.client_id.clone(),
        client_secret: request.client_secret.clone(),
        authentication: request.token_endpoint_auth_method,
        options: request.options.clone(),
    });
    queue(app, &request.subject.tenant, &request.provider_id, client, grant).await
}

/// Tells the providers what is due: what an earlier process left, and what failed before.
pub async fn tell_due(app: &Arc<App>) -> Result<(), StoreError> {
    let now = app.clock.now();
    for lost in app.store.give_up_revocations(ATTEMPTS_MAX, now).await? {
        counter!("agent_auth_revocations_total", "outcome" => "given_up").increment(1);
        tracing::error!(
            revocation = %lost.id, provider = lost.provider_id, last_error = lost.last_error,
            "a grant could not be revoked at its provider and is given up; revoke it there by hand"
        );
    }
    let due = app.store.due_revocations(now, TELL_AT_MOST).await?;
    let mut tried = try_each(app, due, Instant::now() + TELL_EVERY);
    while tried.recv().await.is_some() {}
    Ok(())
}

async fn revoke(app: &Arc<App>, deleted: Deleted) -> Deletion {
    let mut deletion = Deletion { tokens: deleted.tokens, revoked: 0, queued: deleted.revocations.len() };
    let deadline = Instant::now() + AT_ONCE;
    let mut tried = try_each(app, deleted.revocations, deadline);
    while let Ok(Some(tried)) = tokio::time::timeout_at(deadline, tried.recv()).await {
        if tried != Tried::Queued {
            deletion.queued -= 1;
        }
        if tried == Tried::Revoked {
            deletion.revoked += 1;
        }
    }
    deletion
}

async fn queue(
    app: &Arc<App>,
    tenant: &Tenant,
    provider_id: &str,
    client: Option<RevocationClient>,
    grant: &Grant,
) -> Result<(), StoreError> {
    let Some(client) = client else {
        tracing::warn!(provider = provider_id, "a grant for a deleted token lives on: no revocation endpoint is known");
        return Ok(());
    };
    let id = app.store.queue_revocation(tenant, &client, grant, app.clock.now()).await?;
    drop(try_each(app, vec![id], Instant::now() + AT_ONCE));
    Ok(())
}

/// Tries each of these, a few at a time, and tells how it went. On a task of its own: nobody's going away stops an
/// attempt. None is begun after `deadline`, or when the server stops; they stay in the queue.
fn try_each(app: &Arc<App>, ids: Vec<Uuid>, deadline: Instant) -> mpsc::UnboundedReceiver<Tried> {
    let (told, tried) = mpsc::unbounded_channel();
    let app = Arc::clone(app);
    app.tasks.clone().spawn(async move {
        let over = tokio::time::timeout_at(deadline, app.shutdown.cancelled());
        let attempts = stream::iter(ids).take_until(over).map(|id| try_one(&app, id)).buffer_unordered(PARALLEL);
        let mut attempts = pin!(attempts);
        while let Some(tried) = attempts.next().await {
            let _ = told.send(tried);
        }
    });
    tried
}

async fn try_one(app: &App, id: Uuid) -> Tried {
    let now = app.clock.now();
    let outcome = match app.store.take_revocation(id, now, now + ATTEMPT_MAX).await {
        Ok(Some(revocation)) => attempt(app, revocation).await,
        Ok(None) => Ok(Tried::Queued),
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        tracing::warn!(revocation = %id, %error, "the store failed while a grant was being revoked");
        Tried::Queued
    })
}

async fn attempt(app: &App, mut revocation: Revocation) -> Result<Tried, StoreError> {
    let count = |outcome| counter!("agent_auth_revocations_total", "outcome" => outcome).increment(1);
    if !spare_others(app, &mut revocation).await? {
        app.store.end_revocation(&revocation).await?;
        count("spared");
        let (id, provider) = (revocation.id, &revocation.client.provider_id);
        tracing::warn!(revocation = %id, provider, "a token lives on: revoking it would end another one of its account");
        return Ok(Tried::Impossible);
    }
    let told = tell(app, &mut revocation).await;
    let (id, provider) = (revocation.id, revocation.client.provider_id.as_str());
    match told {
        // A dead access token without a refresh token is all there was of the grant.
        Ok(Revoked::Yes | Revoked::AccessTokenDead) => {
            app.store.end_revocation(&revocation).await?;
            count("revoked");
            tracing::info!(revocation = %id, provider, "a grant was revoked at its provider");
            Ok(Tried::Revoked)
        }
        Ok(Revoked::Unsupported) => {
            app.store.end_revocation(&revocation).await?;
            count("unsupported");
            tracing::warn!(revocation = %id, provider, "the provider revokes none of the tokens it gives");
            Ok(Tried::Impossible)
        }
        Err(failure) => {
            let wait = backoff(revocation.attempts).max(failure.retry_after.unwrap_or_default());
            let next_at = app.clock.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1));
            app.store.postpone_revocation(&revocation, &failure.problem, next_at).await?;
            count("failed");
            tracing::warn!(
                revocation = %id, provider, attempts = revocation.attempts, error = %failure, %next_at,
                "a grant could not be revoked at its provider yet"
            );
            Ok(Tried::Queued)
        }
    }
}

/// Sees to it that no other token of the same account ends with this one: somebody else's, or one that was got since this
/// one was deleted. `false` where that cannot be.
async fn spare_others(app: &App, revocation: &mut Revocation) -> Result<bool, StoreError> {
    let Some(account_id) = &revocation.account_id else { return Ok(true) };
    let client = &mut revocation.client;
    if !app.store.account_is_connected(&revocation.tenant, &client.provider_id, account_id).await? {
        return Ok(true);
    }
    let Some(url) = revocation::sparing_others(&client.revocation_url, &client.options) else { return Ok(false) };
    client.revocation_url = url;
    Ok(true)
}

/// Tells the provider. One that takes nothing but a live access token is asked for one first, if the grant has a
/// refresh token: else deleting a token that has expired would leave the grant alive.
async fn tell(app: &App, revocation: &mut Revocation) -> Result<Revoked, RevocationFailure> {
    let told = tell_once(app, revocation).await?;
    let (Revoked::AccessTokenDead, Some(refresh_token)) = (told, &revocation.refresh_token) else { return Ok(told) };
    if revocation.client.options.grant_type == GrantType::ClientCredentials {
        // There is no refresh token, only a copy in its place.
        return Ok(told);
    }
    let grant = TokenGrant::Refresh(refresh_token);
    match request_token(&app.outbound, &client(revocation), grant, app.clock.now()).await {
        Ok(response) => {
            revocation.access_token = response.access_token;
            revocation.refresh_token = response.refresh_token.or(revocation.refresh_token.take());
        }
        Err(failure) if failure.kind == FailureKind::DeadGrant => return Ok(Revoked::Yes),
        Err(failure) => return Err(failure.into()),
    }
    if let Err(error) = app.store.renew_revocation(revocation).await {
        tracing::warn!(revocation = %revocation.id, %error, "the renewed tokens of a grant to revoke were not kept");
    }
    match tell_once(app, revocation).await? {
        Revoked::AccessTokenDead => {
            Err(RevocationFailure::new("the provider does not know the token it just gave; check its revocation_url"))
        }
        told => Ok(told),
    }
}

async fn tell_once(app: &App, revocation: &Revocation) -> Result<Revoked, RevocationFailure> {
    let granted = Granted {
        access_token: &revocation.access_token,
        refresh_token: revocation.refresh_token.as_ref(),
        account_id: revocation.account_id.as_deref(),
    };
    let url = &revocation.client.revocation_url;
    revocation::revoke(&app.outbound, &client(revocation), url, granted, app.clock.now()).await
}

fn client(revocation: &Revocation) -> Client<'_> {
    Client {
        token_url: &revocation.client.token_url,
        id: &revocation.client.client_id,
        secret: revocation.client.client_secret.as_ref(),
        authentication: revocation.client.authentication,
        options: &revocation.client.options,
    }
}

/// Up to a tenth more at random, so that what failed together is not told again together.
fn backoff(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
    BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX).mul_f64(rand::random_range(1.0..1.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{client::ClientAuthentication, options::ProviderOptions};

    #[test]
    fn what_was_given_to_our_client_alone_is_revoked_only_where_the_record_says_so() {
        let address = |grant_type, recorded: Option<&str>| {
            let options = ProviderOptions { grant_type, ..ProviderOptions::default() };
            let client = Client {
                token_url: "https://slack.com/api/oauth.v2.access",
                id: "c",
                secret: None,
                authentication: ClientAuthentication::None,
                options: &options,
            };
            revocation_url(&client, recorded.map(ToOwned::to_owned).as_ref())
        };
        let (known, own) = ("https://slack.com/api/auth.revoke", "https://acme.example/revoke");
        assert_eq!(address(GrantType::AuthorizationCode, None).as_deref(), Some(known));
        assert_eq!(address(GrantType::ClientCredentials, None), None);
        assert_eq!(address(GrantType::ClientCredentials, Some(own)).as_deref(), Some(own));
        assert_eq!(address(GrantType::ApiKey, Some(own)), None);
    }

    #[test]
    fn the_backoff_doubles_up_to_six_hours() {
        for (attempts, seconds) in [(0, 30), (1, 30), (2, 60), (5, 480), (10, 15_360), (11, 21_600), (i64::MAX, 21_600)]
        {
            let waited = backoff(attempts).as_secs_f64() / f64::from(seconds);
            assert!((1.0..1.1).contains(&waited), "{attempts}: {waited}");
        }
    }
}
