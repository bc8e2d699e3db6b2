//! Deleting tokens: gone here at once, and revoked at the provider as soon as it can be reached.
//! Owns: when a revocation is attempted, how often, and what the caller learns of it.
//! Must not know: the wire of revocation endpoints.

use std::{pin::pin, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    broker::{backoff::Backoff, context::Broker, error::BrokerError},
    catalog::Catalog,
    model::{
        actor::Act,
        client::Client,
        failure::FailureKind,
        grant::Grant,
        key_limits::Reach,
        options::GrantType,
        provider::{Provider, ProviderType},
        subject::Tenant,
    },
    oauth::{
        revocation::{self, Granted, RevocationFailure, Revoked},
        token::{Grant as TokenGrant, request_token},
    },
    store::{
        deletions::Deleted,
        error::StoreError,
        revocations::{Revocation, RevokedTokens},
    },
    telemetry::metrics::{METRICS, RevocationOutcome},
};

/// How long a caller that deletes waits for the providers. What is left then goes on in the background.
const AT_ONCE: Duration = Duration::from_secs(5);
/// How many grants are revoked at the same time.
const PARALLEL: usize = 8;
/// How often a replica looks for due revocations.
pub const DUE_EVERY: Duration = Duration::from_secs(30);
const DUE_MAX: i64 = 1000;
/// Longer than an attempt can take, with every call in it: nobody else takes the row in the meantime.
const ATTEMPT_MAX: TimeDelta = TimeDelta::minutes(5);
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(30), max: Duration::from_hours(6) };
/// Some three days, with the backoff.
const ATTEMPTS_MAX: i64 = 20;

/// What a deletion did.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    /// How many tokens were deleted.
    pub tokens: usize,
    /// How many of them are revoked at the provider.
    pub revoked: usize,
    /// How many are still to be revoked.
    pub queued: usize,
}

impl Deletion {
    /// True when no deleted grant is alive at a provider any more.
    #[must_use]
    pub fn upstream_revoked(&self) -> bool {
        self.revoked == self.tokens
    }
}

/// What one attempt led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Revoked,
    /// It failed, or another task is at it.
    Queued,
    /// No attempt can succeed.
    Impossible,
}

/// The client with which grants of this client are revoked, with the revocation endpoint in it. `None`: they cannot be
/// revoked.
#[must_use]
pub fn revocation_client(catalog: &Catalog, client: &Client) -> Option<Client> {
    let url = match client.options.grant_type {
        GrantType::AuthorizationCode => client.revocation_url.clone().or_else(|| catalog.revocation_url_of(client)),
        // A service may issue its client the same token again and again: to end it is the operator's decision.
        GrantType::ClientCredentials => client.revocation_url.clone(),
        // It was not issued for us alone: it is only forgotten.
        GrantType::ApiKey => None,
    };
    url.map(|url| Client { revocation_url: Some(url), ..client.clone() })
}

/// Deletes one token of a user; `None` if the user has no such token.
pub async fn delete_token(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    user: &str,
    id: Uuid,
    act: &Act,
) -> Result<Option<Deletion>, BrokerError> {
    let now = broker.clock.now();
    let deleted = broker.store.delete_token(reach, user, id, &of_provider(broker), act, now).await?;
    Ok(if deleted.tokens == 0 { None } else { Some(revoke_deleted(broker, deleted).await) })
}

/// Deletes the tokens of a user at a provider.
pub async fn delete_tokens_of_user(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    user: &str,
    provider_id: &str,
    act: &Act,
) -> Result<Deletion, BrokerError> {
    let now = broker.clock.now();
    let of_provider = of_provider(broker);
    let deleted = broker.store.delete_tokens_of_user(reach, user, provider_id, &of_provider, act, now).await?;
    Ok(revoke_deleted(broker, deleted).await)
}

/// Deletes every token of a workspace at providers of that type.
pub async fn delete_tokens_of_workspace(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    provider_type: ProviderType,
    act: &Act,
) -> Result<Deletion, BrokerError> {
    let now = broker.clock.now();
    let provider_type = provider_type.as_str();
    let of_provider = of_provider(broker);
    let deleted = broker.store.delete_tokens_of_workspace(reach, provider_type, &of_provider, act, now).await?;
    Ok(revoke_deleted(broker, deleted).await)
}

/// The revocation client of a provider.
pub(in crate::broker) fn of_provider(broker: &Broker) -> impl Fn(&Provider) -> Option<Client> + Send + Sync {
    |provider| revocation_client(&broker.catalog, &provider.client)
}

/// Queues the revocation of a grant that our client got from the provider after its token or its request was deleted.
pub async fn queue_revocation(
    broker: &Arc<Broker>,
    tenant: &Tenant,
    provider_id: &str,
    client: &Client,
    grant: &Grant,
) -> Result<(), StoreError> {
    let Some(client) = revocation_client(&broker.catalog, client) else {
        tracing::warn!(
            event = "token.not_revocable",
            provider = provider_id,
            "the grant of a deleted token is still valid: no revocation endpoint is known"
        );
        return Ok(());
    };
    let tokens = RevokedTokens {
        access_token: grant.access_token.clone(),
        refresh_token: grant.refresh_token.clone(),
        account_id: grant.account_id.clone(),
    };
    let id = broker.store.queue_revocation(tenant, provider_id, &client, &tokens, broker.clock.now()).await?;
    drop(attempt_each(broker, vec![id], Instant::now() + AT_ONCE));
    Ok(())
}

/// Attempts the revocations that are due: what an earlier process left, and what failed before.
pub async fn run_due(broker: &Arc<Broker>) -> Result<(), StoreError> {
    let now = broker.clock.now();
    for lost in broker.store.give_up_revocations(ATTEMPTS_MAX, now).await? {
        count(RevocationOutcome::GivenUp);
        tracing::error!(
            event = "revocation.given_up", revocation = %lost.id, provider = lost.provider_id,
            last_error = lost.last_error,
            "a grant could not be revoked and is given up; revoke it at the provider by hand"
        );
    }
    let due = broker.store.due_revocations(now, DUE_MAX).await?;
    let mut attempts = attempt_each(broker, due, Instant::now() + DUE_EVERY);
    while attempts.recv().await.is_some() {}
    Ok(())
}

/// Attempts the revocations of what was deleted, for as long as a caller waits.
pub async fn revoke_deleted(broker: &Arc<Broker>, deleted: Deleted) -> Deletion {
    let mut deletion = Deletion { tokens: deleted.tokens, revoked: 0, queued: deleted.revocations.len() };
    let deadline = Instant::now() + AT_ONCE;
    let mut attempts = attempt_each(broker, deleted.revocations, deadline);
    while let Ok(Some(attempt)) = tokio::time::timeout_at(deadline, attempts.recv()).await {
        if attempt != Attempt::Queued {
            deletion.queued -= 1;
        }
        if attempt == Attempt::Revoked {
            deletion.revoked += 1;
        }
    }
    deletion
}

/// Attempts each of these, a few at a time, and reports the results. A task of its own: a caller that disconnects does
/// not stop an attempt. No attempt begins after `deadline`, or when the process stops; the rest stays in the queue.
fn attempt_each(broker: &Arc<Broker>, ids: Vec<Uuid>, deadline: Instant) -> mpsc::UnboundedReceiver<Attempt> {
    let (report, attempts) = mpsc::unbounded_channel();
    let broker = Arc::clone(broker);
    let tasks = broker.tasks.clone();
    let attempt_all = async move {
        let over = tokio::time::timeout_at(deadline, broker.shutdown.cancelled());
        let running = stream::iter(ids).take_until(over).map(|id| attempt_one(&broker, id)).buffer_unordered(PARALLEL);
        let mut running = pin!(running);
        while let Some(attempt) = running.next().await {
            let _ = report.send(attempt);
        }
    };
    tasks.spawn(attempt_all.in_current_span());
    attempts
}

async fn attempt_one(broker: &Broker, id: Uuid) -> Attempt {
    let now = broker.clock.now();
    let outcome = match broker.store.take_revocation(id, now, now + ATTEMPT_MAX).await {
        Ok(Some(revocation)) => attempt(broker, revocation).await,
        Ok(None) => Ok(Attempt::Queued),
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        tracing::warn!(event = "revocation.store_failed", revocation = %id, %error, "the database failed during a revocation; will retry");
        Attempt::Queued
    })
}

async fn attempt(broker: &Broker, mut revocation: Revocation) -> Result<Attempt, StoreError> {
    if !avoid_other_grants(broker, &mut revocation).await? {
        broker.store.end_revocation(&revocation, Some("would_end_others"), broker.clock.now()).await?;
        count(RevocationOutcome::Spared);
        tracing::warn!(
            event = "revocation.would_end_others", revocation = %revocation.id, provider = revocation.provider_id,
            "a token was not revoked: that would end another token of its account"
        );
        return Ok(Attempt::Impossible);
    }
    let outcome = revoke_upstream(broker, &mut revocation).await;
    let (id, provider) = (revocation.id, revocation.provider_id.as_str());
    match outcome {
        // A dead access token without a refresh token is all there was of the grant.
        Ok(Revoked::Yes | Revoked::AccessTokenDead) => {
            broker.store.end_revocation(&revocation, None, broker.clock.now()).await?;
            count(RevocationOutcome::Revoked);
            tracing::info!(event = "revocation.completed", revocation = %id, provider, "a grant was revoked at its provider");
            Ok(Attempt::Revoked)
        }
        Ok(Revoked::Unsupported) => {
            broker.store.end_revocation(&revocation, Some("unsupported"), broker.clock.now()).await?;
            count(RevocationOutcome::Unsupported);
            tracing::warn!(event = "revocation.unsupported", revocation = %id, provider, "the provider does not support revocation");
            Ok(Attempt::Impossible)
        }
        Err(failure) => {
            let wait = BACKOFF.after_with_jitter(revocation.attempts - 1).max(failure.retry_after.unwrap_or_default());
            let next_at = broker.clock.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1));
            broker.store.postpone_revocation(&revocation, &failure.problem, next_at).await?;
            count(RevocationOutcome::Failed);
            tracing::warn!(
                event = "revocation.failed", revocation = %id, provider, attempts = revocation.attempts,
                error = %failure, %next_at, "a grant could not be revoked at its provider; will retry"
            );
            Ok(Attempt::Queued)
        }
    }
}

/// Makes sure that no other token of the same account ends with this one: somebody else's, or one that was obtained since
/// this one was deleted. `false` if that is impossible.
async fn avoid_other_grants(broker: &Broker, revocation: &mut Revocation) -> Result<bool, StoreError> {
    let Some(account_id) = &revocation.tokens.account_id else { return Ok(true) };
    if !broker.store.account_is_connected(&revocation.tenant, &revocation.provider_id, account_id).await? {
        return Ok(true);
    }
    let how = broker.catalog.revocation_at(&revocation.client, &revocation.revocation_url);
    let one_token = revocation::endpoint_of_one_token(&revocation.revocation_url, &how);
    let Some(url) = one_token else { return Ok(false) };
    revocation.revocation_url = url;
    Ok(true)
}

/// Revokes the grant at the provider. A provider that accepts only a live access token is asked for one first, if the
/// grant has a refresh token: otherwise deleting an expired token would leave the grant alive.
async fn revoke_upstream(broker: &Broker, revocation: &mut Revocation) -> Result<Revoked, RevocationFailure> {
    let revoked = request_revocation(broker, revocation).await?;
    let (Revoked::AccessTokenDead, Some(refresh_token)) = (revoked, &revocation.tokens.refresh_token) else {
        return Ok(revoked);
    };
    if revocation.client.options.grant_type == GrantType::ClientCredentials {
        // There is no refresh token, only a copy in its place.
        return Ok(revoked);
    }
    let grant = TokenGrant::Refresh(refresh_token);
    let quirks = broker.catalog.quirks_of(&revocation.client);
    let outbound = broker.outbound.of_provider(&revocation.provider_id);
    match request_token(&outbound, &revocation.client, quirks, grant, broker.clock.now()).await {
        Ok(response) => {
            revocation.tokens.access_token = response.access_token;
            revocation.tokens.refresh_token = response.refresh_token.or(revocation.tokens.refresh_token.take());
        }
        Err(failure) if failure.kind == FailureKind::DeadGrant => return Ok(Revoked::Yes),
        Err(failure) => return Err(failure.into()),
    }
    if let Err(error) = broker.store.replace_revoked_tokens(revocation).await {
        tracing::warn!(
            event = "revocation.tokens_not_stored", revocation = %revocation.id, %error,
            "could not store the new tokens of a grant to revoke"
        );
    }
    match request_revocation(broker, revocation).await? {
        Revoked::AccessTokenDead => Err(RevocationFailure::new(
            "the provider does not accept the token that it just issued; check its revocation_url",
        )),
        revoked => Ok(revoked),
    }
}

async fn request_revocation(broker: &Broker, revocation: &Revocation) -> Result<Revoked, RevocationFailure> {
    let granted = Granted {
        access_token: &revocation.tokens.access_token,
        refresh_token: revocation.tokens.refresh_token.as_ref(),
        account_id: revocation.tokens.account_id.as_deref(),
    };
    let (client, url) = (&revocation.client, &revocation.revocation_url);
    let how = broker.catalog.revocation_at(client, url);
    let outbound = broker.outbound.of_provider(&revocation.provider_id);
    revocation::revoke(&outbound, client, url, &how, granted, broker.clock.now()).await
}

fn count(outcome: RevocationOutcome) {
    METRICS.revocations.of(outcome).increment();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::provider::example;

    #[test]
    fn what_was_given_to_our_client_alone_is_revoked_only_where_the_record_says_so() {
        let catalog = Catalog::load(None).unwrap();
        let endpoint = |grant_type, recorded: Option<&str>| {
            let mut client = example().client;
            client.token_url = "https://slack.com/api/oauth.v2.access".into();
            client.revocation_url = recorded.map(ToOwned::to_owned);
            client.options.grant_type = grant_type;
            revocation_client(&catalog, &client).and_then(|client| client.revocation_url)
        };
        let (known, own) = ("https://slack.com/api/auth.revoke", "https://acme.example/revoke");
        assert_eq!(endpoint(GrantType::AuthorizationCode, None).as_deref(), Some(known));
        assert_eq!(endpoint(GrantType::ClientCredentials, None), None);
        assert_eq!(endpoint(GrantType::ClientCredentials, Some(own)).as_deref(), Some(own));
        assert_eq!(endpoint(GrantType::ApiKey, Some(own)), None);
    }
}
