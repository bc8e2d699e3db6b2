//! How a page looks to the person who opened it: in their language, with the operator's brand.
//! Owns: what every page has, and its headers.
//! Must not know: what a page is about.

use std::{convert::Infallible, sync::Arc};

use askama::Template;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    languages::{choose, texts::Texts},
    pages::render::{Policy, headers_of},
    start::base,
};
use crate::http::{
    app::App,
    brand::{Brand, Style},
    request_id::RequestId,
};

/// What every page that people see has.
#[derive(Clone)]
pub struct View {
    /// Whose pages they are.
    pub brand: Arc<Brand>,
    /// The texts in the person's language.
    pub t: &'static Texts,
    /// The path below which the server is reached, without a trailing slash.
    pub base: String,
    /// The id of the HTTP request, which its log lines have.
    pub request_id: Option<String>,
}

impl FromRequestParts<Arc<App>> for View {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let RequestId(request_id) = RequestId::from_request_parts(parts, app).await?;
        Ok(Self { brand: Arc::clone(&app.brand), t: language_of(&parts.headers), base: base(app), request_id })
    }
}

impl View {
    /// A page of a consent, with its headers. `form_action` is the CSP source list of the targets of its form, including
    /// redirects; `'none'` for a page without a form.
    pub(in crate::http) fn consent(&self, status: StatusCode, page: &impl Template, form_action: &str) -> Response {
        self.page(status, page, &self.brand.consent_style, form_action)
    }

    /// A page of a person's connections, with its headers.
    pub(in crate::http) fn people(&self, status: StatusCode, page: &impl Template) -> Response {
        let mut response = self.page(status, page, &self.brand.people_style, "'self'");
        with_own_referrer(&mut response);
        response
    }

    fn page(&self, status: StatusCode, page: &impl Template, style: &Style, form_action: &str) -> Response {
        let Ok(body) = page.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let policy = Policy { form_action, has_images: self.brand.logo.is_some(), ..Policy::with_style(&style.source) };
        let mut headers = headers_of(&policy);
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(self.t.tag));
        headers.insert(header::VARY, HeaderValue::from_static("accept-language"));
        (status, headers, body).into_response()
    }
}

/// Lets the origin of a form be sent with it: without, a browser that sends no `Sec-Fetch-Site` could not be distinguished
/// from another site. Other sites are still sent no referrer.
pub(in crate::http) fn with_own_referrer(response: &mut Response) {
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
}

fn language_of(headers: &HeaderMap) -> &'static Texts {
    let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
    // Several lines are one list (RFC 9110 section 5.3).
    choose(&lines.collect::<Vec<_>>().join(","))
}
