//! `/console`: what the workspace has, and what needs attention first.
//! Owns: the order of what needs attention.
//! Must not know: how anything is counted.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    chart::{Chart, charts},
    failure::Failure,
    frame::Frame,
    page::show,
    session::Session,
    words::{condition, shown, shown_up_to},
};
use crate::{
    broker::{
        audit,
        consent::under_way::{LISTED_MAX, under_way},
        jobs::encryption_keys::running,
        providers::list,
        tokens::workspace,
    },
    http::app::App,
    model::token_state::Condition,
    telemetry::metrics::METRICS,
};

/// How many tokens in a bad state are named.
const NAMED_MAX: i64 = 10;
/// How much of a reason is shown.
const WHAT_CHARS: usize = 400;

struct Count {
    name: &'static str,
    label: &'static str,
    tokens: i64,
}

struct Attention {
    href: String,
    title: String,
    what: String,
}

/// What is of the whole server.
struct Server {
    replicas: usize,
    /// Calls of `/wait` that the replica holds.
    waiters: u64,
}

#[derive(Template)]
#[template(path = "http/console/overview.html")]
struct OverviewPage {
    frame: Frame,
    counts: Vec<Count>,
    is_cut: bool,
    attention: Vec<Attention>,
    /// None if there is nothing to draw.
    charts: Vec<Chart>,
    is_log_cut: bool,
    providers: usize,
    under_way: usize,
    under_way_max: usize,
    version: &'static str,
    server: Option<Server>,
}

/// Shows the page.
pub async fn get(State(app): State<Arc<App>>, session: Session) -> Result<Response, Failure> {
    let (broker, reach) = (&app.broker, session.caller.reach());
    let overview = workspace::overview(broker, reach, NAMED_MAX).await?;
    let counts = Condition::NAMES.map(|(name, which)| Count {
        name,
        label: condition(which),
        tokens: overview.counts.get(name).copied().unwrap_or_default(),
    });
    let providers = list::list(broker, reach).await?;
    let mut attention: Vec<Attention> = Vec::new();
    for provider in &providers {
        if let Some(error) = &provider.client_error {
            attention.push(Attention {
                href: format!("/providers/{}", provider.provider_id),
                title: format!("{} refuses this server's client", shown(&provider.name)),
                what: format!(
                    "Error {}. Correct its client id or client secret; no token of it can be refreshed.",
                    shown(error)
                ),
            });
        }
    }
    attention.extend(overview.in_trouble.into_iter().map(|(token, explanation)| Attention {
        href: format!("/connections/{}", token.state.id),
        title: format!(
            "{} at {}: {}",
            shown(&token.user_id),
            shown(&token.state.provider_id),
            condition(explanation.condition)
        ),
        what: shown_up_to(&explanation.why.unwrap_or(explanation.what_to_do), WHAT_CHARS),
    }));
    let (hours, is_log_cut) = audit::refreshes_by_hour(broker, reach).await?;
    let server = if session.sees_the_server(&app).await? {
        // This one runs, even if it has not said so yet.
        let replicas = running(broker).await?.max(1);
        Some(Server { replicas, waiters: METRICS.waiters.value() })
    } else {
        None
    };
    let page = OverviewPage {
        charts: charts(&hours),
        is_log_cut,
        server,
        counts: counts.into(),
        is_cut: overview.is_cut,
        attention,
        providers: providers.len(),
        under_way: under_way(broker, reach).await?.len(),
        under_way_max: usize::try_from(LISTED_MAX).unwrap_or(usize::MAX),
        version: env!("CARGO_PKG_VERSION"),
        frame: Frame::new(&session, "", "Overview"),
    };
    Ok(show(StatusCode::OK, &page).into_response())
}
