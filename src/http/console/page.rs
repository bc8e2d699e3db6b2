//! Rendering: the look of every page, and its headers.
//! Owns: the stylesheet of the console.
//! Must not know: what a page says.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::http::browser::pages::render::{Policy, headers_of, source_of};

/// The stylesheet that the layout inlines. The policy admits exactly these bytes.
pub(crate) const STYLE: &str = concat!(include_str!("../shared.css"), include_str!("style.css"));
static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| source_of(STYLE));

/// A page, with its headers.
pub(crate) fn show(status: StatusCode, page: &impl Template) -> Response {
    shown(status, page, false)
}

/// The same with the script of the page, which may call this server.
pub(super) fn show_with_script(status: StatusCode, page: &impl Template) -> Response {
    shown(status, page, true)
}

fn shown(status: StatusCode, page: &impl Template, has_script: bool) -> Response {
    let Ok(body) = page.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let policy = Policy { form_action: "'self'", has_script, ..Policy::with_style(&STYLE_SOURCE) };
    let mut headers = headers_of(&policy);
    // Without the origin in it, a browser that sends no Sec-Fetch-Site could not be distinguished from another site.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    (status, headers, body).into_response()
}
