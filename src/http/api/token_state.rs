//! `/v2/auth/tokens/{token_id}`: the state of a token, and reports of tokens that an API rejected.
//! Owns: the shapes on the wire.
//! Must not know: when a token is refreshed.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Path, State},
};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::tokens::token_id;
use crate::{
    broker::{
        error::BrokerError,
        tokens::{
            explain::Explanation,
            list,
            report::{MayEnd, Reported, report_invalid},
        },
    },
    http::{
        app::App,
        body::{Fields, JsonBody},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::token_state::{Condition, TokenState},
};

/// The state of a token, without secrets.
#[derive(Serialize, ToSchema)]
#[schema(as = OAuthTokenState)]
pub struct TokenStateResponse {
    id: Uuid,
    provider_id: String,
    provider_account_label: Option<String>,
    state: TokenCondition,
    /// The reason, if the state is not `active`.
    why: Option<String>,
    /// One sentence.
    what_to_do: String,
    scopes: Vec<String>,
    is_default: bool,
    expires_at: Option<DateTime<Utc>>,
    /// From this time on it is refreshed before it is returned.
    refresh_due_at: Option<DateTime<Utc>>,
    has_refresh_token: bool,
    refresh_token_expires_at: Option<DateTime<Utc>>,
    last_refreshed_at: Option<DateTime<Utc>>,
    /// The error code of the last refresh, if it failed.
    last_error: Option<String>,
    last_error_at: Option<DateTime<Utc>>,
    /// The number of consecutive failed refreshes.
    refresh_failures: i64,
    /// No refresh is tried before this time.
    retry_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// The error with which the provider rejects this server's client, if it does: no token can be refreshed there.
    provider_client_error: Option<String>,
    provider_client_error_at: Option<DateTime<Utc>>,
}

/// In one word.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenCondition {
    /// Usable; refreshed when due.
    Active,
    /// A refresh is running.
    Refreshing,
    /// The last refresh failed; the grant is kept.
    Failing,
    /// A new consent is needed.
    ConsentNeeded,
}

/// A report of a token that an API rejected.
#[derive(ToSchema)]
#[schema(example = json!({"token": "gho_16C7e42F292c6912E7"}))]
pub struct TokenReportRequest {
    /// The access token that was rejected. If it is given, a late report has no effect on a newer token. Required with an
    /// agent's key if the token cannot be refreshed, because the report then ends the grant.
    token: Option<String>,
}

/// The result of a report.
#[derive(Serialize, ToSchema)]
pub struct TokenReportResponse {
    status: TokenReportStatus,
    /// The access token to use now.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// One sentence.
    detail: &'static str,
}

/// In one word.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenReportStatus {
    /// There is a new access token.
    Refreshed,
    /// A new consent is needed.
    ConsentNeeded,
}

/// Explains the state of a token of the current user, and what to do.
#[utoipa::path(
    get,
    operation_id = "getToken",
    path = "/v2/auth/tokens/{token_id}",
    tag = "Tokens",
    params(("token_id" = String, Path)),
    responses(
        (status = 200, body = TokenStateResponse),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Json<TokenStateResponse>, ApiError> {
    caller.needs(Permission::List)?;
    let state = list::state(&app.broker, caller.reach(), caller.user()?, token_id(&path)?).await?;
    let (state, explanation) = state.ok_or_else(ApiError::no_token)?;
    Ok(Json(response(state, explanation)))
}

/// Takes an agent's report that an API rejected a token: refreshes the token once, or reports that a new consent is
/// needed.
#[utoipa::path(
    post,
    operation_id = "reportInvalidToken",
    path = "/v2/auth/tokens/{token_id}/report-invalid",
    tag = "Tokens",
    params(("token_id" = String, Path)),
    request_body = Option<TokenReportRequest>,
    responses(
        (status = 200, body = TokenReportResponse),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
        (status = 502, body = ErrorBody),
    ),
)]
pub async fn report(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(path): Path<String>,
    body: Option<JsonBody>,
) -> Result<Json<TokenReportResponse>, ApiError> {
    caller.needs(Permission::Authenticate)?;
    let mut request = TokenReportRequest { token: None };
    if let Some(body) = body {
        let mut fields = Fields::of_body(&body);
        request.token = fields.optional_text("token", &|_| Ok(()));
        fields.finish()?;
    }
    let refused = request.token.map(SecretString::from);
    let id = Uuid::try_parse(&path).map_err(|_| BrokerError::NotFound("token"))?;
    let began = Instant::now();
    let may_end = if caller.may(Permission::Administer) { MayEnd::Any } else { MayEnd::OfRejectedToken };
    let reported = report_invalid(&app.broker, caller.reach(), id, refused.as_ref(), may_end, &caller.act).await?;
    caller.check_after(&app, began).await?;
    if let Reported::Refreshed(token) | Reported::ReplacedBefore(token) | Reported::JustIssued(token) = &reported {
        let (agent_id, now) = (&token.subject.agent_id, app.broker.clock.now());
        app.broker.handouts.record(token, agent_id, &caller.act, now).await?;
    }
    let (status, token, detail) = match reported {
        Reported::Refreshed(token) => (TokenReportStatus::Refreshed, Some(token), "The token was refreshed."),
        Reported::ReplacedBefore(token) => (
            TokenReportStatus::Refreshed,
            Some(token),
            "The token was replaced before this report. If the API refuses this one too, a refresh does not help: check \
             what the API says, or call POST /v2/auth/authenticate with force_new.",
        ),
        Reported::JustIssued(token) => (
            TokenReportStatus::Refreshed,
            Some(token),
            "This access token was issued less than 30 seconds ago, so it was not refreshed again. If the API refuses it, a \
             refresh does not help: check what the API says, or call POST /v2/auth/authenticate with force_new.",
        ),
        Reported::ConsentNeeded => (
            TokenReportStatus::ConsentNeeded,
            None,
            "The grant has ended: call POST /v2/auth/authenticate, and send the person to the `url` that it returns.",
        ),
    };
    Ok(Json(TokenReportResponse {
        status,
        expires_at: token.as_ref().and_then(|token| token.expires_at),
        token: token.map(|token| token.access_token.expose_secret().to_owned()),
        detail,
    }))
}

impl From<Condition> for TokenCondition {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Active => Self::Active,
            Condition::Refreshing => Self::Refreshing,
            Condition::Failing => Self::Failing,
            Condition::ConsentNeeded => Self::ConsentNeeded,
        }
    }
}

/// The state of a token on the wire.
pub(super) fn response(token: TokenState, explanation: Explanation) -> TokenStateResponse {
    TokenStateResponse {
        id: token.id,
        provider_id: token.provider_id,
        provider_account_label: token.account_label,
        state: explanation.condition.into(),
        why: explanation.why,
        what_to_do: explanation.what_to_do,
        scopes: token.scopes.0,
        is_default: token.is_default,
        expires_at: token.expires_at,
        refresh_due_at: token.refresh_due_at,
        has_refresh_token: token.has_refresh_token,
        refresh_token_expires_at: token.refresh_token_expires_at,
        last_refreshed_at: token.last_refreshed_at,
        last_error: token.last_error,
        last_error_at: token.last_error_at,
        refresh_failures: token.refresh_failures,
        retry_at: token.retry_at,
        last_used_at: token.last_used_at,
        created_at: token.created_at,
        updated_at: token.updated_at,
        provider_client_error: token.client_error,
        provider_client_error_at: token.client_error_at,
    }
}
