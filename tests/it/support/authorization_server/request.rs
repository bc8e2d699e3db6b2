//! A request that the scripted authorization server received.

use std::time::Instant;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use url::form_urlencoded;

#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
    /// Of the form, or of the query if there is no body, or the texts of the JSON object.
    fields: Vec<(String, String)>,
}

impl Request {
    pub(super) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Self {
        let is_json = headers.get("content-type").is_some_and(|value| value == "application/json");
        let form = if body.is_empty() { uri.query().unwrap_or_default().as_bytes() } else { &body };
        let fields = if is_json { texts_of_json(&body) } else { form_urlencoded::parse(form).into_owned().collect() };
        Self { method, path: uri.path().to_owned(), headers, body, at: Instant::now(), fields }
    }

    /// One of these fields.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice in the request");
        value
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn is_json(&self) -> bool {
        self.header("content-type") == "application/json"
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What HTTP Basic carries, before any form-decoding.
    pub fn raw_basic(&self) -> Option<String> {
        let encoded = self.header("authorization").strip_prefix("Basic ")?;
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
    }

    /// Client id and secret of HTTP Basic, form-decoded (RFC 6749 section 2.3.1).
    pub fn basic(&self) -> Option<(String, String)> {
        let raw = self.raw_basic()?;
        let (id, secret) = raw.split_once(':')?;
        Some((form_decoded(id), form_decoded(secret)))
    }
}

fn texts_of_json(body: &[u8]) -> Vec<(String, String)> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return Vec::new() };
    object.into_iter().filter_map(|(name, value)| value.as_str().map(|text| (name, text.to_owned()))).collect()
}

fn form_decoded(text: &str) -> String {
    let pair = format!("v={text}");
    let decoded = form_urlencoded::parse(pair.as_bytes()).next();
    decoded.expect("one value").1.into_owned()
}
