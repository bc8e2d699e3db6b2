//! Failures of providers.
//! Owns: what kinds there are.
//! Must not know: which response means which kind.

use std::time::Duration;

/// The kind of a failure, which decides what happens to the grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The grant is dead: only a new consent helps.
    DeadGrant,
    /// Our client is wrong: its operator has to act, the grant stays.
    MisconfiguredClient,
    /// The provider refused for another reason of its own.
    Refused,
    /// The provider is down or out of reach: try again later.
    Unavailable,
    /// The provider limits our rate: try again later.
    RateLimited,
    /// The provider did not respond in time.
    TimedOut,
    /// The response was not a token response.
    Unreadable,
    /// We do not connect to that URL.
    AddressRefused,
}

/// A token request that was not granted. Holds no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}: {}", error_description.as_deref().unwrap_or("no details"))]
pub struct TokenFailure {
    /// Its kind.
    pub kind: FailureKind,
    /// The provider's code, or one of ours: `provider_unavailable`, `provider_timeout`, `provider_response`,
    /// `address_refused`.
    pub error: String,
    /// The provider's explanation, or ours.
    pub error_description: Option<String>,
    /// How long the provider asked us to wait.
    pub retry_after: Option<Duration>,
}

impl TokenFailure {
    /// A failure that says nothing of when to try again.
    #[must_use]
    pub fn new(kind: FailureKind, error: &str, description: &str) -> Self {
        Self { kind, error: error.to_owned(), error_description: Some(description.to_owned()), retry_after: None }
    }
}
