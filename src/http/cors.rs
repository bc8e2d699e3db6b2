//! Calls from web pages of other origins (CORS): closed, but for the origins that a setting names.
//! Owns: `CORS_ORIGINS`, and what a page of such an origin may send and read.
//! Must not know: routes. Cookies are never accepted from other origins: a page sends an API key.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

use crate::config::pages::exact_origin;

/// How long a browser may remember a preflight response.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// The layer for a list of exact origins, separated by commas. `None` if it is empty.
///
/// # Errors
/// The entry that is not an origin.
pub fn cors(setting: &str) -> Result<Option<CorsLayer>, String> {
    let entries = setting.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let origins = entries.map(origin).collect::<Result<Vec<_>, _>>()?;
    if origins.is_empty() {
        return Ok(None);
    }
    let name = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            name("x-api-key"),
            name("x-request-id"),
            name("x-tenant-id"),
            name("x-user-id"),
        ])
        .expose_headers([header::RETRY_AFTER, name("x-request-id"), name("x-upstream-revoked")])
        .max_age(REMEMBERED_FOR);
    Ok(Some(layer))
}

fn origin(entry: &str) -> Result<HeaderValue, String> {
    let header = exact_origin(entry).and_then(|_| HeaderValue::from_str(entry).ok());
    header.ok_or_else(|| {
        format!("`{entry}` is not an origin, such as https://app.example.com, without a path or a trailing slash")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_origins_are_accepted() {
        for right in ["https://app.example.com", "http://localhost:3000", "https://xn--bcher-kva.example"] {
            assert!(origin(right).is_ok(), "{right}");
        }
        for wrong in [
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://*.example.com",
            "HTTPS://app.example.com",
            "file:///x",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
        assert!(cors(" , ").unwrap().is_none());
    }
}
