//! Callbacks: where providers send the browser back.
//! Owns: which requests count (no prefetch, no HEAD, no preview), and the page or redirect for each outcome.
//! Must not know: how a code is exchanged.

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};
use url::{Url, form_urlencoded};
use uuid::Uuid;

use super::{
    cookie::browser_cookie,
    message::Message,
    pages::{
        outcome::{page, page_in_visit, page_with_message},
        page::{FailureReason, Page},
    },
    view::View,
};
use crate::{
    broker::{
        clients::redirect_uri::callback_address,
        connect_links::{request_of, session_of},
        consent::{
            authorization::{self, refuse},
            completion::{CodeResponse, Completion, ErrorResponse, Source},
            exchange::complete,
        },
        error::BrokerError,
        rules, trial,
    },
    http::{
        act::BrowserAct,
        app::App,
        error::{ApiError, ErrorCode, Faults, of_provider_failure},
    },
    model::{
        actor::Act,
        authorization_request::{RequestOutcome, Status},
        failure::FailureKind,
    },
};

/// Programs that open links to show a preview of them.
const PREVIEWERS: [&str; 10] = [
    "slackbot",
    "slack-imgproxy",
    "facebookexternalhit",
    "twitterbot",
    "discordbot",
    "telegrambot",
    "whatsapp",
    "linkedinbot",
    "skypeuripreview",
    "googlebot",
];

/// The query of a callback.
#[derive(Default)]
struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    iss: Option<String>,
    setup_action: Option<String>,
    /// The whole query, unparsed.
    whole: SecretString,
}

impl CallbackQuery {
    fn read(query: Option<&str>) -> Self {
        let query = query.unwrap_or_default();
        let mut read = Self { whole: query.into(), ..Self::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match name.as_ref() {
                "code" => &mut read.code,
                "state" => &mut read.state,
                "error" => &mut read.error,
                "error_description" => &mut read.error_description,
                "iss" => &mut read.iss,
                "setup_action" => &mut read.setup_action,
                _ => continue,
            };
            let usable = rules::opaque(&value).is_ok() || name == "error_description";
            field.get_or_insert_with(|| if usable { value.into_owned() } else { String::new() });
        }
        read
    }

    /// The page for a GitHub App that was installed or changed; `None` if this is the response to a request of ours.
    fn setup_page(&self) -> Option<Page<'static>> {
        match self.setup_action.as_deref() {
            Some("update") => Some(Page::Updated),
            _ if self.state.is_some() && (self.code.is_some() || self.error.is_some()) => None,
            _ => Some(Page::Installed),
        }
    }
}

/// The redirect URI: completes a consent.
#[utoipa::path(
    get,
    operation_id = "receiveCallback",
    security(()),
    path = "/v2/auth/callback/{provider_id}",
    tag = "Callbacks",
    params(
        ("provider_id" = String, Path),
        ("code" = Option<String>, Query),
        ("state" = Option<String>, Query),
        ("error" = Option<String>, Query),
        ("error_description" = Option<String>, Query),
    ),
    responses(
        (
            status = 200,
            description = "The page after a consent, the target of the redirect",
            content_type = "text/html",
        ),
        (status = 303, description = "Redirect to the page after a consent, at an address without code and state"),
        (status = 400, description = "A page with the reason why there is no token", content_type = "text/html"),
        (status = 422, body = Faults),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    view: View,
    BrowserAct(act): BrowserAct,
    Path(provider_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if !is_visit(&method, &headers) {
        return no_visit();
    }
    let address = Address { provider_id: &provider_id, callback_tag: "" };
    complete_in_browser(&app, address, &headers, CallbackQuery::read(query.as_deref()), &view, &act).await
}

/// The redirect URI of a provider that has an address of its own, because another workspace's has the plain one.
pub async fn tagged(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    view: View,
    BrowserAct(act): BrowserAct,
    Path((provider_id, callback_tag)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    if !is_visit(&method, &headers) {
        return no_visit();
    }
    let query = CallbackQuery::read(query.as_deref());
    match query.setup_page() {
        // It is the setup URL of this provider too.
        Some(setup_page) if query.setup_action.is_some() => page(&view, StatusCode::OK, &setup_page),
        _ => {
            let address = Address { provider_id: &provider_id, callback_tag: &callback_tag };
            complete_in_browser(&app, address, &headers, query, &view, &act).await
        }
    }
}

/// The setup URL of a GitHub App. An `installation_id` alone proves nothing: anyone can put one into a link.
#[utoipa::path(
    get,
    operation_id = "receiveSetup",
    security(()),
    path = "/v2/auth/setup/{provider_id}",
    tag = "Callbacks",
    params(
        ("provider_id" = String, Path),
        ("code" = Option<String>, Query),
        ("state" = Option<String>, Query),
        ("setup_action" = Option<String>, Query),
        ("installation_id" = Option<i64>, Query),
        ("error" = Option<String>, Query),
        ("error_description" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A page", content_type = "text/html"),
        (status = 303, description = "Redirect to the page after a consent"),
        (status = 422, body = Faults),
    ),
)]
pub async fn setup(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    view: View,
    BrowserAct(act): BrowserAct,
    Path(provider_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    if !is_visit(&method, &headers) {
        return no_visit();
    }
    let query = CallbackQuery::read(query.as_deref());
    match query.setup_page() {
        Some(setup_page) => page(&view, StatusCode::OK, &setup_page),
        None => {
            let address = Address { provider_id: &provider_id, callback_tag: "" };
            complete_in_browser(&app, address, &headers, query, &view, &act).await
        }
    }
}

/// The page after a consent, at an address that is safe to reload and share.
pub async fn outcome(
    State(app): State<Arc<App>>,
    view: View,
    Path((provider_id, auth_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let found = match Uuid::try_parse(&auth_id) {
        Ok(id) if rules::provider_id(&provider_id).is_ok() => {
            authorization::outcome(&app.broker, &provider_id, id).await
        }
        _ => Ok(None),
    };
    let connected =
        |page: Page<'_>| page_with_message(&view, &page, Message::connected(&view, &provider_id, &auth_id, None));
    match found {
        Ok(Some(RequestOutcome { provider, status: Status::Completed, .. })) => {
            let is_again = query.as_deref() == Some("again");
            let provider = &provider;
            connected(if is_again { Page::AlreadyConnected { provider } } else { Page::Connected { provider } })
        }
        Ok(_) => failed(&view, StatusCode::NOT_FOUND, FailureReason::InvalidState),
        Err(error) => internal_error_page(&view, error.into()),
    }
}

/// The callback address at which a browser arrived.
#[derive(Clone, Copy)]
struct Address<'a> {
    provider_id: &'a str,
    callback_tag: &'a str,
}

async fn complete_in_browser(
    app: &Arc<App>,
    Address { provider_id, callback_tag }: Address<'_>,
    headers: &HeaderMap,
    query: CallbackQuery,
    view: &View,
    act: &Act,
) -> Response {
    let Some(state) = query.state.filter(|state| !state.is_empty()).map(SecretString::from) else {
        return page(
            view,
            StatusCode::BAD_REQUEST,
            &Page::Failed {
                provider: None,
                reason: FailureReason::MissingParameters,
                error: query.error.as_deref(),
                error_description: query.error_description.as_deref(),
            },
        );
    };
    if rules::provider_id(provider_id).is_err() {
        return failed(view, StatusCode::BAD_REQUEST, FailureReason::InvalidState);
    }
    let cookie = browser_cookie(headers, &app.broker.public_url);
    let source = Source::Browser { callback_tag, cookie: cookie.as_ref() };
    let completion = match (query.error.filter(|error| !error.is_empty()), query.code) {
        (Some(error), _) => {
            let error_description = query.error_description.as_deref();
            let response = ErrorResponse { error: &error, error_description, iss: query.iss.as_deref() };
            refuse(&app.broker, provider_id, &state, response, source, act).await
        }
        (None, Some(code)) if !code.is_empty() => {
            let response = CodeResponse { code: code.into(), iss: query.iss, query: Some(query.whole) };
            complete(&app.broker, provider_id, &state, response, source, act).await
        }
        (None, _) => return failed(view, StatusCode::BAD_REQUEST, FailureReason::MissingParameters),
    };
    finish(app, provider_id, completion, view).await
}

/// The redirect or the page for a completion.
pub(in crate::http) async fn finish(
    app: &Arc<App>,
    provider_id: &str,
    completion: Result<Completion, BrokerError>,
    view: &View,
) -> Response {
    match completion {
        Ok(
            Completion::Completed { id, return_url: Some(url) }
            | Completion::AlreadyCompleted { id, return_url: Some(url) },
        ) => to_application(view, &url, id, None),
        Ok(Completion::AwaitingConfirmation { id, return_url, reference }) => {
            to_application(view, &return_url, id, Some(&reference))
        }
        Ok(Completion::Completed { id, return_url: None }) => see_other(app, provider_id, id, ""),
        Ok(Completion::AlreadyCompleted { id, return_url: None }) => see_other(app, provider_id, id, "?again"),
        Ok(Completion::OtherBrowser) => failed(view, StatusCode::BAD_REQUEST, FailureReason::OtherBrowser),
        Ok(
            Completion::InvalidState | Completion::OtherUser | Completion::OtherUserTooLate | Completion::NotTheBrowser,
        ) => failed(view, StatusCode::BAD_REQUEST, FailureReason::InvalidState),
        Ok(Completion::StateUsed) => failed(view, StatusCode::BAD_REQUEST, FailureReason::StateUsed),
        Ok(Completion::WrongProvider) => failed(view, StatusCode::BAD_REQUEST, FailureReason::WrongProvider),
        Ok(Completion::Failed { id, error, error_description, kind, .. }) => {
            let (status, reason, code) = failure(&error, kind);
            let (error, error_description) = (Some(&*error), error_description.as_deref());
            ended(app, provider_id, id, view, Ended { status, reason, error, error_description, code }).await
        }
        Err(error) => internal_error_page(view, error.into()),
    }
}

/// How a request of ours ended without a token.
pub(super) struct Ended<'a> {
    status: StatusCode,
    reason: FailureReason,
    error: Option<&'a str>,
    error_description: Option<&'a str>,
    /// What it is counted as.
    code: Option<ErrorCode>,
}

impl Ended<'_> {
    /// On our own page: there is no answer of the provider to show.
    pub(super) const CANCELLED: Self = Self {
        status: StatusCode::BAD_REQUEST,
        reason: FailureReason::Denied,
        error: None,
        error_description: None,
        code: None,
    };
}

/// The page for a request that ended without a token. An operator who tried the provider reads in the console what became of
/// it; a person who came from their connections is led back there.
pub(super) async fn ended(app: &App, provider_id: &str, id: Uuid, view: &View, ended: Ended<'_>) -> Response {
    let Ended { status, reason, error, error_description, code } = ended;
    let begun = authorization::outcome(&app.broker, provider_id, id).await.ok().flatten();
    let way_back = begun.as_ref().and_then(|begun| begun.return_url.as_deref());
    if let Some(url) = way_back.filter(|url| *url == trial::way_back(&app.broker)) {
        return with_code(to_application(view, url, id, None), code);
    }
    let provider = begun.as_ref().map(|begun| begun.provider.as_str());
    let failed = Page::Failed { provider, reason, error, error_description };
    let page = if is_in_visit(app, view, id).await {
        page_in_visit(view, status, &failed)
    } else {
        page(view, status, &failed)
    };
    with_code(page, code)
}

/// Whether this browser has a running visit of the person whose request this is.
async fn is_in_visit(app: &App, view: &View, id: Uuid) -> bool {
    let Some(cookie) = &view.visit else { return false };
    let Ok(Some(link)) = session_of(&app.broker, cookie).await else { return false };
    request_of(&app.broker, &link, id).await.is_ok_and(|request| request.is_some())
}

/// Redirects to an address without code and state, so that neither stays in the history or in a `Referer`.
fn see_other(app: &App, provider_id: &str, id: Uuid, query: &str) -> Response {
    redirect(format!("{}/{id}{query}", callback_address(&app.broker.public_url, provider_id, "")))
}

/// Redirects to one of the application's own addresses, with the request's id; and, if the application has to confirm the
/// user, with the reference that it needs for that.
fn to_application(view: &View, return_url: &str, id: Uuid, reference: Option<&SecretString>) -> Response {
    // It was checked when the provider was written.
    let Ok(mut url) = Url::parse(return_url) else { return internal_error_page(view, ApiError::Internal) };
    url.query_pairs_mut().append_pair("auth_id", &id.to_string());
    if let Some(reference) = reference {
        url.query_pairs_mut().append_pair("reference", reference.expose_secret());
    }
    redirect(url.into())
}

/// A redirect after which nothing of this address stays behind.
pub(in crate::http) fn redirect(location: String) -> Response {
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn failure(error: &str, kind: Option<FailureKind>) -> (StatusCode, FailureReason, Option<ErrorCode>) {
    // In addition to the standard's code: the codes of LinkedIn and others for a person who presses Cancel.
    let denied = ["access_denied", "user_cancelled_login", "user_cancelled_authorize", "user_denied"];
    let Some(kind) = kind else {
        let reason = if denied.contains(&error) { FailureReason::Denied } else { FailureReason::ProviderRefused };
        return (StatusCode::BAD_REQUEST, reason, None);
    };
    let (status, code) = of_provider_failure(kind);
    let reason = match kind {
        FailureKind::Unavailable | FailureKind::RateLimited | FailureKind::TimedOut => {
            FailureReason::ProviderUnavailable
        }
        _ => FailureReason::ExchangeFailed,
    };
    (status, reason, Some(code))
}

/// The page, counted as an error with this code.
fn with_code(mut page: Response, code: Option<ErrorCode>) -> Response {
    if let Some(code) = code {
        page.extensions_mut().insert(code);
    }
    page
}

pub(in crate::http) fn failed(view: &View, status: StatusCode, reason: FailureReason) -> Response {
    page(view, status, &Page::Failed { provider: None, reason, error: None, error_description: None })
}

/// An internal failure as a page, with the status that the API would return.
pub(in crate::http) fn internal_error_page(view: &View, error: ApiError) -> Response {
    let refused = error.into_response();
    let page = failed(view, refused.status(), FailureReason::Internal);
    with_code(page, refused.extensions().get().copied())
}

/// The response to a request that does not come from a person: it completes nothing.
pub(in crate::http) fn no_visit() -> Response {
    (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, "no-store")]).into_response()
}

/// True when the request comes from a person: it is no HEAD, no prefetch of a browser, and no preview of the link.
pub(in crate::http) fn is_visit(method: &Method, headers: &HeaderMap) -> bool {
    let value = |name: &str| {
        let value = headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
        value.unwrap_or_default()
    };
    let looks_ahead = ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        let purpose = value(name);
        ["prefetch", "prerender", "preview"].iter().any(|word| purpose.contains(word))
    });
    let agent = value("user-agent");
    method != Method::HEAD && !looks_ahead && !PREVIEWERS.iter().any(|previewer| agent.contains(previewer))
}
