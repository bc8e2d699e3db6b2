//! The id of a request, as its log lines have it: a person can quote it from a page.
//! Owns: reading it, making one, and which ids of callers are taken over.
//! Must not know: who sets it.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use uuid::Builder;

/// The header that carries the id, in requests and in responses.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over. The server's own ids have 36 characters.
const LENGTH_MAX: usize = 64;

/// The id of a request.
pub struct RequestId(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(id_of(&parts.headers)))
    }
}

/// The id of a request with these headers.
pub(super) fn id_of(headers: &HeaderMap) -> Option<String> {
    headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(ToOwned::to_owned)
}

/// True when the id of a caller, or of a proxy, can go into log lines and pages as it is.
pub(super) fn is_safe(id: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (1..=LENGTH_MAX).contains(&id.len()) && id.as_bytes().iter().all(is_plain)
}

/// A new id.
pub(super) fn new() -> HeaderValue {
    // Unlike that of `Uuid::new_v4`, this randomness takes no system call.
    let id = Builder::from_random_bytes(rand::random()).into_uuid();
    let mut text = [0; 36];
    // A UUID in text is always a header value.
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text)).unwrap_or_else(|_| HeaderValue::from_static("none"))
}
