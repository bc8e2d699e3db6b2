//! Waiting for a person: sleep until the authorization request ends, or the time is over.
//! Owns: what a waiter is told.
//! Must not know: who woke it. While it sleeps it holds no connection.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use super::authorization::is_interrupted;
use crate::{
    app::App,
    broker::{
        BrokerError,
        authenticate::{Live, live},
    },
    store::{StoreError, Tenant, authorization_requests::row::Status, tokens::row::Token},
};

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a waiter is told.
#[derive(Debug)]
pub enum Waited {
    /// There is a token.
    Completed(Box<Token>),
    /// Not yet, and it was only asked.
    Pending,
    /// Not yet, and the time is over.
    Timeout,
    /// There is nothing to wait for: unknown, expired, or ended without a token, and then why.
    NotFound {
        /// The provider's code, or ours.
        error: Option<String>,
        /// The provider's explanation, or ours.
        error_description: Option<String>,
    },
}

/// Waits until the authorization request `id` has ended, for `timeout` at the most.
pub async fn wait(app: &Arc<App>, tenant: &Tenant, id: Uuid, timeout: Duration) -> Result<Waited, BrokerError> {
    let deadline = Instant::now() + timeout;
    let waiter = app.waiters.register(id);
    loop {
        let mut woken = std::pin::pin!(waiter.notify.notified());
        woken.as_mut().enable();
        // Boxed: ten thousand sleeping waiters should not each carry the state of a database query.
        let look_again_in = match Box::pin(look(app, tenant, id)).await {
            Ok(Look::Ended(waited)) => return Ok(waited),
            Ok(Look::Open(expires_in)) => expires_in,
            // A waiter has time: a database that is away for a moment is looked at again.
            Err(BrokerError::Store(StoreError::Unavailable(_))) if Instant::now() + LOOK_AGAIN < deadline => LOOK_AGAIN,
            Err(error) => return Err(error),
        };
        if timeout.is_zero() {
            return Ok(Waited::Pending);
        }
        if Instant::now() >= deadline {
            return Ok(Waited::Timeout);
        }
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep_until(deadline.min(Instant::now() + look_again_in)) => {}
            () = app.shutdown.cancelled() => return Ok(Waited::Timeout),
        }
    }
}

enum Look {
    Ended(Waited),
    Open(Duration),
}

async fn look(app: &Arc<App>, tenant: &Tenant, id: Uuid) -> Result<Look, BrokerError> {
    let nothing = |error, error_description| Look::Ended(Waited::NotFound { error, error_description });
    let now = app.clock.now();
    let request = app.store.authorization_request(tenant, id).await?.filter(|request| request.expires_at > now);
    let Some(request) = request else { return Ok(nothing(None, None)) };
    if is_interrupted(&request, now) {
        let description = "the server stopped while the code was exchanged; authenticate again";
        return Ok(nothing(Some("server_error".into()), Some(description.into())));
    }
    match (request.status, request.token) {
        (Status::Pending | Status::Exchanging, _) => {
            // A moment longer than the request lives, so that the look after it finds it expired.
            let left = (request.expires_at - now).to_std().unwrap_or_default();
            Ok(Look::Open(left + Duration::from_millis(10)))
        }
        (Status::Completed, Some(token)) => {
            let Some(token) = app.store.token(tenant, token).await? else { return Ok(nothing(None, None)) };
            let token = match live(app, &token, None).await? {
                Live::AsRead => Box::new(token),
                Live::Refreshed(token) => token,
                Live::ConsentNeeded => return Ok(nothing(None, None)),
            };
            Ok(Look::Ended(Waited::Completed(token)))
        }
        (Status::Completed, None) => Ok(nothing(None, None)),
        (Status::Failed, _) => Ok(nothing(request.error, request.error_description)),
    }
}
