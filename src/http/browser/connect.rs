//! `/connect/{reference}`: the page that a person sees before they go to the provider. It says who asks for what, and the
//! browser that goes on from it is the one that the consent belongs to.
//! Owns: the form's fields, and the page or redirect for each outcome.
//! Must not know: which browser may go on, or what a consent leads to.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::{
    callback::{Ended, ended, failed, finish, internal_error_page, redirect},
    cookie::{browser_cookie, is_random, is_same_origin, new_value, set_cookie},
    pages::{
        connect::{ConnectForm, Why, connect_page},
        outcome::page,
        page::{FailureReason, Page},
    },
    view::View,
};
use crate::{
    broker::{
        consent::{
            interaction::{Closed, Question, cancel, go_on, question_of},
            link::{LinkPage, follow, link_page_of},
        },
        error::BrokerError,
    },
    http::{act::BrowserAct, app::App, body::whole},
};

/// Shows the page of a request. It changes nothing, so programs that preview links use nothing up.
pub async fn get(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    view: View,
    Path(reference): Path<String>,
) -> Response {
    let cookie = browser_cookie(&headers, &app.broker.public_url);
    match question_of(&app.broker, &SecretString::from(reference.as_str()), cookie.as_ref()).await {
        Ok(Question::Open(facts)) => {
            let action = format!("{}/connect/{reference}", app.broker.public_url);
            connect_page(&view, &facts, Why::Requested, &form(action, cookie))
        }
        Ok(Question::Closed(closed)) => finish(&app, &closed.provider_id, Ok(closed.completion), &view).await,
        Err(error) => internal_error_page(&view, error.into()),
    }
}

/// Goes on to the provider, or ends the request.
pub async fn post(
    State(app): State<Arc<App>>,
    view: View,
    BrowserAct(act): BrowserAct,
    Path(reference): Path<String>,
    request: Request,
) -> Response {
    let decision = match decision(&app, request, &view).await {
        Ok(decision) => decision,
        Err(response) => return response,
    };
    let reference = SecretString::from(reference);
    if decision.cancels {
        return match cancel(&app.broker, &reference, &decision.cookie, &act).await {
            Ok(Ok(cancelled)) => ended(&app, &cancelled.provider_id, cancelled.id, &view, Ended::CANCELLED).await,
            Ok(Err(closed)) => finish(&app, &closed.provider_id, Ok(closed.completion), &view).await,
            Err(error) => internal_error_page(&view, error.into()),
        };
    }
    let next = go_on(&app.broker, &reference, &decision.cookie, &act).await;
    leave(&app, next, &decision.cookie, &view).await
}

/// Shows the page of a link that begins a consent only if the person acts.
pub async fn get_link(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    view: View,
    Path(link): Path<String>,
) -> Response {
    match link_page_of(&app.broker, &link).await {
        Ok(LinkPage::Open { facts, is_renewal, account }) => {
            let cookie = browser_cookie(&headers, &app.broker.public_url);
            let action = format!("{}/connect/link/{link}", app.broker.public_url);
            let why = if is_renewal { Why::Ended { account: account.as_deref() } } else { Why::Missing };
            connect_page(&view, &facts, why, &form(action, cookie))
        }
        Ok(LinkPage::NothingToDo(provider)) => {
            page(&view, StatusCode::OK, &Page::NoConsentNeeded { provider: &provider })
        }
        Ok(LinkPage::Unknown) => failed(&view, StatusCode::BAD_REQUEST, FailureReason::InvalidState),
        Err(error) => internal_error_page(&view, error.into()),
    }
}

/// Begins the consent of a link and goes on to the provider.
pub async fn post_link(
    State(app): State<Arc<App>>,
    view: View,
    BrowserAct(act): BrowserAct,
    Path(link): Path<String>,
    request: Request,
) -> Response {
    let decision = match decision(&app, request, &view).await {
        Ok(decision) => decision,
        Err(response) => return response,
    };
    if decision.cancels {
        // Nothing was begun, so there is nothing to end.
        return failed(&view, StatusCode::OK, FailureReason::Denied);
    }
    let next = follow(&app.broker, &link, &decision.cookie, &act).await;
    leave(&app, next, &decision.cookie, &view).await
}

fn form(action: String, cookie: Option<SecretString>) -> ConnectForm {
    ConnectForm { action, browser: cookie.unwrap_or_else(new_value) }
}

/// What a person decided on the page.
struct Decision {
    cancels: bool,
    /// The cookie that the browser has, or that it gets.
    cookie: SecretString,
}

async fn decision(app: &App, request: Request, view: &View) -> Result<Decision, Response> {
    let refused = |reason| failed(view, StatusCode::BAD_REQUEST, reason);
    let public_url = &app.broker.public_url;
    if !is_same_origin(request.headers(), public_url) {
        // Another site sent the form: the person has not seen our page.
        return Err(failed(view, StatusCode::FORBIDDEN, FailureReason::InvalidState));
    }
    let cookie = browser_cookie(request.headers(), public_url);
    let form = whole(request, &()).await.map_err(|error| internal_error_page(view, error))?;
    let mut decision = None;
    let mut offered = None;
    for (name, value) in form_urlencoded::parse(&form) {
        match name.as_ref() {
            "decision" => decision = Some(value.into_owned()),
            "browser" => offered = Some(value.into_owned()),
            _ => {}
        }
    }
    let offered = offered.filter(|value| is_random(value)).map(SecretString::from);
    let cookie = cookie.or(offered).ok_or_else(|| refused(FailureReason::MissingParameters))?;
    match decision.as_deref() {
        Some("continue") => Ok(Decision { cancels: false, cookie }),
        Some("cancel") => Ok(Decision { cancels: true, cookie }),
        _ => Err(refused(FailureReason::MissingParameters)),
    }
}

/// Sends the browser on, with the cookie that it comes back with.
async fn leave(
    app: &Arc<App>,
    next: Result<Result<SecretString, Closed>, BrokerError>,
    cookie: &SecretString,
    view: &View,
) -> Response {
    let url = match next {
        Ok(Ok(url)) => url,
        Ok(Err(closed)) => return finish(app, &closed.provider_id, Ok(closed.completion), view).await,
        Err(error) => return internal_error_page(view, error.into()),
    };
    let mut response = redirect(url.expose_secret().to_owned());
    let max_age = app.broker.settings.authorization_ttl_seconds;
    if let Some(set) = set_cookie(cookie, &app.broker.public_url, max_age) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}
