//! The pages that can be shown.
//! Owns: the outcomes of a consent that have a page.
//! Must not know: the words.

/// A page.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// The provider issued a token, and it is stored.
    Connected {
        /// The provider's display name.
        provider: &'a str,
    },
    /// The request was finished before: a reload or a double submit.
    AlreadyConnected {
        /// The provider's display name.
        provider: &'a str,
    },
    /// The request ended without a token.
    Failed {
        /// The provider's display name, when the request is known.
        provider: Option<&'a str>,
        /// What went wrong.
        reason: FailureReason,
        /// The provider's `error` (RFC 6749, section 4.1.2.1).
        error: Option<&'a str>,
        /// The provider's `error_description`.
        error_description: Option<&'a str>,
    },
    /// There is nothing to consent to: the provider needs no person.
    NoConsentNeeded {
        /// The provider's display name.
        provider: &'a str,
    },
    /// A GitHub App's installation was changed (`setup_action=update`).
    Updated,
    /// A GitHub App was installed, or its installation requested, without an authorization code.
    Installed,
}

/// Why a consent ended without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The person, or a policy at the provider, denied access (`access_denied`).
    Denied,
    /// The provider returned another error to the authorization request.
    ProviderRefused,
    /// The state is unknown, tampered with or expired.
    InvalidState,
    /// The state was already used, with another code.
    StateUsed,
    /// The request was begun, or went on, in another browser.
    OtherBrowser,
    /// The state belongs to a request at another provider.
    WrongProvider,
    /// The address has no code or no state.
    MissingParameters,
    /// The token endpoint rejected the authorization code, or its response is not valid.
    ExchangeFailed,
    /// The token endpoint did not respond, or was busy.
    ProviderUnavailable,
    /// An internal failure.
    Internal,
}
