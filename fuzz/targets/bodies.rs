//! Request bodies. The first byte chooses the operation, the rest is the body. Where the body has such a name, STATE is the
//! state of a new authorization request, TOKEN the id of a token, and REFERENCE that of a consent that waits for its
//! confirmation.
#![no_main]

mod app;

use std::sync::LazyLock;

use app::App;
use axum::http::Method;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// With the provider that the request is about.
const OPERATIONS: [(Method, &str, &str); 11] = [
    (Method::POST, "/v2/auth/providers", ""),
    (Method::PATCH, "/v2/auth/providers/patched", ""),
    (Method::POST, "/v2/auth/authenticate", ""),
    (Method::POST, "/v2/auth/callback/acme", "acme"),
    (Method::POST, "/v2/auth/tokens/exists/batch", ""),
    (Method::POST, "/v2/auth/agents/agent/connections", ""),
    (Method::PATCH, "/v2/auth/tokens/TOKEN/metadata", ""),
    (Method::POST, "/v2/auth/tokens/TOKEN/report-invalid", ""),
    (Method::POST, "/host-api-key/key", "key"),
    (Method::POST, "/v2/auth/authorizations/AUTH/confirm", "verified"),
    (Method::POST, "/connect/PAGE", "confirmed"),
];

static APP: LazyLock<(App, String)> = LazyLock::new(|| {
    let app = App::start();
    let token = app.token();
    let (id, reference) = app.awaiting_confirmation();
    let body = format!(r#"{{"user_id":"alice","reference":"{reference}"}}"#);
    assert_eq!(app.post(&format!("/v2/auth/authorizations/{id}/confirm"), &body).status, 200, "a consent is completed");
    (app, token)
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    // An issuer would be looked for in the network.
    if serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("issuer").is_some()) {
        return;
    }
    let (app, token) = &*APP;
    let (method, path, provider) = &OPERATIONS[usize::from(*choice) % OPERATIONS.len()];
    let (mut path, mut body) = (path.replace("TOKEN", token), body.to_vec());
    replace(&mut body, "TOKEN", || token.clone());
    if path.ends_with("PAGE") {
        path = app.begin(provider).1.path().to_owned();
    }
    if path.contains("AUTH") {
        replace(&mut body, "REFERENCE", || {
            let (id, reference) = app.awaiting_confirmation();
            path = path.replace("AUTH", &id);
            reference
        });
    } else if !provider.is_empty() {
        replace(&mut body, "STATE", || app.state(provider));
    }
    app.send(method.clone(), &path, &body);
});

/// Only in text: other bytes are sent as they are.
fn replace(body: &mut Vec<u8>, name: &str, value: impl FnOnce() -> String) {
    if let Ok(text) = str::from_utf8(body)
        && text.contains(name)
    {
        *body = text.replace(name, &value()).into_bytes();
    }
}
