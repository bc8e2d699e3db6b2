//! The page at the server's own address.
//! Owns its words.
//! Must not know: tenants or providers.

use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::render::html;

#[derive(Template)]
#[template(path = "http/browser/pages/start.html")]
struct StartPage<'a> {
    base: &'a str,
    has_console: bool,
}

/// The page, with its headers. `base` is the path below which the server is reached.
#[must_use]
pub(in crate::http) fn start_page(base: &str, has_console: bool) -> Response {
    html(StatusCode::OK, &StartPage { base, has_console }, "'none'")
}
