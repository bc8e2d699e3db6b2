//! Spans of requests, and of the calls that they make to other servers, for an OpenTelemetry collector.
//! Owns: which spans there are, their attributes, and the trace context of W3C, in and out.
//! Must not know: where the spans go.

use std::{sync::OnceLock, time::Duration};

use opentelemetry::{
    KeyValue,
    propagation::TextMapPropagator,
    trace::{Status, TraceContextExt, TracerProvider},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, SpanExporter},
};
use reqwest::header::{HeaderMap, HeaderValue};
use tracing::{Span, Subscriber, span::Id};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry, filter::filter_fn, registry::LookupSpan};

use super::metrics::{MONITORED, NONE};

/// The target of the spans that are exported. No other span and no log line is, so nothing leaves by accident.
pub(super) const TARGET: &str = "otlp";
/// How long a stop waits for the last spans to be sent.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// Set when spans are exported.
static EXPORTED: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Where spans go.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Spans go to `exporter`, in batches.
    #[must_use]
    pub fn to(exporter: impl SpanExporter + 'static) -> Self {
        let resource = Resource::builder()
            .with_service_name("agent-auth")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
    }
}

/// The layer that exports the spans; nothing without `traces`.
pub(super) fn layer<S>(traces: Option<Traces>) -> Option<impl Layer<S>>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let Traces(provider) = traces?;
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("agent-auth"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_level(false)
        .with_target(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET));
    let _ = EXPORTED.set(provider);
    Some(layer)
}

/// Sends the spans that were not sent yet.
pub async fn end() {
    if let Some(provider) = EXPORTED.get() {
        // It blocks its thread, and the exporter needs the runtime meanwhile.
        let _ = tokio::task::spawn_blocking(|| provider.shutdown_with_timeout(FLUSH_WITHIN)).await;
    }
}

/// The span of a request to this server.
pub struct RequestTrace(Span);

impl RequestTrace {
    /// Begins the span, in the trace that the caller's `traceparent` names if there is one.
    #[must_use]
    pub fn begin(headers: &HeaderMap, method: &'static str, route: &str, request_id: &HeaderValue) -> Self {
        if EXPORTED.get().is_none() || MONITORED.contains(&route) {
            return Self(Span::none());
        }
        let span = tracing::error_span!(
            target: TARGET,
            "request_trace",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            http.request.method = method,
            http.route = route,
            request_id = request_id.to_str().ok()
        );
        // It fails only for a span that nobody exports.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&HeaderExtractor(headers)));
        Self(span)
    }

    /// Runs `make`, and makes the spans that it creates part of this one.
    pub fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        self.0.in_scope(make)
    }

    /// Ends the span with the response's status and error code. What goes on after the response belongs to the trace,
    /// and does not lengthen the span.
    pub fn end(&self, status: u16, code: &'static str) {
        if self.0.is_none() {
            return;
        }
        let context = self.0.context();
        let span = context.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if code != NONE {
            span.set_attribute(KeyValue::new("error.type", code));
        }
        if status >= 500 {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The [`RequestTrace`] that the current span is inside of. It is not entered itself, and what goes on in a task of its own
/// has only the span of the log.
fn request_trace() -> Option<Id> {
    let found = Span::current().with_subscriber(|(id, subscriber)| {
        let mut spans = subscriber.downcast_ref::<Registry>()?.span(id)?.scope();
        spans.find(|span| span.metadata().target() == TARGET).map(|span| span.id())
    });
    found.flatten()
}

/// The span of a call to another server. It ends when this is dropped.
pub struct CallTrace(Span);

impl CallTrace {
    /// Begins the span, if a request of ours is being served: calls of background jobs have no trace.
    #[must_use]
    pub fn begin(endpoint: &'static str, provider: Option<&str>) -> Self {
        if EXPORTED.get().is_none() {
            return Self(Span::none());
        }
        let Some(request) = request_trace() else { return Self(Span::none()) };
        Self(tracing::error_span!(
            target: TARGET,
            parent: request,
            "call_trace",
            otel.name = endpoint,
            otel.kind = "client",
            agent_auth.endpoint = endpoint,
            agent_auth.provider = provider
        ))
    }

    /// The headers that carry the trace on: `traceparent`, and the caller's `tracestate`.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !self.0.is_none() {
            TraceContextPropagator::new().inject_context(&self.0.context(), &mut HeaderInjector(&mut headers));
        }
        headers
    }

    /// Notes how the call ended.
    pub fn note(&self, outcome: &'static str, is_failure: bool) {
        if self.0.is_none() {
            return;
        }
        let context = self.0.context();
        context.span().set_attribute(KeyValue::new("agent_auth.outcome", outcome));
        if is_failure {
            context.span().set_status(Status::error(""));
        }
    }
}
