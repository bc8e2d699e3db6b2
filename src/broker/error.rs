//! Why the broker did not do something.
//! Owns: the failures that callers tell apart.
//! Must not know: how they are shown.

use std::time::Duration;

use super::rules::Fault;
use crate::{
    cipher::CipherError,
    model::{
        failure::{FailureKind, TokenFailure},
        outage::Outage,
    },
    oauth::metadata::DiscoveryError,
    store::error::{NotOpened, StoreError},
};

/// What somebody needs to register a client by hand.
#[derive(Clone, Debug)]
pub struct RegistrationRequired {
    /// The authorization server's issuer.
    pub issuer: String,
    /// To be entered there, byte for byte.
    pub redirect_uri: String,
    /// Its authorization endpoint.
    pub authorization_endpoint: String,
    /// Its token endpoint.
    pub token_endpoint: String,
}

/// Whose authorization requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A workspace.
    Workspace,
    /// A user of a workspace.
    User,
}

/// What a change of endpoints would expose.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// How many grants.
    pub grants: u64,
    /// What it would expose, and what to send, in sentences.
    pub message: String,
}

/// Why the broker did not do something.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It does not exist, or it is not the caller's.
    #[error("there is no {0} with that id")]
    NotFound(&'static str),
    /// A field of the request cannot be met.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The request has faults.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
    /// A server could not be discovered, or registered no client.
    #[error("{message}")]
    Discovery {
        /// The kind of the failure.
        kind: FailureKind,
        /// What failed, in a sentence.
        message: String,
    },
    /// It exists already, or it was changed at the same moment.
    #[error("{0}")]
    Conflict(String),
    /// The authorization server does not let clients register themselves, and nobody has registered one by hand yet.
    #[error("the provider has no client yet")]
    RegistrationRequired(Box<RegistrationRequired>),
    /// The change would send a provider's secrets somewhere else, and does not bring what that takes.
    #[error("{}", .0.message)]
    Exposure(Box<Exposure>),
    /// The provider failed; the grant is kept.
    #[error("the provider failed: {0}")]
    Provider(TokenFailure),
    /// The provider issued no token, or no device code; there was no grant before.
    #[error("the provider issued no token: {0}")]
    NoToken(TokenFailure),
    /// As many of these run already as the workspace may have at a time.
    #[error("too many are running")]
    Busy {
        /// How many may run.
        limit: usize,
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// As many authorization requests are pending as may be.
    #[error("too many authorization requests are pending")]
    TooManyPending {
        /// Whose they are.
        of: Owner,
        /// When the first of them expires.
        retry_after: Duration,
    },
    /// The database cannot be used for now. Worth another try.
    #[error("{0}: {1}")]
    Unavailable(Outage, String),
    /// It could not be recorded in the audit log, so it was not done.
    #[error("the audit log cannot be written: {0}")]
    Audit(String),
    /// A stored secret that this needs cannot be opened.
    #[error("{0}")]
    NotOpened(NotOpened),
    /// A secret that is to be stored cannot be sealed.
    #[error("{0}")]
    NotSealed(CipherError),
    /// The database refused a statement.
    #[error("{0}")]
    Store(StoreError),
    /// A bug.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for BrokerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(outage, reason) => Self::Unavailable(outage, reason),
            // While the server runs, not its settings are wrong: the password or the rights were changed.
            StoreError::NotReached(reason) => Self::Unavailable(Outage::Unreachable, reason),
            StoreError::Location(reason) => Self::Unavailable(Outage::Denied, reason),
            StoreError::Audit(reason) => Self::Audit(reason),
            StoreError::Conflict => Self::Conflict("It was changed at the same moment. Try again.".into()),
            StoreError::Dangling => Self::NotFound("record"),
            StoreError::NotOpened(error) => Self::NotOpened(error),
            StoreError::Cipher(error) => Self::NotSealed(error),
            error @ StoreError::Statement(_) => Self::Store(error),
        }
    }
}

impl BrokerError {
    /// Why the server that `field` names could not be discovered. Metadata that cannot be used is a fault of the field.
    pub(super) fn discovery(field: &'static str, what: &str, error: &DiscoveryError) -> Self {
        let message = format!("{what}: {error}.");
        match error {
            DiscoveryError::TooLong => Self::Discovery { kind: FailureKind::TimedOut, message },
            DiscoveryError::Unreachable(..) => Self::Discovery { kind: FailureKind::Refused, message },
            DiscoveryError::Refused(..)
            | DiscoveryError::TooMany
            | DiscoveryError::Unbelievable(_)
            | DiscoveryError::Invalid(..)
            | DiscoveryError::Missing(_) => Self::Faults(vec![Fault::of(field, ("discovery_failed", message))]),
        }
    }
}
