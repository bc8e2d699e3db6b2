//! What a page answers when it cannot be shown or a form cannot be taken.
//! Owns: the page for an error, and the page for somebody without a session.
//! Must not know: where an error came from.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{FromRequestParts, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    broker::error::BrokerError,
    http::{
        app::App,
        browser::{languages::texts::PeopleFailures, view::View},
        console::failure::with_facts_of,
        error::ApiError,
    },
};

/// Why there is no page.
pub enum Failure {
    /// There is no session.
    SignedOut,
    /// The link cannot be opened.
    NotOpened,
    /// The form was not sent from a page of the session.
    ForeignForm,
    /// The error that the API would have returned.
    Refused(ApiError),
}

/// Why there is no page, on its way to where the page around it is made.
#[derive(Clone)]
enum Why {
    SignedOut,
    NotOpened,
    ForeignForm,
    Refused(String),
}

#[derive(Template)]
#[template(path = "http/people/failure.html")]
struct FailurePage<'a> {
    view: &'a View,
    title: &'static str,
    happened: &'static str,
    /// What the API says of it, in English.
    detail: Option<String>,
    next: &'static str,
}

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
        let (mut refused, why) = match self {
            Self::SignedOut => (StatusCode::UNAUTHORIZED.into_response(), Why::SignedOut),
            Self::NotOpened => (StatusCode::NOT_FOUND.into_response(), Why::NotOpened),
            Self::ForeignForm => (StatusCode::FORBIDDEN.into_response(), Why::ForeignForm),
            Self::Refused(error) => {
                let detail = error.for_people();
                (error.into_response(), Why::Refused(detail))
            }
        };
        refused.extensions_mut().insert(why);
        refused
    }
}

/// Puts what is wrong into a page, in the language of the person.
pub async fn in_page(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(view) = View::from_request_parts(&mut parts, &app).await;
    let mut refused = next.run(Request::from_parts(parts, body)).await;
    let Some(why) = refused.extensions_mut().remove::<Why>() else { return refused };
    let status = refused.status();
    let page = page_of(&view, status, why);
    with_facts_of(view.people(status, &page), refused)
}

fn page_of(view: &View, status: StatusCode, why: Why) -> FailurePage<'_> {
    let t: &'static PeopleFailures = &view.t.people.failures;
    let page = |[title, happened]: [&'static str; 2], detail, next| FailurePage { view, title, happened, detail, next };
    match why {
        Why::SignedOut => page(t.signed_out, None, t.new_link),
        Why::NotOpened => page(t.not_opened, None, t.new_link),
        Why::ForeignForm => page(t.foreign_form, None, t.later),
        Why::Refused(detail) => match status {
            StatusCode::NOT_FOUND => page(t.not_found, None, t.later),
            StatusCode::TOO_MANY_REQUESTS => page(t.too_many, None, t.later),
            _ if status.is_server_error() => page(t.internal, Some(detail), t.later),
            _ => page(t.refused, Some(detail), t.later),
        },
    }
}
