//! Waiting for a person: sleeping until the authorization request ends, or the time is over.
//! Owns: what a waiter gets.
//! Must not know: what wakes it. While it sleeps it holds no connection.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use super::request::{EXCHANGE_MAX, interrupted_at, is_interrupted};
use crate::{
    broker::{
        context::Broker,
        error::BrokerError,
        sights::Seen,
        tokens::fresh::{Usable, ensure_fresh},
    },
    model::{actor::Act, authorization_request::Status, key_limits::Reach, token::Token},
    store::error::StoreError,
    telemetry::metrics::METRICS,
};

/// How soon a waiter looks again after the database could not be reached.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a waiter gets.
#[derive(Debug)]
pub enum Waited {
    /// There is a token.
    Completed(Box<Token>),
    /// Not yet, and the time-out was zero.
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

/// Waits until the authorization request `id` has ended, for at most `timeout`.
pub async fn wait(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    id: Uuid,
    timeout: Duration,
    act: &Act,
) -> Result<Waited, BrokerError> {
    let deadline = Instant::now() + timeout;
    let waiter = broker.notifications.register(id);
    let _counted = METRICS.waiters.count();
    loop {
        let mut woken = std::pin::pin!(waiter.notify.notified());
        woken.as_mut().enable();
        // Boxed: ten thousand sleeping waiters should not each carry the state of a database query.
        let look_again_in = match Box::pin(look(broker, reach, id, act)).await {
            Ok(Look::Ended(waited)) => return Ok(waited),
            Ok(Look::Open(expires_in)) => expires_in,
            // A waiter has time: after a database that could not be reached for a moment it looks again.
            Err(BrokerError::Unavailable(..)) if Instant::now() + LOOK_AGAIN < deadline => LOOK_AGAIN,
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
            () = broker.shutdown.cancelled() => return Ok(Waited::Timeout),
        }
    }
}

enum Look {
    Ended(Waited),
    Open(Duration),
}

async fn see(broker: &Broker, reach: Reach<'_>, id: Uuid) -> Result<Option<Seen>, StoreError> {
    let Some(request) = broker.store.authorization_request(reach, id).await? else { return Ok(None) };
    let token = match (request.status, request.token) {
        (Status::Completed, Some(token)) => broker.store.token(reach.tenant, token).await?,
        _ => None,
    };
    Ok(Some(Seen { request, token }))
}

async fn look(broker: &Arc<Broker>, reach: Reach<'_>, id: Uuid, act: &Act) -> Result<Look, BrokerError> {
    let nothing = |error, error_description| Look::Ended(Waited::NotFound { error, error_description });
    let seen = match reach.limits {
        None => {
            let see = || async { Arc::new(see(broker, reach, id).await) };
            broker.sights.get((reach.tenant.clone(), id), see).await
        }
        // What a limited key reaches is in the statement.
        Some(_) => Arc::new(see(broker, reach, id).await),
    };
    let now = broker.clock.now();
    let seen = seen.as_ref().as_ref().map_err(Clone::clone)?.as_ref().filter(|seen| seen.request.expires_at > now);
    let Some(Seen { request, token }) = seen else { return Ok(nothing(None, None)) };
    if is_interrupted(request, now) {
        let description = "the server stopped while the code was exchanged; authenticate again";
        return Ok(nothing(Some("server_error".into()), Some(description.into())));
    }
    match (request.status, token) {
        (Status::Pending | Status::Exchanging, _) => {
            // The end of a server in the middle of an exchange wakes nobody. The request is looked at while the exchange
            // may still run, and at the moment from which on it counts as interrupted.
            let next =
                interrupted_at(request).unwrap_or_else(|| now + EXCHANGE_MAX * rand::random_range(600..900) / 1000);
            // A moment longer, so that the look after it finds the request interrupted or expired.
            let left = (next.min(request.expires_at) - now).to_std().unwrap_or_default();
            Ok(Look::Open(left + Duration::from_millis(10)))
        }
        (Status::Completed, Some(token)) => {
            let token = match ensure_fresh(broker, token, None, act).await? {
                Usable::Current => Box::new(token.clone()),
                Usable::Refreshed(token) => token,
                Usable::ConsentNeeded => {
                    let description = "the token that this consent led to has expired or is dead, and cannot be refreshed; \
                                       authenticate again";
                    return Ok(nothing(Some("token_expired".into()), Some(description.into())));
                }
            };
            Ok(Look::Ended(Waited::Completed(token)))
        }
        (Status::Completed, None) => Ok(nothing(None, None)),
        (Status::Failed, _) => Ok(nothing(request.error.clone(), request.error_description.clone())),
    }
}
