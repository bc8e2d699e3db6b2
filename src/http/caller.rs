//! Authentication: from headers to a [`Caller`].
//! Owns: the headers `X-Api-Key`, `Authorization`, `X-Tenant-Id` and `X-User-Id`.
//! Must not know: what an operation needs beyond the permission it names.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
};

use super::{app::App, error::ApiError};
use crate::{
    broker::{error::BrokerError, rules},
    identity::{Caller, Permission},
};

/// What the API keys of LangSmith begin with.
const LANGSMITH_PREFIX: &str = "lsv2_";

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let headers = &parts.headers;
        let key = header(headers, "x-api-key").or_else(|| bearer(headers)).ok_or(ApiError::Unauthorized)?;
        let record =
            app.api_keys.look_up(key, app.broker.clock.now()).await.map_err(BrokerError::from)?.ok_or_else(|| {
                if key.starts_with(LANGSMITH_PREFIX) { ApiError::LangSmithKey } else { ApiError::Unauthorized }
            })?;
        if header(headers, "x-tenant-id").is_some_and(|tenant| tenant != record.workspace_id) {
            return Err(ApiError::Forbidden("X-Tenant-Id names a workspace that this API key does not belong to."));
        }
        let named_user = header(headers, "x-user-id");
        if let Some(Err((kind, problem))) = named_user.map(rules::identifier) {
            return Err(ApiError::fault(["header", "x-user-id"], kind, problem));
        }
        Ok(Self::of_key(&record, named_user.map(ToOwned::to_owned)))
    }
}

impl Caller {
    /// Checks that the caller has this permission.
    pub fn needs(&self, permission: Permission) -> Result<(), ApiError> {
        match (self.may(permission), permission) {
            (true, _) => Ok(()),
            (false, Permission::Administer) => Err(ApiError::Forbidden("This needs an API key with the role admin.")),
            (false, _) => Err(ApiError::Forbidden("This needs an API key with the role agent or admin.")),
        }
    }

    /// The user whose tokens the request is about.
    pub fn user(&self) -> Result<&str, ApiError> {
        self.user.as_deref().ok_or_else(|| {
            let problem = "Field required: a service key must name its user";
            ApiError::fault(["header", "x-user-id"], "missing", problem)
        })
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}
