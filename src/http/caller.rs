//! Authentication: from headers to a [`Caller`].
//! Owns: the headers `X-Api-Key`, `Authorization`, `X-Tenant-Id` and `X-User-Id`, and when a cookie is accepted.
//! Must not know: what an operation needs beyond the permission it names.

use std::{
    iter,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::FromRequestParts,
    http::{
        HeaderMap, HeaderName, Method,
        header::{AUTHORIZATION, CONTENT_TYPE},
        request::Parts,
    },
};

use super::{
    act::through,
    app::App,
    denial::{Denied, Outside},
    error::ApiError,
};
use crate::{
    broker::{error::BrokerError, rules},
    identity::{
        Caller, CallerId, Permission,
        api_keys::is_generated,
        langsmith::{Credentials, LangSmith},
    },
    model::{
        actor::{Act, ActorKind},
        api_key::ApiKey,
        key_limits::KeyLimits,
    },
};

/// How long a request may take before its caller is checked again.
const NOTICEABLE: Duration = Duration::from_secs(1);
/// What the API keys of LangSmith begin with.
pub(super) const LANGSMITH_PREFIX: &str = "lsv2_";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SERVICE_KEY: HeaderName = HeaderName::from_static("x-service-key");
const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const USER: HeaderName = HeaderName::from_static("x-user-id");

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let headers = &parts.headers;
        for (name, shown) in [(API_KEY, "X-Api-Key"), (AUTHORIZATION, "Authorization")] {
            if is_unreadable(headers, &name) {
                return Err(ApiError::UnreadableKey(shown));
            }
        }
        let caller = identify(parts, app).await;
        if let Err(error) = &caller
            && error.is_unauthorized()
            && sends_key(headers)
        {
            let act = through(parts, app, Act::new(ActorKind::Unknown, None));
            app.broker.refused_keys.note(act.address, &act);
            app.limits.count_failed_key(&parts.extensions, headers)?;
        }
        let caller = caller?;
        for name in [TENANT, USER] {
            if is_unreadable(headers, &name) {
                let problem = "Input should be visible ASCII characters";
                return Err(ApiError::fault(["header", name.as_str()], "value_error", problem));
            }
        }
        Ok(caller)
    }
}

async fn identify(parts: &Parts, app: &App) -> Result<Caller, ApiError> {
    let headers = &parts.headers;
    let mut keys = keys(headers);
    let key = match &app.langsmith {
        None => keys.next().ok_or(ApiError::Unauthorized)?,
        // A key of our own is never sent to LangSmith, whatever else the request has.
        Some(langsmith) => match keys.find(|key| is_generated(key)) {
            Some(key) => key,
            // Boxed: no waiter should carry the state of a request to LangSmith.
            None => return Box::pin(of_langsmith(langsmith, parts, app)).await,
        },
    };
    let record = look_up(key, app).await?.ok_or_else(|| {
        if key.starts_with(LANGSMITH_PREFIX) { ApiError::LangSmithKey } else { ApiError::Unauthorized }
    })?;
    of_record(&record, parts, app)
}

async fn look_up(key: &str, app: &App) -> Result<Option<Arc<ApiKey>>, ApiError> {
    Ok(app.api_keys.look_up(key, app.broker.clock.now()).await.map_err(BrokerError::from)?)
}

/// The caller of one of our own keys.
fn of_record(record: &ApiKey, parts: &Parts, app: &App) -> Result<Caller, ApiError> {
    let named_user = header(&parts.headers, &USER);
    let caller = Caller::of_key(record, named_user.map(ToOwned::to_owned));
    let caller = counted(caller, parts, app)?;
    if header(&parts.headers, &TENANT).is_some_and(|tenant| tenant != record.workspace_id) {
        return Err(denied(&caller, Outside::Workspace));
    }
    if let Some(Err((kind, problem))) = named_user.map(rules::identifier) {
        return Err(ApiError::fault(["header", "x-user-id"], kind, problem));
    }
    caller.user.as_deref().map_or(Ok(()), |user| caller.reaches_user(user))?;
    Ok(caller)
}

/// The caller that LangSmith names, unless the key is a bootstrap key, which looks like any other text.
async fn of_langsmith(langsmith: &LangSmith, parts: &Parts, app: &App) -> Result<Caller, ApiError> {
    let (headers, now) = (&parts.headers, app.broker.clock.now());
    let credentials = Credentials::of(headers).ok_or(ApiError::Unauthorized)?;
    if has_only_ambient_credentials(headers) && !is_of_same_origin(parts) {
        return Err(ApiError::Forbidden(
            "A cookie counts here only in requests from this server's own origin, or with the Content-Type \
             application/json. Send an API key instead.",
        ));
    }
    let identity = match langsmith.remembered(&credentials, now) {
        Some(identity) => identity,
        None => {
            for key in keys(headers) {
                if let Some(record) = look_up(key, app).await? {
                    return of_record(&record, parts, app);
                }
            }
            langsmith.identify(&credentials, now).await?
        }
    };
    langsmith.check_workspace(&identity.tenant)?;
    let caller = Caller::of_langsmith(&identity, langsmith.role, credentials.forwarded());
    let caller = counted(caller, parts, app)?;
    let mut named = headers.get_all(TENANT).iter().filter(|tenant| !tenant.is_empty());
    if named.any(|tenant| tenant != identity.tenant.workspace.as_str()) {
        return Err(denied(&caller, Outside::Workspace));
    }
    Ok(caller)
}

/// A caller that proved who they are. The request counts, also if it is denied.
fn counted(caller: Caller, parts: &Parts, app: &App) -> Result<Caller, ApiError> {
    app.limits.count_caller(&caller)?;
    Ok(Caller { act: through(parts, app, caller.act), ..caller })
}

fn denied(caller: &Caller, outside: Outside) -> ApiError {
    ApiError::Denied(Box::new(Denied::new(caller, outside)))
}

/// True for credentials that a browser adds by itself, also to requests that another site makes it send.
fn has_only_ambient_credentials(headers: &HeaderMap) -> bool {
    keys(headers).next().is_none() && header(headers, &SERVICE_KEY).is_none()
}

/// False for a request that changes something and may come from a page of another site. Without `Sec-Fetch-Site`, which
/// browsers send, only what a form cannot send is accepted.
fn is_of_same_origin(parts: &Parts) -> bool {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return true;
    }
    match header(&parts.headers, &HeaderName::from_static("sec-fetch-site")) {
        Some(site) => ["same-origin", "none"].contains(&site),
        None => parts.method != Method::POST || is_json(&parts.headers),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = header(headers, &CONTENT_TYPE).and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

impl Caller {
    /// Checks that the caller has this permission.
    pub fn needs(&self, permission: Permission) -> Result<(), ApiError> {
        if self.may(permission) { Ok(()) } else { Err(denied(self, Outside::Role(permission))) }
    }

    /// Checks that the caller may create, change and delete providers. All agents and users of the workspace share them.
    pub fn administers_providers(&self) -> Result<(), ApiError> {
        self.needs(Permission::Administer)?;
        self.is_inside(KeyLimits::include_everyone, Outside::Everyone)
    }

    /// Checks that the caller may see the tokens of all users of the workspace. LangSmith does not say which of its users run
    /// a workspace, and the setting for their role counts for every one of them.
    pub fn oversees_the_workspace(&self) -> Result<(), ApiError> {
        self.needs(Permission::Oversee)?;
        let is_known = matches!(self.id, CallerId::ApiKey(_) | CallerId::Person(_) | CallerId::LangSmithPerson(_));
        if is_known { Ok(()) } else { Err(denied(self, Outside::OwnKeys)) }
    }

    /// Checks that the caller may see what is reported of the whole workspace, which no limit narrows.
    pub fn sees_every_event(&self) -> Result<(), ApiError> {
        self.oversees_the_workspace()?;
        if self.limits.is_none() { Ok(()) } else { Err(denied(self, Outside::Everyone)) }
    }

    /// Checks that the caller may say where that is sent.
    pub fn administers_webhooks(&self) -> Result<(), ApiError> {
        self.needs(Permission::Administer)?;
        self.sees_every_event()
    }

    /// Checks that the caller may read the audit log, which no limit narrows.
    pub fn reads_the_audit_log(&self) -> Result<(), ApiError> {
        self.needs(Permission::Administer)?;
        if self.limits.is_none() { Ok(()) } else { Err(denied(self, Outside::AuditLog)) }
    }

    /// Checks that the provider, which a request names, is inside the limits of the caller's key.
    pub fn reaches_provider(&self, provider_id: &str) -> Result<(), ApiError> {
        self.is_inside(|limits| limits.include_provider(provider_id), Outside::Provider)
    }

    /// Checks that the agent, which a request names, is inside the limits of the caller's key. An empty text: the request
    /// names none.
    pub fn reaches_agent(&self, agent_id: &str) -> Result<(), ApiError> {
        self.is_inside(|limits| limits.include_agent(agent_id), Outside::Agent)
    }

    /// Checks that the user, whom a request names, is inside the limits of the caller's key.
    pub fn reaches_user(&self, user_id: &str) -> Result<(), ApiError> {
        self.is_inside(|limits| limits.include_user(user_id), Outside::User)
    }

    fn is_inside(&self, include: impl FnOnce(&KeyLimits) -> bool, outside: Outside) -> Result<(), ApiError> {
        if self.limits.as_deref().is_none_or(include) { Ok(()) } else { Err(denied(self, outside)) }
    }

    /// Checks that the caller has not lost its rights since its request began: a key of ours is looked up past the cache, and
    /// LangSmith is asked again unless its answer is remembered. Needed before a token is handed out to a caller that waited
    /// for it.
    pub async fn check_again(&self, app: &App) -> Result<(), ApiError> {
        let now = app.broker.clock.now();
        let is_valid = match (&self.id, &app.langsmith) {
            (CallerId::ApiKey(key), _) => app.api_keys.is_still_valid(*key, now).await.map_err(BrokerError::from)?,
            (CallerId::LangSmithUser(_) | CallerId::LangSmithService, Some(langsmith)) => {
                let credentials = Credentials::of(&self.forwarded).ok_or(ApiError::Unauthorized)?;
                let identity = langsmith.identify(&credentials, now).await?;
                identity.tenant == self.tenant && identity.user == self.user
            }
            // A person's requests come to the console, whose pages make no one wait for a token.
            (CallerId::LangSmithUser(_) | CallerId::LangSmithService, None)
            | (CallerId::Person(_) | CallerId::LangSmithPerson(_), _) => false,
        };
        if is_valid { Ok(()) } else { Err(ApiError::Unauthorized) }
    }

    /// The same for a request that usually takes no time: only if it did.
    pub async fn check_after(&self, app: &App, began: Instant) -> Result<(), ApiError> {
        if began.elapsed() < NOTICEABLE { Ok(()) } else { Box::pin(self.check_again(app)).await }
    }

    /// The user whose tokens the request is about.
    pub fn user(&self) -> Result<&str, ApiError> {
        self.user.as_deref().ok_or_else(|| match self.id {
            CallerId::LangSmithService => ApiError::fault(
                ["header", "x-api-key"],
                "value_error",
                "LangSmith names no user for these credentials: this needs a personal API key (lsv2_pt_...)",
            ),
            CallerId::ApiKey(_) | CallerId::LangSmithUser(_) | CallerId::Person(_) | CallerId::LangSmithPerson(_) => {
                let problem = "Field required: a service key must name its user";
                ApiError::fault(["header", "x-user-id"], "missing", problem)
            }
        })
    }
}

/// The keys of a request: those in `X-Api-Key`, then a Bearer token.
fn keys(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let api_keys = headers.get_all(API_KEY).iter().filter_map(|value| value.to_str().ok());
    api_keys.chain(iter::once_with(|| bearer(headers)).flatten()).filter(|key| !key.is_empty())
}

/// The value of a header, unless it is empty.
fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// True for a header with other bytes than visible ASCII. It must not count as absent.
fn is_unreadable(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value.to_str().is_err())
}

fn sends_key(headers: &HeaderMap) -> bool {
    headers.contains_key(API_KEY) || headers.contains_key(AUTHORIZATION)
}
