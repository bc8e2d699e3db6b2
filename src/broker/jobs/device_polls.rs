//! Polls for people who consent on another device, whether or not anybody waits for them.
//! Owns: how many polls run at a time in this process.
//! Must not know: what the responses mean.

use std::{sync::Arc, time::Duration};

use crate::broker::{
    consent::device::{poll, poll_lease},
    context::Broker,
    error::BrokerError,
    limits::LimitKey,
};

/// How often a server looks for requests whose poll is due.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Polls for every request that is due, on whichever replica, each in a task of its own: a slow provider delays nobody
/// else.
pub async fn run_due(broker: &Arc<Broker>) -> Result<(), BrokerError> {
    let now = broker.clock.now();
    let free = i64::try_from(broker.limits.free(&LimitKey::DevicePoll)).unwrap_or(0);
    for request in broker.store.take_due_polls(now, now + poll_lease(broker), free).await? {
        let permit = broker.limits.begin(LimitKey::DevicePoll);
        let broker = Arc::clone(broker);
        broker.tasks.clone().spawn(async move {
            let id = request.id;
            if let Err(error) = poll(&broker, request).await {
                tracing::warn!(event = "device.poll_failed", auth_id = %id, %error, "device poll failed; will retry");
            }
            drop(permit);
        });
    }
    Ok(())
}
