//! Keeping a token fresh for a caller.
//! Owns: when a token is handed out as it is, refreshed first, or refreshed in the background.
//! Must not know: which token was chosen, or how a refresh is done.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::refresh::{Refreshed, refresh, refresh_in_background};
use crate::{
    broker::{context::Broker, error::BrokerError},
    model::{
        actor::Act,
        token::{State, Token},
    },
    telemetry::metrics::Trigger,
};

/// A token that is due, but valid for this long, is handed out at once; an agent can still use it.
const STILL_USEFUL: TimeDelta = TimeDelta::seconds(30);

/// What can be handed out.
pub enum Usable {
    /// The token as it was read.
    Current,
    /// The refreshed token.
    Refreshed(Box<Token>),
    /// Nothing: only a new consent helps.
    ConsentNeeded,
}

/// Decides what is handed out for `token`: the token itself while it is fresh, else what a refresh returns. A token that
/// is due but still valid for a while is handed out at once and refreshed in the background; a token that is still valid
/// is handed out even if the refresh fails. `min_ttl` is how long the token has to be valid, if the caller says so.
///
/// # Errors
/// [`BrokerError::Provider`] when the token has expired and the provider fails.
pub async fn ensure_fresh(
    broker: &Arc<Broker>,
    token: &Token,
    min_ttl: Option<TimeDelta>,
    act: &Act,
) -> Result<Usable, BrokerError> {
    let now = broker.clock.now();
    let left = token.expires_at.map(|at| at - now);
    let expired = left.is_some_and(|left| left <= TimeDelta::zero());
    let too_short = is_too_short(token, min_ttl, now);
    let usable = match token.state {
        State::ConsentNeeded => Usable::ConsentNeeded,
        State::Active if is_fresh(token, min_ttl, now) => Usable::Current,
        State::Active if !token.has_refresh_token && expired => Usable::ConsentNeeded,
        State::Active if !token.has_refresh_token => Usable::Current,
        State::Active if !too_short && left.is_some_and(|left| left >= STILL_USEFUL) => {
            refresh_in_background(broker, token.clone(), act.clone());
            Usable::Current
        }
        State::Active => match Box::pin(refresh(broker, token.clone(), Trigger::Request, act)).await {
            Ok(Refreshed::Fresh(token)) => Usable::Refreshed(token),
            Ok(Refreshed::ConsentNeeded) => Usable::ConsentNeeded,
            Ok(Refreshed::Failed(_)) if !expired => Usable::Current,
            Ok(Refreshed::Failed(failure)) => return Err(BrokerError::Provider(failure)),
            // The database can be read, or there would be no token here, but it or its audit log cannot be written; or a secret
            // that the refresh needs cannot be opened.
            Err(error @ (BrokerError::Unavailable(..) | BrokerError::Audit(_) | BrokerError::NotOpened(_)))
                if !expired =>
            {
                tracing::warn!(event = "token.refresh_postponed", token_id = %token.id, %error, "a due token is handed out without a refresh");
                Usable::Current
            }
            Err(error) => return Err(error),
        },
    };
    match &usable {
        Usable::Current => broker.usage.note(token, now),
        Usable::Refreshed(token) => broker.usage.note(token, now),
        Usable::ConsentNeeded => {}
    }
    Ok(usable)
}

/// True when `token` can be handed out as it is: it is alive, not due, and valid for as long as the caller says.
#[must_use]
pub fn is_fresh(token: &Token, min_ttl: Option<TimeDelta>, now: DateTime<Utc>) -> bool {
    let due = token.refresh_due_at.is_some_and(|at| at <= now);
    token.state == State::Active && !due && !is_too_short(token, min_ttl, now)
}

fn is_too_short(token: &Token, min_ttl: Option<TimeDelta>, now: DateTime<Utc>) -> bool {
    token.expires_at.is_some_and(|at| at - now < attainable_ttl(token, min_ttl))
}

/// The requested time, but at most nine tenths of the token's whole life: otherwise a caller that requests more than the
/// provider grants would have the token refreshed at every call.
fn attainable_ttl(token: &Token, requested: Option<TimeDelta>) -> TimeDelta {
    let life = token.expires_at.map_or(TimeDelta::zero(), |at| at - token.obtained_at);
    requested.unwrap_or(TimeDelta::zero()).min(life * 9 / 10)
}
