//! The state of an authorization request: what ties a browser to it.
//! Owns: the hashes under which states and codes are stored.
//! Must not know: what a state is for.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// A new state of 256 random bits.
#[must_use]
pub fn new_state() -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// The reference with which an application confirms the user of a request. Only the browser that brings the code gets it,
/// the same one however often it comes; it tells nothing of state or code.
#[must_use]
pub fn confirmation_reference(state: &SecretString, code: &SecretString) -> SecretString {
    let digest = Sha256::new()
        .chain_update("confirmation")
        .chain_update(hash(state))
        .chain_update(state.expose_secret())
        .chain_update(code.expose_secret())
        .finalize();
    SecretString::from(URL_SAFE_NO_PAD.encode(digest))
}

/// The hash under which a state, or another secret of 256 random bits, is stored.
#[must_use]
pub fn hash(state: &SecretString) -> [u8; 32] {
    Sha256::digest(state.expose_secret()).into()
}

/// The hash of a code, or of a static key, together with its state. Only the state's own hash is stored, so a reader of
/// the database cannot test guesses of the code or the key.
#[must_use]
pub fn hash_with_code(state: &SecretString, code: &SecretString) -> [u8; 32] {
    Sha256::new()
        .chain_update(hash(state))
        .chain_update(state.expose_secret())
        .chain_update(code.expose_secret())
        .finalize()
        .into()
}
