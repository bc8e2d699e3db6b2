//! The frame around every request: its id, the checks before its route, one log line and its metrics after it, and the
//! headers that every response has.
//! Owns: that only the route's template is recorded, never the path, the query, a header or a body.
//! Must not know: what the routes do.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tracing::Instrument;

use super::{
    app::App,
    checks::check,
    denial::Denied,
    error::{ApiError, ErrorCode},
    request_id::{self, REQUEST_ID, is_safe},
};
use crate::{
    broker::refusals::Denial,
    telemetry::{
        REQUEST_SPAN,
        metrics::{METRICS, MONITORED, Method, NONE},
        traces::RequestTrace,
    },
};

/// Checks, logs and counts a request. In one place, because each layer around the routes costs every request and every
/// waiter some allocations.
pub async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = Method::of(request.method().as_str());
    // As the client sent it: before the id is added.
    let checked = check(&request);
    let id = request.headers().get(REQUEST_ID).filter(|id| is_safe(id)).cloned().unwrap_or_else(request_id::new);
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let template = route.as_ref().map_or(NONE, MatchedPath::as_str);
    // Log lines of this request carry its id and its route.
    let trace = RequestTrace::begin(request.headers(), method.as_str(), template, &id);
    let span = trace.within(|| {
        tracing::error_span!(
            target: REQUEST_SPAN,
            REQUEST_SPAN,
            request_id = id.to_str().ok(),
            method = method.as_str(),
            route = template
        )
    });
    let answer = async {
        let mut response = match checked.and_then(|()| limit(&app, &request)) {
            Ok(()) => {
                let response = AssertUnwindSafe(next.run(request)).catch_unwind();
                response.await.unwrap_or_else(|_| ApiError::Internal.into_response())
            }
            Err(refused) => refused.into_response(),
        };
        if let Some(denied) = response.extensions_mut().remove::<Denied>() {
            let request = format!("{} {template}", method.as_str());
            let Denied { tenant, act, outside, code, .. } = denied;
            app.broker.denials.note(Some(Denial { tenant, actor: act.actor.clone(), request, outside, code }), &act);
        }
        let (status, took) = (response.status().as_u16(), started.elapsed());
        let milliseconds = took.as_secs_f64() * 1000.0;
        tracing::debug!(event = "request.finished", status, milliseconds, "request finished");
        let code = response.extensions().get::<ErrorCode>().map_or(NONE, |code| code.0);
        METRICS.requests.count(template, method, status, code, took);
        trace.end(status, code);
        response
    };
    let mut response = answer.instrument(span).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    // Responses hold tokens; no cache may store them.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    response
}

fn limit(app: &App, request: &Request) -> Result<(), ApiError> {
    // A monitor must get its answer.
    if MONITORED.contains(&request.uri().path()) {
        return Ok(());
    }
    app.limits.count_address(request.extensions(), request.headers())
}
