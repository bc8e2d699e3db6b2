//! `POST /v2/auth/connect-links`: a link at which one user sees, makes and ends their own connections.
//! Owns: the shapes on the wire.
//! Must not know: what is behind the link.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    broker::{
        connect_links::{self, GOOD_FOR_MAX_SECONDS, GOOD_FOR_SECONDS, NewLink},
        rules,
    },
    http::{
        app::App,
        body::{Fields, JsonBody},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, CallerId, Permission},
};

const OTHER_USER: &str = "must be the current user: the key, or X-User-Id, already names one";
const NO_PROVIDERS: &str = "needs `providers`: every one of them must have this address among its return_urls";
const NOT_ONE_PROVIDER: &str =
    "needs exactly one provider in `providers`: scopes have a meaning only at their provider";
const AT_LEAST_A_MINUTE: &str = "Input should be greater than or equal to 60";

/// A link to make.
#[derive(ToSchema)]
#[schema(example = json!({"user_id": "alice", "providers": ["github"], "scopes": ["repo"]}))]
pub struct ConnectLinkRequest {
    /// Whose connections the link shows. If absent: the current user.
    user_id: Option<String>,
    /// Only these providers, by their ids. If absent: all that the caller's key reaches.
    providers: Option<Vec<String>>,
    /// The scopes that a new connection requests, with exactly one provider. If absent: the provider's default scopes.
    scopes: Option<Vec<String>>,
    /// How long the link can be opened in seconds, from 60 to 86400.
    #[schema(default = 3600, required = false)]
    expires_in: i64,
    /// One of the `return_urls` of each of `providers`: where the browser is sent after a consent, with `auth_id` added. If
    /// absent: back to the page.
    return_url: Option<String>,
}

/// The link.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "url": "https://auth.example.com/connections/Zm9v",
    "expires_at": "2026-11-27T15:00:00Z",
}))]
pub struct ConnectLinkResponse {
    /// To be given to this user and nobody else. It can be opened once.
    url: String,
    /// Until when it can be opened. The session that it is exchanged for lasts an hour.
    expires_at: DateTime<Utc>,
}

/// Makes a link at which one user sees, makes and ends their own connections, without a key.
#[utoipa::path(
    post,
    operation_id = "createConnectLink",
    path = "/v2/auth/connect-links",
    tag = "Connect links",
    request_body = ConnectLinkRequest,
    responses(
        (status = 201, body = ConnectLinkResponse),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<(StatusCode, Json<ConnectLinkResponse>), ApiError> {
    caller.needs(Permission::Authenticate)?;
    let request = ConnectLinkRequest::read(&body, &caller)?;
    request.check_limits(&caller)?;
    let new = NewLink {
        user_id: request.user_id.or_else(|| caller.user.clone()).unwrap_or_default(),
        providers: request.providers,
        scopes: request.scopes.unwrap_or_default(),
        expires_in: request.expires_in,
        return_url: request.return_url,
        consent: caller.consent,
        api_key: caller.id.api_key(),
    };
    let made = connect_links::create(&app.broker, caller.reach(), new, &caller.act).await?;
    Ok((StatusCode::CREATED, Json(ConnectLinkResponse { url: made.url, expires_at: made.expires_at })))
}

impl ConnectLinkRequest {
    fn read(body: &JsonBody, caller: &Caller) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body);
        let request = Self {
            user_id: fields.optional_text("user_id", &rules::identifier),
            providers: fields.optional_texts("providers", rules::LINK_PROVIDERS_MAX, &rules::provider_id),
            scopes: fields.optional_texts("scopes", rules::SCOPES_MAX, &rules::scope),
            expires_in: fields.optional_integer("expires_in", GOOD_FOR_MAX_SECONDS).unwrap_or(GOOD_FOR_SECONDS),
            return_url: fields.optional_text("return_url", &rules::redirect_uri),
        };
        if fields.is_absent("user_id") && caller.user.is_none() {
            let problem = "Field required: name the user in user_id, or in X-User-Id with a service key";
            fields.fault(&["user_id".into()], ("missing", problem.into()));
        }
        if request.expires_in < 60 {
            fields.fault(&["expires_in".into()], ("greater_than_equal", AT_LEAST_A_MINUTE.into()));
        }
        let named = request.providers.as_ref().map_or(0, Vec::len);
        if body.0["providers"].as_array().is_some_and(Vec::is_empty) {
            fields.fault(&["providers".into()], ("too_short", "List should have at least 1 item".into()));
        }
        if request.scopes.as_ref().is_some_and(|scopes| !scopes.is_empty()) && named != 1 {
            fields.fault(&["scopes".into()], ("value_error", NOT_ONE_PROVIDER.into()));
        }
        if request.return_url.is_some() && named == 0 {
            fields.fault(&["return_url".into()], ("value_error", NO_PROVIDERS.into()));
        }
        fields.finish()?;
        Ok(request)
    }

    /// What the link shows and begins has to be inside the limits of the key, which must not be for some agents only: the
    /// link shows the connections of all of them. A caller who is or acts for one user makes no link for another one, whose
    /// connections the link would show and could end: unless it is an administrator's key, which can do that anyway.
    fn check_limits(&self, caller: &Caller) -> Result<(), ApiError> {
        caller.reaches_agent("")?;
        self.providers.iter().flatten().try_for_each(|provider| caller.reaches_provider(provider))?;
        self.user_id.as_deref().map_or(Ok(()), |user| caller.reaches_user(user))?;
        let administers = caller.may(Permission::Administer) && matches!(caller.id, CallerId::ApiKey(_));
        match (&self.user_id, &caller.user) {
            (Some(named), Some(current)) if named != current && !administers => {
                Err(ApiError::fault(["body", "user_id"], "value_error", OTHER_USER))
            }
            _ => Ok(()),
        }
    }
}
