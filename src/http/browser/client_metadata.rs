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

/// Returns the document of a provider. It is public, and the same for every provider of that name.
pub async fn get(State(app): State<Arc<App>>, Path(provider_id): Path<String>) -> Response {
    if rules::provider_id(&provider_id).is_err() {
        return ApiError::no_provider().into_response();
    }
    let document = client_metadata_document(&app.broker.public_url, &provider_id);
    ([(header::CACHE_CONTROL, "public, max-age=3600")], Json(document)).into_response()
}
