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

use super::{
    provider_bodies::{ProviderCreateRequest, ProviderUpdateRequest},
    provider_response::ProviderResponse,
};
use crate::{
    broker::{providers, rules},
    http::{
        app::App,
        body::JsonBody,
        error::{ApiError, ConfirmationRequired, ErrorBody, Faults},
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
#[utoipa::path(get, operation_id = "listProviders", path = "/v2/auth/providers", tag = "Providers",
    responses((status = 200, body = Vec<ProviderResponse>), (status = 401, body = ErrorBody)))]
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Vec<ProviderResponse>>, ApiError> {
    caller.needs(Permission::List)?;
    let providers = providers::list::list(&app.broker, caller.reach()).await?;
    let response = |provider| ProviderResponse::of(provider, &app.broker.public_url);
    Ok(Json(providers.into_iter().map(response).collect()))
}

/// Registers a provider.
#[utoipa::path(
    post,
    operation_id = "createProvider",
    path = "/v2/auth/providers",
    tag = "Providers",
    request_body = ProviderCreateRequest,
    responses(
        (status = 200, body = ProviderResponse),
        (status = 409, body = ErrorBody),
        (status = 422, body = Faults),
        (
            status = 429,
            body = ErrorBody,
            description = "Four discoveries of this workspace are running (`too_many_discoveries`), or there are \
                too many requests",
        ),
        (status = 502, body = ErrorBody),
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.administers_providers()?;
    let draft = ProviderCreateRequest::read(&body, app.broker.outbound.guard());
    draft.provider_id.as_deref().map_or(Ok(()), |id| caller.reaches_provider(id))?;
    let provider = providers::create::create(&app.broker, caller.tenant, draft, &caller.act).await?;
    Ok(Json(ProviderResponse::of(provider, &app.broker.public_url)))
}

/// Returns a provider.
#[utoipa::path(
    get,
    operation_id = "getProvider",
    path = "/v2/auth/providers/{provider_id}",
    tag = "Providers",
    params(("provider_id" = String, Path)),
    responses((status = 200, body = ProviderResponse), (status = 404, body = ErrorBody), (status = 422, body = Faults)),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.needs(Permission::List)?;
    caller.reaches_provider(&provider_id)?;
    check_id(&provider_id)?;
    let provider = providers::list::describe(&app.broker, &caller.tenant, &provider_id).await?;
    Ok(Json(ProviderResponse::of(provider, &app.broker.public_url)))
}

/// Changes a provider. Its tokens are kept, and refreshed with the new settings.
#[utoipa::path(
    patch,
    operation_id = "updateProvider",
    path = "/v2/auth/providers/{provider_id}",
    tag = "Providers",
    params(("provider_id" = String, Path)),
    request_body = ProviderUpdateRequest,
    responses(
        (status = 200, body = ProviderResponse),
        (status = 404, body = ErrorBody),
        (
            status = 409,
            body = ConfirmationRequired,
            description = "The change moves an endpoint, and neither brings the `client_secret` again nor confirms \
                how many grants that exposes",
        ),
        (status = 422, body = Faults),
    ),
)]
pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
    body: JsonBody,
) -> Result<Json<ProviderResponse>, ApiError> {
    caller.administers_providers()?;
    caller.reaches_provider(&provider_id)?;
    check_id(&provider_id)?;
    let draft = ProviderUpdateRequest::read(&body, app.broker.outbound.guard());
    let changed = providers::change::change(&app.broker, &caller.tenant, &provider_id, draft, &caller.act);
    Ok(Json(ProviderResponse::of(changed.await?, &app.broker.public_url)))
}

/// Deletes a provider with all of its tokens, and revokes their grants.
#[utoipa::path(delete, operation_id = "deleteProvider", path = "/v2/auth/providers/{provider_id}", tag = "Providers",
    params(("provider_id" = String, Path)),
    responses((status = 200, body = DeletedProvider), (status = 404, body = ErrorBody), (status = 422, body = Faults)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
) -> Result<Json<DeletedProvider>, ApiError> {
    caller.administers_providers()?;
    caller.reaches_provider(&provider_id)?;
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
