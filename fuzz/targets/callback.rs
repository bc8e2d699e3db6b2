//! Queries of callbacks, as a browser brings them. What is not a URI never gets to the router.
#![no_main]

mod app;

use std::sync::LazyLock;

use app::App;
use axum::{
    body::Body,
    http::{Request, Uri},
};
use libfuzzer_sys::fuzz_target;

static APP: LazyLock<App> = LazyLock::new(App::start);

fuzz_target!(|query: &str| {
    for path in ["/host-oauth-callback/acme", "/v2/auth/callback/acme", "/v2/auth/setup/acme", "/host-api-key/acme"] {
        let Ok(uri) = Uri::try_from(format!("{path}?{query}")) else { return };
        APP.send(Request::get(uri).body(Body::empty()).expect("a request"));
    }
});
