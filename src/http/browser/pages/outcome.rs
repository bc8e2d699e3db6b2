//! The words of each page: what happened, the provider's response, and what to do next.
//! Owns the sentences and whose texts may appear between them.
//! Must not know headers, status codes or how a consent is carried out.

use askama::Template;
use axum::{http::StatusCode, response::Response};

use super::page::{FailureReason, Page};
use super::{
    render::html,
    text::{cleaned, is_error_code},
};

/// The page, with its headers.
#[must_use]
pub fn page(status: StatusCode, page: &Page<'_>) -> Response {
    html(status, &Outcome::of(page), "'none'")
}

const ERROR_CHARS: usize = 64;
const DESCRIPTION_CHARS: usize = 300;
const PROVIDER_CHARS: usize = 80;

const RETURN: &str = "You can close this window and return to your agent.";
const AGAIN: &str = "Return to your agent and connect again. It will give you a new link.";
const AGAIN_THEN_REPORT: &str =
    "Return to your agent and connect again. If you see this page again, show it to the person who runs your agent.";
/// The error codes of agent-auth itself, for a provider that gave no usable response.
const OWN_ERRORS: [&str; 4] = ["provider_unavailable", "provider_timeout", "provider_response", "address_refused"];

/// One page, ready to render.
#[derive(Template)]
#[template(path = "http/browser/pages/outcome.html")]
pub(in crate::http) struct Outcome {
    mark: Mark,
    title: String,
    happened: String,
    answer: Option<Answer>,
    next: &'static str,
    request_id: Option<String>,
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

impl Outcome {
    pub(in crate::http) fn of(page: &Page<'_>) -> Self {
        match *page {
            Page::Connected { provider } => {
                let name = Name::of(Some(provider));
                Self::without_answer(
                    Mark::Done,
                    format!("Connected to {}", name.within),
                    format!("Your agent can now use {} on your behalf.", name.within),
                    RETURN,
                )
            }
            Page::AlreadyConnected { provider } => {
                let name = Name::of(Some(provider));
                Self::without_answer(
                    Mark::Done,
                    format!("Already connected to {}", name.within),
                    "This request was completed before. Opening the page again changed nothing.".to_owned(),
                    RETURN,
                )
            }
            Page::NoConsentNeeded { provider } => {
                let name = Name::of(Some(provider));
                Self::without_answer(
                    Mark::Done,
                    format!("No consent is needed for {}", name.within),
                    "Your agent gets access without it.".to_owned(),
                    "You can close this window and return to your agent. It has to ask for the token again.",
                )
            }
            Page::Updated => Self::without_answer(
                Mark::Done,
                "Installation updated".to_owned(),
                "The provider has saved the changes to the app's installation.".to_owned(),
                RETURN,
            ),
            Page::Installed => Self::without_answer(
                Mark::Waiting,
                "One step left".to_owned(),
                "The app was installed, or its installation was requested. It is not connected to your account yet."
                    .to_owned(),
                "Return to your agent and connect: it will give you a link to complete the connection.",
            ),
            Page::Failed { provider, reason, error, error_description, request_id } => Self {
                request_id: request_id.map(ToOwned::to_owned),
                ..Self::failed(&Name::of(provider), reason, error, error_description)
            },
        }
    }

    fn without_answer(mark: Mark, title: String, happened: String, next: &'static str) -> Self {
        Self { mark, title, happened, answer: None, next, request_id: None }
    }

    fn failed(name: &Name, reason: FailureReason, error: Option<&str>, description: Option<&str>) -> Self {
        let (title, happened, next) = words(name, reason);
        let error = error.and_then(|error| cleaned(error, ERROR_CHARS));
        let description = description.and_then(|description| cleaned(description, DESCRIPTION_CHARS));
        // Anyone can send a link with an `error` and an `error_description` of their own. Unless it belongs to a request
        // of ours, none of its sentences appears on our page; a plain error code still helps to find the fault.
        let (heading, error, description) = if answers_known_request(reason) {
            let is_own = error.as_deref().is_some_and(|error| OWN_ERRORS.contains(&error));
            let heading = if is_own { "Details".to_owned() } else { format!("{} answered", name.first) };
            (heading, error, description)
        } else {
            ("Error code in the address".to_owned(), error.filter(|error| is_error_code(error)), None)
        };
        let answer = (error.is_some() || description.is_some()).then_some(Answer { heading, error, description });
        Self { mark: Mark::Stopped, title, happened, answer, next, request_id: None }
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

/// Title, what happened, what to do next.
fn words(Name { first, within }: &Name, reason: FailureReason) -> (String, String, &'static str) {
    match reason {
        FailureReason::Denied => (
            "Access was not granted".to_owned(),
            format!("The request was declined, so your agent was not connected to {within}. Nothing else has changed."),
            "You can close this window. If you did not mean to decline, return to your agent and connect again.",
        ),
        FailureReason::ProviderRefused => (
            format!("{first} refused the request"),
            "No access was granted, and nothing has changed.".to_owned(),
            AGAIN_THEN_REPORT,
        ),
        FailureReason::InvalidState => (
            "This link is no longer valid".to_owned(),
            "It has expired, or it was not issued by this server. Nothing has changed.".to_owned(),
            AGAIN,
        ),
        FailureReason::StateUsed => (
            "This link was already used".to_owned(),
            "Each link works once, and this one has been used. Opening it again changed nothing.".to_owned(),
            "You can close this window. If your agent is still waiting, connect again from there.",
        ),
        FailureReason::OtherBrowser => (
            "This link was opened in another browser".to_owned(),
            "A link can be completed only in the browser in which it was started. Nothing was connected here.".to_owned(),
            "If you started it yourself, go back to that browser, or return to your agent and connect again. If somebody sent you the link, close this window.",
        ),
        FailureReason::WrongProvider => (
            "This response belongs to another provider".to_owned(),
            "It arrived at another callback address than the one of the provider that you were sent to. It was rejected, and nothing has changed."
                .to_owned(),
            AGAIN_THEN_REPORT,
        ),
        FailureReason::MissingParameters => (
            "This link is incomplete".to_owned(),
            "A part of the address is missing, so it cannot be matched to a request. Nothing has changed.".to_owned(),
            AGAIN,
        ),
        FailureReason::ExchangeFailed => (
            format!("{first} did not finish connecting"),
            "You gave your consent, but the provider rejected the last step.".to_owned(),
            AGAIN_THEN_REPORT,
        ),
        FailureReason::ProviderUnavailable => (
            format!("{first} is not available"),
            "You gave your consent, but the provider did not complete the last step.".to_owned(),
            "Wait a few minutes, then return to your agent and connect again.",
        ),
        FailureReason::Internal => (
            "Something went wrong".to_owned(),
            format!("This server had a problem and could not complete the connection to {within}."),
            "Wait a few minutes, then return to your agent and connect again. If you see this page again, show it to the person who runs your agent.",
        ),
    }
}

/// The provider as a sentence names it: at its beginning, and within it.
pub(in crate::http) struct Name {
    first: String,
    pub(in crate::http) within: String,
}

impl Name {
    pub(in crate::http) fn of(provider: Option<&str>) -> Self {
        match provider.and_then(|name| cleaned(name, PROVIDER_CHARS)) {
            Some(name) => Self { first: name.clone(), within: name },
            None => Self { first: "The provider".to_owned(), within: "the provider".to_owned() },
        }
    }
}
