//! What a page answers when it cannot be shown or a form cannot be taken.
//! Owns: the page for an error, and the page for somebody without a session.
//! Must not know: where an error came from.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    broker::error::BrokerError,
    http::{
        console::{failure::with_facts_of, page::show},
        error::ApiError,
    },
};

/// Why there is no page.
pub enum Failure {
    /// There is no session.
    SignedOut,
    /// The link cannot be opened.
    NotOpened,
    /// The error that the API would have returned.
    Refused(ApiError),
}

#[derive(Template)]
#[template(path = "http/people/failure.html")]
struct FailurePage<'a> {
    title: &'a str,
    detail: &'a str,
    next: &'a str,
}

const NEW_LINK: &str = "Ask the application for a new link.";

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::Refused(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let page = |status, title, detail: &str, next| show(status, &FailurePage { title, detail, next });
        match self {
            Self::SignedOut => page(
                StatusCode::UNAUTHORIZED,
                "Open your link first",
                "This page shows your connections after you have opened the link that your application gave you. It may also \
                 be that your visit has ended: it lasts an hour.",
                NEW_LINK,
            ),
            Self::NotOpened => page(
                StatusCode::NOT_FOUND,
                "This link cannot be opened",
                "It has expired, was opened before, or is not complete. Each link can be opened once.",
                NEW_LINK,
            ),
            Self::Refused(error) => {
                let detail = error.for_people();
                let refused = error.into_response();
                let status = refused.status();
                let title = match status {
                    StatusCode::NOT_FOUND => "Not found",
                    StatusCode::TOO_MANY_REQUESTS => "Too many requests",
                    _ if status.is_server_error() => "Something went wrong",
                    _ => "This cannot be done",
                };
                with_facts_of(page(status, title, &detail, "Go back with your browser, and try again later."), refused)
            }
        }
    }
}
