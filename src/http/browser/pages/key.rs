//! The page on which a person enters the static key of a provider.
//! Owns its words.
//! Must not know: how the key is checked or stored.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use url::Url;

use super::connect::ShownFacts;
use super::render::html;
use crate::broker::consent::{interaction::Facts, static_key::KEY_MAX};

#[derive(Template)]
#[template(path = "http/browser/pages/key.html")]
struct KeyPage<'a> {
    facts: ShownFacts,
    action: &'a str,
    state: &'a str,
    problem: Option<&'static str>,
}

/// The page, with a form that leads to `action`; `problem` says what was wrong with the key that was entered before.
#[must_use]
pub(crate) fn key_page(facts: &Facts, action: &str, state: &str, problem: Option<&'static str>) -> Response {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = KeyPage { facts: ShownFacts::of(facts), action, state, problem };
    // The form may lead on to the application.
    let return_url = facts.return_url.as_deref().and_then(|url| Url::parse(url).ok());
    match return_url {
        Some(url) => html(status, &page, &format!("'self' {}", url.origin().ascii_serialization())),
        None => html(status, &page, "'self'"),
    }
}
