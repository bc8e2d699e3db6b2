//! `POST /v2/auth/authorizations/{auth_id}/confirm`: the application says which user consented.
//! Owns: the shape of the request and the response.
//! Must not know: when a confirmation is needed, or what it leads to.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::finalize::finalized;
use crate::{
    broker::{
        consent::{completion::Completion, confirmation},
        rules,
    },
    http::{
        app::App,
        body::{Fields, JsonBody},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
};

/// Who consented.
#[derive(ToSchema)]
#[schema(
    as = AuthorizationConfirmRequest,
    example = json!({"user_id": "alice", "reference": "reference from the return URL"}),
)]
pub struct ConfirmRequest {
    /// The user who is signed in to the application in the browser that came back.
    user_id: String,
    /// The `reference` with which the browser came back.
    reference: String,
}

/// A confirmed consent.
#[derive(Serialize, ToSchema)]
pub struct Confirmed {
    status: &'static str,
    auth_id: Uuid,
}

/// Confirms a consent in the mode `verify`: there is a token only after this.
#[utoipa::path(
    post,
    operation_id = "confirmAuthentication",
    path = "/v2/auth/authorizations/{auth_id}/confirm",
    tag = "Authentication",
    params(("auth_id" = String, Path)),
    request_body = ConfirmRequest,
    responses(
        (status = 200, body = Confirmed),
        (status = 403, body = ErrorBody, description = "Another user consented; the request has ended"),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
        (status = 502, body = ErrorBody),
    ),
)]
pub async fn confirm(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(auth_id): Path<String>,
    body: JsonBody,
) -> Result<Json<Confirmed>, ApiError> {
    caller.needs(Permission::Authenticate)?;
    let mut fields = Fields::of_body(&body);
    let request = ConfirmRequest {
        user_id: fields.required_text("user_id", &rules::identifier),
        reference: fields.required_text("reference", &rules::opaque),
    };
    fields.finish()?;
    caller.reaches_user(&request.user_id)?;
    let reference = SecretString::from(request.reference);
    let completion = match Uuid::try_parse(&auth_id) {
        Ok(id) => {
            confirmation::confirm(&app.broker, caller.reach(), id, &request.user_id, &reference, &caller.act).await?
        }
        Err(_) => Completion::InvalidState,
    };
    match completion {
        Completion::InvalidState => Err(ApiError::NotFound(
            "No consent with that auth_id and reference waits for a confirmation. Authenticate again for a new URL."
                .into(),
        )),
        completion => finalized(completion).map(|auth_id| Json(Confirmed { status: "completed", auth_id })),
    }
}
