//! Rendering: the look of every page, and its headers.
//! Owns: the stylesheet and the hardened headers.
//! Must not know: what a page says.

use std::sync::LazyLock;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{HeaderName, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};

/// The stylesheet that `layout.html` inlines. The policy admits exactly these bytes.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The CSP source expression of [`STYLE`] (CSP Level 3, section 2.3.1).
static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| source_of(STYLE));

/// The CSP source expression of a stylesheet that a page inlines.
pub(in crate::http) fn source_of(style: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(style)))
}

/// Renders a template behind [`hardened_headers`].
pub(crate) fn html(status: StatusCode, template: &impl Template, form_action: &str) -> Response {
    match template.render() {
        Ok(body) => (status, hardened_headers(form_action), body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What a page may do (CSP Level 3).
#[derive(Clone, Copy)]
pub(in crate::http) struct Policy<'a> {
    /// The source expression of its stylesheet.
    pub(in crate::http) style: &'a str,
    /// The source list of the targets of its form, including redirects.
    pub(in crate::http) form_action: &'a str,
    /// Whether it shows images of this server.
    pub(in crate::http) has_images: bool,
    /// Whether it runs the script of this server, which may call this server.
    pub(in crate::http) has_script: bool,
    /// The origins of the pages that may embed it; `None`: no page.
    pub(in crate::http) embedders: Option<&'a str>,
    /// Whether the page that opened it may be sent a message, which cuts it off from nobody.
    pub(in crate::http) keeps_opener: bool,
}

impl<'a> Policy<'a> {
    /// A page with this stylesheet, and nothing else.
    pub(in crate::http) fn with_style(style: &'a str) -> Self {
        Self {
            style,
            form_action: "'none'",
            has_images: false,
            has_script: false,
            embedders: None,
            keeps_opener: false,
        }
    }
}

/// The headers of every page. `form_action` is the CSP source list of the targets of the page's form, including
/// redirects; `'none'` for a page without a form.
#[must_use]
pub fn hardened_headers(form_action: &str) -> HeaderMap {
    headers_of(&Policy { form_action, ..Policy::with_style(&STYLE_SOURCE) })
}

/// The headers of a page with this policy.
#[must_use]
pub(in crate::http) fn headers_of(page: &Policy<'_>) -> HeaderMap {
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
    let Policy { style, form_action, has_images, has_script, embedders, keeps_opener } = *page;
    if embedders.is_some() {
        // It has no list of origins; `frame-ancestors` says the same.
        headers.remove(X_FRAME_OPTIONS);
    }
    if keeps_opener {
        headers.remove("cross-origin-opener-policy");
    }
    let images = if has_images { "img-src 'self'; " } else { "" };
    let script = if has_script { "script-src 'self'; connect-src 'self'; " } else { "" };
    let embedders = embedders.unwrap_or("'none'");
    let policy = format!(
        "default-src 'none'; style-src {style}; {images}{script}base-uri 'none'; form-action {form_action}; \
         frame-ancestors {embedders}"
    );
    // If the policy cannot be written, a stricter one is used.
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers
}

/// Serves a script of ours.
pub(in crate::http) fn javascript(script: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, script).into_response()
}
