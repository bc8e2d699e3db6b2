//! Consent on another device (RFC 8628): beginning it, and polling until the person has decided.
//! Owns: how often the provider is polled, and what its responses mean for the request.
//! Must not know: how the codes are shown, or who waits.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{
    exchange::finish,
    interaction::connect_url,
    request::{ConsentOptions, DeviceCodes, Pending, new_request, store_request},
    state::{hash, new_state},
};
use crate::{
    broker::{
        clients::{
            health::note_client,
            registration::{client_is_unknown, reregister},
        },
        context::Broker,
        error::BrokerError,
        pending::PendingMax,
        tokens::response::grant_from_response,
    },
    model::{
        actor::Act,
        authorization_request::{AuthorizationRequest, Polling},
        consent::Consent,
        failure::{FailureKind, TokenFailure},
        grant::GrantRequest,
        provider::Provider,
    },
    oauth::{
        device::{DeviceAuthorization, authorize_device},
        token::{Grant as TokenGrant, request_token},
    },
    store::{authorization_requests::row::RequestHashes, error::StoreError},
};

/// After a server died during a poll, another replica takes over so much later than a poll, and storing its result, can
/// take.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// How much longer to wait after `slow_down` (RFC 8628 section 3.5).
const SLOWER_SECONDS: i64 = 5;
/// The longest wait after a provider that fails again and again.
const SECONDS_MAX: i64 = 60;

/// Begins the authorization of a device: stores the request, and returns what the person needs.
///
/// # Errors
/// [`BrokerError::Invalid`] if the provider does not support it; [`BrokerError::NoToken`] if it issues no codes;
/// [`BrokerError::TooManyPending`].
pub async fn begin_device(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    options: ConsentOptions,
    act: &Act,
) -> Result<Pending, BrokerError> {
    // The place comes first: the provider is not asked for a subject that has too many pending requests.
    let now = broker.clock.now();
    let place = broker.notifications.pending.reserve(&wanted.subject, PendingMax::of(&broker.settings), now)?;
    if options.consent == Consent::Verify {
        let problem = "a consent on another device cannot be confirmed by the application, as `verify` needs it";
        return Err(BrokerError::Invalid { field: "grant", problem: problem.into() });
    }
    let Some(url) = &provider.client.options.device_authorization_url else {
        let problem = "this provider has no device_authorization_url; set it with PATCH if the provider has one";
        return Err(BrokerError::Invalid { field: "grant", problem: problem.into() });
    };
    let request = async |provider: &Provider| {
        let authorization = broker.catalog.authorization_quirks_of(provider);
        let quirks = broker.catalog.quirks_of(&provider.client);
        let (outbound, now) = (broker.outbound.of_provider(&provider.provider_id), broker.clock.now());
        authorize_device(&outbound, provider, authorization, quirks, url, &wanted.scopes, now).await
    };
    let reregistered;
    let mut provider = provider;
    let mut begun = request(provider).await;
    if begun.as_ref().is_err_and(|failure| client_is_unknown(provider, failure)) {
        reregistered = reregister(broker, provider.clone(), act).await;
        provider = &reregistered;
        begun = request(provider).await;
    }
    note_client(broker, provider, begun.as_ref().err()).await;
    let begun = begun.map_err(BrokerError::NoToken)?;
    let pending = pending(broker, provider, wanted, options, begun, act).await?;
    place.keep(pending.id, now + TimeDelta::seconds(broker.settings.authorization_ttl_seconds));
    Ok(pending)
}

/// Stores the request before anybody gets its codes.
async fn pending(
    broker: &Broker,
    provider: &Provider,
    wanted: GrantRequest,
    options: ConsentOptions,
    begun: DeviceAuthorization,
    act: &Act,
) -> Result<Pending, BrokerError> {
    let mut request = new_request(broker, provider, wanted, options);
    let DeviceAuthorization {
        device_code,
        user_code,
        verification_uri,
        verification_uri_complete,
        expires_in,
        interval,
    } = begun;
    let now = broker.clock.now();
    let mut url = verification_uri_complete.clone().unwrap_or_else(|| verification_uri.clone());
    let mut hashes = RequestHashes::default();
    let mut shown_code = None;
    if request.consent != Consent::Direct {
        let reference = new_state();
        hashes.reference = Some(hash(&reference));
        shown_code = Some(user_code.clone().into());
        request.authorization_url = Some(std::mem::replace(&mut url, connect_url(broker, &reference)).into());
    }
    let seconds = i64::try_from(interval.as_secs()).unwrap_or(SECONDS_MAX);
    request.device = Some(Polling { device_code, seconds, user_code: shown_code });
    request.expires_at = now + TimeDelta::from_std(expires_in).unwrap_or(TimeDelta::minutes(10));
    store_request(broker, &request, hashes, act).await?;
    Ok(Pending {
        url,
        id: request.id,
        device: Some(DeviceCodes { user_code, verification_uri, verification_uri_complete, expires_in }),
    })
}

/// How long a request that was taken for a poll stays taken.
#[must_use]
pub fn poll_lease(broker: &Broker) -> TimeDelta {
    let lease = Duration::from_secs(broker.settings.provider_timeout_seconds) + LEASE_MARGIN;
    TimeDelta::from_std(lease).unwrap_or(TimeDelta::minutes(2))
}

/// Asks the token endpoint once whether the person has consented, and stores the result or the time of the next poll.
pub async fn poll(broker: &Arc<Broker>, request: AuthorizationRequest) -> Result<(), BrokerError> {
    let Some(Polling { device_code, seconds, .. }) = &request.device else { return Ok(()) };
    let grant = TokenGrant::Device(device_code);
    let quirks = broker.catalog.quirks_of(&request.client);
    let outbound = broker.outbound.of_provider(&request.provider_id);
    let failure = match request_token(&outbound, &request.client, quirks, grant, broker.clock.now()).await {
        Ok(response) => {
            let grant = grant_from_response(broker, &request.client, &response, &request.wanted.scopes);
            return finish(broker, &request, Ok(grant), &Act::service()).await.map(drop);
        }
        Err(failure) => failure,
    };
    match next_poll_in(&failure, *seconds) {
        Some(seconds) => postpone(broker, &request, seconds).await.map_err(BrokerError::from),
        None => finish(broker, &request, Err(failure), &Act::service()).await.map(drop),
    }
}

/// In how many seconds the next poll is due; `None` when the response is final (RFC 8628 section 3.5).
fn next_poll_in(failure: &TokenFailure, seconds: i64) -> Option<i64> {
    match (failure.error.as_str(), failure.kind) {
        ("authorization_pending", _) => Some(seconds),
        ("slow_down", _) => Some(seconds + SLOWER_SECONDS),
        (_, FailureKind::Unavailable | FailureKind::TimedOut | FailureKind::RateLimited | FailureKind::Unreadable) => {
            let asked = failure.retry_after.and_then(|wait| i64::try_from(wait.as_secs()).ok()).unwrap_or(0);
            Some((seconds * 2).min(SECONDS_MAX).max(asked).max(seconds))
        }
        _ => None,
    }
}

async fn postpone(broker: &Broker, request: &AuthorizationRequest, seconds: i64) -> Result<(), StoreError> {
    let now = broker.clock.now();
    let at = now.checked_add_signed(TimeDelta::seconds(seconds)).unwrap_or(now + poll_lease(broker));
    broker.store.postpone_poll(request, seconds, at).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(error: &str, kind: FailureKind, retry_after: Option<u64>) -> Option<i64> {
        let retry_after = retry_after.map(Duration::from_secs);
        next_poll_in(&TokenFailure { kind, error: error.into(), error_description: None, retry_after }, 5)
    }

    #[test]
    fn the_provider_is_asked_again_until_it_has_said_the_last_word() {
        assert_eq!(after("authorization_pending", FailureKind::Refused, None), Some(5));
        assert_eq!(after("slow_down", FailureKind::RateLimited, None), Some(10));
        for (error, kind) in [
            ("access_denied", FailureKind::Refused),
            ("expired_token", FailureKind::Refused),
            ("invalid_grant", FailureKind::DeadGrant),
            ("invalid_client", FailureKind::MisconfiguredClient),
        ] {
            assert_eq!(after(error, kind, None), None, "{error}");
        }
    }

    #[test]
    fn a_provider_that_fails_is_asked_less_often() {
        assert_eq!(after("provider_timeout", FailureKind::TimedOut, None), Some(10));
        assert_eq!(after("provider_unavailable", FailureKind::RateLimited, Some(40)), Some(40));
        assert_eq!(after("provider_unavailable", FailureKind::Unavailable, Some(1)), Some(10));
    }
}
