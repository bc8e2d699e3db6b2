//! The page on which a person enters the static key of a provider.
//! Owns: which of its texts are shown.
//! Must not know: how the key is checked or stored.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use url::Url;

use super::connect::ShownFacts;
use crate::{
    broker::consent::{
        interaction::Facts,
        static_key::{KEY_MAX, KeyProblem},
    },
    http::browser::view::View,
};

#[derive(Template)]
#[template(path = "http/browser/pages/key.html")]
struct KeyPage<'a> {
    view: &'a View,
    title: String,
    requested: String,
    only_if: String,
    facts: ShownFacts,
    action: &'a str,
    state: &'a str,
    problem: Option<&'static str>,
}

/// The page, with a form that leads to `action`; `problem` says what was wrong with the key that was entered before.
#[must_use]
pub(crate) fn key_page(view: &View, facts: &Facts, action: &str, state: &str, problem: Option<KeyProblem>) -> Response {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let (shown, t) = (ShownFacts::of(facts), &view.t.key);
    let problem = problem.map(|problem| match problem {
        KeyProblem::Empty => t.empty,
        KeyProblem::TooLong => t.too_long,
        KeyProblem::Unusable => t.unusable,
    });
    let page = KeyPage {
        view,
        title: (t.title)(&shown.provider),
        requested: (t.requested)(&shown.provider),
        only_if: (t.only_if)(&shown.provider),
        facts: shown,
        action,
        state,
        problem,
    };
    // The form may lead on to the application.
    let return_url = facts.return_url.as_deref().and_then(|url| Url::parse(url).ok());
    match return_url {
        Some(url) => view.consent(status, &page, &format!("'self' {}", url.origin().ascii_serialization())),
        None => view.consent(status, &page, "'self'"),
    }
}
