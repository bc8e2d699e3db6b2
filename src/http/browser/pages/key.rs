//! The page on which a person enters the static key of a provider.
//! Owns its words.
//! Must not know: how the key is checked or stored.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::outcome::Name;
use crate::broker::consent::static_key::KEY_MAX;

#[derive(Template)]
#[template(path = "http/browser/pages/key.html")]
struct KeyPage<'a> {
    provider: String,
    action: &'a str,
    state: &'a str,
    problem: Option<&'static str>,
}

use super::render::html;

/// The page, with a form that leads to `action`; `problem` says what was wrong with the key that was entered before.
#[must_use]
pub(crate) fn key_page(provider: &str, action: &str, state: &str, problem: Option<&'static str>) -> Response {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = KeyPage { provider: Name::of(Some(provider)).within, action, state, problem };
    html(status, &page, "'self'")
}
