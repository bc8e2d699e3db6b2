//! `/v2/auth/providers`: the authorization servers of a workspace.
//! Owns: the operations. A client secret is never returned.
//! Must not know: what a provider may be, or how it is called.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::provider_bodies::{ProviderCreateRequest, ProviderResponse, ProviderUpdateRequest};
use crate::{
    broker::{providers, rules},
    http::{
        app::App,
        body::JsonBody,
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
};

/// The result of deleting a provider.
#[derive(Serialize, ToSchema)]
pub struct DeletedProvider {
    /// A sentence for people.
    message: String,
    /// Whether every grant of its tokens has been revoked at the provider.
    upstream_revoked: bool,
    /// The number of grants that are still to be revoked; this continues in the background.
    revocation_queued: usize,
}

/// Lists the workspace's providers.
#[utoipa::path(get, path = "/v2/auth/providers", tag = "Providers",
    responses((status = 200, body = Vec<ProviderResponse>), (status = 401, body = ErrorBody)))]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Vec<ProviderResponse>>, ApiError> {
    caller.needs(Permission::List)?;
    let providers = providers::list::list(&app.broker, &caller.tenant).await?;
    Ok(Json(providers.into_iter().map(ProviderResponse::from).collect()))
}

/// Registers a provider.
#[utoipa::path(post, path = "/v2/auth/providers", tag = "Providers", request_body = ProviderCreateRequest,
    responses((status = 200, body = ProviderResponse), (status = 409, body = ErrorBody), (status = 422, body = Faults),
              (status = 429, body = ErrorBody, description = "Four discoveries of this workspace are running"),
              (status = 502, body = ErrorBody), (status = 504, body = ErrorBody)))]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::Administer)?;
    let draft = ProviderCreateRequest::read(&body, app.broker.outbound.guard());
    Ok(Json(providers::create::create(&app.broker, caller.tenant, draft, &caller.act).await?.into()))
}

/// Returns a provider.
#[utoipa::path(get, path = "/v2/auth/providers/{provider_id}", tag = "Providers",
    params(("provider_id" = String, Path)),
    responses((status = 200, body = ProviderResponse), (status = 404, body = ErrorBody), (status = 422, body = Faults)))]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::List)?;
    check_id(&provider_id)?;
    Ok(Json(providers::list::get(&app.broker, &caller.tenant, &provider_id).await?.into()))
}

/// Changes a provider. Its tokens are kept, and refreshed with the new settings.
#[utoipa::path(patch, path = "/v2/auth/providers/{provider_id}", tag = "Providers",
    params(("provider_id" = String, Path)), request_body = ProviderUpdateRequest,
    responses((status = 200, body = ProviderResponse), (status = 404, body = ErrorBody), (status = 422, body = Faults)))]
pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::Administer)?;
    check_id(&provider_id)?;
    let draft = ProviderUpdateRequest::read(&body, app.broker.outbound.guard());
    let changed = providers::change::change(&app.broker, &caller.tenant, &provider_id, draft, &caller.act);
    Ok(Json(changed.await?.into()))
}

/// Deletes a provider with all of its tokens, and revokes their grants.
#[utoipa::path(delete, path = "/v2/auth/providers/{provider_id}", tag = "Providers",
    params(("provider_id" = String, Path)),
    responses((status = 200, body = DeletedProvider), (status = 404, body = ErrorBody), (status = 422, body = Faults)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
) -> Result<Json<DeletedProvider>, ApiError> {
    caller.needs(Permission::Administer)?;
    check_id(&provider_id)?;
    let deletion = providers::delete::delete(&app.broker, &caller.tenant, &provider_id, &caller.act).await?;
    let deletion = deletion.ok_or_else(ApiError::no_provider)?;
    Ok(Json(DeletedProvider {
        message: format!("Provider {provider_id} and its tokens were deleted."),
        upstream_revoked: deletion.upstream_revoked(),
        revocation_queued: deletion.queued,
    }))
}

/// No provider has an id that breaks the rule of ids.
fn check_id(provider_id: &str) -> Result<(), ApiError> {
    rules::provider_id(provider_id).map_err(|_| ApiError::no_provider())
}
