//! A stand-in for any provider of the catalogue: the same paths, on a port of its own.
//! Owns what it answers at each path, and the record of what it was asked.
//! Must not know the application: it sees only what goes over the wire.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::scripted::Scripted;
use super::served::Served;

/// What it was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn is_json(&self) -> bool {
        self.header("content-type") == "application/json"
    }

    /// A field of the form or of the JSON object.
    pub fn value(&self, name: &str) -> Option<String> {
        if self.is_json() {
            let body: Value = serde_json::from_slice(&self.body).expect("JSON");
            return body[name].as_str().map(ToOwned::to_owned);
        }
        let mut found = form_urlencoded::parse(&self.body).filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.into_owned());
        assert!(found.next().is_none(), "{name} twice in the request");
        value
    }

    /// What HTTP Basic carries.
    pub fn basic(&self) -> Option<String> {
        let encoded = self.header("authorization").strip_prefix("Basic ")?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    }
}

#[derive(Default)]
struct Records {
    answers: Mutex<HashMap<String, VecDeque<Scripted>>>,
    asked: Mutex<Vec<Asked>>,
    bytes_sent: Arc<AtomicU64>,
}

pub struct Twin {
    served: Served,
    records: Arc<Records>,
}

impl Twin {
    pub async fn start() -> Self {
        let records = Arc::new(Records::default());
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&records));
        Self { served: Served::start(routes).await, records }
    }

    pub fn at(&self, path: &str) -> String {
        self.served.at(path)
    }

    /// The next request to `path` is answered with this. Where nothing was said, there is nothing: 404.
    pub fn answer(&self, path: &str, answer: Scripted) {
        self.records.answers.lock().unwrap().entry(path.to_owned()).or_default().push_back(answer);
    }

    /// What was laid ready and not asked for is forgotten.
    pub fn forget_answers(&self) {
        self.records.answers.lock().unwrap().clear();
    }

    /// What was asked at `path` since the last look.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let mut asked = self.records.asked.lock().unwrap();
        let (there, elsewhere) = asked.drain(..).partition(|request| request.path == path);
        *asked = elsewhere;
        there
    }

    /// What was asked anywhere since the last look.
    pub fn asked_anywhere(&self) -> Vec<Asked> {
        self.records.asked.lock().unwrap().drain(..).collect()
    }

    /// The person at `url` agrees: where the browser is sent then.
    pub fn consent(&self, url: &str, code: &str) -> Url {
        assert!(url.starts_with(&self.at("/")), "{url} leads to another server");
        let value = |name: &str| {
            let url = Url::parse(url).expect("a URL");
            url.query_pairs().find(|(key, _)| key == name).expect("a parameter").1.into_owned()
        };
        let mut target = Url::parse(&value("redirect_uri")).expect("redirect_uri is a URL");
        target.query_pairs_mut().append_pair("code", code).append_pair("state", &value("state"));
        target
    }

    /// A catalogue for `CATALOG_FILE` in which every endpoint of the built-in one is here, its path unchanged.
    pub fn catalogue(&self) -> String {
        let mut catalogue = String::new();
        for line in include_str!("../../../config/catalog.toml").lines() {
            let is_endpoint = line.split_once(" = ").is_some_and(|(field, _)| field.ends_with("_url"));
            if line.starts_with('[') {
                catalogue.push_str(line);
            } else if let Some((field, url)) = line.split_once("\"https://").filter(|_| is_endpoint) {
                let path = url.find('/').map_or("\"", |slash| &url[slash..]);
                catalogue.extend([field, "\"", &self.at(path)]);
            }
            catalogue.push('\n');
        }
        catalogue
    }
}

async fn answer(
    State(records): State<Arc<Records>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Asked { method, path: uri.path().to_owned(), headers, body };
    let scripted = records.answers.lock().unwrap().get_mut(&request.path).and_then(VecDeque::pop_front);
    records.asked.lock().unwrap().push(request);
    let nothing = || Scripted::json(json!({"message": "not found"})).status(404);
    scripted.unwrap_or_else(nothing).give(Arc::clone(&records.bytes_sent)).await
}
