//! Why a sign-in at an identity provider comes to nothing.
//! Owns: the kinds of failures.
//! Must not know: what a person reads of them.

use super::id_token::IdTokenFault;
use crate::model::failure::{FailureKind, TokenFailure};

/// Why nobody is signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenIdError {
    /// The provider cannot be reached, or what it publishes of itself cannot be used.
    #[error("{1}")]
    Provider(FailureKind, String),
    /// The provider gave no tokens for the code.
    #[error("the identity provider gave no tokens for the code: {0}")]
    NoTokens(#[from] TokenFailure),
    /// The ID token does not prove who the person is.
    #[error("{0}")]
    IdToken(#[from] IdTokenFault),
    /// The response names another issuer, or none where it must (RFC 9207 section 2.4).
    #[error("the response came from another issuer")]
    OtherIssuer,
}
