//! `GET /`: what a person sees who opens the server's address.
//! Owns: the route, and the path below which the server's own pages are.
//! Must not know: tenants or providers.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use url::Url;

use super::pages::start::start_page;
use crate::http::app::App;

/// Shows what this server is, and the ways from here.
pub async fn get(State(app): State<Arc<App>>) -> Response {
    start_page(&base(&app), app.broker.settings.console == "on")
}

/// The path of the public URL, without a trailing slash, where a proxy has put the server below one.
pub(in crate::http) fn base(app: &App) -> String {
    let path = Url::parse(&app.broker.public_url).map(|url| url.path().trim_end_matches('/').to_owned());
    path.unwrap_or_default()
}
