//! What a person sees in the browser: how a consent ended and what to do next, behind hardened headers.
//! Owns the words, the look, the headers and the cleaning of texts that others wrote.
//! Must not know how a consent is carried out, or where any of these texts came from.

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{HeaderName, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};

pub(crate) mod key;
mod outcome;
#[cfg(test)]
mod tests;
mod text;

use outcome::Outcome;

/// The stylesheet that `layout.html` inlines. The policy admits exactly these bytes.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The CSP source expression of [`STYLE`] (CSP Level 3, section 2.3.1).
static STYLE_SOURCE: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(STYLE))));

/// What a page says.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// The provider gave a token and it is stored.
    Connected {
        /// The provider's display name.
        provider: &'a str,
    },
    /// The request was finished before: a reload or a double submit.
    AlreadyConnected {
        /// The provider's display name.
        provider: &'a str,
    },
    /// The request ended without a token.
    Failed {
        /// The provider's display name, when the request is known.
        provider: Option<&'a str>,
        /// What went wrong.
        reason: FailureReason,
        /// The provider's `error` (RFC 6749, section 4.1.2.1).
        error: Option<&'a str>,
        /// The provider's `error_description`.
        error_description: Option<&'a str>,
    },
    /// A GitHub App's installation was changed (`setup_action=update`).
    Updated,
    /// A GitHub App was installed, or its installation requested, without an authorization code.
    Installed,
}

/// Why a consent ended without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The person, or a rule at the provider, said no (`access_denied`).
    Denied,
    /// The provider answered the authorization request with another error.
    ProviderRefused,
    /// The state is unknown, tampered with or expired.
    InvalidState,
    /// The state was used before, with another answer.
    StateUsed,
    /// The state belongs to a request at another provider.
    WrongProvider,
    /// The address has no code or no state.
    MissingParameters,
    /// The token endpoint refused the authorization code or answered nonsense.
    ExchangeFailed,
    /// The token endpoint did not answer.
    ProviderUnavailable,
    /// We failed.
    Internal,
}

/// The page, with its headers.
#[must_use]
pub fn page(status: StatusCode, page: &Page<'_>) -> Response {
    html(status, &Outcome::of(page), "'none'")
}

/// Renders a template behind [`hardened_headers`].
pub(crate) fn html(status: StatusCode, template: &impl Template, form_action: &str) -> Response {
    match template.render() {
        Ok(body) => (status, hardened_headers(form_action), body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The headers of every page we serve. `form_action` is the CSP source list of where a form of the page may lead,
/// redirects included; a page without a form says `'none'`.
#[must_use]
pub fn hardened_headers(form_action: &str) -> HeaderMap {
    let mut headers: HeaderMap = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .into_iter()
    .collect();
    let style = &*STYLE_SOURCE;
    let policy = format!(
        "default-src 'none'; style-src {style}; base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    );
    // A policy that cannot be written gives way to a stricter one, never to none.
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers
}
