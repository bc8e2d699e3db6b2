//! Logs, metrics and traces.
//! Owns: their formats, and the cap on libraries whose detailed logs can hold secrets.
//! Must not know: what is logged.

mod json;
pub mod metrics;
#[cfg_attr(not(feature = "otlp"), path = "telemetry/no_traces.rs")]
pub mod traces;

use std::io::IsTerminal;

pub use self::json::REQUEST_SPAN;
use self::{json::json_layer, traces::Traces};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Crates whose fine-grained logs hold headers, bodies or bound values.
const CAPPED: [&str; 9] =
    ["hyper", "hyper_util", "reqwest", "rustls", "sqlx", "tower_http", "h2", "axum", "tokio_util"];

/// Starts logging to standard error, plain lines on a terminal and JSON elsewhere, and exporting `traces`.
///
/// # Errors
/// [`LogFilterError`] names the part of `filter` that is wrong.
pub fn log(filter: &str, traces: Option<Traces>) -> Result<(), LogFilterError> {
    let mut filter = parse(filter)?;
    let capped = CAPPED.map(|target| format!("{target}=warn"));
    // `server/traces.rs` reports what OpenTelemetry's own lines say, once and not with every batch.
    let own = [format!("{REQUEST_SPAN}=error"), format!("{}=error", traces::TARGET), "opentelemetry=off".to_owned()];
    for directive in capped.into_iter().chain(own) {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let registry = tracing_subscriber::registry().with(filter).with(traces::layer(traces));
    if std::io::stderr().is_terminal() {
        registry.with(fmt::layer().with_writer(std::io::stderr)).init();
    } else {
        registry.with(json_layer(std::io::stderr)).init();
    }
    Ok(())
}

/// A part of a log filter that is neither a level nor a target with a level.
#[derive(Debug, thiserror::Error)]
#[error(
    "AGENT_AUTH_LOG: `{0}` is neither a level (error, warn, info, debug, trace) nor TARGET=LEVEL, such as agent_auth=debug"
)]
pub struct LogFilterError(String);

/// The filter. A word that stands alone must be a level: as a target, a misspelled level would silence everything else.
/// In a list it may be a target.
fn parse(filter: &str) -> Result<EnvFilter, LogFilterError> {
    let parts: Vec<&str> = filter.split(',').map(str::trim).collect();
    let is_list = parts.len() > 1;
    let is_wrong = |part: &&str| {
        if is_list || part.contains(['=', '[']) {
            EnvFilter::try_new(part).is_err()
        } else {
            !part.is_empty() && part.parse::<LevelFilter>().is_err()
        }
    };
    match parts.iter().copied().find(is_wrong) {
        Some(part) => Err(LogFilterError(part.to_owned())),
        None => EnvFilter::try_new(parts.join(",")).map_err(|_| LogFilterError(filter.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_part_of_the_log_filter_is_named() {
        for fine in [
            "info",
            "WARN",
            "off",
            "info,agent_auth=debug",
            "info,agent_auth",
            "agent_auth::broker=trace, sqlx=error",
            "",
        ] {
            assert!(parse(fine).is_ok(), "{fine}");
        }
        for (filter, wrong) in [("inof", "inof"), ("info,agent_auth=loud", "agent_auth=loud")] {
            let error = parse(filter).unwrap_err().to_string();
            assert!(error.starts_with(&format!("AGENT_AUTH_LOG: `{wrong}` is neither a level")), "{error}");
        }
    }
}
