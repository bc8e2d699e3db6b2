//! Where traces go: a collector that accepts OTLP over HTTP.
//! Owns: what the setting may be, and the requests to the collector.
//! Must not know: which spans there are.

use crate::{broker::open::OpenError, config::Settings, telemetry::traces::Traces};

/// What the settings name; `None` without the setting.
///
/// # Errors
/// When the setting is no address of a collector, or the build has no traces.
#[cfg(not(feature = "otlp"))]
pub fn open(settings: &Settings) -> Result<Option<Traces>, OpenError> {
    match settings.otlp_endpoint {
        None => Ok(None),
        Some(_) => Err(OpenError::Setting(
            "OTLP_ENDPOINT",
            "this build has no traces; build agent-auth with `cargo build --release --features otlp`, or remove this setting"
                .to_owned(),
        )),
    }
}

#[cfg(feature = "otlp")]
pub use self::export::open;

#[cfg(feature = "otlp")]
mod export {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Duration,
    };

    use axum::http::header::RETRY_AFTER;
    use futures_util::future::BoxFuture;
    use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
    use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
    use tokio::runtime::Handle;
    use url::Url;

    use super::{OpenError, Settings, Traces};
    use crate::{
        clock::Clock,
        outbound::{address::AddressGuard, client::Outbound},
        telemetry::metrics::Endpoint,
    };

    /// How long sending one batch may take.
    const TIMEOUT: Duration = Duration::from_secs(5);

    /// What the settings name; `None` without the setting.
    ///
    /// # Errors
    /// When the setting is no address of a collector.
    pub fn open(settings: &Settings) -> Result<Option<Traces>, OpenError> {
        let Some(setting) = settings.otlp_endpoint.as_deref() else { return Ok(None) };
        let refused = || OpenError::Setting("OTLP_ENDPOINT", format!("`{setting}` is not like http://collector:4318"));
        let url = endpoint(setting).ok_or_else(refused)?;
        // The address is the operator's: it may be private and use plain http, for this client and its host alone.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let guard = AddressGuard::parse(host).map_err(|_| refused())?;
        let outbound = Outbound::new(guard, TIMEOUT).map_err(OpenError::Trust)?;
        let collector =
            Collector { outbound, clock: Clock::system(), runtime: Handle::current(), accepts: AtomicBool::new(true) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url.as_str())
            .build();
        let exporter = exporter.map_err(|error| OpenError::Setting("OTLP_ENDPOINT", error.to_string()))?;
        Ok(Some(Traces::to(exporter)))
    }

    /// The URL of traces at a collector's base address.
    fn endpoint(setting: &str) -> Option<Url> {
        let url = Url::parse(&format!("{}/v1/traces", setting.trim_end_matches('/'))).ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_base = url.path().ends_with("/v1/traces") && url.query().is_none() && url.fragment().is_none();
        (matches!(url.scheme(), "http" | "https") && is_plain && is_base).then_some(url)
    }

    /// Sends batches of spans from the exporter's thread, which has no runtime of its own.
    #[derive(Debug)]
    struct Collector {
        outbound: Outbound,
        clock: Clock,
        runtime: Handle,
        /// False after a failure, so that only the first of a series is logged.
        accepts: AtomicBool,
    }

    impl HttpClient for Collector {
        fn send_bytes<'s, 'f>(&'s self, request: Request<Bytes>) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
        where
            's: 'f,
            Self: 'f,
        {
            Box::pin(async move {
                let (outbound, now) = (self.outbound.clone(), self.clock.now());
                let sending = self.runtime.spawn(async move {
                    let url = Url::parse(&request.uri().to_string())?;
                    let (parts, body) = request.into_parts();
                    let request = outbound.post(&url)?.headers(parts.headers).body(body);
                    Ok::<_, HttpError>(outbound.send(Endpoint::Traces, request, now).await?)
                });
                let answer = match sending.await? {
                    Ok(answer) => answer,
                    Err(error) => {
                        self.note(Some(&error.to_string()));
                        return Err(error);
                    }
                };
                let accepted = (200..300).contains(&answer.status);
                self.note((!accepted).then(|| format!("status {}", answer.status)).as_deref());
                let mut response = Response::builder().status(answer.status);
                if let Some(wait) = answer.retry_after {
                    response = response.header(RETRY_AFTER, wait.as_secs());
                }
                Ok(response.body(answer.body)?)
            })
        }
    }

    impl Collector {
        /// Logs the first failure of a series, and its end.
        fn note(&self, problem: Option<&str>) {
            match (self.accepts.swap(problem.is_none(), Ordering::Relaxed), problem) {
                (true, Some(error)) => tracing::warn!(
                    event = "traces.not_sent",
                    error,
                    "the collector in OTLP_ENDPOINT does not accept traces; those of meanwhile are lost"
                ),
                (false, None) => tracing::info!(event = "traces.sent_again", "the collector accepts traces again"),
                _ => {}
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_endpoint_is_the_base_address_of_a_collector() {
            let of = |setting| endpoint(setting).map(String::from);
            assert_eq!(of("http://localhost:4318").unwrap(), "http://localhost:4318/v1/traces");
            assert_eq!(of("https://c.example/otlp/").unwrap(), "https://c.example/otlp/v1/traces");
            for wrong in ["", "localhost:4318", "grpc://a:4317", "http://u:p@a:1", "http://a:1?x=y", "http://a:1#x"] {
                assert!(of(wrong).is_none(), "{wrong}");
            }
        }
    }
}
