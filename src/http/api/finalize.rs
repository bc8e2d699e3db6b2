//! `POST /v2/auth/callback/{provider_id}`: a code from an application that received the redirect itself.
//! Owns: the shape of the request and the response.
//! Must not know: how a code is exchanged.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::{
        consent::{
            completion::{CodeResponse, Completion, Source, USER_MISMATCH},
            exchange::complete,
        },
        rules,
    },
    http::{
        app::App,
        body::{Fields, JsonBody},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::failure::FailureKind,
};

/// A code that an application received.
#[derive(ToSchema)]
#[schema(
    as = OAuthFinalizeRequest,
    example = json!({"code": "code from the redirect", "state": "state from the redirect"}),
)]
pub struct FinalizeRequest {
    code: String,
    state: String,
    /// The `iss` parameter of the redirect (RFC 9207), if there was one.
    iss: Option<String>,
    /// The user who consented, as the application knows them. Required if the consent is `verify`; another user than the
    /// one whose token it would be ends the request.
    user_id: Option<String>,
}

/// A completed consent.
#[derive(Serialize, ToSchema)]
pub struct Finalized {
    status: &'static str,
    provider_id: String,
    auth_id: Uuid,
}

/// Completes a consent with a code that an application received itself.
#[utoipa::path(
    post,
    operation_id = "finalizeAuthentication",
    path = "/v2/auth/callback/{provider_id}",
    tag = "Callbacks",
    params(("provider_id" = String, Path)),
    request_body = FinalizeRequest,
    responses(
        (status = 200, body = Finalized),
        (
            status = 400,
            body = ErrorBody,
            description = "The state belongs to no pending request that can be completed here (`invalid_state`), or \
                the request is malformed",
        ),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
        (status = 502, body = ErrorBody),
    ),
)]
pub async fn post(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(provider_id): Path<String>,
    body: JsonBody,
) -> Result<Json<Finalized>, ApiError> {
    caller.needs(Permission::Authenticate)?;
    caller.reaches_provider(&provider_id)?;
    let mut fields = Fields::of_body(&body);
    let request = FinalizeRequest {
        code: fields.required_text("code", &rules::opaque),
        state: fields.required_text("state", &rules::opaque),
        iss: fields.optional_text("iss", &rules::opaque),
        user_id: fields.optional_text("user_id", &rules::identifier),
    };
    fields.finish()?;
    rules::provider_id(&provider_id).map_err(|_| ApiError::no_provider())?;
    let state = SecretString::from(request.state);
    let source = Source::Application { reach: caller.reach(), user_id: request.user_id.as_deref() };
    let response = CodeResponse { code: SecretString::from(request.code), iss: request.iss, query: None };
    let completion = complete(&app.broker, &provider_id, &state, response, source, &caller.act).await?;
    finalized(completion).map(|auth_id| Json(Finalized { status: "completed", provider_id, auth_id }))
}

const OTHER_USER: &str =
    "Another user consented than the one whose token was requested. The code was deleted; authenticate again.";

/// The id of a completed request, or why there is no token.
pub(super) fn finalized(completion: Completion) -> Result<Uuid, ApiError> {
    let invalid = |detail: &str| Err(ApiError::InvalidState(detail.to_owned()));
    match completion {
        Completion::Completed { id, .. } | Completion::AlreadyCompleted { id, .. } => Ok(id),
        Completion::OtherUser => Err(ApiError::Forbidden(OTHER_USER)),
        Completion::Failed { error, .. } if error == USER_MISMATCH => Err(ApiError::Forbidden(OTHER_USER)),
        Completion::Failed { error, error_description, kind, .. } => {
            let why = error_description.map_or_else(String::new, |text| format!(": {text}"));
            let detail = format!("The code could not be exchanged ({error}{why}). Authenticate again for a new URL.");
            Err(ApiError::Provider(kind.unwrap_or(FailureKind::Refused), detail, None))
        }
        Completion::InvalidState => Err(ApiError::NotFound(
            "There is no pending authorization request with that state. Authenticate again for a new URL.".into(),
        )),
        Completion::OtherUserTooLate => Err(ApiError::Forbidden(
            "The token was requested for another user, and the request has no code that waits for a confirmation. Nothing was \
             changed.",
        )),
        // Only a browser is answered so.
        Completion::OtherBrowser | Completion::AwaitingConfirmation { .. } => Err(ApiError::Internal),
        Completion::NotTheBrowser => invalid(
            "The provider sends the browser to this server, which completes the consent there. An application can complete \
             only what it began with a `redirect_uri` of its own, one of the provider's allowed_redirect_uris.",
        ),
        Completion::StateUsed => invalid("The state was used with another code. Authenticate again for a new URL."),
        Completion::WrongProvider => invalid("The state belongs to another provider than the one in the path."),
    }
}
