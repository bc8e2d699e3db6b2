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

use secrecy::SecretString;

use super::{
    cookie::{PERSON, cookie_of},
    languages::{choose, texts::Texts},
    pages::render::{Policy, headers_of},
    start::base,
};
use crate::http::{app::App, brand::Brand, request_id::RequestId};

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
    /// Whether the page is shown inside another one.
    pub is_embedded: bool,
    /// The cookie of a person's visit to their connections, if the browser sent one. It may have ended.
    pub visit: Option<SecretString>,
}

impl FromRequestParts<Arc<App>> for View {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let RequestId(request_id) = RequestId::from_request_parts(parts, app).await?;
        let is_embedded = !app.brand.embedders.is_empty() && is_embedded(&parts.headers);
        let (brand, t) = (Arc::clone(&app.brand), language_of(&parts.headers));
        let visit = cookie_of(&PERSON, &parts.headers, &app.broker.public_url);
        Ok(Self { brand, t, base: base(app), request_id, is_embedded, visit })
    }
}

impl View {
    /// A page of a consent, with its headers. `form_action` is the CSP source list of the targets of its form, including
    /// redirects; `'none'` for a page without a form.
    pub(in crate::http) fn consent(&self, status: StatusCode, page: &impl Template, form_action: &str) -> Response {
        let policy = Policy { form_action, ..Policy::with_style(&self.brand.consent_style.source) };
        self.page(status, page, policy)
    }

    /// The same with the script that tells the page which opened this one.
    pub(in crate::http) fn consent_with_script(&self, status: StatusCode, page: &impl Template) -> Response {
        let policy = Policy { has_script: true, ..Policy::with_style(&self.brand.consent_style.source) };
        self.page(status, page, policy)
    }

    /// A page of a person's connections, with its headers.
    pub(in crate::http) fn people(&self, status: StatusCode, page: &impl Template) -> Response {
        self.people_page(status, page, false)
    }

    /// The same with the script that tells the page which opened or embeds this one.
    pub(in crate::http) fn people_with_script(&self, status: StatusCode, page: &impl Template) -> Response {
        self.people_page(status, page, true)
    }

    /// Whether pages of other origins may embed ours, and get a message about what was connected.
    pub(in crate::http) fn has_embedders(&self) -> bool {
        !self.brand.embedders.is_empty()
    }

    fn people_page(&self, status: StatusCode, page: &impl Template, has_script: bool) -> Response {
        let embedders = self.brand.embedders.join(" ");
        let embedders = Some(embedders.as_str()).filter(|origins| !origins.is_empty());
        let policy = Policy {
            form_action: "'self'",
            has_script,
            embedders,
            ..Policy::with_style(&self.brand.people_style.source)
        };
        let mut response = self.page(status, page, policy);
        with_own_referrer(&mut response);
        response
    }

    fn page(&self, status: StatusCode, page: &impl Template, policy: Policy<'_>) -> Response {
        let Ok(body) = page.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let policy = Policy { has_images: self.brand.logo.is_some(), keeps_opener: self.has_embedders(), ..policy };
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

/// Whether a browser says that it shows the page inside another one. It says so to https and to loopback.
fn is_embedded(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-dest").is_some_and(|dest| ["iframe", "frame"].iter().any(|embedded| dest == embedded))
}

fn language_of(headers: &HeaderMap) -> &'static Texts {
    let lines = headers.get_all(header::ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
    // Several lines are one list (RFC 9110 section 5.3).
    choose(&lines.collect::<Vec<_>>().join(","))
}
