//! Probing: what a provider's endpoints answer to requests that can do no harm.
//! Owns: the made-up code and tokens, and what a response to them tells of a provider's record.
//! Must not know: where the record is kept, or how findings are shown.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use url::Url;

use super::{
    authorize::begin,
    revocation::{Granted, revoke},
    token::{Grant, request_token},
};
use crate::{
    model::{
        client::Client,
        failure::{FailureKind, TokenFailure},
        provider::Provider,
        quirks::{AuthorizationQuirks, Quirks, Revocation},
    },
    outbound::client::{CallError, Outbound},
    telemetry::metrics::Endpoint,
};

/// Neither a code nor a token of anybody.
pub(super) const MADE_UP: &str = "agent-auth-checks-this-provider-with-a-made-up-value";
/// A verifier as long as RFC 7636 section 4.1 wants it.
pub(super) const VERIFIER: &str = "agent-auth-checks-this-provider-with-a-made-up-verifier";

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which thing.
    pub of: &'static str,
    /// What was found, in a sentence.
    pub said: String,
    /// How that is.
    pub verdict: Verdict,
}

/// How a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Right,
    /// It cannot be seen from outside.
    Unclear,
    /// Something has to be corrected.
    Wrong,
}

pub(super) fn finding(of: &'static str, verdict: Verdict, said: impl Into<String>) -> Finding {
    Finding { of, said: said.into(), verdict }
}

/// Asks the authorization endpoint as a browser would, without following it anywhere.
pub async fn authorization(
    outbound: &Outbound,
    provider: &Provider,
    quirks: &AuthorizationQuirks,
    redirect_uri: &str,
    now: DateTime<Utc>,
) -> Finding {
    let of = "authorization endpoint";
    let Ok(begun) = begin(provider, quirks, redirect_uri, &[], None) else {
        return finding(of, Verdict::Wrong, "auth_url is not a URL");
    };
    match status(outbound, Endpoint::Authorization, &begun.url, now).await {
        Ok(status @ (404 | 405 | 410)) => {
            finding(of, Verdict::Wrong, format!("status {status}: nothing is there; check auth_url"))
        }
        Ok(status @ (429 | 500..)) => {
            finding(of, Verdict::Unclear, format!("status {status}: the provider is in trouble; try again later"))
        }
        Ok(status @ 400..) => finding(
            of,
            Verdict::Unclear,
            format!("status {status}: it is there; open it in a browser to see what it wants"),
        ),
        Ok(status) => finding(of, Verdict::Right, format!("answers (status {status})")),
        Err(error) => finding(of, Verdict::Wrong, format!("{error} ({})", place(&begun.url))),
    }
}

/// Brings a code that was never given to the token endpoint.
pub async fn token(
    outbound: &Outbound,
    client: &Client,
    quirks: &Quirks,
    redirect_uri: &str,
    pkce: bool,
    now: DateTime<Utc>,
) -> Finding {
    let (code, verifier) = (SecretString::from(MADE_UP), SecretString::from(VERIFIER));
    let grant = Grant::Code { code: &code, redirect_uri, code_verifier: pkce.then_some(&verifier) };
    refused("token endpoint", request_token(outbound, client, quirks, grant, now).await.err(), quirks)
}

/// Asks for a token as our client, which no person has to consent to.
pub async fn client_credentials(
    outbound: &Outbound,
    client: &Client,
    quirks: &Quirks,
    scopes: &[String],
    now: DateTime<Utc>,
) -> Finding {
    let of = "token endpoint";
    match request_token(outbound, client, quirks, Grant::ClientCredentials { scopes }, now).await {
        Ok(_) => finding(of, Verdict::Right, "gives this client a token"),
        Err(failure) => finding(of, Verdict::Wrong, format!("gives this client no token: {failure}")),
    }
}

/// Brings a refresh token that was never given to where refresh tokens go.
pub async fn refresh(outbound: &Outbound, client: &Client, quirks: &Quirks, now: DateTime<Utc>) -> Finding {
    let token = SecretString::from(MADE_UP);
    let failure = request_token(outbound, client, quirks, Grant::Refresh(&token), now).await.err();
    refused("refresh endpoint", failure, quirks)
}

/// Has a token revoked that was never given.
pub async fn revocation(
    outbound: &Outbound,
    client: &Client,
    url: &str,
    revocation: &Revocation,
    now: DateTime<Utc>,
) -> Finding {
    let of = "revocation endpoint";
    let token = SecretString::from(MADE_UP);
    let granted = Granted { access_token: &token, refresh_token: None, account_id: Some(MADE_UP) };
    match revoke(outbound, client, url, revocation, granted, now).await {
        Ok(_) => finding(of, Verdict::Right, "answers"),
        Err(failure) => match failure.status {
            Some(401) => finding(of, Verdict::Wrong, "status 401: it does not take our client"),
            None | Some(404 | 405 | 410 | 500..) => {
                finding(of, Verdict::Wrong, format!("{failure}; check revocation_url"))
            }
            Some(_) => finding(of, Verdict::Unclear, format!("refused a made-up token: {failure}")),
        },
    }
}

/// Asks whose token it is, without one.
pub async fn userinfo(outbound: &Outbound, url: &str, now: DateTime<Utc>) -> Finding {
    let of = "userinfo endpoint";
    let Ok(url) = Url::parse(url) else { return finding(of, Verdict::Wrong, "userinfo_url is not a URL") };
    match status(outbound, Endpoint::Userinfo, &url, now).await {
        Ok(status @ (404 | 405 | 410 | 500..)) => {
            finding(of, Verdict::Wrong, format!("status {status}; check userinfo_url"))
        }
        Ok(status) => finding(of, Verdict::Right, format!("answers (status {status})")),
        Err(error) => finding(of, Verdict::Wrong, format!("{error} ({})", place(&url))),
    }
}

/// What a refusal of the made-up tells. `None`: it was no refusal.
fn refused(of: &'static str, failure: Option<TokenFailure>, quirks: &Quirks) -> Finding {
    let Some(failure) = failure else {
        return finding(of, Verdict::Wrong, "gave a token for a made-up value: it is no provider's token endpoint");
    };
    let code = &failure.error;
    match failure.kind {
        _ if code == "invalid_grant" || quirks.errors.unknown_grant.contains(code) => finding(
            of,
            Verdict::Right,
            format!("refused a made-up value with {code}: the client authentication is right"),
        ),
        FailureKind::MisconfiguredClient => {
            let check = "check client_id, client_secret and token_endpoint_auth_method";
            finding(of, Verdict::Wrong, format!("does not take our client ({failure}): {check}"))
        }
        _ if code.contains("redirect_uri") => {
            finding(of, Verdict::Wrong, format!("{failure}: the redirect URI below is not registered there"))
        }
        FailureKind::DeadGrant | FailureKind::Refused => {
            let unclear = "it is there, but whether it takes our client only a consent shows";
            finding(of, Verdict::Unclear, format!("refused a made-up value with {failure}: {unclear}"))
        }
        FailureKind::RateLimited | FailureKind::TimedOut => {
            finding(of, Verdict::Unclear, format!("{failure}; try again later"))
        }
        FailureKind::Unavailable | FailureKind::Unreadable | FailureKind::AddressRefused => {
            finding(of, Verdict::Wrong, failure.to_string())
        }
    }
}

async fn status(outbound: &Outbound, endpoint: Endpoint, url: &Url, now: DateTime<Utc>) -> Result<u16, CallError> {
    match outbound.send(endpoint, outbound.get(url)?, now).await {
        // A page for people may be large; that it came is all we want to know.
        Err(CallError::TooLarge) => Ok(200),
        answered => Ok(answered?.status),
    }
}

/// A URL without its query, which holds a state.
fn place(url: &Url) -> &str {
    &url[..url::Position::AfterPath]
}
