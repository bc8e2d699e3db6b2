//! The outbound client: every request to an authorization server goes through here.
//! Owns: deadlines, the size limit, no redirects, no ambient proxy, the address guard, and what is measured of requests.
//! Must not know: what the endpoints mean.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::{
    Certificate, Client, ClientBuilder, RequestBuilder,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE},
    redirect::Policy,
};
use url::Url;

use super::address::{AddressGuard, Refusal};
use crate::telemetry::{
    metrics::{Endpoint, Label, METRICS, Provider, UpstreamOutcome},
    traces::CallTrace,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// No valid response of an authorization server is larger.
const BODY_LIMIT: usize = 256 * 1024;
/// A longer `Retry-After` is cut to this.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The client, cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client,
    guard: AddressGuard,
    /// Under which name its requests are measured.
    provider: Arc<Provider>,
    /// The provider whose servers it calls.
    provider_id: Option<Arc<str>>,
    sends_trace_context: bool,
}

/// A response of any status.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type, lower case, without parameters.
    pub content_type: String,
    /// The `Retry-After` of the response.
    pub retry_after: Option<Duration>,
    /// The body. May hold secrets.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The address guard refuses the URL.
    #[error("the URL {0}")]
    Refused(#[from] Refusal),
    /// No connection could be opened: nothing was sent.
    #[error("no connection to the provider")]
    NotConnected,
    /// The server was reached, and no TLS connection came about: nothing was sent.
    #[error("no TLS connection to the provider: its certificate is not trusted, or it does not speak TLS 1.2")]
    Untrusted,
    /// The connection broke after something was sent.
    #[error("the connection to the provider was lost")]
    Broken,
    /// The deadline passed.
    #[error("the provider did not respond in time")]
    TimedOut,
    /// The body is larger than any token response.
    #[error("the provider's response is too large")]
    TooLarge,
}

impl Outbound {
    /// A client. Each call may take `timeout` in all.
    ///
    /// # Errors
    /// When the machine's trust store cannot be used.
    pub fn new(guard: AddressGuard, timeout: Duration) -> Result<Self, reqwest::Error> {
        Self::build(guard, timeout, Ok)
    }

    /// A client that trusts only these certificate authorities, in PEM, and not those of the machine.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn trusting_only(authorities: &[u8], guard: AddressGuard, timeout: Duration) -> Result<Self, reqwest::Error> {
        Self::build(guard, timeout, |client| Ok(client.tls_certs_only(Certificate::from_pem_bundle(authorities)?)))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that builds clients")]
    fn build(
        guard: AddressGuard,
        timeout: Duration,
        trust: impl FnOnce(ClientBuilder) -> Result<ClientBuilder, reqwest::Error>,
    ) -> Result<Self, reqwest::Error> {
        // An error means that a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("agent-auth/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .dns_resolver(std::sync::Arc::new(guard.clone()));
        let client = trust(client)?.build()?;
        let provider = METRICS.providers.none();
        Ok(Self { client, guard, provider, provider_id: None, sends_trace_context: false })
    }

    /// The same client. With `sends` its requests carry the trace context of the request that is being served, if there
    /// is a trace.
    #[must_use]
    pub fn with_trace_context(self, sends: bool) -> Self {
        Self { sends_trace_context: sends, ..self }
    }

    /// The same client, for requests to the servers of this provider.
    #[must_use]
    pub fn of_provider(&self, provider_id: &str) -> Self {
        let provider = METRICS.providers.of(provider_id);
        Self { provider, provider_id: Some(provider_id.into()), ..self.clone() }
    }

    /// The guard of this client.
    #[must_use]
    pub fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    /// Begins a POST to `url`; [`Self::send`] sends it.
    pub fn post(&self, url: &Url) -> Result<RequestBuilder, CallError> {
        self.guard.check_url(url)?;
        Ok(self.client.post(url.clone()))
    }

    /// Begins a GET of `url`.
    pub fn get(&self, url: &Url) -> Result<RequestBuilder, CallError> {
        self.guard.check_url(url)?;
        Ok(self.client.get(url.clone()))
    }

    /// Begins a DELETE of `url`.
    pub fn delete(&self, url: &Url) -> Result<RequestBuilder, CallError> {
        self.guard.check_url(url)?;
        Ok(self.client.delete(url.clone()))
    }

    /// Sends a request and reads only the status and the `WWW-Authenticate` headers of the response.
    ///
    /// # Errors
    /// [`CallError`]. A response of any status is not an error.
    pub async fn head_of(&self, endpoint: Endpoint, request: RequestBuilder) -> Result<(u16, Vec<String>), CallError> {
        let mut call = self.begin(endpoint);
        let response =
            call.settle(self.with_context(&call, request).send().await.map_err(|error| call_error(&error)))?;
        call.outcome = outcome_of(response.status().as_u16());
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenges.filter_map(|value| value.to_str().ok()).map(ToOwned::to_owned).collect();
        Ok((response.status().as_u16(), challenges))
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// [`CallError`]. A response of any status is not an error.
    pub async fn send(
        &self,
        endpoint: Endpoint,
        request: RequestBuilder,
        now: DateTime<Utc>,
    ) -> Result<Answer, CallError> {
        let mut call = self.begin(endpoint);
        let answer = call.settle(receive(self.with_context(&call, request), now).await)?;
        call.outcome = outcome_of(answer.status);
        Ok(answer)
    }

    fn begin(&self, endpoint: Endpoint) -> Call<'_> {
        Call {
            provider: &self.provider,
            endpoint,
            outcome: UpstreamOutcome::Abandoned,
            began: Instant::now(),
            trace: CallTrace::begin(endpoint.name(), self.provider_id.as_deref()),
        }
    }

    fn with_context(&self, call: &Call<'_>, request: RequestBuilder) -> RequestBuilder {
        if self.sends_trace_context { request.headers(call.trace.headers()) } else { request }
    }
}

async fn receive(request: RequestBuilder, now: DateTime<Utc>) -> Result<Answer, CallError> {
    let mut response = request.send().await.map_err(|error| call_error(&error))?;
    let (status, content_type, retry_after) =
        (response.status().as_u16(), content_type(response.headers()), retry_after(response.headers(), now));
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| call_error(&error))? {
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, retry_after, body: body.freeze() })
}

/// A request that is measured when this is dropped, also if nobody waits for it any longer.
struct Call<'p> {
    provider: &'p Provider,
    endpoint: Endpoint,
    outcome: UpstreamOutcome,
    began: Instant,
    trace: CallTrace,
}

impl Call<'_> {
    /// Notes why there is no response.
    fn settle<T>(&mut self, result: Result<T, CallError>) -> Result<T, CallError> {
        result.inspect_err(|error| {
            self.outcome = match error {
                CallError::Refused(_) => UpstreamOutcome::AddressRefused,
                CallError::NotConnected | CallError::Untrusted => UpstreamOutcome::NotConnected,
                CallError::Broken => UpstreamOutcome::Broken,
                CallError::TimedOut => UpstreamOutcome::TimedOut,
                CallError::TooLarge => UpstreamOutcome::TooLarge,
            };
        })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let upstream = self.provider.upstream.of(self.endpoint);
        upstream.requests.of(self.outcome).increment();
        upstream.seconds.record(self.began.elapsed());
        self.trace.note(self.outcome.name(), self.outcome != UpstreamOutcome::Ok);
    }
}

fn outcome_of(status: u16) -> UpstreamOutcome {
    match status {
        429 => UpstreamOutcome::RateLimited,
        408 | 500.. => UpstreamOutcome::Unavailable,
        400..500 => UpstreamOutcome::Refused,
        _ => UpstreamOutcome::Ok,
    }
}

fn call_error(error: &reqwest::Error) -> CallError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return CallError::Refused(refusal.clone());
        }
        if is_tls(cause) {
            return CallError::Untrusted;
        }
        source = cause.source();
    }
    match error {
        error if error.is_timeout() => CallError::TimedOut,
        error if error.is_connect() || error.is_builder() => CallError::NotConnected,
        _ => CallError::Broken,
    }
}

/// An I/O error hides what it was made of from `source`, and may hold another one.
fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    if cause.is::<rustls::Error>() {
        return true;
    }
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| is_tls(inner))
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Seconds or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => (DateTime::parse_from_rfc2822(value).ok()?.with_timezone(&Utc) - now).to_std().ok()?,
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_mins(2)));
        assert_eq!(read("Sat, 21 Nov 2026 10:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sat, 21 Nov 2026 09:00:00 GMT"), None);
        assert_eq!(read("99999999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(read("soon"), None);
    }
}
