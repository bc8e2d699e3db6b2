//! What a broker does, in words: authenticate, begin and complete an authorization, refresh, wait.
//! Owns: the rules. Each function reads as the sentence in its doc comment.
//! Must not know: HTTP status codes, SQL, the wire of authorization servers.

pub mod authenticate;
pub mod clients;
pub mod consent;
pub mod jobs;
pub mod limits;
pub mod notifications;
pub mod providers;
pub mod tokens;

use std::time::Duration;

use crate::{oauth::token::TokenFailure, store::StoreError};

/// What somebody needs to register a client by hand.
#[derive(Clone, Debug)]
pub struct RegistrationRequired {
    /// The authorization server.
    pub issuer: String,
    /// To be entered there, byte for byte.
    pub redirect_uri: String,
    /// Its authorization endpoint.
    pub authorization_endpoint: String,
    /// Its token endpoint.
    pub token_endpoint: String,
}

/// Why the broker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// There is no such thing, or it is not the caller's.
    #[error("there is no {0} of that id")]
    NotFound(&'static str),
    /// A field of the request cannot be met.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of the body.
        field: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// There is one already, or it was changed at the same moment.
    #[error("{0}")]
    Conflict(String),
    /// The authorization server lets no client register itself, and nobody has registered one by hand yet.
    #[error("the provider has no client yet")]
    RegistrationRequired(Box<RegistrationRequired>),
    /// The provider failed us; the grant is kept.
    #[error("the provider failed: {failure}")]
    Provider {
        /// How.
        failure: TokenFailure,
        /// When another try makes sense.
        retry_after: Option<Duration>,
    },
    /// The provider gave no token, or no codes to get one with; there was no grant before.
    #[error("the provider gave no token: {0}")]
    NoToken(TokenFailure),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect of ours.
    #[error("{0}")]
    Internal(String),
}

/// How long a grant that was obtained is tried to be kept while the database is away.
const PERSIST_FOR: Duration = Duration::from_mins(5);
const PERSIST_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Writes what must not be lost, again and again while the database is away or somebody else writes the same.
async fn persist<T, F>(write: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let deadline = tokio::time::Instant::now() + PERSIST_FOR;
    let mut pause = Duration::from_millis(20);
    loop {
        match write().await {
            Err(StoreError::Conflict | StoreError::Unavailable(_)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PERSIST_PAUSE_MAX);
            }
            ended => return ended,
        }
    }
}
