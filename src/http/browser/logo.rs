//! `GET /brand/logo`: the operator's logo, for the pages that people see.
//! Owns: the headers that make any file of those types harmless.
//! Must not know: where the file is.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};

use crate::http::{app::App, error::ApiError};

/// Serves the logo.
pub async fn get(State(app): State<Arc<App>>) -> Response {
    let Some(logo) = &app.brand.logo else {
        return ApiError::NotFound("This server has no logo; AGENT_AUTH_BRAND_LOGO sets one.".into()).into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, logo.media_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A browser that opens an SVG by itself runs its scripts, with our origin. The sandbox takes both away.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'",
        ),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // A logo that was replaced is seen soon.
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, logo.bytes.clone()).into_response()
}
