//! A scripted authorization server on a port of its own.
//! Owns its token endpoint, the person who consents, and the record of what was asked.
//! Must not know the application: it sees only what goes over the wire.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::database::random_text;
use super::scripted::Scripted;
use super::served::Served;

/// What the token endpoint was asked.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub method: Method,
    pub headers: HeaderMap,
    pub at: Instant,
    form: Vec<(String, String)>,
}

impl TokenRequest {
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut found = self.form.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice in the token request");
        value
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Client id and secret of HTTP Basic, form-decoded as RFC 6749 section 2.3.1 asks.
    pub fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization").strip_prefix("Basic ")?;
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        Some((form_decoded(id), form_decoded(secret)))
    }
}

fn form_decoded(text: &str) -> String {
    let pair = format!("v={text}");
    let decoded = form_urlencoded::parse(pair.as_bytes()).next();
    decoded.expect("one value").1.into_owned()
}

#[derive(Default)]
struct Records {
    script: Mutex<VecDeque<Scripted>>,
    requests: Mutex<Vec<TokenRequest>>,
    /// Code to granted scope, until it is redeemed.
    codes: Mutex<HashMap<String, String>>,
    spent_refresh_tokens: Mutex<HashSet<String>>,
    other_requests: AtomicUsize,
    bytes_sent: Arc<AtomicU64>,
}

pub struct FakeProvider {
    served: Served,
    records: Arc<Records>,
}

impl FakeProvider {
    pub async fn start() -> Self {
        let records = Arc::new(Records::default());
        let routes =
            Router::new().route("/token", any(token_endpoint)).fallback(elsewhere).with_state(Arc::clone(&records));
        Self { served: Served::start(routes).await, records }
    }

    pub fn at(&self, path: &str) -> String {
        self.served.at(path)
    }

    /// What registers this server at the application: a confidential client with PKCE.
    pub fn definition(&self, provider_id: &str) -> Value {
        json!({
            "provider_id": provider_id,
            "name": "Acme Inc.",
            "client_id": "acme-client",
            "client_secret": "acme-client-secret-3f9a",
            "auth_url": self.at("/authorize"),
            "token_url": self.at("/token"),
            "uses_pkce": true,
        })
    }

    /// The next token request is answered with this; those after it as usual again.
    pub fn answer_next(&self, answer: Scripted) {
        self.records.script.lock().unwrap().push_back(answer);
    }

    /// The next token response says, in an ID token, that this is its account.
    pub fn answer_next_for_account(&self, account: &str) {
        let claims = json!({"iss": self.at(""), "sub": account, "aud": "acme-client"});
        let parts = [json!({"alg": "none"}).to_string(), claims.to_string(), "signature".to_owned()];
        let id_token = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        self.answer_next(Scripted::json(json!({
            "access_token": random_text("access-"),
            "refresh_token": random_text("refresh-"),
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": id_token,
        })));
    }

    /// The person at `url` agrees: where the provider sends the browser then.
    pub fn consent(&self, url: &str) -> Url {
        let scope = parameter(url, "scope").unwrap_or_default();
        self.consent_to(url, &scope)
    }

    /// The person grants only `scope`.
    pub fn consent_to(&self, url: &str, scope: &str) -> Url {
        let code = random_text("code-");
        let mut codes = self.records.codes.lock().unwrap();
        codes.insert(code.clone(), scope.to_owned());
        self.send_back(url, &[("code", &code)])
    }

    /// The person says no.
    pub fn deny(&self, url: &str) -> Url {
        self.send_back(url, &[("error", "access_denied")])
    }

    /// Sends the browser back with these parameters and the state.
    pub fn send_back(&self, url: &str, parameters: &[(&str, &str)]) -> Url {
        assert!(url.starts_with(&self.at("/")), "{url} leads to another server");
        let target = parameter(url, "redirect_uri").expect("a redirect_uri");
        let mut target = Url::parse(&target).expect("redirect_uri is a URL");
        let mut query = target.query_pairs_mut();
        query.extend_pairs(parameters);
        if let Some(state) = parameter(url, "state") {
            query.append_pair("state", &state);
        }
        drop(query);
        target
    }

    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.records.requests.lock().unwrap().clone()
    }

    pub fn exchanges(&self) -> Vec<TokenRequest> {
        self.requests_of("authorization_code")
    }

    pub fn refreshes(&self) -> Vec<TokenRequest> {
        self.requests_of("refresh_token")
    }

    /// The only code exchange so far.
    pub fn exchange(&self) -> TokenRequest {
        let mut all = self.exchanges();
        assert_eq!(all.len(), 1, "exactly one code exchange: {all:?}");
        all.remove(0)
    }

    fn requests_of(&self, grant_type: &str) -> Vec<TokenRequest> {
        let mut all = self.token_requests();
        all.retain(|request| request.value("grant_type") == Some(grant_type));
        all
    }

    /// Requests to anything but the token endpoint: the application has no business there.
    pub fn other_requests(&self) -> usize {
        self.records.other_requests.load(Ordering::SeqCst)
    }

    pub fn bytes_sent(&self) -> u64 {
        self.records.bytes_sent.load(Ordering::SeqCst)
    }
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).expect("a URL");
    let mut pairs = url.query_pairs();
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

async fn token_endpoint(
    State(records): State<Arc<Records>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let is_json = headers.get("content-type").is_some_and(|value| value == "application/json");
    let form = if is_json {
        serde_json::from_slice::<HashMap<String, String>>(&body).expect("an object of texts").into_iter().collect()
    } else {
        form_urlencoded::parse(&body).into_owned().collect()
    };
    let request = TokenRequest { method, headers, at: Instant::now(), form };
    records.requests.lock().unwrap().push(request.clone());
    let scripted = records.script.lock().unwrap().pop_front();
    let answer = scripted.unwrap_or_else(|| correct_answer(&records, &request));
    answer.give(Arc::clone(&records.bytes_sent)).await
}

async fn elsewhere(State(records): State<Arc<Records>>) -> &'static str {
    records.other_requests.fetch_add(1, Ordering::SeqCst);
    "nothing here"
}

/// What a provider by the book answers: codes work once, refresh tokens rotate.
fn correct_answer(records: &Records, request: &TokenRequest) -> Scripted {
    let scope = match request.value("grant_type") {
        Some("authorization_code") => {
            let code = request.value("code").unwrap_or_default();
            records.codes.lock().unwrap().remove(code)
        }
        Some("refresh_token") => {
            let old = request.value("refresh_token").unwrap_or_default();
            let mut spent = records.spent_refresh_tokens.lock().unwrap();
            spent.insert(old.to_owned()).then(String::new)
        }
        _ => None,
    };
    let Some(scope) = scope else {
        return Scripted::json(json!({"error": "invalid_grant"})).status(400);
    };
    let mut body = json!({
        "access_token": random_text("access-"),
        "refresh_token": random_text("refresh-"),
        "token_type": "Bearer",
        "expires_in": 3600,
    });
    if !scope.is_empty() {
        body["scope"] = Value::from(scope);
    }
    Scripted::json(body)
}
