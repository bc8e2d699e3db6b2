//! Logs and figures.
//! Owns: how they are written, and that no crate of others writes what may hold a secret.
//! Must not know: what is told.

use std::{io::IsTerminal, sync::LazyLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Upper bounds in seconds: a hit answers within milliseconds, a provider within ten seconds.
const BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Crates whose fine-grained logs hold headers, bodies or bound values.
const CAPPED: [&str; 9] =
    ["hyper", "hyper_util", "reqwest", "rustls", "sqlx", "tower_http", "h2", "axum", "tokio_util"];

/// One recorder for the process: metrics are global by their nature.
static PROMETHEUS: LazyLock<PrometheusHandle> = LazyLock::new(|| {
    let matcher = Matcher::Suffix("_seconds".into());
    let builder = PrometheusBuilder::new();
    let builder = match builder.set_buckets_for_metric(matcher, &BUCKETS) {
        Ok(builder) => builder,
        Err(_) => PrometheusBuilder::new(),
    };
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    // An error means that another recorder is installed already: then ours stays empty.
    let _ = metrics::set_global_recorder(recorder);
    handle
});

/// Starts to count. Before this, figures are dropped.
pub fn count() {
    LazyLock::force(&PROMETHEUS);
}

/// The figures in the text format of Prometheus.
#[must_use]
pub fn metrics() -> String {
    PROMETHEUS.run_upkeep();
    PROMETHEUS.render()
}

/// Starts to log to standard error: lines for people on a terminal, JSON elsewhere.
///
/// # Errors
/// When `filter` is no level and no list of targets with levels.
pub fn log(filter: &str) -> Result<(), ParseError> {
    let mut filter = EnvFilter::try_new(filter)?;
    for capped in CAPPED {
        filter = filter.add_directive(format!("{capped}=warn").parse()?);
    }
    let registry = tracing_subscriber::registry().with(filter);
    if std::io::stderr().is_terminal() {
        registry.with(fmt::layer().with_writer(std::io::stderr)).init();
    } else {
        registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).init();
    }
    Ok(())
}
