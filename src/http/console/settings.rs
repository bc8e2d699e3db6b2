//! `/console/settings`: the settings as the server sees them.
//! Owns: who may see them.
//! Must not know: what a setting is used for. Secrets are masked before they come here.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, http::StatusCode, response::Response};

use super::{failure::Failure, frame::Frame, page::show, session::Session};
use crate::{
    config::shown::Shown,
    http::{app::App, error::ApiError},
};

#[derive(Template)]
#[template(path = "http/console/settings.html")]
struct SettingsPage {
    frame: Frame,
    settings: Vec<Shown>,
    public_url: String,
}

/// Shows the page. The settings are those of the whole server.
pub async fn get(State(app): State<Arc<App>>, session: Session) -> Result<Response, Failure> {
    if !session.sees_the_server(&app).await? {
        let detail =
            "The settings are those of the whole server: they are shown to keys without limits of its first workspace.";
        return Err(ApiError::Forbidden(detail).into());
    }
    let page = SettingsPage {
        frame: Frame::new(&session, "/settings", "Settings"),
        settings: app.broker.settings.shown(),
        public_url: app.broker.public_url.clone(),
    };
    Ok(show(StatusCode::OK, &page))
}
