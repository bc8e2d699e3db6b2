//! What a page answers when it cannot be shown or a form cannot be taken.
//! Owns: the page for an error, and the way to the sign-in.
//! Must not know: where an error came from.

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::page::show;
use crate::{
    broker::error::BrokerError,
    http::{browser::callback::redirect, error::ApiError},
};

/// Why there is no page.
pub enum Failure {
    /// Nobody is signed in; where to sign in.
    SignedOut(String),
    /// The error that the API would have returned.
    Refused(ApiError),
}

#[derive(Template)]
#[template(path = "http/console/failure.html")]
struct FailurePage {
    title: &'static str,
    detail: String,
}

impl Failure {
    /// Nobody is signed in.
    pub(super) fn signed_out(base: &str) -> Self {
        Self::SignedOut(format!("{base}/console/sign-in"))
    }
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
        let error = match self {
            Self::SignedOut(sign_in) => return redirect(sign_in),
            Self::Refused(error) => error,
        };
        let detail = error.for_people();
        let refused = error.into_response();
        let status = refused.status();
        let title = match status {
            StatusCode::FORBIDDEN => "This is not allowed",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::CONFLICT => "This cannot be done now",
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => "Something in the form is wrong",
            _ if status.is_server_error() => "Something went wrong",
            _ => "This cannot be done",
        };
        with_facts_of(show(status, &FailurePage { title, detail }), refused)
    }
}

/// The page, counted, audited and repeated as the response of the API would be.
pub(super) fn with_facts_of(mut page: Response, mut refused: Response) -> Response {
    if let Some(wait) = refused.headers_mut().remove(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    page.extensions_mut().extend(std::mem::take(refused.extensions_mut()));
    page
}
