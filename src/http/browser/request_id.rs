//! The id of a request, as its log lines have it: a person can quote it from a page.
//! Owns: reading it.
//! Must not know: who sets it.

use std::convert::Infallible;

use axum::{extract::FromRequestParts, http::request::Parts};

/// The longest id that is shown. The server's own ids have 36 characters; a proxy may send others.
const LENGTH_MAX: usize = 64;

/// The `X-Request-Id` of a request, if it is one that can be shown.
pub struct RequestId(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let id = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        let is_plain = |id: &&str| {
            (1..=LENGTH_MAX).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        Ok(Self(id.filter(is_plain).map(ToOwned::to_owned)))
    }
}
