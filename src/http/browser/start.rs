//! `GET /`: what a person sees who opens the server's address.
//! Owns: the route.
//! Must not know: tenants or providers.

use axum::{http::StatusCode, response::Response};

use super::pages::{outcome::page, page::Page};

/// Shows that the server runs, and where its documentation is.
pub async fn get() -> Response {
    page(StatusCode::OK, &Page::Start)
}
