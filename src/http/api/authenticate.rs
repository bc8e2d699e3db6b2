//! `POST /v2/auth/authenticate`: a token, or the URL where the person consents.
//! Owns: the shape of the request and the response.
//! Must not know: which token is chosen, or when it is refreshed.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::State,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::{Serialize, Serializer, ser::SerializeMap};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    broker::{
        authenticate::{self, ConsentOn, Outcome, TokenRequest, with_challenged_scopes},
        consent::request::Pending,
        rules,
    },
    http::{
        app::App,
        body::{Fields, JsonBody},
        error::{ApiError, ErrorBody, Faults},
    },
    identity::{Caller, Permission},
    model::{subject::Subject, token::Token},
};

/// What an agent requests.
#[derive(ToSchema)]
#[schema(as = AuthAuthenticateRequest)]
#[expect(clippy::struct_excessive_bools, reason = "the published fields")]
#[schema(example = json!({"provider": "github", "scopes": ["repo"], "user_id": "alice", "agent_id": "triage"}))]
pub struct AuthenticateRequest {
    /// The provider's id.
    provider: String,
    /// The scopes the token must have.
    scopes: Vec<String>,
    /// The user whose token is requested. If absent: `ls_user_id`, or else the current user.
    user_id: Option<String>,
    /// The id of the caller on the platform. If absent: the current user.
    ls_user_id: Option<String>,
    /// The agent that the token is for, if any.
    agent_id: Option<String>,
    /// Accepted for compatibility; it has no effect.
    #[schema(default = false, required = false)]
    pub use_agent_builder_public_oauth: bool,
    /// Begin a consent even if there is a token.
    #[schema(default = false, required = false)]
    force_new: bool,
    /// Use only this token.
    token_id: Option<Uuid>,
    /// Whether a new token becomes the default.
    #[schema(default = true, required = false)]
    is_default: bool,
    /// One of the provider's `allowed_redirect_uris`.
    redirect_uri: Option<String>,
    /// One of the provider's `return_urls`: where the browser is sent after the consent, with `auth_id` added.
    return_url: Option<String>,
    /// The account that the person probably has at the provider, such as an email address; passed on to it.
    login_hint: Option<String>,
    /// Do not begin a consent.
    #[schema(default = false, required = false)]
    check_only: bool,
    /// The least remaining lifetime of the token in seconds, from 0 to 86400. If it has less, it is refreshed first.
    min_ttl: Option<i64>,
    /// The unchanged `WWW-Authenticate` header with which an API or an MCP server rejected a token: the scopes that it
    /// names are requested too.
    challenge: Option<String>,
    /// `device`: the person consents on another device (RFC 8628), with the `user_code` of the response.
    grant: Option<AuthGrant>,
}

/// How consent is requested.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum AuthGrant {
    /// In a browser, which is redirected back to this server.
    AuthorizationCode,
    /// On another device.
    Device,
}

impl AuthGrant {
    const NAMES: [(&'static str, Self); 2] =
        [("authorization_code", Self::AuthorizationCode), ("device", Self::Device)];
}

/// The response.
#[derive(Default, Serialize, ToSchema)]
#[schema(
    as = AuthAuthenticateResponse,
    example = json!({
        "status": "pending",
        "url": "https://auth.example.com/connect/6Jx0",
        "auth_id": "0192d3a4-5b6c-7d8e-9fa0-b1c2d3e4f5a6",
    }),
)]
pub struct AuthenticateResponse<'t> {
    status: AuthStatus,
    /// Where to send the person.
    url: Option<String>,
    /// The id for `wait`.
    auth_id: Option<Uuid>,
    /// The access token, to be sent as a Bearer token.
    token: Option<&'t str>,
    user_id: Option<&'t str>,
    /// Details of the token.
    #[schema(value_type = Option<Map<String, Value>>)]
    metadata: Option<Details<'t>>,
    /// With `grant: "device"`: what the person enters ...
    #[serde(skip_serializing_if = "Option::is_none")]
    user_code: Option<String>,
    /// ... here ...
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri: Option<String>,
    /// ... or opens, with the code in it ...
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri_complete: Option<String>,
    /// ... within so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
}

/// The status.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthStatus {
    /// There is a token.
    Completed,
    /// A person has to consent at `url`.
    #[default]
    Pending,
    /// This agent may use no token, and no consent was begun. At `url` a person can begin it.
    ConnectionRequired,
    /// The token of `token_id` needs a new consent, which a person can begin at `url`.
    TokenExpired,
}

/// Returns a valid access token, or begins a consent.
#[utoipa::path(
    post,
    operation_id = "authenticate",
    path = "/v2/auth/authenticate",
    tag = "Authentication",
    request_body = AuthenticateRequest,
    responses(
        (status = 200, body = AuthenticateResponse),
        (status = 404, body = ErrorBody),
        (status = 422, body = Faults),
        (
            status = 429,
            body = ErrorBody,
            description = "The workspace or the user has too many pending authorization requests \
                (`too_many_pending_requests`), or there are too many requests",
        ),
        (status = 502, body = ErrorBody),
    ),
)]
pub async fn authenticate(State(app): State<Arc<App>>, caller: Caller, body: JsonBody) -> Result<Response, ApiError> {
    caller.needs(Permission::Authenticate)?;
    let began = Instant::now();
    let request = AuthenticateRequest::read(&body, &caller)?;
    request.check_limits(&caller)?;
    let request = request.into_token_request(&caller);
    let Subject { user_id, agent_id, .. } = &request.subject;
    let outcome = authenticate::authenticate(&app.broker, &request, &caller.act).await?;
    if let Outcome::Completed(token) = &outcome {
        caller.check_after(&app, began).await?;
        app.broker.handouts.record(token, agent_id, &caller.act, app.broker.clock.now()).await?;
    }
    let user_id = Some(user_id.as_str());
    let response = match &outcome {
        Outcome::Completed(token) => AuthenticateResponse {
            status: AuthStatus::Completed,
            token: Some(token.access_token.expose_secret()),
            metadata: Some(Details(token)),
            user_id,
            ..AuthenticateResponse::default()
        },
        Outcome::Pending(Pending { url, id, device }) => AuthenticateResponse {
            status: AuthStatus::Pending,
            url: Some(url.clone()),
            auth_id: Some(*id),
            user_id,
            expires_in: device.as_ref().map(|codes| codes.expires_in.as_secs()),
            user_code: device.as_ref().map(|codes| codes.user_code.clone()),
            verification_uri_complete: device.as_ref().and_then(|codes| codes.verification_uri_complete.clone()),
            verification_uri: device.as_ref().map(|codes| codes.verification_uri.clone()),
            ..AuthenticateResponse::default()
        },
        Outcome::ConnectionRequired(url) => {
            let status = AuthStatus::ConnectionRequired;
            AuthenticateResponse { status, url: url.clone(), user_id, ..AuthenticateResponse::default() }
        }
        Outcome::TokenExpired(url) => {
            let (status, url) = (AuthStatus::TokenExpired, url.clone());
            AuthenticateResponse { status, url, user_id, ..AuthenticateResponse::default() }
        }
    };
    // Room for most responses, so that a token is not copied several times while it is written.
    let mut body = Vec::with_capacity(1024);
    serde_json::to_writer(&mut body, &response).map_err(|_| ApiError::Internal)?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

impl AuthenticateRequest {
    fn read(body: &JsonBody, caller: &Caller) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body);
        let user_id = fields.optional_text("user_id", &rules::identifier);
        let ls_user_id = fields.optional_text("ls_user_id", &rules::identifier);
        let names_nobody = fields.is_absent("user_id") && fields.is_absent("ls_user_id") && caller.user.is_none();
        if names_nobody {
            let problem = "Field required: name the user in user_id, or in X-User-Id with a service key";
            fields.fault(&["user_id".into()], ("missing", problem.into()));
        }
        let request = Self {
            user_id,
            ls_user_id,
            use_agent_builder_public_oauth: fields.boolean("use_agent_builder_public_oauth", false),
            scopes: fields.required_texts("scopes", rules::SCOPES_MAX, &rules::scope),
            challenge: fields.optional_text("challenge", &rules::opaque),
            provider: fields.required_text("provider", &rules::provider_id),
            force_new: fields.boolean("force_new", false),
            token_id: fields.optional_uuid("token_id"),
            is_default: fields.boolean("is_default", true),
            redirect_uri: fields.optional_text("redirect_uri", &rules::redirect_uri),
            return_url: fields.optional_text("return_url", &rules::redirect_uri),
            login_hint: fields.optional_text("login_hint", &rules::identifier),
            check_only: fields.boolean("check_only", false),
            grant: fields.optional_name("grant", &AuthGrant::NAMES),
            min_ttl: fields.optional_integer("min_ttl", rules::MIN_TTL_MAX),
            agent_id: fields.optional_text("agent_id", &rules::identifier),
        };
        fields.finish()?;
        Ok(request)
    }

    /// Everything that the request names has to be inside the limits of the key. One that is limited to agents acts for
    /// one of them.
    fn check_limits(&self, caller: &Caller) -> Result<(), ApiError> {
        caller.reaches_provider(&self.provider)?;
        caller.reaches_agent(self.agent_id.as_deref().unwrap_or_default())?;
        let mut users = self.user_id.iter().chain(&self.ls_user_id);
        users.try_for_each(|user| caller.reaches_user(user))
    }

    fn into_token_request(self, caller: &Caller) -> TokenRequest {
        let user_id = self.user_id.or_else(|| self.ls_user_id.clone()).or_else(|| caller.user.clone());
        TokenRequest {
            subject: Subject {
                tenant: caller.tenant.clone(),
                user_id: user_id.unwrap_or_default(),
                agent_id: self.agent_id.unwrap_or_default(),
            },
            ls_user_id: self.ls_user_id.or_else(|| caller.user.clone()),
            provider_id: self.provider,
            scopes: match self.challenge {
                Some(challenge) => with_challenged_scopes(self.scopes, &challenge, rules::SCOPES_MAX),
                None => self.scopes,
            },
            force_new: self.force_new,
            token_id: self.token_id,
            is_default: self.is_default,
            redirect_uri: self.redirect_uri,
            return_url: self.return_url,
            login_hint: self.login_hint,
            consent: caller.consent,
            check_only: self.check_only,
            consent_on: match self.grant {
                Some(AuthGrant::Device) => ConsentOn::Device,
                Some(AuthGrant::AuthorizationCode) | None => ConsentOn::Browser,
            },
            min_ttl: self.min_ttl.map(TimeDelta::seconds),
        }
    }
}

/// Details of a token: fields of the token response, and stored ones, which take precedence.
struct Details<'t>(&'t Token);

const STORED: [&str; 5] = ["token_id", "provider_account_label", "scopes", "expires_at", "is_default"];

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(token) = self;
        let mut details = serializer.serialize_map(None)?;
        for (name, value) in token.metadata.iter().filter(|(name, _)| !STORED.contains(&name.as_str())) {
            details.serialize_entry(name, value)?;
        }
        if !token.metadata.contains_key("token_type") {
            details.serialize_entry("token_type", "Bearer")?;
        }
        details.serialize_entry("token_id", &token.id)?;
        details.serialize_entry("provider_account_label", &token.account_label)?;
        details.serialize_entry("scopes", &token.scopes)?;
        details.serialize_entry("expires_at", &token.expires_at)?;
        details.serialize_entry("is_default", &token.is_default)?;
        details.end()
    }
}
