//! What is in the place of traces in a build without the feature `otlp`: nothing.
//! Owns: the same functions as with it.
//! Must not know: requests.

use reqwest::header::{HeaderMap, HeaderValue};
use tracing_subscriber::layer::Identity;

pub(super) const TARGET: &str = "otlp";

/// There are none.
pub enum Traces {}

pub(super) fn layer(_: Option<Traces>) -> Identity {
    Identity::new()
}

/// Nothing is left to send.
#[expect(clippy::unused_async, reason = "with the feature it waits")]
pub async fn end() {}

/// The span of a request to this server.
pub struct RequestTrace;

impl RequestTrace {
    /// No span.
    #[must_use]
    pub fn begin(_: &HeaderMap, _: &'static str, _: &str, _: &HeaderValue) -> Self {
        Self
    }

    /// Runs `make`.
    pub fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        make()
    }

    /// Nothing to end.
    pub fn end(&self, _: u16, _: &'static str) {}
}

/// The span of a call to another server.
pub struct CallTrace;

impl CallTrace {
    /// No span.
    #[must_use]
    pub fn begin(_: &'static str, _: Option<&str>) -> Self {
        Self
    }

    /// No headers.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        HeaderMap::new()
    }

    /// Nothing to note.
    pub fn note(&self, _: &'static str, _: bool) {}
}
