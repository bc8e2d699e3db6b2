//! Webhooks: applications that are sent the events of their workspace, or follow them.
//! Owns: what a webhook may be, and how one message is sent.
//! Must not know: when deliveries are attempted.

pub mod lately;
pub mod signature;

use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use super::{context::Broker, error::BrokerError};
pub use crate::store::webhooks::deliveries::Replayed;
use crate::{
    model::{
        actor::Act,
        subject::Tenant,
        web_address,
        webhook::{DeliveryState, DeliverySummary, EventType, ReportedEvent, Webhook, test_payload},
    },
    outbound::client::{Answer, CallError},
    store::error::StoreError,
    telemetry::metrics::Endpoint,
};

/// How many deliveries a list shows at most.
pub const LISTED_MAX: usize = 1000;

/// Why a message was not sent, or not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The webhook was removed.
    #[error("the webhook was removed")]
    Removed,
    /// The URL cannot be used.
    #[error("the URL of the webhook cannot be used")]
    Url,
    /// The secret is not one that signs.
    #[error("the secret of the webhook cannot be used")]
    Secret,
    /// No answer.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The database failed, or the secret cannot be opened.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl SendError {
    /// The reason, as it is shown with a delivery: without the URL, which the reader knows.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Call(CallError::Refused(refusal)) => format!("the URL {refusal}"),
            Self::Call(CallError::NotConnected) => "no connection".to_owned(),
            Self::Call(CallError::Broken) => "the connection was lost".to_owned(),
            Self::Call(CallError::TimedOut) => "no response in time".to_owned(),
            Self::Call(CallError::TooLarge) => "the response is too large".to_owned(),
            Self::Store(_) => "the secret of the webhook cannot be opened".to_owned(),
            error => error.to_string(),
        }
    }
}

/// Adds a webhook, and returns it with its secret. `events` names the types it is sent; empty: all.
///
/// # Errors
/// [`BrokerError::Invalid`] when the URL may not be called.
pub async fn add(
    broker: &Broker,
    tenant: &Tenant,
    url: &str,
    events: &[EventType],
    act: &Act,
) -> Result<(Webhook, SecretString), BrokerError> {
    let invalid = |problem: String| BrokerError::Invalid { field: "url", problem };
    let parsed = web_address::parse(url).ok_or_else(|| invalid("must be an https:// URL".to_owned()))?;
    broker.outbound.guard().check_url(&parsed).map_err(|refusal| invalid(refusal.to_string()))?;
    if !parsed.username().is_empty() || parsed.password().is_some() || parsed.fragment().is_some() {
        return Err(invalid("must have no user, no password and no fragment".to_owned()));
    }
    let mut events: Vec<String> = events.iter().map(|kind| kind.as_str().to_owned()).collect();
    events.sort_unstable();
    events.dedup();
    let webhook = Webhook {
        id: Uuid::now_v7(),
        tenant: tenant.clone(),
        url: parsed.into(),
        events,
        created_at: broker.clock.now(),
        disabled_at: None,
        disabled_reason: None,
    };
    let secret = signature::new_secret();
    broker.store.create_webhook(&webhook, &secret, act).await?;
    Ok((webhook, secret))
}

/// The webhooks of a workspace, the oldest first.
pub async fn list(broker: &Broker, tenant: &Tenant) -> Result<Vec<Webhook>, BrokerError> {
    Ok(broker.store.webhooks(tenant).await?)
}

/// A webhook of a workspace.
///
/// # Errors
/// [`BrokerError::NotFound`].
pub async fn find(broker: &Broker, tenant: &Tenant, id: Uuid) -> Result<Webhook, BrokerError> {
    broker.store.webhook(tenant, id).await?.ok_or(BrokerError::NotFound("webhook"))
}

/// Removes a webhook with all of its deliveries, and returns whether there was one.
pub async fn remove(broker: &Broker, webhook: &Webhook, act: &Act) -> Result<bool, BrokerError> {
    Ok(broker.store.delete_webhook(webhook, act, broker.clock.now()).await?)
}

/// Lets a webhook be sent events again after its server answered that it is gone.
pub async fn enable(broker: &Broker, webhook: &Webhook, act: &Act) -> Result<bool, BrokerError> {
    Ok(broker.store.enable_webhook(webhook, act, broker.clock.now()).await?)
}

/// The latest deliveries of a webhook, the newest first; only those in this state.
pub async fn deliveries(
    broker: &Broker,
    webhook: &Webhook,
    state: Option<DeliveryState>,
) -> Result<Vec<DeliverySummary>, BrokerError> {
    Ok(broker.store.deliveries(webhook, state, i64::try_from(LISTED_MAX).unwrap_or(i64::MAX)).await?)
}

/// Makes finished deliveries due again, and counts them. What waits for another attempt is due too.
pub async fn replay(broker: &Broker, webhook: &Webhook, replayed: &Replayed) -> Result<u64, BrokerError> {
    Ok(broker.store.replay_deliveries(webhook, replayed, broker.clock.now()).await?)
}

/// What was reported of a workspace after the event with that number, oldest first.
pub async fn events_after(
    broker: &Broker,
    tenant: &Tenant,
    after: i64,
    limit: i64,
) -> Result<Vec<ReportedEvent>, BrokerError> {
    Ok(broker.store.reported_events_after(tenant, after, limit).await?)
}

/// The number of the last event that was reported of a workspace; 0 if nothing was.
pub async fn last_event(broker: &Broker, tenant: &Tenant) -> Result<i64, BrokerError> {
    Ok(broker.store.last_reported_event(tenant).await?)
}

/// Sends a message that says nothing but that it is a test, now and once.
///
/// # Errors
/// [`SendError`] when there is no answer. An answer of any status is not an error.
pub async fn test(broker: &Broker, webhook: &Webhook) -> Result<Answer, SendError> {
    let now = broker.clock.now();
    let secret = broker.store.webhook_secret(webhook).await?.ok_or(SendError::Removed)?;
    send(broker, webhook, &secret, Uuid::now_v7(), &test_payload(webhook, now), now).await
}

/// Sends one message, signed. The guard checks the address, a redirect is not followed, and the time and the size of the
/// answer are limited.
pub(in crate::broker) async fn send(
    broker: &Broker,
    webhook: &Webhook,
    secret: &SecretString,
    delivery: Uuid,
    payload: &str,
    now: DateTime<Utc>,
) -> Result<Answer, SendError> {
    let url = Url::parse(&webhook.url).map_err(|_| SendError::Url)?;
    let message_id = signature::message_id(delivery);
    let headers = signature::headers(secret, &message_id, now, payload).ok_or(SendError::Secret)?;
    let mut request = broker.outbound.post(&url)?.header(CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    Ok(broker.outbound.send(Endpoint::Webhook, request.body(payload.to_owned()), now).await?)
}
