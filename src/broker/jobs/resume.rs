//! Refreshes that broke off: the server died in the middle, or the provider's answer was lost.
//! Owns: that the old refresh token is brought once more at once, while the provider may still take it.
//! Must not know: how a refresh is done, or when this is run.
//!
//! The lease in the token's row is the journal: it is written before the provider is asked, and taken out when the end
//! is known. A provider that rotates refresh tokens may have given a new one that nobody received. Many take the old
//! one for some seconds more, for exactly this case; so it must not wait until somebody asks for the token again.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use crate::{
    app::App,
    broker::{
        BrokerError,
        tokens::refresh::{Refreshed, refresh},
    },
    store::tokens::{due::Candidate, row::State},
};

/// How often a server looks for them. One look is one read of an index that is nearly always empty.
pub const EVERY: Duration = Duration::from_secs(1);
/// How many one look finds, and how many are refreshed at the same time.
const BATCH: i64 = 100;
const AT_ONCE: usize = 8;

/// Brings to an end what broke off, on whichever replica. Two that find the same are kept apart by its lease.
///
/// # Errors
/// [`BrokerError::Store`]; one refresh that fails is logged and does not stop the others.
pub async fn run_once(app: &Arc<App>) -> Result<(), BrokerError> {
    let broken_off = app.store.refreshes_broken_off(app.clock.now(), BATCH).await?;
    stream::iter(broken_off).for_each_concurrent(AT_ONCE, |candidate| resume(app, candidate)).await;
    Ok(())
}

async fn resume(app: &Arc<App>, candidate: Candidate) {
    let resumed = match app.store.token(&candidate.tenant, candidate.token).await {
        Ok(Some(token)) if token.generation == candidate.generation && token.state == State::Active => {
            Box::pin(refresh(app, token)).await
        }
        // Somebody was faster, or it is gone.
        Ok(_) => return,
        Err(error) => Err(error.into()),
    };
    match resumed {
        Ok(Refreshed::Fresh(_)) => tracing::info!(token_id = %candidate.token, "a refresh that broke off was resumed"),
        // A failure is logged and kept where it happened.
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(token_id = %candidate.token, %error, "a refresh that broke off was not resumed");
        }
    }
}
