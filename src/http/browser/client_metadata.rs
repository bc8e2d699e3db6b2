//! `GET /oauth/client-metadata.json/{provider_id}`: our client metadata document, for authorization servers that accept
//! a URL as a client id.
//! Owns: the route.
//! Must not know: what the document says.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    broker::{clients::registration::client_metadata_document, rules},
    http::{app::App, error::ApiError},
};

/// Returns the document of the provider with the plain callback address.
pub async fn get(State(app): State<Arc<App>>, Path(provider_id): Path<String>) -> Response {
    document(&app, &provider_id, "")
}

/// Returns the document of a provider with a callback address of its own.
pub async fn tagged(
    State(app): State<Arc<App>>,
    Path((provider_id, callback_tag)): Path<(String, String)>,
) -> Response {
    document(&app, &provider_id, &callback_tag)
}

/// The document is public, and made of its address alone.
fn document(app: &App, provider_id: &str, callback_tag: &str) -> Response {
    let is_plain = |text: &str| rules::provider_id(text).is_ok();
    if !is_plain(provider_id) || !(callback_tag.is_empty() || is_plain(callback_tag)) {
        return ApiError::no_provider().into_response();
    }
    let document = client_metadata_document(&app.broker.public_url, provider_id, callback_tag);
    ([(header::CACHE_CONTROL, "public, max-age=3600")], Json(document)).into_response()
}
