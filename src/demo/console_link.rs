//! The link that signs in to the console, for the person who started the demo, instead of a key to copy.
//! Owns: that it works once, for a short time, and only after somebody pressed its button.
//! Must not know: what a session may do. A server that is no demo has no such route.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use askama::Template;
use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use url::form_urlencoded;

use super::secrets::random_secret;
use crate::{
    http::{
        act::through,
        app::App,
        browser::cookie::{CONSOLE, is_same_origin, set_cookie_of},
        console::{page::show, session::end_earlier},
    },
    identity::console::{LIFETIME_SECONDS, act_of, sign_in},
    model::api_key::ApiKey,
};

/// How long the link can be used.
pub(super) const GOOD_FOR: Duration = Duration::from_mins(10);
const BODY_BYTES: usize = 4096;

/// The link.
#[derive(Clone)]
pub(super) struct ConsoleLink(Arc<Link>);

struct Link {
    app: Arc<App>,
    key: Arc<ApiKey>,
    secret: SecretString,
    expires: Instant,
    /// The page that it was used from, and the session's cookie: a second click on the same button gets the same session.
    used: Mutex<Option<(String, SecretString)>>,
}

#[derive(Template)]
#[template(path = "demo/console_link.html")]
struct LinkPage<'a> {
    page: &'a str,
}

#[derive(Template)]
#[template(path = "demo/console_link_used.html")]
struct UsedPage<'a> {
    console: &'a str,
}

impl ConsoleLink {
    /// A new link for sessions of this key. Its time begins now.
    pub(super) fn new(app: &Arc<App>, key: Arc<ApiKey>) -> Self {
        let link = Link {
            app: Arc::clone(app),
            key,
            secret: random_secret(),
            expires: Instant::now() + GOOD_FOR,
            used: Mutex::default(),
        };
        Self(Arc::new(link))
    }

    /// Its address, a secret.
    pub(super) fn url(&self) -> String {
        format!("{}/demo/console/{}", self.0.app.broker.public_url, self.0.secret.expose_secret())
    }

    /// Its route.
    pub(super) fn router(&self) -> Router {
        Router::new().route("/demo/console/{secret}", get(look).post(open)).with_state(self.clone())
    }
}

impl Link {
    /// Digests are compared, so that the time taken says nothing about the secret.
    fn is_open_with(&self, secret: &str) -> bool {
        Instant::now() < self.expires && Sha256::digest(secret) == Sha256::digest(self.secret.expose_secret())
    }

    fn closed(&self) -> Response {
        let console = format!("{}/console", self.app.broker.public_url);
        show(StatusCode::NOT_FOUND, &UsedPage { console: &console })
    }
}

/// Shows a button. Looking uses nothing up, so programs that preview links do not either.
async fn look(State(ConsoleLink(link)): State<ConsoleLink>, Path(secret): Path<String>) -> Response {
    if !link.is_open_with(&secret) || link.used.lock().await.is_some() {
        return link.closed();
    }
    show(StatusCode::OK, &LinkPage { page: random_secret().expose_secret() })
}

/// Signs this browser in.
async fn open(State(ConsoleLink(link)): State<ConsoleLink>, Path(secret): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let broker = &link.app.broker;
    if !link.is_open_with(&secret) || !is_same_origin(&parts.headers, &broker.public_url) {
        return link.closed();
    }
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES).await else { return link.closed() };
    let page = form_urlencoded::parse(&body).find(|(name, _)| name == "page").map(|(_, page)| page.into_owned());
    let Some(page) = page.filter(|page| !page.is_empty()) else { return link.closed() };
    let mut used = link.used.lock().await;
    let cookie = match &*used {
        Some((by, cookie)) if *by == page => cookie.clone(),
        Some(_) => return link.closed(),
        None => {
            if end_earlier(&link.app, &parts).await.is_err() {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            let act = through(&parts, &link.app, act_of(&link.key));
            let Ok(cookie) = sign_in(broker.store(), &link.key, &act, broker.clock.now()).await else {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            };
            *used = Some((page, cookie.clone()));
            cookie
        }
    };
    let mut response = Redirect::to(&format!("{}/console", broker.public_url)).into_response();
    if let Some(set) = set_cookie_of(&CONSOLE, &cookie, &broker.public_url, LIFETIME_SECONDS) {
        response.headers_mut().append(header::SET_COOKIE, set);
    }
    response
}
