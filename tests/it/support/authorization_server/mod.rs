//! A scripted authorization server on a port of its own.
//! A request is answered as the test said for its path, else as the endpoint there does by default; all are recorded.

mod log;
mod person;
mod reply;
mod request;
mod rotation;
mod script;
mod served;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extracted;
use axum::http::header::CONNECTION;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::watch;

pub use self::reply::Reply;
pub use self::request::Request;
use self::rotation::Rotation;
pub use self::rotation::identity;
use self::served::Served;
use super::database::random_text;

pub const TOKEN: &str = "/token";
pub const REVOKE: &str = "/revoke";
pub const USERINFO: &str = "/userinfo";
pub const DEVICE: &str = "/device";
/// The client secret of [`AuthorizationServer::definition`].
pub const CLIENT_SECRET: &str = "acme-client-secret-3f9a";

pub struct AuthorizationServer {
    served: Served,
    state: Arc<State>,
}

/// What is answered where the test said nothing.
enum Fallback {
    /// Codes and refresh tokens work once, revocations succeed, userinfo fails.
    Endpoints,
    /// Like that, with grants that end when a refresh token is used again. Requests are counted and not kept.
    Rotating(Rotation),
    /// Whatever this says.
    Custom(fn(&Request) -> Reply),
}

struct State {
    fallback: Fallback,
    next: Mutex<HashMap<String, VecDeque<Reply>>>,
    shown: Mutex<HashMap<String, Reply>>,
    requests: Mutex<Vec<Request>>,
    counts: Mutex<HashMap<String, usize>>,
    /// Code to granted scope, until it is exchanged.
    codes: Mutex<HashMap<String, String>>,
    spent_refresh_tokens: Mutex<HashSet<String>>,
    revocation_path: Mutex<String>,
    bytes_sent: Arc<AtomicU64>,
    held: watch::Sender<bool>,
    holding: AtomicUsize,
}

impl AuthorizationServer {
    /// One whose endpoints all work.
    pub async fn start() -> Self {
        Self::serve(Fallback::Endpoints).await
    }

    /// One that answers 404 wherever the test said nothing.
    pub async fn silent() -> Self {
        Self::custom(|_| not_found()).await
    }

    /// One that rotates refresh tokens: each works for `grace` more after its first use, and then ends the grant.
    pub async fn rotating(grace: Duration) -> Self {
        Self::serve(Fallback::Rotating(Rotation::new(grace))).await
    }

    /// One that answers like this where the test said nothing.
    pub async fn custom(answer: fn(&Request) -> Reply) -> Self {
        Self::serve(Fallback::Custom(answer)).await
    }

    async fn serve(fallback: Fallback) -> Self {
        let state = Arc::new(State {
            fallback,
            next: Mutex::default(),
            shown: Mutex::default(),
            requests: Mutex::default(),
            counts: Mutex::default(),
            codes: Mutex::default(),
            spent_refresh_tokens: Mutex::default(),
            revocation_path: Mutex::new(REVOKE.to_owned()),
            bytes_sent: Arc::default(),
            held: watch::Sender::new(false),
            holding: AtomicUsize::new(0),
        });
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&state));
        Self { served: Served::start(routes).await, state }
    }

    pub fn at(&self, path: &str) -> String {
        self.served.at(path)
    }

    pub fn address(&self) -> SocketAddr {
        self.served.address
    }

    /// What registers this server at the application: a confidential client with PKCE.
    pub fn definition(&self, provider_id: &str) -> Value {
        json!({
            "provider_id": provider_id,
            "name": "Acme Inc.",
            "client_id": "acme-client",
            "client_secret": CLIENT_SECRET,
            "auth_url": self.at("/authorize"),
            "token_url": self.at(TOKEN),
            "uses_pkce": true,
        })
    }
}

async fn answer(
    Extracted(state): Extracted<Arc<State>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request::new(method, &uri, headers, body);
    let reply = state.reply(&request);
    let is_token = request.path == TOKEN;
    state.record(request);
    if is_token {
        state.until_released().await;
    }
    let mut response = reply.give(Arc::clone(&state.bytes_sent)).await;
    if matches!(state.fallback, Fallback::Rotating(_)) {
        // A proxy in front of it spoils whole connections, so each carries one request.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl State {
    fn reply(&self, request: &Request) -> Reply {
        let next = self.next.lock().unwrap().get_mut(&request.path).and_then(VecDeque::pop_front);
        let shown = || self.shown.lock().unwrap().get(&request.path).cloned();
        next.or_else(shown).unwrap_or_else(|| self.fallback_reply(request))
    }

    fn fallback_reply(&self, request: &Request) -> Reply {
        if let Fallback::Custom(answer) = self.fallback {
            return answer(request);
        }
        match request.path.as_str() {
            TOKEN => self.token(request),
            USERINFO => Reply::text("text/plain", "no script").status(500),
            path if path == *self.revocation_path.lock().unwrap() => Reply::text("application/json", ""),
            _ => not_found(),
        }
    }

    /// Codes work once; refresh tokens are replaced with each use.
    fn token(&self, request: &Request) -> Reply {
        let value = |name: &str| request.value(name).unwrap_or_default();
        let response = match value("grant_type") {
            "authorization_code" => {
                let scope = self.codes.lock().unwrap().remove(value("code"));
                scope.map(|scope| self.exchanged(&scope))
            }
            "refresh_token" => self.refreshed(value("refresh_token")),
            _ => None,
        };
        response.map_or_else(|| Reply::json(json!({"error": "invalid_grant"})).status(400), Reply::json)
    }

    fn exchanged(&self, scope: &str) -> Value {
        if let Fallback::Rotating(rotation) = &self.fallback {
            return rotation.begin();
        }
        let mut response = token_response();
        if !scope.is_empty() {
            response["scope"] = Value::from(scope);
        }
        response
    }

    fn refreshed(&self, refresh_token: &str) -> Option<Value> {
        if let Fallback::Rotating(rotation) = &self.fallback {
            return rotation.refresh(refresh_token);
        }
        let is_new = self.spent_refresh_tokens.lock().unwrap().insert(refresh_token.to_owned());
        is_new.then(token_response)
    }

    fn record(&self, request: Request) {
        *self.counts.lock().unwrap().entry(request.path.clone()).or_default() += 1;
        if !matches!(self.fallback, Fallback::Rotating(_)) {
            self.requests.lock().unwrap().push(request);
        }
    }

    async fn until_released(&self) {
        let mut held = self.held.subscribe();
        if *held.borrow_and_update() {
            self.holding.fetch_add(1, Ordering::SeqCst);
            let _holding = Holding(&self.holding);
            // An error would mean that the server is gone, and with it this response.
            drop(held.wait_for(|held| !held).await);
        }
    }
}

/// Counts one less when the response is sent, and also when nobody wants it any more.
struct Holding<'a>(&'a AtomicUsize);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn token_response() -> Value {
    json!({
        "access_token": random_text("access-"),
        "refresh_token": random_text("refresh-"),
        "token_type": "Bearer",
        "expires_in": 3600,
    })
}

fn not_found() -> Reply {
    Reply::json(json!({"message": "not found"})).status(404)
}
