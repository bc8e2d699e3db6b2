//! How a consent ended: what happened, the provider's response, and what to do next.
//! Owns: which texts are shown, and whose may appear between them.
//! Must not know headers, status codes or how a consent is carried out.

use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::page::{FailureReason, Page};
use super::text::{PROVIDER_CHARS, cleaned, is_error_code};
use crate::http::browser::{
    languages::texts::{OutcomeTexts, Said},
    message::Message,
    view::View,
};

/// The page, with its headers.
#[must_use]
pub fn page(view: &View, status: StatusCode, page: &Page<'_>) -> Response {
    view.consent(status, &Outcome::of(view, page), "'none'")
}

/// The same, and it sends the outcome to the page that opened it.
#[must_use]
pub(in crate::http) fn page_with_message(view: &View, page: &Page<'_>, message: Option<Message>) -> Response {
    let shown = Outcome { message, ..Outcome::of(view, page) };
    match shown.message {
        Some(_) => view.consent_with_script(StatusCode::OK, &shown),
        None => view.consent(StatusCode::OK, &shown, "'none'"),
    }
}

/// The same for a person whose visit to their connections goes on: it leads back there.
#[must_use]
pub(in crate::http) fn page_in_visit(view: &View, status: StatusCode, page: &Page<'_>) -> Response {
    view.consent(status, &Outcome { is_in_visit: true, ..Outcome::of(view, page) }, "'none'")
}

const ERROR_CHARS: usize = 64;
const DESCRIPTION_CHARS: usize = 300;

/// The error codes of agent-auth itself, for a provider that gave no usable response.
const OWN_ERRORS: [&str; 4] = ["provider_unavailable", "provider_timeout", "provider_response", "address_refused"];

/// One page, ready to render.
#[derive(Template)]
#[template(path = "http/browser/pages/outcome.html")]
struct Outcome<'a> {
    view: &'a View,
    mark: Mark,
    title: String,
    happened: String,
    answer: Option<Answer>,
    next: &'static str,
    /// Whether to lead back to the person's connections, in place of what is next.
    is_in_visit: bool,
    request_id: Option<&'a str>,
    message: Option<Message>,
}

/// The icon above the heading.
#[derive(Clone, Copy)]
enum Mark {
    Done,
    Waiting,
    Stopped,
}

impl Mark {
    fn class(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

/// The error of a failure, with a heading that says whose it is.
struct Answer {
    heading: String,
    error: Option<String>,
    description: Option<String>,
}

impl<'a> Outcome<'a> {
    fn of(view: &'a View, page: &Page<'_>) -> Self {
        let t = &view.t.outcome;
        let name = |provider: &str| cleaned(provider, PROVIDER_CHARS).unwrap_or_default();
        let said = |mark, Said { title, happened, next }| Self {
            view,
            mark,
            title,
            happened,
            answer: None,
            next,
            is_in_visit: false,
            request_id: None,
            message: None,
        };
        match *page {
            Page::Connected { provider } => said(Mark::Done, (t.connected)(&name(provider))),
            Page::AlreadyConnected { provider } => said(Mark::Done, (t.already_connected)(&name(provider))),
            Page::NoConsentNeeded { provider } => said(Mark::Done, (t.no_consent_needed)(&name(provider))),
            Page::Updated => said(Mark::Done, (t.updated)()),
            Page::Installed => said(Mark::Waiting, (t.installed)()),
            Page::Failed { provider, reason, error, error_description } => {
                let name = provider.and_then(|provider| cleaned(provider, PROVIDER_CHARS));
                let outcome = said(Mark::Stopped, (t.failed)(reason, name.as_deref()));
                let answer = Answer::of(t, name.as_deref(), reason, error, error_description);
                Self { answer, request_id: view.request_id.as_deref(), ..outcome }
            }
        }
    }
}

impl Answer {
    fn of(
        t: &OutcomeTexts,
        provider: Option<&str>,
        reason: FailureReason,
        error: Option<&str>,
        description: Option<&str>,
    ) -> Option<Self> {
        let error = error.and_then(|error| cleaned(error, ERROR_CHARS));
        let description = description.and_then(|description| cleaned(description, DESCRIPTION_CHARS));
        // Anyone can send a link with an `error` and an `error_description` of their own. Unless it belongs to a request
        // of ours, none of its sentences appears on our page; a plain error code still helps to find the fault.
        let (heading, error, description) = if answers_known_request(reason) {
            let is_own = error.as_deref().is_some_and(|error| OWN_ERRORS.contains(&error));
            let heading = if is_own { t.details.to_owned() } else { (t.answered)(provider) };
            (heading, error, description)
        } else {
            (t.error_in_address.to_owned(), error.filter(|error| is_error_code(error)), None)
        };
        (error.is_some() || description.is_some()).then_some(Self { heading, error, description })
    }
}

/// Whether the failure belongs to an authorization request that we began and that is still open at this provider.
fn answers_known_request(reason: FailureReason) -> bool {
    match reason {
        FailureReason::Denied
        | FailureReason::ProviderRefused
        | FailureReason::ExchangeFailed
        | FailureReason::ProviderUnavailable
        | FailureReason::Internal => true,
        FailureReason::InvalidState
        | FailureReason::StateUsed
        | FailureReason::OtherBrowser
        | FailureReason::WrongProvider
        | FailureReason::MissingParameters => false,
    }
}
