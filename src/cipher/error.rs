//! Why a value could not be sealed or opened.
//! Owns: the messages, none of which reveals a key or a value.
//! Must not know: what was sealed.

/// Why a value could not be sealed or opened. None of these reveals anything about the value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CipherError {
    /// The ring has no key of that id.
    #[error("no encryption key `{0}` in ENCRYPTION_KEYS")]
    UnknownKey(String),
    /// The bytes are not a valid envelope.
    #[error("a sealed value is malformed")]
    Malformed,
    /// The key is wrong, or the value was changed or moved.
    #[error("a sealed value does not open: wrong key, or the database was tampered with")]
    Integrity,
    /// The key is listed with another algorithm than it sealed with.
    #[error(
        "encryption key `{0}` is listed with another algorithm than the one it sealed with; restore its entry in \
         ENCRYPTION_KEYS, and add a new key for the other algorithm"
    )]
    OtherAlgorithm(String),
    /// The key has sealed as many values as its algorithm allows.
    #[error("encryption key `{0}` has sealed all the values that AES-256-GCM allows; rotate to a new key")]
    Exhausted(String),
    /// The setting cannot be parsed.
    #[error("ENCRYPTION_KEYS: {0}")]
    Setting(String),
}
