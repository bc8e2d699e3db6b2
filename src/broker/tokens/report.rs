//! Reports: an API refused a token that should be valid.
//! Owns: when a report leads to a refresh, and when it does not.
//! Must not know: the shape of the report, or how it is answered.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    explain::REPORTED,
    fresh::{Usable, ensure_fresh},
    refresh::{Refreshed, refresh},
};
use crate::{
    broker::{audit::record, clients::health::mark_client, context::Broker, error::BrokerError, rules::Fault},
    model::{
        actor::Act,
        audit::{Event, EventName},
        key_limits::Reach,
        token::{State, Token},
    },
    telemetry::metrics::Trigger,
};

/// A token that was issued less than this ago is not refreshed again: the report is about the one before, or a refresh
/// does not help. An API that refuses everybody for a while must not cause a storm of refreshes.
const JUST_ISSUED: TimeDelta = TimeDelta::seconds(30);

/// Which grants without a refresh token a reporter may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayEnd {
    /// Any of the workspace, as an administrator may delete any.
    Any,
    /// Only that of an access token which the report contains: the reporter could get that token, and the grant is useless to
    /// everybody if the API rejects it. An id alone proves nothing; lists and logs contain it.
    OfRejectedToken,
}

/// What a report led to.
#[derive(Debug)]
pub enum Reported {
    /// The token was refreshed.
    Refreshed(Box<Token>),
    /// It had been replaced before; this is the current one.
    ReplacedBefore(Box<Token>),
    /// This one, the current one, was issued a moment ago. Whether the report is about it or about the one before may be unknown.
    JustIssued(Box<Token>),
    /// Only a new consent helps.
    ConsentNeeded,
}

/// Handles the report that an API refused the access token of the token `id`: refreshes it, once. `refused` is that
/// access token, if the agent sent it; if it is not the current one, the current one is returned instead. A grant that
/// cannot be refreshed ends, if the reporter may end it.
///
/// # Errors
/// [`BrokerError::NotFound`]; [`BrokerError::Provider`] when the provider fails, and the grant is kept.
pub async fn report_invalid(
    broker: &Arc<Broker>,
    reach: Reach<'_>,
    id: Uuid,
    refused: Option<&SecretString>,
    may_end: MayEnd,
    act: &Act,
) -> Result<Reported, BrokerError> {
    let token = broker.store.token_within(reach, id).await?.ok_or(BrokerError::NotFound("token"))?;
    // What ended by itself is reported by a job, and must not be reported twice.
    let has_ended = !token.has_refresh_token && token.expires_at.is_some_and(|at| at <= broker.clock.now());
    if token.state == State::ConsentNeeded || has_ended {
        return Ok(Reported::ConsentNeeded);
    }
    let is_old = refused.is_some_and(|refused| digest(refused) != digest(&token.access_token));
    let just_issued = token.generation > 1 && token.obtained_at + JUST_ISSUED > broker.clock.now();
    if is_old {
        return current(broker, token, Reported::ReplacedBefore, act).await;
    }
    if just_issued {
        return current(broker, token, Reported::JustIssued, act).await;
    }
    if !token.has_refresh_token && refused.is_none() && may_end == MayEnd::OfRejectedToken {
        let problem = "Field required: this token cannot be refreshed, so the report ends its grant. With the role agent, \
                       send the access token that the API rejected";
        return Err(BrokerError::Faults(vec![Fault::of("token", ("missing", problem.into()))]));
    }
    record(broker, Event::of_token(EventName::TokenReportedInvalid, &token, act, broker.clock.now())).await?;
    tracing::info!(event = "token.reported_invalid", token_id = %token.id, provider = token.provider_id, "an agent reported that an API rejected a token");
    if token.has_refresh_token {
        return match refresh(broker, token, Trigger::Reported, act).await? {
            Refreshed::Fresh(token) => Ok(Reported::Refreshed(token)),
            Refreshed::ConsentNeeded => Ok(Reported::ConsentNeeded),
            Refreshed::Failed(failure) => Err(BrokerError::Provider(failure)),
        };
    }
    if broker.store.end_grant(&token, REPORTED, act, broker.clock.now()).await? {
        if token.is_static_key() {
            mark_workspace_key(broker, &token).await?;
        }
        return Ok(Reported::ConsentNeeded);
    }
    match broker.store.token_within(reach, id).await? {
        Some(token) => current(broker, token, Reported::ReplacedBefore, act).await,
        None => Ok(Reported::ConsentNeeded),
    }
}

/// Nobody can enter a key again that the whole workspace shares: the provider is marked, so that its operator sees it.
async fn mark_workspace_key(broker: &Broker, token: &Token) -> Result<(), BrokerError> {
    let provider = broker.store.provider(&token.subject.tenant, &token.provider_id).await?;
    if let Some(provider) = provider.filter(|provider| provider.client.secret.is_some()) {
        mark_client(broker, &provider, Some(REPORTED)).await;
    }
    Ok(())
}

/// What is handed out without a refresh for the report, and why: `reported`.
async fn current(
    broker: &Arc<Broker>,
    token: Token,
    reported: fn(Box<Token>) -> Reported,
    act: &Act,
) -> Result<Reported, BrokerError> {
    Ok(match ensure_fresh(broker, &token, None, act).await? {
        Usable::Current => reported(Box::new(token)),
        // It was due anyway.
        Usable::Refreshed(token) => Reported::Refreshed(token),
        Usable::ConsentNeeded => Reported::ConsentNeeded,
    })
}

/// Compared instead of the secrets, so that the time it takes reveals nothing of them.
fn digest(secret: &SecretString) -> [u8; 32] {
    Sha256::digest(secret.expose_secret()).into()
}
