//! Consent on another device (RFC 8628): beginning it, and asking the provider until the person has decided.
//! Owns: how often the provider is asked, and what its answers mean for the request.
//! Must not know: how the codes are shown, or who waits.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{
    authorization::{Begin, DeviceCodes, Pending, new_request, no_state},
    exchange::{client_of, conclude, granted},
};
use crate::{
    app::App,
    broker::{
        BrokerError,
        clients::redirect_uri::token_client,
        providers::mcp::{is_forgotten, renewed},
        tokens::refresh::note_client,
    },
    oauth::{
        device::{DeviceAuthorization, DeviceRequest, authorize_device},
        token::{FailureKind, Grant as TokenGrant, TokenFailure, request_token},
    },
    store::{
        StoreError,
        authorization_requests::row::{AuthorizationRequest, Polling},
        providers::Provider,
    },
};

/// How often a server looks for requests whose time to ask has come.
pub const EVERY: Duration = Duration::from_secs(1);
/// A server that died while it asked is succeeded so much later than a question, and keeping its answer, can take.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// How much longer to wait after `slow_down` (RFC 8628 section 3.5).
const SLOWER_SECONDS: i64 = 5;
/// The longest wait after a provider that fails again and again.
const SECONDS_MAX: i64 = 60;
/// How many questions a process has under way.
pub const AT_ONCE: usize = 64;

/// Begins the authorization of a device: keeps the request, and gives what the person is told.
///
/// # Errors
/// [`BrokerError::Invalid`] where the provider does not do that; [`BrokerError::NoToken`] when it gives no codes.
pub async fn begin_device(app: &App, provider: &Provider, ask: Begin) -> Result<Pending, BrokerError> {
    let Some(url) = &provider.options.device_authorization_url else {
        let problem = "this provider has no device_authorization_url; set it with PATCH if the provider has one";
        return Err(BrokerError::Invalid { field: "grant", problem: problem.into() });
    };
    let anew;
    let mut provider = provider;
    let mut begun = question(app, provider, url, &ask.scopes).await;
    if begun.as_ref().is_err_and(|failure| is_forgotten(provider, failure)) {
        anew = renewed(app, provider.clone()).await;
        provider = &anew;
        begun = question(app, provider, url, &ask.scopes).await;
    }
    note_client(app, provider, begun.as_ref().err()).await;
    match begun {
        Ok(begun) => pending(app, provider, ask, begun).await,
        Err(failure) => Err(BrokerError::NoToken(failure)),
    }
}

async fn question(
    app: &App,
    provider: &Provider,
    device_authorization_url: &str,
    scopes: &[String],
) -> Result<DeviceAuthorization, TokenFailure> {
    let request = DeviceRequest {
        device_authorization_url,
        client: &token_client(provider),
        auth_url: &provider.auth_url,
        provider_type: provider.provider_type.as_deref(),
        scopes,
    };
    authorize_device(&app.outbound, &request, app.clock.now()).await
}

/// Keeps the request before anybody is told of it.
async fn pending(
    app: &App,
    provider: &Provider,
    ask: Begin,
    begun: DeviceAuthorization,
) -> Result<Pending, BrokerError> {
    let mut request = new_request(app, provider, ask);
    let DeviceAuthorization {
        device_code,
        user_code,
        verification_uri,
        verification_uri_complete,
        expires_in,
        interval,
    } = begun;
    let now = app.clock.now();
    request.device = Some(Polling { device_code, seconds: i64::try_from(interval.as_secs()).unwrap_or(SECONDS_MAX) });
    request.expires_at = now + TimeDelta::from_std(expires_in).unwrap_or(TimeDelta::minutes(10));
    app.store.create_authorization_request(&request, no_state(), now).await?;
    Ok(Pending {
        url: verification_uri_complete.clone().unwrap_or_else(|| verification_uri.clone()),
        id: request.id,
        device: Some(DeviceCodes { user_code, verification_uri, verification_uri_complete, expires_in }),
    })
}

/// Asks for every request whose time has come, on whichever replica, each on a task of its own: a provider that is slow
/// keeps nobody else waiting.
pub async fn ask_due(app: &Arc<App>) -> Result<(), BrokerError> {
    let now = app.clock.now();
    let free = i64::try_from(app.device_questions.available_permits()).unwrap_or(0);
    for request in app.store.take_due_polls(now, now + lease(app), free).await? {
        let Ok(permit) = Arc::clone(&app.device_questions).acquire_owned().await else { return Ok(()) };
        let app_of_task = Arc::clone(app);
        app.tasks.spawn(async move {
            let id = request.id;
            if let Err(error) = ask(&app_of_task, request).await {
                tracing::warn!(auth_id = %id, %error, "a device's request was not asked for; it is asked for again later");
            }
            drop(permit);
        });
    }
    Ok(())
}

fn lease(app: &App) -> TimeDelta {
    let lease = Duration::from_secs(app.settings.provider_timeout_seconds) + LEASE_MARGIN;
    TimeDelta::from_std(lease).unwrap_or(TimeDelta::minutes(2))
}

async fn ask(app: &Arc<App>, request: AuthorizationRequest) -> Result<(), BrokerError> {
    let Some(Polling { device_code, seconds }) = &request.device else { return Ok(()) };
    let grant = TokenGrant::Device(device_code);
    let failure = match request_token(&app.outbound, &client_of(&request), grant, app.clock.now()).await {
        Ok(response) => {
            let grant = granted(app, &response, &request.scopes, &request.token_url);
            return conclude(app, &request, Ok(grant)).await.map(drop);
        }
        Err(failure) => failure,
    };
    match ask_again_in(&failure, *seconds) {
        Some(seconds) => postpone(app, &request, seconds).await.map_err(BrokerError::from),
        None => conclude(app, &request, Err(failure)).await.map(drop),
    }
}

/// How many seconds later to ask again; `None` when the answer is the last word (RFC 8628 section 3.5).
fn ask_again_in(failure: &TokenFailure, seconds: i64) -> Option<i64> {
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

async fn postpone(app: &App, request: &AuthorizationRequest, seconds: i64) -> Result<(), StoreError> {
    let now = app.clock.now();
    let at = now.checked_add_signed(TimeDelta::seconds(seconds)).unwrap_or(now + lease(app));
    app.store.postpone_poll(request, seconds, at).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(error: &str, kind: FailureKind, retry_after: Option<u64>) -> Option<i64> {
        let retry_after = retry_after.map(Duration::from_secs);
        ask_again_in(&TokenFailure { kind, error: error.into(), error_description: None, retry_after }, 5)
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
