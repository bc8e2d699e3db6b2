//! What a page answers when it cannot be shown or a form cannot be taken.
//! Owns: the page for an error, and the way to the sign-in.
//! Must not know: where an error came from.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::page::show;
use crate::{
    broker::error::BrokerError,
    http::{
        app::App,
        browser::{callback::redirect, start::base},
        error::ApiError,
        request_id::id_of,
    },
};

/// Why there is no page.
pub enum Failure {
    /// Nobody is signed in; where to sign in.
    SignedOut(String),
    /// The error that the API would have returned.
    Refused(ApiError),
}

/// What is wrong, on its way to where the page around it is made.
#[derive(Clone)]
struct Detail(String);

#[derive(Template)]
#[template(path = "http/console/failure.html")]
struct FailurePage {
    base: String,
    title: &'static str,
    detail: String,
    /// Operators find its log lines by it.
    request_id: Option<String>,
    /// Whether there are some.
    is_logged: bool,
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
        let mut refused = error.into_response();
        refused.extensions_mut().insert(Detail(detail));
        refused
    }
}

/// No page has that address.
pub async fn not_found() -> Failure {
    ApiError::NotFound("The console has no page at this address.".into()).into()
}

/// The console's address with a slash at its end.
pub async fn without_slash(State(app): State<Arc<App>>) -> Response {
    redirect(format!("{}/console", base(&app)))
}

/// Puts what is wrong into a page, with the way back.
pub async fn in_page(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let request_id = id_of(request.headers());
    let mut refused = next.run(request).await;
    let Some(Detail(detail)) = refused.extensions_mut().remove::<Detail>() else { return refused };
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
    let is_logged = status.is_server_error();
    with_facts_of(show(status, &FailurePage { base: base(&app), title, detail, request_id, is_logged }), refused)
}

/// The page, counted, audited and repeated as the response of the API would be.
pub(in crate::http) fn with_facts_of(mut page: Response, mut refused: Response) -> Response {
    if let Some(wait) = refused.headers_mut().remove(header::RETRY_AFTER) {
        page.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    page.extensions_mut().extend(std::mem::take(refused.extensions_mut()));
    page
}
