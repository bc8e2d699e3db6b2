//! The algorithms that seal.
//! Owns: their ids in envelopes.
//! Must not know: how they are applied.

/// How a key seals. A key is used with one algorithm only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// With a random nonce of 24 bytes: no practical limit to the values that one key seals.
    XChaCha20Poly1305,
    /// With a random nonce of 12 bytes, so that one key may seal fewer than 2^32 values (NIST SP 800-38D, section 8.3).
    Aes256Gcm,
}

impl Algorithm {
    /// The envelope's first byte.
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::XChaCha20Poly1305 => 1,
            Self::Aes256Gcm => 2,
        }
    }

    /// The beginning of the associated data.
    pub(super) const fn label(self) -> &'static [u8] {
        match self {
            Self::XChaCha20Poly1305 => b"agent-auth/1",
            Self::Aes256Gcm => b"agent-auth/2",
        }
    }

    pub(super) fn of_id(id: u8) -> Option<Self> {
        [Self::XChaCha20Poly1305, Self::Aes256Gcm].into_iter().find(|algorithm| algorithm.id() == id)
    }
}
