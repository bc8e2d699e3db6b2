//! `/console/connections/revoke`: the end of many connections, after one question.
//! Owns: how many one form may end, and what is said of each.
//! Must not know: how a token is revoked.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};
use url::form_urlencoded;
use uuid::Uuid;

use super::{connections::Row, failure::Failure, form::AdminForm, frame::Frame, page::show, session::Session};
use crate::{
    broker::tokens::workspace::{self, Ended},
    http::{app::App, browser::callback::redirect, error::ApiError},
};

/// How many connections one form may end.
const AT_ONCE_MAX: usize = 100;
/// What the boxes are called.
const CHOSEN: &str = "token";

#[derive(Template)]
#[template(path = "http/console/revoke_many.html")]
struct AskPage {
    frame: Frame,
    rows: Vec<Row>,
    /// Chosen, and gone since.
    gone: usize,
}

#[derive(Template)]
#[template(path = "http/console/revoked_many.html")]
struct DonePage {
    frame: Frame,
    revoked: usize,
    in_background: usize,
    gone: usize,
    by_hand: Vec<Row>,
    /// Each with why.
    failed: Vec<(Row, String)>,
}

/// Asks whether to revoke those that were chosen.
pub async fn ask(
    State(app): State<Arc<App>>,
    session: Session,
    RawQuery(asked): RawQuery,
) -> Result<Response, Failure> {
    let pairs = form_urlencoded::parse(asked.as_deref().unwrap_or_default().as_bytes());
    let chosen: Vec<String> =
        pairs.filter(|(name, _)| name == CHOSEN).map(|(_, value)| value.trim().to_owned()).collect();
    let chosen = ids(chosen.iter().map(String::as_str))?;
    if chosen.is_empty() {
        return Ok(redirect(format!("{}/console/connections?done=none-chosen", session.base)));
    }
    let (now, many) = (app.broker.clock.now(), chosen.len());
    let mut rows = Vec::new();
    for id in chosen {
        let token = workspace::get(&app.broker, session.caller.reach(), id).await?;
        rows.extend(token.map(|(token, explanation)| Row::of(&token, &explanation, now)));
    }
    let frame = Frame::new(&session, "/connections", "Revoke these connections?");
    Ok(show(StatusCode::OK, &AskPage { frame, gone: many - rows.len(), rows }))
}

/// Deletes them and revokes their grants, and says what became of each.
pub async fn revoke(State(app): State<Arc<App>>, AdminForm(form): AdminForm) -> Result<Response, Failure> {
    let caller = &form.session.caller;
    let chosen = ids(form.fields_named(CHOSEN))?;
    let ended = workspace::delete_many(&app.broker, caller.reach(), chosen, &caller.act).await;
    let now = app.broker.clock.now();
    let frame = Frame::new(&form.session, "/connections", "Revoked connections");
    let mut page = DonePage { frame, revoked: 0, in_background: 0, gone: 0, by_hand: Vec::new(), failed: Vec::new() };
    for Ended { token, deletion } in ended {
        match (deletion, token) {
            (Err(error), Some((token, explanation))) => {
                page.failed.push((Row::of(&token, &explanation, now), ApiError::from(error).for_people()));
            }
            // The database failed before it could say what this is: the whole answer is that.
            (Err(error), None) => return Err(error.into()),
            (Ok(Some(deletion)), _) if deletion.upstream_revoked() => page.revoked += 1,
            (Ok(Some(deletion)), _) if deletion.queued > 0 => page.in_background += 1,
            (Ok(Some(_)), Some((token, explanation))) => page.by_hand.push(Row::of(&token, &explanation, now)),
            (Ok(_), _) => page.gone += 1,
        }
    }
    Ok(show(StatusCode::OK, &page))
}

/// The ids of those that were chosen, each once. What is no id is nobody's, as one that is gone.
fn ids<'t>(chosen: impl Iterator<Item = &'t str>) -> Result<Vec<Uuid>, ApiError> {
    let mut ids: Vec<Uuid> = Vec::new();
    for id in chosen.map(|text| Uuid::try_parse(text).unwrap_or_default()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
        if ids.len() > AT_ONCE_MAX {
            let detail = format!("One form can revoke at most {AT_ONCE_MAX} connections. Choose fewer.");
            return Err(ApiError::BadRequest(detail));
        }
    }
    Ok(ids)
}
