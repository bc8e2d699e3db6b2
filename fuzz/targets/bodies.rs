//! Request bodies. The first byte chooses the operation, the rest is the body.
#![no_main]

mod app;

use std::sync::LazyLock;

use app::{App, KEY};
use axum::{
    body::Body,
    http::{Method, Request, header::CONTENT_TYPE},
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const OPERATIONS: [(Method, &str); 9] = [
    (Method::POST, "/v2/auth/providers"),
    (Method::PATCH, "/v2/auth/providers/acme"),
    (Method::POST, "/v2/auth/authenticate"),
    (Method::POST, "/v2/auth/callback/acme"),
    (Method::POST, "/v2/auth/tokens/exists/batch"),
    (Method::POST, "/v2/auth/agents/agent/connections"),
    (Method::PATCH, "/v2/auth/tokens/01a21a6c-7fb6-76f1-a640-0916a8d8cfed/metadata"),
    (Method::POST, "/v2/auth/tokens/01a21a6c-7fb6-76f1-a640-0916a8d8cfed/report-invalid"),
    (Method::POST, "/host-api-key/acme"),
];
const ACME: &str = r#"{"provider_id":"acme","name":"Acme","client_id":"c","auth_url":"https://acme.invalid/a","token_url":"https://acme.invalid/t"}"#;

static APP: LazyLock<App> = LazyLock::new(|| {
    let app = App::start();
    app.send(request(&OPERATIONS[0], ACME.as_bytes()));
    app
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    // An issuer would be looked for in the network.
    if serde_json::from_slice::<Value>(body).is_ok_and(|body| body.get("issuer").is_some()) {
        return;
    }
    APP.send(request(&OPERATIONS[usize::from(*choice) % OPERATIONS.len()], body));
});

fn request((method, path): &(Method, &str), body: &[u8]) -> Request<Body> {
    let request = Request::builder().method(method).uri(*path).header("x-api-key", KEY);
    request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_vec())).expect("a request")
}
