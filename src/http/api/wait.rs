//! `GET /v2/auth/wait/{auth_id}`: waits until the person has consented.
//! Owns: the shape of the response, and the range of the time-out.
//! Must not know: what wakes a waiter.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use secrecy::ExposeSecret;
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::consent::wait::{Waited, wait as wait_for},
    http::{
        app::App,
        checks::readable,
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::token::Token,
};

/// The response.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthWaitResponse, example = json!({"status": "completed", "token": "gho_16C7e42F292c6912E7"}))]
pub struct WaitResponse {
    status: AuthWaitStatus,
    /// The access token.
    token: Option<String>,
    /// Why the consent ended without a token: an error code of the provider or of agent-auth.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The reason for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<String>,
}

/// The status.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthWaitStatus {
    /// There is a token.
    Completed,
    /// Not yet; `timeout` was 0.
    Pending,
    /// Not yet; `timeout` has passed.
    Timeout,
    /// Unknown, expired, or ended without a token.
    NotFound,
}

/// Waits until a consent has ended.
#[utoipa::path(
    get,
    operation_id = "waitForAuthentication",
    path = "/v2/auth/wait/{auth_id}",
    tag = "Authentication",
    params(
        ("auth_id" = String, Path),
        (
            "timeout" = Option<i64>,
            Query,
            description = "Seconds, from 0 to the server's WAIT_MAX_SECONDS, its default.",
        ),
    ),
    responses(
        (status = 200, body = WaitResponse),
        (status = 401, body = ErrorBody),
        (status = 422, body = Faults),
        (
            status = 429,
            body = ErrorBody,
            description = "The API key, or the user of LangSmith, has too many waits open (`too_many_waits`), or \
                sends too many requests",
        ),
        (
            status = 503,
            body = ErrorBody,
            description = "This server holds as many waits as it has connections for (`too_many_waiters`), or something \
                that it depends on is unavailable",
        ),
    ),
)]
pub async fn wait(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(auth_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<WaitResponse>, ApiError> {
    caller.needs(Permission::Authenticate)?;
    let timeout = timeout(readable(query.as_deref())?, app.broker.settings.wait_max_seconds)?;
    let _open = app.begin_wait(&caller)?;
    // One who does not wait needs no place.
    let _place = if timeout.is_zero() {
        None
    } else {
        Some(app.waiting_places.try_acquire().map_err(|_| ApiError::NoPlaceToWait)?)
    };
    let waited = match Uuid::try_parse(&auth_id) {
        Ok(id) => wait_for(&app.broker, caller.reach(), id, timeout, &caller.act).await?,
        Err(_) => Waited::NotFound { error: None, error_description: None },
    };
    let answer = |status, token| WaitResponse { status, token, error: None, error_description: None };
    Ok(Json(match waited {
        Waited::Completed(token) => {
            // Boxed: those who sleep should not carry the state of what comes after.
            Box::pin(hand_out(&app, &caller, &token)).await?;
            answer(AuthWaitStatus::Completed, Some(token.access_token.expose_secret().to_owned()))
        }
        Waited::Pending => answer(AuthWaitStatus::Pending, None),
        Waited::Timeout => answer(AuthWaitStatus::Timeout, None),
        Waited::NotFound { error, error_description } => {
            WaitResponse { error, error_description, ..answer(AuthWaitStatus::NotFound, None) }
        }
    }))
}

async fn hand_out(app: &App, caller: &Caller, token: &Token) -> Result<(), ApiError> {
    // Who waited for minutes may have lost the key meanwhile.
    caller.check_again(app).await?;
    let (agent_id, now) = (&token.subject.agent_id, app.broker.clock.now());
    Ok(app.broker.handouts.record(token, agent_id, &caller.act, now).await?)
}

fn timeout(query: &str, max: i64) -> Result<Duration, ApiError> {
    let refuse = |kind, problem: String| Err(ApiError::fault(["query", "timeout"], kind, problem));
    let Some((_, value)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "timeout") else {
        return Ok(Duration::from_secs(max.unsigned_abs()));
    };
    match value.trim().parse::<i64>() {
        Err(_) => refuse("int_parsing", "Input should be a valid integer, unable to parse string as an integer".into()),
        Ok(seconds) if seconds < 0 => refuse("greater_than_equal", "Input should be greater than or equal to 0".into()),
        Ok(seconds) if seconds > max => {
            refuse("less_than_equal", format!("Input should be less than or equal to {max}"))
        }
        Ok(seconds) => Ok(Duration::from_secs(seconds.unsigned_abs())),
    }
}
