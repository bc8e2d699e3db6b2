//! `/v2/auth/tokens`: listing, checking and deleting tokens.
//! Owns: the shapes on the wire. Tokens themselves are never shown.
//! Must not know: how tokens are obtained or refreshed.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::{HeaderName, HeaderValue, StatusCode},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::{
        providers, rules,
        tokens::{
            list,
            revoke::{self, Deletion},
        },
    },
    http::{
        app::App,
        body::{Fields, JsonBody},
        checks::readable,
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::{
        provider::ProviderType,
        token::{TokenChange, TokenSummary as StoredSummary},
    },
};

/// The provider type of the two workspace operations.
const SLACK: ProviderType = ProviderType::Slack;
/// The header that says whether the grant of a deleted token has been revoked.
const UPSTREAM_REVOKED: HeaderName = HeaderName::from_static("x-upstream-revoked");

/// A token in a list.
#[derive(Serialize, ToSchema)]
#[schema(as = OAuthTokenSummary)]
pub struct TokenSummary {
    id: Uuid,
    provider_id: String,
    provider_account_label: Option<String>,
    scopes: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    is_default: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Whether there is a token.
#[derive(Serialize, ToSchema)]
#[schema(as = OAuthTokenStatusResponse, example = json!({"has_token": true}))]
pub struct TokenStatus {
    has_token: bool,
}

/// The providers to check.
#[derive(ToSchema)]
#[schema(as = OAuthTokenStatusBatchRequest, example = json!({"provider_ids": ["github", "slack"]}))]
pub struct TokenStatusBatchRequest {
    provider_ids: Vec<String>,
}

/// Whether there is a token, by provider.
#[derive(Serialize, ToSchema)]
#[schema(as = OAuthTokenStatusBatchResponse)]
pub struct TokenStatusBatch {
    has_token: BTreeMap<String, bool>,
}

/// A change of a token. Absent fields keep their values; a `label` of null removes the label.
#[derive(ToSchema)]
#[schema(as = OAuthTokenUpdateRequest, example = json!({"provider_account_label": "work"}))]
pub struct TokenUpdateRequest {
    provider_account_label: Option<String>,
    is_default: Option<bool>,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
pub struct Deleted {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_id: Option<String>,
    /// The number of tokens.
    tokens: usize,
    /// Whether every grant has been revoked at the provider.
    upstream_revoked: bool,
    /// The number of grants that are still to be revoked; this continues in the background.
    revocation_queued: usize,
}

impl Deleted {
    fn new(deletion: Deletion, provider_id: Option<String>, message: String) -> Json<Self> {
        Json(Self {
            message,
            provider_id,
            tokens: deletion.tokens,
            upstream_revoked: deletion.upstream_revoked(),
            revocation_queued: deletion.queued,
        })
    }
}

/// Lists the current user's tokens.
#[utoipa::path(
    get,
    operation_id = "listTokens",
    path = "/v2/auth/tokens",
    tag = "Tokens",
    params(("provider_id" = Option<String>, Query)),
    responses((status = 200, body = Vec<TokenSummary>), (status = 422, body = Faults)),
)]
pub async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<TokenSummary>>, ApiError> {
    caller.needs(Permission::List)?;
    let provider_id = parameter(query.as_deref(), "provider_id")?;
    provider_id.as_deref().map_or(Ok(()), |id| caller.reaches_provider(id))?;
    let tokens = list::list(&app.broker, caller.reach(), caller.user()?, provider_id.as_deref()).await?;
    Ok(Json(tokens.into_iter().map(TokenSummary::from).collect()))
}

/// Checks whether the current user has a token at a provider.
#[utoipa::path(
    get,
    operation_id = "tokenExists",
    path = "/v2/auth/tokens/exists",
    tag = "Tokens",
    params(("provider_id" = String, Query)),
    responses((status = 200, body = TokenStatus), (status = 422, body = Faults)),
)]
pub async fn exists(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<TokenStatus>, ApiError> {
    caller.needs(Permission::Authenticate)?;
    let provider_id = required_parameter(query.as_deref(), "provider_id")?;
    caller.reaches_provider(&provider_id)?;
    let providers = list::providers_with_token(&app.broker, caller.reach(), caller.user()?).await?;
    Ok(Json(TokenStatus { has_token: providers.contains(&provider_id) }))
}

/// Checks several providers at once.
#[utoipa::path(
    post,
    operation_id = "tokensExist",
    path = "/v2/auth/tokens/exists/batch",
    tag = "Tokens",
    request_body = TokenStatusBatchRequest,
    responses((status = 200, body = TokenStatusBatch), (status = 422, body = Faults)),
)]
pub async fn exists_batch(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Json<TokenStatusBatch>, ApiError> {
    caller.needs(Permission::Authenticate)?;
    let mut fields = Fields::of_body(&body);
    let request = TokenStatusBatchRequest {
        provider_ids: fields.required_texts("provider_ids", rules::BATCH_MAX, &rules::identifier),
    };
    fields.finish()?;
    let providers = list::providers_with_token(&app.broker, caller.reach(), caller.user()?).await?;
    let has_token = request.provider_ids.into_iter().map(|id| (id.clone(), providers.contains(&id))).collect();
    Ok(Json(TokenStatusBatch { has_token }))
}

/// Deletes the current user's tokens at a provider, and revokes their grants.
#[utoipa::path(
    delete,
    operation_id = "deleteTokensOfUser",
    path = "/v2/auth/tokens",
    tag = "Tokens",
    params(("provider_id" = String, Query)),
    responses((status = 200, body = Deleted), (status = 404, body = ErrorBody), (status = 422, body = Faults)),
)]
pub async fn delete_for_user(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<Deleted>, ApiError> {
    caller.needs(Permission::Administer)?;
    let provider_id = required_parameter(query.as_deref(), "provider_id")?;
    caller.reaches_provider(&provider_id)?;
    let user = caller.user()?;
    providers::list::describe(&app.broker, &caller.tenant, &provider_id).await?;
    let deletion = revoke::delete_tokens_of_user(&app.broker, caller.reach(), user, &provider_id, &caller.act).await?;
    let message = format!("{} token(s) of the current user at {provider_id} were deleted.", deletion.tokens);
    Ok(Deleted::new(deletion, Some(provider_id), message))
}

/// Deletes one token of the current user, and revokes its grant at the provider.
#[utoipa::path(
    delete,
    operation_id = "deleteToken",
    path = "/v2/auth/tokens/{token_id}",
    tag = "Tokens",
    params(("token_id" = String, Path)),
    responses(
        (
            status = 204,
            headers(("X-Upstream-Revoked" = bool, description = "Whether its grant has been revoked at the provider")),
        ),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), ApiError> {
    caller.needs(Permission::Administer)?;
    let (user, id) = (caller.user()?, token_id(&path)?);
    let deletion = revoke::delete_token(&app.broker, caller.reach(), user, id, &caller.act).await?;
    Ok(deleted(&deletion.ok_or_else(ApiError::no_token)?))
}

/// The response to the deletion of one token.
pub(super) fn deleted(deletion: &Deletion) -> (StatusCode, [(HeaderName, HeaderValue); 1]) {
    let revoked = HeaderValue::from_static(if deletion.upstream_revoked() { "true" } else { "false" });
    (StatusCode::NO_CONTENT, [(UPSTREAM_REVOKED, revoked)])
}

/// Changes the label or the default mark of a token.
#[utoipa::path(
    patch,
    operation_id = "updateTokenMetadata",
    path = "/v2/auth/tokens/{token_id}/metadata",
    tag = "Tokens",
    params(("token_id" = String, Path)),
    request_body = TokenUpdateRequest,
    responses((status = 200, body = TokenSummary), (status = 404, body = ErrorBody), (status = 422, body = Faults)),
)]
pub async fn update_metadata(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
    body: JsonBody,
) -> Result<Json<TokenSummary>, ApiError> {
    caller.needs(Permission::Administer)?;
    let mut fields = Fields::of_body(&body);
    let request = TokenUpdateRequest {
        provider_account_label: fields.optional_text("provider_account_label", &rules::display_name),
        is_default: fields.optional_boolean("is_default"),
    };
    let has_label = fields.has("provider_account_label");
    fields.finish()?;
    let change = TokenChange {
        account_label: has_label.then_some(request.provider_account_label),
        is_default: request.is_default,
    };
    let id = token_id(&path)?;
    let changed = list::change(&app.broker, caller.reach(), caller.user()?, id, &change, &caller.act).await?;
    changed.map(|token| Json(token.into())).ok_or_else(ApiError::no_token)
}

/// Checks whether the workspace has a token at a Slack provider.
#[utoipa::path(
    get,
    operation_id = "workspaceSlackTokenExists",
    path = "/v2/auth/tokens/workspace/slack/exists",
    tag = "Tokens",
    responses((status = 200, body = TokenStatus)),
)]
pub async fn workspace_slack_exists(
    State(app): State<Arc<App>>,
    caller: Caller,
) -> Result<Json<TokenStatus>, ApiError> {
    caller.needs(Permission::Authenticate)?;
    Ok(Json(TokenStatus { has_token: list::workspace_has_token(&app.broker, caller.reach(), SLACK).await? }))
}

/// Deletes every Slack token of the workspace, and revokes their grants at Slack.
#[utoipa::path(
    delete,
    operation_id = "deleteWorkspaceSlackTokens",
    path = "/v2/auth/tokens/workspace/slack",
    tag = "Tokens",
    responses((status = 200, body = Deleted)),
)]
pub async fn delete_workspace_slack(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Deleted>, ApiError> {
    caller.needs(Permission::Administer)?;
    let deletion = revoke::delete_tokens_of_workspace(&app.broker, caller.reach(), SLACK, &caller.act).await?;
    let message = format!("{} Slack token(s) of the workspace were deleted.", deletion.tokens);
    Ok(Deleted::new(deletion, None, message))
}

/// The id of a token. Any other text is the id of no token.
pub(in crate::http) fn token_id(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| ApiError::no_token())
}

fn parameter(query: Option<&str>, name: &str) -> Result<Option<String>, ApiError> {
    let mut pairs = form_urlencoded::parse(readable(query)?.as_bytes());
    Ok(pairs.find(|(key, value)| key == name && !value.contains('\0')).map(|(_, value)| value.into_owned()))
}

fn required_parameter(query: Option<&str>, name: &'static str) -> Result<String, ApiError> {
    parameter(query, name)?.ok_or_else(|| ApiError::fault(["query", name], "missing", "Field required"))
}

impl From<StoredSummary> for TokenSummary {
    fn from(token: StoredSummary) -> Self {
        Self {
            id: token.id,
            provider_id: token.provider_id,
            provider_account_label: token.account_label,
            scopes: token.scopes.0,
            expires_at: token.expires_at,
            is_default: token.is_default,
            created_at: token.created_at,
            updated_at: token.updated_at,
        }
    }
}
