//! `/console/audit/verify`: whether the audit log is as it was recorded.
//! Owns: how long a page may verify, and its words.
//! Must not know: how a chain is verified.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    failure::Failure,
    form::AdminForm,
    frame::Frame,
    page::show,
    words::{Moment, moment},
};
use crate::{
    broker::audit,
    http::{app::App, error::ApiError},
};

/// How long somebody waits for a page.
const AT_MOST: Duration = Duration::from_mins(1);
/// Every event is read: one at a time is enough.
static UNDER_WAY: Semaphore = Semaphore::const_new(1);

struct Whole {
    events: i64,
    first: i64,
    last: i64,
    last_hash: String,
    /// When the oldest event was recorded that is kept.
    since: Option<Moment>,
    /// How many older ones retention has deleted.
    pruned: i64,
}

#[derive(Template)]
#[template(path = "http/console/verify_audit.html")]
struct VerifiedPage {
    frame: Frame,
    whole: Option<Whole>,
    problem: String,
}

/// Verifies the chain of the organization.
pub async fn verify(State(app): State<Arc<App>>, AdminForm(form): AdminForm) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    caller.reads_the_audit_log()?;
    let Ok(_turn) = UNDER_WAY.try_acquire() else {
        return Err(ApiError::Conflict("The audit log is being verified already. Try again in a minute.".into()).into());
    };
    let Ok(verified) = timeout(AT_MOST, audit::verify(&app.broker, &caller.tenant.organization)).await else {
        let detail = "The audit log is too long to be verified while a page waits. Run `agent-auth audit verify`.";
        return Err(ApiError::Conflict(detail.into()).into());
    };
    let now = app.broker.clock.now();
    let (whole, problem) = match verified? {
        None => (None, "Its events have no recorded end.".to_owned()),
        Some(audit::Verified { broken: Some(broken), .. }) => {
            (None, format!("Event {}: {}.", broken.sequence, broken.problem))
        }
        Some(audit::Verified { events, pruned, last, oldest_at, broken: None }) => {
            let whole = Whole {
                events,
                first: pruned.sequence + 1,
                last: last.sequence,
                last_hash: hex::encode(last.hash),
                since: oldest_at.map(|at| moment(at, now)),
                pruned: pruned.sequence,
            };
            (Some(whole), String::new())
        }
    };
    let title = if whole.is_some() { "The audit log is whole" } else { "The audit log is broken" };
    let frame = Frame::new(&form.session, "/audit", title);
    Ok(show(StatusCode::OK, &VerifiedPage { frame, whole, problem }))
}
