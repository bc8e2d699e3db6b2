//! How an authorization request is completed: what comes back, and what it leads to.
//! Owns: these types.
//! Must not know: how a code is exchanged.

use std::time::Duration;

use secrecy::SecretString;
use uuid::Uuid;

use crate::model::{failure::FailureKind, key_limits::Reach};

/// The authorization response with which a provider sent the person back.
pub struct CodeResponse {
    /// The authorization code.
    pub code: SecretString,
    /// The issuer that it names (RFC 9207).
    pub iss: Option<String>,
    /// The whole query, if a browser brought it here. An application that received the redirect itself has checked the
    /// query itself.
    pub query: Option<SecretString>,
}

/// The error response with which a provider sent the person back.
pub struct ErrorResponse<'a> {
    /// Its error code.
    pub error: &'a str,
    /// Its explanation.
    pub error_description: Option<&'a str>,
    /// The issuer that it names (RFC 9207).
    pub iss: Option<&'a str>,
}

/// Who brings what completes an authorization request.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A browser that a provider sent back, with a code in its URL.
    Browser {
        /// The tag of the callback address of ours at which it arrived.
        callback_tag: &'a str,
        /// Its cookie.
        cookie: Option<&'a SecretString>,
    },
    /// Our page for static keys.
    KeyPage {
        /// The browser's cookie.
        cookie: Option<&'a SecretString>,
    },
    /// An application that received the redirect, or the key, itself.
    Application {
        /// What its key reaches.
        reach: Reach<'a>,
        /// The user who it says consented.
        user_id: Option<&'a str>,
    },
}

/// How a callback ended.
#[derive(Clone, Debug)]
pub enum Completion {
    /// There is a token.
    Completed {
        /// The authorization request.
        id: Uuid,
        /// Where the browser goes, if not to a page of ours.
        return_url: Option<String>,
    },
    /// There was a token before: a reload or a double submit.
    AlreadyCompleted {
        /// The authorization request.
        id: Uuid,
        /// Where the browser goes, if not to a page of ours.
        return_url: Option<String>,
    },
    /// The application has to confirm the user. Until then there is no token.
    AwaitingConfirmation {
        /// The authorization request.
        id: Uuid,
        /// Where the browser goes.
        return_url: String,
        /// What it brings there, for the application.
        reference: SecretString,
    },
    /// The person or the provider refused, or the exchange failed.
    Failed {
        /// The authorization request.
        id: Uuid,
        /// The provider's error code, or ours.
        error: String,
        /// The provider's explanation, or ours.
        error_description: Option<String>,
        /// The kind of the exchange's failure; `None` when the provider sent the person back with the error.
        kind: Option<FailureKind>,
        /// How long the provider asked us to wait.
        retry_after: Option<Duration>,
    },
    /// No request of this state can be completed: unknown, expired, or not issued by this server.
    InvalidState,
    /// The state was used, with another code.
    StateUsed,
    /// The state belongs to another provider than the one whose callback was called.
    WrongProvider,
    /// The request is bound to another browser.
    OtherBrowser,
    /// An application brought what only the browser of the request may bring.
    NotTheBrowser,
    /// The application says that another user consented than the one whose token it would have been. The request has ended,
    /// without a token.
    OtherUser,
    /// The same, but the request had ended before, with a token or without, or its code is being exchanged.
    OtherUserTooLate,
}

/// The error of a request that ended because another user consented.
pub const USER_MISMATCH: &str = "user_mismatch";
