//! `/connections/{secret}`: the page of a link, and its exchange for a session; `/connections/leave`: its end.
//! Owns: the cookie of the session.
//! Must not know: when a link can be opened.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::Response,
};
use secrecy::{ExposeSecret, SecretString};

use super::{failure::Failure, session::Form};
use crate::{
    broker::connect_links::{SESSION_SECONDS, act_of, end, find, open, session_of},
    http::{
        act::BrowserAct,
        app::App,
        body::whole,
        browser::{
            callback::redirect,
            cookie::{PERSON, is_random, new_value, set_cookie_of, set_embedded_cookie_of},
            view::View,
        },
        console::{
            form::{fields, require_same_origin, value_of},
            words::shown,
        },
    },
    model::actor::Act,
};

#[derive(Template)]
#[template(path = "http/people/link.html")]
struct LinkPage<'a> {
    view: &'a View,
    title: &'static str,
    action: String,
    user: String,
    /// The cookie that the browser gets: a second click on the button sends the same one.
    browser: &'a str,
}

#[derive(Template)]
#[template(path = "http/people/left.html")]
struct LeftPage<'a> {
    view: &'a View,
    title: &'static str,
}

/// Shows the page of a link. It changes nothing, so programs that preview links use nothing up.
pub async fn get(State(app): State<Arc<App>>, view: View, Path(secret): Path<String>) -> Result<Response, Failure> {
    let link = find(&app.broker, &SecretString::from(secret.as_str())).await?.ok_or(Failure::NotOpened)?;
    let browser = new_value();
    let page = LinkPage {
        view: &view,
        title: view.t.people.title,
        action: format!("{}/connections/{secret}", view.base),
        user: shown(&link.user_id),
        browser: browser.expose_secret(),
    };
    Ok(view.people(StatusCode::OK, &page))
}

/// Opens a link in this browser.
pub async fn post(
    State(app): State<Arc<App>>,
    view: View,
    Path(secret): Path<String>,
    BrowserAct(act): BrowserAct,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    // Another site must not open a link of somebody else in this browser.
    require_same_origin(&parts, &app).map_err(|_| Failure::ForeignForm)?;
    let body = whole(Request::from_parts(parts, body), &()).await?;
    let fields = fields(&body);
    let cookie = Some(value_of(&fields, "browser")).filter(|value| is_random(value)).ok_or(Failure::NotOpened)?;
    let cookie = SecretString::from(cookie);
    if !open(&app.broker, &SecretString::from(secret), &cookie, &act).await? {
        return Err(Failure::NotOpened);
    }
    // The cookie of an earlier visit is replaced, so that nobody could end that visit any more.
    let earlier = view.visit.as_ref().filter(|earlier| earlier.expose_secret() != cookie.expose_secret());
    if let Some(earlier) = earlier
        && let Some(link) = session_of(&app.broker, earlier).await?
    {
        end(&app.broker, &link, &Act { actor: act_of(&link).actor, ..act }).await?;
    }
    Ok(with_cookie(redirect(format!("{}/connections", view.base)), &app, &view, &cookie, SESSION_SECONDS))
}

/// Ends the session.
pub async fn leave(State(app): State<Arc<App>>, Form(session): Form) -> Result<Response, Failure> {
    end(&app.broker, &session.link, &session.act).await?;
    let view = &session.view;
    let page = view.people(StatusCode::OK, &LeftPage { view, title: view.t.people.left });
    Ok(with_cookie(page, &app, view, &SecretString::default(), 0))
}

fn with_cookie(mut response: Response, app: &App, view: &View, cookie: &SecretString, max_age: i64) -> Response {
    let set_cookie = if view.is_embedded { set_embedded_cookie_of } else { set_cookie_of };
    if let Some(set) = set_cookie(&PERSON, cookie, &app.broker.public_url, max_age) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}
