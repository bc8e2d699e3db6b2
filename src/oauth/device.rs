//! The device authorization endpoint: a person consents on another device than the agent's (RFC 8628).
//! Owns: the request, and the reading of its response.
//! Must not know: when the token endpoint is asked whether the person has consented, or who waits for it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    authorize::requested_scopes,
    lifetime::lifetime,
    redaction::Redaction,
    token::{ask, refusal},
    token_response::{Reading, is_visible, read},
};
use crate::{
    model::{
        failure::{FailureKind, TokenFailure},
        provider::Provider,
        quirks::{AuthorizationQuirks, Quirks},
    },
    outbound::client::{Answer, Outbound},
    telemetry::metrics::Endpoint,
};

/// People type it.
const USER_CODE_MAX: usize = 64;
/// How often the token endpoint may be asked if the provider does not say (RFC 8628 section 3.2), and at the most.
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_mins(5);
/// How long a code lives if the provider does not say, and at the most.
const LIFETIME: Duration = Duration::from_mins(10);
const LIFETIME_MAX: Duration = Duration::from_hours(1);

/// What a person is shown, and what has to be remembered until they have consented.
#[derive(Debug)]
pub struct DeviceAuthorization {
    /// Brought to the token endpoint again and again.
    pub device_code: SecretString,
    /// What the person enters ...
    pub user_code: String,
    /// ... here.
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
    /// How long the codes live.
    pub expires_in: Duration,
    /// How long to wait between two questions.
    pub interval: Duration,
}

#[derive(Deserialize)]
struct Fields {
    device_code: String,
    user_code: String,
    verification_uri: Option<String>,
    verification_uri_complete: Option<String>,
    // Google's name, from before there was an RFC. Some send both.
    verification_url: Option<String>,
    expires_in: Option<Value>,
    interval: Option<Value>,
}

/// Begins the authorization of a device.
pub async fn authorize_device(
    outbound: &Outbound,
    provider: &Provider,
    authorization: &AuthorizationQuirks,
    quirks: &Quirks,
    device_authorization_url: &str,
    scopes: &[String],
    now: DateTime<Utc>,
) -> Result<DeviceAuthorization, TokenFailure> {
    let scope = requested_scopes(scopes, &provider.client.options, authorization);
    let fields = if scope.is_empty() { Vec::new() } else { vec![("scope", scope.as_str())] };
    let (client, endpoint) = (&provider.client, Endpoint::DeviceAuthorization);
    let (answer, redaction) = ask(outbound, endpoint, client, device_authorization_url, fields, now).await?;
    let begun = (answer.status == 200).then(|| read_authorization(outbound, &answer, &redaction)).flatten();
    begun.ok_or_else(|| match read(&answer, quirks, now) {
        Reading::Refused(refused) => refusal(&refused, &quirks.errors, &redaction),
        _ => TokenFailure::new(
            FailureKind::Unreadable,
            "provider_response",
            &format!(
                "the provider responded with status {} and no codes; check its device_authorization_url",
                answer.status
            ),
        ),
    })
}

fn read_authorization(outbound: &Outbound, answer: &Answer, redaction: &Redaction) -> Option<DeviceAuthorization> {
    let fields: Fields = serde_json::from_slice(&answer.body).ok()?;
    let is_printable = |text: &str| !text.chars().any(char::is_control) && !redaction.is_repeated_in(text);
    // People are sent there.
    let is_safe = |uri: &str| {
        if !is_printable(uri) {
            return false;
        }
        let url = Url::parse(uri).ok().filter(|url| url.username().is_empty() && url.password().is_none());
        uri.len() <= 2048 && url.is_some_and(|url| outbound.guard().check_url(&url).is_ok())
    };
    let user_code = fields.user_code.trim().to_owned();
    let verification_uri = fields.verification_uri.or(fields.verification_url).filter(|uri| is_safe(uri))?;
    let has_length = (1..=USER_CODE_MAX).contains(&user_code.chars().count());
    if !has_length || !is_printable(&user_code) || fields.device_code.is_empty() || !is_visible(&fields.device_code) {
        return None;
    }
    Some(DeviceAuthorization {
        device_code: fields.device_code.into(),
        user_code,
        verification_uri_complete: fields.verification_uri_complete.filter(|uri| is_safe(uri)),
        verification_uri,
        expires_in: lifetime(fields.expires_in.as_ref()).unwrap_or(LIFETIME).min(LIFETIME_MAX),
        interval: lifetime(fields.interval.as_ref()).unwrap_or(INTERVAL).min(INTERVAL_MAX),
    })
}
