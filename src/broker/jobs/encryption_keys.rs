//! Which encryption keys the running servers have: a rotation must know it before each of its steps.
//! Owns: how often a server says so, and how long that counts.
//! Must not know: the steps of a rotation.

use std::time::Duration;

use crate::broker::{context::Broker, error::BrokerError};

/// How often a server says which keys it has.
pub(super) const EVERY: Duration = Duration::from_secs(20);
/// How long that counts. A server that was killed seems to run until then.
const COUNTS_FOR: Duration = Duration::from_mins(1);

/// Says that this server runs, and with which keys.
pub async fn announce(broker: &Broker) -> Result<(), BrokerError> {
    if let Some(key_id) = broker.store.announce_keys(COUNTS_FOR, broker.clock.now()).await? {
        tracing::warn!(
            event = "encryption_key.worn",
            key_id,
            "an AES-256-GCM key has sealed half of the values that it may; rotate to a new key"
        );
    }
    Ok(())
}

/// How many servers run on this database; one that was killed counts for a minute.
pub async fn running(broker: &Broker) -> Result<usize, BrokerError> {
    Ok(broker.store.keys_of_servers().await?.len())
}

/// Says that this server no longer runs. If that fails, the last announcement ends in a moment.
pub async fn end(broker: &Broker) {
    let _ = broker.store.end_announcement().await;
}
