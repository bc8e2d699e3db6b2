//! One log line and two metrics for each request.
//! Owns: that only the route's template is recorded, never the path, the query, a header or a body.
//! Must not know: what the routes do.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use metrics::{counter, histogram};
use tracing::Instrument;

/// Logs and counts a request.
pub async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = method(request.method());
    let id = request.headers().get("x-request-id").cloned();
    // Log lines of this request carry its id.
    let span = tracing::info_span!("request", request_id = id.as_ref().and_then(|id| id.to_str().ok()));
    let response = next.run(request).instrument(span).await;

    let route = route.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let (status, took) = (response.status().as_u16(), started.elapsed());
    tracing::debug!(
        event = "request.finished",
        method,
        route,
        status,
        milliseconds = took.as_secs_f64() * 1000.0,
        request_id = id.as_ref().and_then(|id| id.to_str().ok()),
        "request finished"
    );
    counter!("agent_auth_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    histogram!("agent_auth_request_seconds", "route" => route).record(took);
    response
}

/// An unknown method must not become a label of its own.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}
