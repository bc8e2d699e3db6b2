//! Consents that go on elsewhere: from an embedded page in a window of its own, because neither our page that asks nor those
//! of providers can be embedded.
//! Owns: the page that waits for that window, and the message to the embedding page afterwards.
//! Must not know: how a consent is begun or completed.

use std::sync::Arc;

use askama::Template;
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use uuid::Uuid;

use super::{failure::Failure, frame::Frame, session::Session};
use crate::{
    broker::connect_links::{Begun, OtherAccount, RENEWS, other_account, request_of},
    http::{
        app::App,
        browser::{
            callback::redirect,
            message::{self, Message},
        },
        console::words::{parameter, shown},
        error::ApiError,
    },
    model::authorization_request::Status,
};

#[derive(Template)]
#[template(path = "http/people/elsewhere.html")]
struct ElsewherePage<'a> {
    frame: Frame,
    url: &'a str,
    status: String,
    next: String,
    script: String,
}

/// Goes on to our page that says who asks for what. An embedded page shows a link that opens it in a window of its own.
pub(super) fn go_on(session: &Session, begun: &Begun) -> Response {
    let view = &session.view;
    if !view.is_embedded {
        return redirect(begun.url.clone());
    }
    let renews = begun.renewed.map(|token| format!("&{RENEWS}={token}")).unwrap_or_default();
    let page = ElsewherePage {
        frame: Frame::new(session, (view.t.people.elsewhere_title)(&shown(&begun.provider))),
        url: &begun.url,
        status: format!("{}/connections/requested/{}", view.base, begun.auth_id),
        next: format!("{}/connections?done=connected{renews}&auth_id={}", view.base, begun.auth_id),
        script: message::path(view),
    };
    view.people_with_script(StatusCode::OK, &page)
}

/// Whether a consent has ended, for the script of the page that waits for it.
pub async fn status(
    State(app): State<Arc<App>>,
    session: Session,
    Path(auth_id): Path<String>,
) -> Result<Response, Failure> {
    let found = match Uuid::try_parse(&auth_id) {
        Ok(id) => request_of(&app.broker, &session.link, id).await?,
        Err(_) => None,
    };
    let request = found.ok_or_else(|| ApiError::NotFound("There is no such request.".into()))?;
    let status = match request.status {
        Status::Completed => "completed",
        Status::Failed => "ended",
        _ if request.expires_at <= app.broker.clock.now() => "ended",
        _ => "pending",
    };
    Ok(Json(json!({"status": status})).into_response())
}

/// That another account was connected than the one that was to be reconnected, when the person came back from that.
pub(super) async fn other_account_of(
    app: &App,
    session: &Session,
    query: Option<&str>,
) -> Result<Option<OtherAccount>, Failure> {
    let id = |name| Uuid::try_parse(&parameter(query, name)).ok();
    match (id(RENEWS), id("auth_id")) {
        (Some(token), Some(auth_id)) => Ok(other_account(&app.broker, &session.link, token, auth_id).await?),
        _ => Ok(None),
    }
}

/// The message to the page that opened or embeds the list, when the person came back with an account connected.
pub(super) async fn message_of(app: &App, session: &Session, query: Option<&str>) -> Result<Option<Message>, Failure> {
    if !session.view.has_embedders() || parameter(query, "done") != "connected" {
        return Ok(None);
    }
    let Ok(id) = Uuid::try_parse(&parameter(query, "auth_id")) else { return Ok(None) };
    let found = request_of(&app.broker, &session.link, id).await?;
    let completed = found.filter(|request| request.status == Status::Completed);
    Ok(completed.and_then(|request| {
        let token = request.token.map(|token| token.to_string());
        Message::connected(&session.view, &request.provider_id, &id.to_string(), token)
    }))
}
