//! An answer of the application, and the assertions that many tests make about it.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}) in {}: {}", self.status, self.text()))
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "body: {}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// An error with this status and this code, and one clear sentence.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "body: {body}");
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(detail.len() > 5, "the detail says nothing: {body}");
        body
    }

    /// The faults of a refused request, each as (`loc` joined by dots, `type`).
    #[track_caller]
    pub fn faults(&self) -> Vec<(String, String)> {
        let body = self.expect(422);
        let faults = body["detail"].as_array().expect("a list of faults");
        assert!(!faults.is_empty(), "a 422 names at least one fault");
        for fault in faults {
            assert!(fault.get("input").is_none(), "the input is never echoed: {fault}");
            assert!(fault["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "a fault says what is wrong: {fault}");
        }
        faults
            .iter()
            .map(|fault| {
                let loc = fault["loc"].as_array().expect("loc is a list").iter();
                let loc: Vec<_> =
                    loc.map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect();
                let kind = fault["type"].as_str().expect("type is a text").to_owned();
                (loc.join("."), kind)
            })
            .collect()
    }

    /// Exactly one fault, there, of that type.
    #[track_caller]
    pub fn expect_fault(&self, loc: &str, kind: &str) {
        let faults = self.faults();
        assert_eq!(faults, [(loc.to_owned(), kind.to_owned())], "{}", self.text());
    }

    /// At least one fault at this place; of which type is open.
    #[track_caller]
    pub fn expect_fault_at(&self, loc: &str) {
        let faults = self.faults();
        assert!(
            faults.iter().any(|(at, _)| at == loc || at.starts_with(&format!("{loc}."))),
            "no fault at {loc}: {faults:?}"
        );
    }

    #[track_caller]
    pub fn expect_html(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "body: {}", self.text());
        assert!(self.header("content-type").starts_with("text/html"), "not a page: {:?}", self.headers);
        self.text()
    }
}
