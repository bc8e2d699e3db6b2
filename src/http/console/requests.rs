//! `/console/requests`: the authorization requests under way.
//! Owns: what a request waits for, in words.
//! Must not know: how a request is begun or ends.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    failure::Failure,
    frame::Frame,
    page::show,
    session::Session,
    words::{Moment, moment, shown, shown_if_any},
};
use crate::{
    broker::consent::under_way::{LISTED_MAX, under_way},
    http::app::App,
    model::{
        authorization_request::{RequestSummary, Status},
        consent::Consent,
    },
};

struct Row {
    user: String,
    agent: Option<String>,
    provider: String,
    scopes: Vec<String>,
    waits_for: &'static str,
    begun: Moment,
    ends: Moment,
}

#[derive(Template)]
#[template(path = "http/console/requests.html")]
struct RequestsPage {
    frame: Frame,
    rows: Vec<Row>,
    is_cut: bool,
}

/// Shows the page.
pub async fn get(State(app): State<Arc<App>>, session: Session) -> Result<Response, Failure> {
    let (requests, now) = (under_way(&app.broker, session.caller.reach()).await?, app.broker.clock.now());
    let rows: Vec<Row> = requests
        .iter()
        .map(|request| Row {
            user: shown(&request.user_id),
            agent: shown_if_any(&request.agent_id),
            provider: shown(&request.provider_id),
            scopes: request.scopes.iter().map(|scope| shown(scope)).collect(),
            waits_for: waits_for(request),
            begun: moment(request.created_at, now),
            ends: moment(request.expires_at, now),
        })
        .collect();
    let is_cut = i64::try_from(rows.len()).is_ok_and(|count| count >= LISTED_MAX);
    let page = RequestsPage { frame: Frame::new(&session, "/requests", "Authorization requests"), rows, is_cut };
    Ok(show(StatusCode::OK, &page))
}

fn waits_for(request: &RequestSummary) -> &'static str {
    match (request.status, request.consent) {
        (Status::Exchanging, Consent::Verify) => {
            "The application has to confirm the user, or the code is being exchanged"
        }
        (Status::Exchanging, _) => "The code is being exchanged",
        _ if request.is_for_device => "The person has to enter the code at the provider",
        (_, Consent::Confirm | Consent::Verify) if !request.has_gone_on => "The person has to open the link and go on",
        _ => "The person has to approve at the provider",
    }
}
