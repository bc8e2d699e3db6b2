//! A revocation endpoint on a port of its own.
//! Owns the record of who was told what there.
//! Must not know which provider's endpoint it stands for.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::scripted::Scripted;
use super::served::Served;

/// What was asked there.
#[derive(Debug, Clone)]
pub struct RevocationRequest {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl RevocationRequest {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A field of the form.
    pub fn value(&self, name: &str) -> Option<String> {
        let mut found = form_urlencoded::parse(&self.body).filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.into_owned());
        assert!(found.next().is_none(), "{name} twice in the request");
        value
    }

    /// What HTTP Basic carries, as it stands there.
    pub fn basic(&self) -> String {
        let encoded = self.header("authorization").strip_prefix("Basic ").expect("HTTP Basic");
        String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
    }
}

#[derive(Default)]
struct Records {
    script: Mutex<VecDeque<Scripted>>,
    requests: Mutex<Vec<RevocationRequest>>,
    bytes_sent: Arc<AtomicU64>,
}

pub struct RevocationEndpoint {
    served: Served,
    records: Arc<Records>,
}

impl RevocationEndpoint {
    pub async fn start() -> Self {
        let records = Arc::new(Records::default());
        let routes = Router::new().fallback(told).with_state(Arc::clone(&records));
        Self { served: Served::start(routes).await, records }
    }

    pub fn at(&self, path: &str) -> String {
        self.served.at(path)
    }

    /// The next request is answered with this; those after it with 200 and nothing in it.
    pub fn answer_next(&self, answer: Scripted) {
        self.records.script.lock().unwrap().push_back(answer);
    }

    pub fn requests(&self) -> Vec<RevocationRequest> {
        self.records.requests.lock().unwrap().clone()
    }

    /// The field of every request so far.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.requests().iter().map(|request| request.value(name).unwrap_or_default()).collect()
    }

    /// Waits until there were so many requests, and then that there are no more.
    pub async fn told_times(&self, times: usize) -> Vec<RevocationRequest> {
        let begun = Instant::now();
        while self.requests().len() < times && begun.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let requests = self.requests();
        assert_eq!(requests.len(), times, "{requests:?}");
        requests
    }
}

async fn told(
    State(records): State<Arc<Records>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = RevocationRequest { method, path: uri.path().to_owned(), headers, body };
    records.requests.lock().unwrap().push(request);
    let scripted = records.script.lock().unwrap().pop_front();
    let answer = scripted.unwrap_or_else(|| Scripted::text("application/json", ""));
    answer.give(Arc::clone(&records.bytes_sent)).await
}
