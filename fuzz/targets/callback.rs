//! Queries of callbacks, as a browser brings them. The first byte chooses the address, the rest is the query, in which STATE
//! is the state of a new authorization request. What is not a URI never gets to the router.
#![no_main]

mod app;

use std::{str, sync::LazyLock};

use app::App;
use axum::http::{Method, Uri};
use libfuzzer_sys::fuzz_target;

const ADDRESSES: [(&str, &str); 6] = [
    ("acme", "/host-oauth-callback/acme"),
    ("acme", "/v2/auth/callback/acme"),
    ("acme", "/v2/auth/setup/acme"),
    ("acme", "/host-oauth-callback/acme/at/tag"),
    ("verified", "/host-oauth-callback/verified"),
    ("key", "/host-api-key/key"),
];

static APP: LazyLock<App> = LazyLock::new(|| {
    let app = App::start();
    let path = format!("/host-oauth-callback/acme?code=c&state={}", app.state("acme"));
    assert_eq!(app.send(Method::GET, &path, b"").status, 303, "a consent is completed");
    app
});

fuzz_target!(|data: &[u8]| {
    let Some((choice, query)) = data.split_first() else { return };
    let Ok(query) = str::from_utf8(query) else { return };
    let (provider, path) = ADDRESSES[usize::from(*choice) % ADDRESSES.len()];
    let mut query = query.to_owned();
    if query.contains("STATE") {
        query = query.replace("STATE", &APP.state(provider));
    }
    let uri = format!("{path}?{query}");
    if Uri::try_from(&uri).is_ok() {
        APP.send(Method::GET, &uri, b"");
    }
});
