//! Interrupted refreshes: the server died in the middle, or the provider's response was lost.
//! Owns: that the old refresh token is sent once more at once, while the provider may still accept it.
//! Must not know: how a refresh is done, or when this runs.
//!
//! The lease in the token's row is the journal: it is written before the provider is called, and removed when the result
//! is known. A provider that rotates refresh tokens may have issued a new one that nobody received. Many accept the old
//! one for some seconds more, for exactly this case; so it must not wait until somebody requests the token again.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        tokens::refresh::{Refreshed, refresh_candidate},
    },
    store::tokens::due::Candidate,
    telemetry::metrics::Trigger,
};

/// How often a server looks for them. One look is one read of an index that is nearly always empty.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// How many one look finds, and how many are refreshed at the same time.
const BATCH: i64 = 100;
const AT_ONCE: usize = 8;

/// Finishes interrupted refreshes, on whichever replica. The lease keeps apart two replicas that find the same one. One
/// refresh that fails is logged and does not stop the others.
pub async fn run_once(broker: &Arc<Broker>) -> Result<(), BrokerError> {
    let interrupted = broker.store.interrupted_refreshes(broker.clock.now(), BATCH).await?;
    stream::iter(interrupted).for_each_concurrent(AT_ONCE, |candidate| resume(broker, candidate)).await;
    Ok(())
}

async fn resume(broker: &Arc<Broker>, candidate: Candidate) {
    match refresh_candidate(broker, &candidate, Trigger::Resumed).await {
        Ok(Some(Refreshed::Fresh(_))) => {
            tracing::info!(event = "token.refresh_resumed", token_id = %candidate.token, "an interrupted refresh was resumed");
        }
        // Another replica was faster, or the token is gone; or it failed, which is logged and stored where it happened.
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(
                event = "token.refresh_not_resumed", token_id = %candidate.token, %error,
                "could not resume an interrupted refresh"
            );
        }
    }
}
