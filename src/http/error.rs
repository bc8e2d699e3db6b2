//! Errors as callers see them: one table from errors to statuses and bodies.
//! Owns: `{"detail": ..., "code": ...}`, and the list of faults of a 422.
//! Must not know: where an error came from. No body holds a secret, and none echoes the input.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::denial::Denied;
use crate::{
    broker::{
        error::{BrokerError, Exposure, Owner},
        rules,
    },
    identity::langsmith::Refusal,
    model::{failure::FailureKind, outage::Outage},
};

/// One fault of a request, in the shape of `FastAPI`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ValidationError)]
pub struct Fault {
    /// Where it is: `body`, `query`, `path` or `header`, followed by the path to it from there.
    #[schema(value_type = Vec<Value>)]
    pub loc: Vec<Value>,
    /// What is wrong, for people.
    pub msg: String,
    /// What is wrong, for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// The body of a 422.
#[derive(Serialize, ToSchema)]
#[schema(as = HTTPValidationError, example = json!({"detail": [{"loc": ["body", "provider"], "msg": "Field required", "type": "missing"}]}))]
pub struct Faults {
    /// Every fault of the request.
    pub detail: Vec<Fault>,
}

/// The body of every other error.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"detail": "There is no provider with that id in this workspace.", "code": "not_found"}))]
pub struct ErrorBody {
    /// A sentence for people.
    pub detail: String,
    /// A code for programs.
    pub code: &'static str,
}

/// The body of a 409 where a client has to be registered by hand.
#[derive(Serialize, ToSchema)]
pub struct RegistrationRequired {
    /// What to do.
    pub detail: String,
    /// `registration_required`.
    pub code: &'static str,
    /// The authorization server.
    pub issuer: String,
    /// Register exactly this redirect URI.
    pub redirect_uri: String,
    /// Its authorization endpoint.
    pub authorization_endpoint: String,
    /// Its token endpoint.
    pub token_endpoint: String,
}

/// The body of a 409 where a change of a provider's endpoints has to be confirmed.
#[derive(Serialize, ToSchema)]
pub struct ConfirmationRequired {
    /// What the change would expose, and what to send.
    pub detail: String,
    /// `confirmation_required`.
    pub code: &'static str,
    /// How many grants it would expose.
    pub grants: u64,
}

/// The code of an error, which a response carries for the metrics.
#[derive(Clone, Copy, Debug)]
pub struct ErrorCode(pub &'static str);

/// What went wrong.
#[derive(Debug)]
pub enum ApiError {
    /// The request has faults.
    Faults(Vec<Fault>),
    /// The state of a callback cannot be completed.
    InvalidState(String),
    /// The request itself is malformed or ambiguous.
    BadRequest(String),
    /// No API key, or an unknown, expired or revoked one.
    Unauthorized,
    /// This header has characters that no API key has.
    UnreadableKey(&'static str),
    /// An API key of LangSmith, which is not set up to identify callers.
    LangSmithKey,
    /// LangSmith identifies nobody.
    LangSmith(Refusal),
    /// These credentials do not count in such a request.
    Forbidden(&'static str),
    /// The caller's role or the limits of its key do not permit this.
    Denied(Box<Denied>),
    /// It does not exist, or not for this caller.
    NotFound(String),
    /// The path does not support the method.
    MethodNotAllowed,
    /// It already exists.
    Conflict(String),
    /// The authorization server does not let clients register themselves.
    RegistrationRequired(Box<crate::broker::error::RegistrationRequired>),
    /// A change of a provider's endpoints has to be confirmed.
    ConfirmationRequired(Box<Exposure>),
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is too large.
    TooLarge,
    /// The path and the query are too long.
    UrlTooLong,
    /// The request line and the headers are too large, or too many.
    HeadTooLarge,
    /// More than the limits allow; the next try makes sense after this time.
    TooMany(Excess, Duration),
    /// As many wait for a consent as this process can hold.
    NoPlaceToWait,
    /// The workspace is running as many discoveries as allowed.
    TooManyDiscoveries {
        /// How many may run.
        limit: usize,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The provider failed.
    Provider(FailureKind, String, Option<Duration>),
    /// The database cannot be used for now.
    DatabaseUnavailable(Outage),
    /// The audit log cannot be written.
    AuditUnavailable,
    /// A secret that is to be stored cannot be sealed, so nothing was stored.
    NotSealed,
    /// A stored secret cannot be opened: the client secret of a provider, or another one.
    NotOpened {
        /// Whether it can be set again.
        is_client_secret: bool,
    },
    /// An internal error (bug).
    Internal,
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// Requests of a caller.
    OfCaller,
    /// Requests of an address.
    OfAddress,
    /// Wrong API keys of an address.
    FailedKeys,
    /// Waits of a caller.
    Waits,
    /// Pending authorization requests of a workspace or of a user.
    PendingRequests(Owner),
}

impl Excess {
    fn code(self) -> &'static str {
        match self {
            Self::OfCaller | Self::OfAddress => "rate_limited",
            Self::FailedKeys => "too_many_failed_keys",
            Self::Waits => "too_many_waits",
            Self::PendingRequests(_) => "too_many_pending_requests",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::OfCaller => {
                "This API key or user sends too many requests a second. Try again after the time in Retry-After."
            }
            Self::OfAddress => {
                "This address sends too many requests a second. Try again after the time in Retry-After."
            }
            Self::FailedKeys => {
                "The API key is not valid, and this address sent too many keys that are not. Check the key before the next \
                 try."
            }
            Self::Waits => {
                "This API key or user has as many waits open as it may have. Try again when some of them have ended."
            }
            Self::PendingRequests(Owner::Workspace) => {
                "This workspace has as many pending authorization requests as it may have. Try again when some of them are \
                 completed or have expired."
            }
            Self::PendingRequests(Owner::User) => {
                "This user has as many pending authorization requests as one may have. Complete one of them, or try again \
                 when they have expired."
            }
        }
    }
}

impl ApiError {
    /// A single fault, at `loc`.
    #[must_use]
    pub fn fault(loc: [&str; 2], kind: &'static str, msg: impl Into<String>) -> Self {
        Self::Faults(vec![Fault { loc: loc.map(Value::from).to_vec(), msg: msg.into(), kind }])
    }

    /// The provider does not exist in the caller's workspace.
    #[must_use]
    pub fn no_provider() -> Self {
        BrokerError::NotFound("provider").into()
    }

    /// The current user has no such token.
    #[must_use]
    pub fn no_token() -> Self {
        Self::NotFound("The current user has no token with that id.".into())
    }

    /// What is wrong, as a page says it.
    pub(super) fn for_people(&self) -> String {
        match self {
            Self::Faults(faults) => {
                let said = |fault: &Fault| {
                    let at: Vec<&str> = fault.loc.iter().skip(1).filter_map(Value::as_str).collect();
                    format!("{}: {}.", at.join(" "), fault.msg.trim_end_matches('.'))
                };
                faults.iter().map(said).collect::<Vec<_>>().join(" ")
            }
            _ => self.status_code_detail().2,
        }
    }

    /// True when the caller sent no valid credentials.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized | Self::LangSmithKey | Self::LangSmith(Refusal::Unauthorized))
    }

    fn status_code_detail(&self) -> (StatusCode, &'static str, String) {
        let table = |status, code, detail: &str| (status, code, detail.to_owned());
        match self {
            Self::Faults(_) => table(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", ""),
            Self::InvalidState(detail) => table(StatusCode::BAD_REQUEST, "invalid_state", detail),
            Self::BadRequest(detail) => table(StatusCode::BAD_REQUEST, "bad_request", detail),
            Self::UnreadableKey(header) => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                format!("The header {header} has characters that no API key has. Send a valid API key in X-Api-Key."),
            ),
            Self::Unauthorized => table(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Send a valid API key in the X-Api-Key header; `agent-auth api-key create` creates one.",
            ),
            Self::LangSmithKey => table(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "This is a LangSmith API key (lsv2_...). LangSmith keys need the setting `identity = \"langsmith\"` on this \
                 server. Without it, send an API key of this server; `agent-auth api-key create` creates one.",
            ),
            Self::LangSmith(refusal) => refused_by_langsmith(refusal),
            Self::Forbidden(detail) => table(StatusCode::FORBIDDEN, "forbidden", detail),
            Self::Denied(denied) => table(StatusCode::FORBIDDEN, denied.code, denied.detail),
            Self::NotFound(detail) => table(StatusCode::NOT_FOUND, "not_found", detail),
            Self::MethodNotAllowed => table(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path does not support that method. See /docs for the API.",
            ),
            Self::Conflict(detail) => table(StatusCode::CONFLICT, "conflict", detail),
            Self::RegistrationRequired(_) => table(
                StatusCode::CONFLICT,
                "registration_required",
                "The authorization server does not let clients register themselves. Register a client there by hand, with \
                 this redirect_uri, and set its client_id and client_secret with PATCH /v2/auth/providers/{provider_id}.",
            ),
            Self::ConfirmationRequired(exposure) => {
                table(StatusCode::CONFLICT, "confirmation_required", &exposure.message)
            }
            Self::BodyTimeout => {
                table(StatusCode::REQUEST_TIMEOUT, "request_timeout", "The request body did not arrive in time.")
            }
            Self::TooLarge => {
                table(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "The body may have at most 256 KiB.")
            }
            Self::UrlTooLong => {
                table(StatusCode::URI_TOO_LONG, "uri_too_long", "The path and the query may have at most 16 KiB.")
            }
            Self::HeadTooLarge => table(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers_too_large",
                "A request may have at most 64 headers, and with its request line at most 32 KiB.",
            ),
            Self::TooMany(excess, _) => table(StatusCode::TOO_MANY_REQUESTS, excess.code(), excess.detail()),
            Self::NoPlaceToWait => table(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_waiters",
                "This server has no place for another waiting request. Try again after the time in Retry-After.",
            ),
            Self::TooManyDiscoveries { limit, .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_discoveries",
                format!("{limit} discoveries of this workspace are running; try again when one has ended."),
            ),
            Self::Provider(kind, detail, _) => {
                let (status, ErrorCode(code)) = of_provider_failure(*kind);
                table(status, code, detail)
            }
            Self::DatabaseUnavailable(outage) => {
                table(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", of_outage(*outage))
            }
            Self::AuditUnavailable => table(
                StatusCode::SERVICE_UNAVAILABLE,
                "audit_unavailable",
                "Nothing was done, because it could not be recorded in the audit log. Try again in a moment.",
            ),
            Self::NotSealed => table(
                StatusCode::SERVICE_UNAVAILABLE,
                "encryption_unavailable",
                "A secret cannot be encrypted with the encryption key of this server, so nothing was stored. Its operator has \
                 to change the key; the server's log has the reason under the x-request-id of this response.",
            ),
            Self::NotOpened { is_client_secret } => {
                table(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", not_opened(*is_client_secret))
            }
            Self::Internal => table(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "Internal error. The server's log has details under the x-request-id of this response.",
            ),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::LangSmith(Refusal::Unavailable { retry_after }) => Some(retry_after.as_secs().max(1)),
            Self::NoPlaceToWait => Some(2),
            Self::AuditUnavailable
            | Self::DatabaseUnavailable(Outage::Unreachable | Outage::Busy | Outage::ReadOnly) => Some(1),
            // Until somebody acts, more attempts change nothing.
            Self::NotSealed | Self::DatabaseUnavailable(Outage::Denied | Outage::Full) => Some(10),
            Self::TooManyDiscoveries { retry_after, .. } => Some(retry_after.as_secs()),
            Self::TooMany(_, wait) => Some(wait.as_secs() + 1),
            Self::Provider(FailureKind::Unavailable | FailureKind::RateLimited | FailureKind::TimedOut, _, wait) => {
                // Rounded up, so that no client retries a moment too early.
                Some(wait.unwrap_or(Duration::from_secs(5)).as_secs() + 1)
            }
            _ => None,
        }
    }
}

/// Why the database cannot be used, and what helps.
fn of_outage(outage: Outage) -> &'static str {
    match outage {
        Outage::Unreachable => "The database does not respond. Try again in a moment.",
        Outage::Busy => {
            "Other requests were changing the same records for too long, so nothing was changed. Try again in a moment."
        }
        Outage::ReadOnly => "The database is read-only at the moment. Try again in a moment.",
        Outage::Denied => "The database denies access to this server. Its operator has to grant it.",
        Outage::Full => "The database is full. Its operator has to make space.",
    }
}

/// The status and the code of a failure of a provider.
pub(super) fn of_provider_failure(kind: FailureKind) -> (StatusCode, ErrorCode) {
    let (status, code) = match kind {
        FailureKind::Unavailable | FailureKind::RateLimited => {
            (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable")
        }
        FailureKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "provider_timeout"),
        FailureKind::MisconfiguredClient => (StatusCode::BAD_GATEWAY, "provider_misconfigured"),
        FailureKind::DeadGrant | FailureKind::Refused | FailureKind::Unreadable | FailureKind::AddressRefused => {
            (StatusCode::BAD_GATEWAY, "provider_error")
        }
    };
    (status, ErrorCode(code))
}

/// The status and the body of a request that hyper refuses before any route sees it, in place of its empty response.
pub(super) fn of_malformed_request(status: StatusCode) -> (StatusCode, String) {
    let error = match status {
        StatusCode::URI_TOO_LONG => ApiError::UrlTooLong,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ApiError::HeadTooLarge,
        _ => ApiError::BadRequest("This is not a valid HTTP/1.1 request.".into()),
    };
    let (status, code, detail) = error.status_code_detail();
    (status, json!(ErrorBody { detail, code }).to_string())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry_after = self.retry_after();
        let (status, code, detail) = self.status_code_detail();
        let mut denied = None;
        let body = match self {
            Self::Denied(caller) => {
                denied = Some(*caller);
                Json(json!(ErrorBody { detail, code }))
            }
            Self::Faults(detail) => Json(json!(Faults { detail })),
            Self::RegistrationRequired(needed) => Json(json!(RegistrationRequired {
                detail,
                code,
                issuer: needed.issuer,
                redirect_uri: needed.redirect_uri,
                authorization_endpoint: needed.authorization_endpoint,
                token_endpoint: needed.token_endpoint,
            })),
            Self::ConfirmationRequired(exposure) => {
                Json(json!(ConfirmationRequired { detail, code, grants: exposure.grants }))
            }
            _ => Json(json!(ErrorBody { detail, code })),
        };
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
        if let Some(denied) = denied {
            response.extensions_mut().insert(denied);
        }
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(ErrorCode(code));
        response
    }
}

impl From<Vec<rules::Fault>> for ApiError {
    /// The faults of a body.
    fn from(faults: Vec<rules::Fault>) -> Self {
        let of_body = |fault: rules::Fault| Fault {
            loc: std::iter::once(Value::from("body")).chain(fault.path).collect(),
            msg: fault.message,
            kind: fault.kind,
        };
        Self::Faults(faults.into_iter().map(of_body).collect())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::LangSmith(refusal)
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::NotFound(what) => {
                Self::NotFound(format!("There is no {what} with that id in this workspace."))
            }
            BrokerError::Invalid { field, problem } => Self::fault(["body", field], "value_error", problem),
            BrokerError::Conflict(detail) => Self::Conflict(detail),
            BrokerError::RegistrationRequired(needed) => Self::RegistrationRequired(needed),
            BrokerError::Exposure(exposure) => Self::ConfirmationRequired(exposure),
            BrokerError::Faults(faults) => faults.into(),
            BrokerError::Discovery { kind, message } => Self::Provider(kind, message, None),
            BrokerError::Busy { limit, retry_after } => Self::TooManyDiscoveries { limit, retry_after },
            BrokerError::TooManyPending { of, retry_after } => Self::TooMany(Excess::PendingRequests(of), retry_after),
            BrokerError::NoToken(failure) => {
                Self::Provider(failure.kind, format!("The provider issued no token: {failure}."), failure.retry_after)
            }
            BrokerError::Provider(failure) => {
                let detail = format!("The provider failed, and the grant is kept: {failure}.");
                Self::Provider(failure.kind, detail, failure.retry_after)
            }
            BrokerError::Unavailable(outage, reason) => {
                match outage {
                    Outage::Unreachable => {
                        tracing::warn!(event = "database.unavailable", reason, "the database is unavailable");
                    }
                    Outage::Busy => {
                        tracing::warn!(
                            event = "database.busy",
                            reason,
                            "other writers held the same records for too long"
                        );
                    }
                    Outage::ReadOnly => {
                        tracing::error!(event = "database.read_only", reason, "the database accepts no writes");
                    }
                    Outage::Denied => {
                        tracing::error!(event = "database.access_denied", reason, "the database denies access");
                    }
                    Outage::Full => tracing::error!(event = "database.full", reason, "the database is full"),
                }
                Self::DatabaseUnavailable(outage)
            }
            BrokerError::Audit(reason) => {
                tracing::error!(
                    event = "audit.unavailable",
                    reason,
                    "an operation was refused: the audit log cannot be written"
                );
                Self::AuditUnavailable
            }
            BrokerError::NotOpened(error) => {
                tracing::error!(
                    event = "sealed_value.not_opened", table = error.table, column = error.column, row = %error.row,
                    error = %error.error, "a stored secret cannot be opened"
                );
                Self::NotOpened { is_client_secret: error.is_of_provider() }
            }
            BrokerError::NotSealed(error) => {
                tracing::error!(
                    event = "sealed_value.not_sealed", %error,
                    "a secret cannot be encrypted; add an encryption key and promote it (agent-auth keys add, keys promote)"
                );
                Self::NotSealed
            }
            BrokerError::Store(error) => {
                tracing::error!(event = "database.failed", %error, "a statement failed");
                Self::Internal
            }
            BrokerError::Internal(reason) => {
                tracing::error!(event = "server.internal_error", reason, "internal error (bug)");
                Self::Internal
            }
        }
    }
}

/// What a caller reads whose request needs a stored secret that cannot be opened.
fn not_opened(is_client_secret: bool) -> &'static str {
    if is_client_secret {
        "The client secret of this provider cannot be decrypted. Set it again with PATCH \
         /v2/auth/providers/{provider_id}, or have the operator of this server restore its encryption key."
    } else {
        "A stored secret that this needs cannot be decrypted. The operator of this server has to restore its encryption \
         key; the server's log names the record under the x-request-id of this response."
    }
}

/// What a caller of LangSmith reads when it does not identify them.
fn refused_by_langsmith(refusal: &Refusal) -> (StatusCode, &'static str, String) {
    let (status, code, detail) = match refusal {
        Refusal::Unauthorized => (
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "LangSmith does not accept these credentials. Send a valid LangSmith API key in the X-Api-Key header, or \
             an API key of this server.",
        ),
        Refusal::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "LangSmith denies access with these credentials."),
        Refusal::NoWorkspace => (
            StatusCode::FORBIDDEN,
            "forbidden",
            "LangSmith names no workspace for these credentials. Name one in X-Tenant-Id, or use the API key of a \
             workspace.",
        ),
        Refusal::WorkspaceNotAllowed => (
            StatusCode::FORBIDDEN,
            "forbidden",
            "This server does not accept callers of this LangSmith workspace. LANGSMITH_TENANT_IDS lists those that \
             it accepts.",
        ),
        Refusal::Unavailable { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "identity_unavailable",
            "LangSmith, which identifies callers, did not respond usefully. Try again in a moment.",
        ),
    };
    (status, code, detail.to_owned())
}
