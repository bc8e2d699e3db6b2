//! Webhook deliveries: what the outbox holds is sent, until it is delivered or given up.
//! Owns: when another attempt is made, how many there are, and how many run at a time.
//! Must not know: how a message is signed and sent.
//!
//! Each process has at most one task for a webhook, so that one that is slow delays no other. A task takes a few deliveries
//! by a lease, of each token only the oldest, and sends them at the same time; nothing is held meanwhile.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;

use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        limits::LimitKey,
        webhooks::{send, signature},
    },
    model::webhook::Webhook,
    outbound::client::Answer,
    store::{
        error::StoreError,
        webhooks::queue::{Delivery, DeliveryFailure},
    },
    telemetry::metrics::{METRICS, WebhookOutcome},
};

/// How often a server looks for due deliveries. Those that it wrote itself are sent at once.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// How many deliveries of one webhook are sent at the same time.
const PARALLEL: u16 = 8;
/// An attempt whose process died is repeated so long after the longest time that it can take.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// The waits after each failed attempt, in seconds: some three days in all.
const WAITS: [u64; 12] =
    [5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 6 * 3600, 12 * 3600, 12 * 3600, 12 * 3600, 18 * 3600];
/// The answer that a webhook is gone for good (RFC 9110 section 15.5.11).
const GONE: u16 = 410;

/// Begins to send what is due, for each webhook in a task of its own, which is returned. A webhook whose task still runs is
/// left to it.
pub async fn begin_due(broker: &Arc<Broker>) -> Result<Vec<JoinHandle<()>>, BrokerError> {
    let mut begun = Vec::new();
    for webhook in broker.store.webhooks_with_due(broker.clock.now()).await? {
        let Some(permit) = broker.limits.begin(LimitKey::Webhook(webhook.id)) else { continue };
        let Some(slot) = broker.limits.begin(LimitKey::Webhooks) else { break };
        let broker = Arc::clone(broker);
        begun.push(broker.tasks.clone().spawn(async move {
            if let Err(error) = deliver(&broker, &webhook).await {
                tracing::warn!(
                    event = "webhook.store_failed", webhook = %webhook.id, %error,
                    "the database failed during a delivery to a webhook; will retry"
                );
            }
            drop((permit, slot));
        }));
    }
    Ok(begun)
}

/// Sends what is due to a webhook until nothing is left, or the process stops.
async fn deliver(broker: &Broker, webhook: &Webhook) -> Result<(), StoreError> {
    let lease = Duration::from_secs(broker.settings.provider_timeout_seconds) + LEASE_MARGIN;
    while !broker.shutdown.is_cancelled() {
        let taken = broker.store.take_deliveries(webhook, lease, broker.clock.now(), PARALLEL.into()).await?;
        if taken.is_empty() {
            break;
        }
        let attempts = stream::iter(taken).map(|delivery| attempt(broker, webhook, delivery));
        let results: Vec<Result<bool, StoreError>> = attempts.buffer_unordered(PARALLEL.into()).collect().await;
        let are_wanted = results.into_iter().collect::<Result<Vec<bool>, StoreError>>()?;
        if are_wanted.contains(&false) {
            break;
        }
    }
    Ok(())
}

/// One attempt. `false`: the webhook is to be sent nothing more.
async fn attempt(broker: &Broker, webhook: &Webhook, delivery: Delivery) -> Result<bool, StoreError> {
    // Read for each attempt, because it may have been removed, or the secret resealed.
    let sent = match broker.store.webhook_secret(webhook).await {
        Ok(Some(secret)) => send(broker, webhook, &secret, delivery.id, &delivery.payload, broker.clock.now()).await,
        Ok(None) => return Ok(false),
        Err(error @ StoreError::NotOpened(_)) => Err(error.into()),
        Err(error) => return Err(error),
    };
    match sent {
        Ok(Answer { status: status @ 200..300, .. }) => {
            broker.store.keep_delivered(webhook, &delivery, status, broker.clock.now()).await?;
            count(WebhookOutcome::Delivered);
            Ok(true)
        }
        Ok(Answer { status: GONE, .. }) => {
            broker.store.disable_webhook(webhook, "410 gone", broker.clock.now()).await?;
            count(WebhookOutcome::Gone);
            tracing::warn!(
                event = "webhook.disabled", webhook = %webhook.id,
                "a webhook answered that it is gone (410); it is sent nothing more until it is enabled again"
            );
            Ok(false)
        }
        Ok(Answer { status, retry_after, .. }) => {
            let failure = DeliveryFailure { status: Some(status), error: format!("the response was {status}") };
            fail(broker, webhook, &delivery, failure, retry_after).await
        }
        Err(error) => {
            let failure = DeliveryFailure { status: None, error: error.in_words() };
            fail(broker, webhook, &delivery, failure, None).await
        }
    }
}

/// Puts a delivery off until the next attempt, or gives it up.
async fn fail(
    broker: &Broker,
    webhook: &Webhook,
    delivery: &Delivery,
    failure: DeliveryFailure,
    retry_after: Option<Duration>,
) -> Result<bool, StoreError> {
    let (now, message_id) = (broker.clock.now(), signature::message_id(delivery.id));
    let wait = wait_after(delivery.attempts).map(|wait| wait.max(retry_after.unwrap_or_default()));
    let next_at = wait.map(|wait| now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1)));
    broker.store.keep_delivery_failure(webhook, delivery, &failure, next_at, now).await?;
    let (webhook, event_type, error) = (webhook.id, &delivery.event, failure.error);
    if next_at.is_some() {
        count(WebhookOutcome::Failed);
        tracing::info!(
            event = "webhook.delivery_failed", %webhook, message_id, event_type, attempts = delivery.attempts, error,
            "an event could not be delivered to a webhook; will retry"
        );
    } else {
        count(WebhookOutcome::Dead);
        tracing::error!(
            event = "webhook.delivery_given_up", %webhook, message_id, event_type, error,
            "an event could not be delivered to a webhook and is given up; `agent-auth webhook replay` sends it again"
        );
    }
    Ok(true)
}

/// The wait after so many failed attempts, up to a tenth longer at random; `None` after the last one.
fn wait_after(attempts: i64) -> Option<Duration> {
    let wait = WAITS.get(usize::try_from(attempts - 1).unwrap_or(0))?;
    Some(Duration::from_secs(*wait).mul_f64(rand::random_range(1.0..1.1)))
}

fn count(outcome: WebhookOutcome) {
    METRICS.webhooks.of(outcome).increment();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_made_for_some_three_days() {
        let waits: Vec<Duration> = (1..).map_while(wait_after).collect();
        assert_eq!(waits.len(), WAITS.len());
        let sum = waits.iter().sum::<Duration>().as_secs_f64() / 86_400.0;
        assert!((3.0..3.5).contains(&sum), "{sum} days");
    }
}
