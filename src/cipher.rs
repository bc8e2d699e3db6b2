//! Sealing of secrets at rest: XChaCha20-Poly1305 under a ring of keys.
//! Owns: the envelope `version | key id length | key id | nonce | ciphertext and tag`, and what each seal is bound to.
//! Must not know: which records exist. The store is its only caller.

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

/// The envelope's first byte: XChaCha20-Poly1305 with a 24 byte random nonce.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;
const KEY_ID_MAX: usize = 64;

/// What a sealed value is bound to. A value that is moved elsewhere does not open.
#[derive(Clone, Copy, Debug)]
pub struct SealContext<'a> {
    /// The table and column that hold the value.
    pub column: (&'static str, &'static str),
    /// The organization that owns the row.
    pub organization: &'a str,
    /// The workspace that owns the row.
    pub workspace: &'a str,
    /// The row.
    pub row: Uuid,
    /// The row's generation: an older value put back into the row does not open.
    pub generation: i64,
}

impl SealContext<'_> {
    /// The associated data. Each field carries its length, so that no two contexts give the same bytes.
    fn associated_data(&self, key_id: &str) -> Vec<u8> {
        let mut data = Vec::with_capacity(256);
        let generation = self.generation.to_be_bytes();
        let fields: [&[u8]; 8] = [
            b"agent-auth/1",
            self.column.0.as_bytes(),
            self.column.1.as_bytes(),
            self.organization.as_bytes(),
            self.workspace.as_bytes(),
            self.row.as_bytes(),
            &generation,
            key_id.as_bytes(),
        ];
        for field in fields {
            data.extend_from_slice(&(field.len() as u64).to_be_bytes());
            data.extend_from_slice(field);
        }
        data
    }
}

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
    /// The setting cannot be parsed.
    #[error("ENCRYPTION_KEYS: {0}")]
    Setting(String),
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// The keys: the first seals, all of them open.
pub struct KeyRing {
    keys: Vec<Key>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl KeyRing {
    /// Reads `id:base64,id:base64`.
    ///
    /// # Errors
    /// [`CipherError::Setting`] says which key is wrong and what is expected, never the key itself.
    pub fn parse(setting: &SecretString) -> Result<Self, CipherError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, entry) in setting.expose_secret().split(',').map(str::trim).enumerate() {
            let nth = index + 1;
            let (id, encoded) = entry.split_once(':').ok_or_else(|| {
                CipherError::Setting(format!(
                    "key {nth} is not `id:base64`; generate one with `agent-auth keys generate`"
                ))
            })?;
            let well_named = !id.is_empty()
                && id.len() <= KEY_ID_MAX
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !well_named {
                return Err(CipherError::Setting(format!(
                    "the id of key {nth} must be 1 to {KEY_ID_MAX} letters, digits, `-` or `_`"
                )));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(CipherError::Setting(format!("the key id `{id}` is listed twice")));
            }
            let bytes = Zeroizing::new(STANDARD.decode(encoded).unwrap_or_default());
            if bytes.len() != KEY_BYTES {
                return Err(CipherError::Setting(format!(
                    "key `{id}` is not {KEY_BYTES} bytes in base64; generate one with `agent-auth keys generate`"
                )));
            }
            if is_made_up(&bytes) {
                return Err(CipherError::Setting(format!(
                    "key `{id}` is not random, so anyone can guess it; generate one with `agent-auth keys generate`"
                )));
            }
            let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| CipherError::Malformed)?;
            keys.push(Key { id: id.to_owned(), cipher });
        }
        Ok(Self { keys })
    }

    /// A new random key in the format of the setting, `id:base64`.
    #[must_use]
    pub fn generate() -> SecretString {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(&mut key[..]);
        let mut id = [0_u8; 4];
        rand::fill(&mut id);
        let id = u32::from_be_bytes(id);
        SecretString::from(format!("k{id:08x}:{}", STANDARD.encode(*key)))
    }

    /// The ids of the keys, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Seals `value` for `context` with the first key.
    ///
    /// # Errors
    /// [`CipherError::UnknownKey`] if the ring is empty.
    pub fn seal(&self, context: &SealContext<'_>, value: &SecretString) -> Result<Vec<u8>, CipherError> {
        let key = self.keys.first().ok_or_else(|| CipherError::UnknownKey(String::new()))?;
        self.seal_with(&key.id, context, value)
    }

    /// Seals `value` for `context` with the key of that id.
    ///
    /// # Errors
    /// [`CipherError::UnknownKey`] if the ring has no such key.
    pub fn seal_with(
        &self,
        key_id: &str,
        context: &SealContext<'_>,
        value: &SecretString,
    ) -> Result<Vec<u8>, CipherError> {
        let key = self.key(key_id)?;
        let mut nonce = [0_u8; NONCE_BYTES];
        rand::fill(&mut nonce);
        let payload = Payload { msg: value.expose_secret().as_bytes(), aad: &context.associated_data(key_id) };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| CipherError::Integrity)?;
        let id_length = u8::try_from(key_id.len()).map_err(|_| CipherError::Malformed)?;
        let mut envelope = Vec::with_capacity(2 + key_id.len() + NONCE_BYTES + sealed.len());
        envelope.extend_from_slice(&[VERSION, id_length]);
        envelope.extend_from_slice(key_id.as_bytes());
        envelope.extend_from_slice(&nonce);
        envelope.extend_from_slice(&sealed);
        Ok(envelope)
    }

    /// Opens a value that was sealed for exactly this `context`.
    ///
    /// # Errors
    /// [`CipherError`] when the key is unknown, or the value was sealed for another context.
    pub fn open(&self, context: &SealContext<'_>, envelope: &[u8]) -> Result<SecretString, CipherError> {
        let (&[version, id_length], rest) = envelope.split_first_chunk::<2>().ok_or(CipherError::Malformed)?;
        let (id, rest) = rest.split_at_checked(id_length.into()).ok_or(CipherError::Malformed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(CipherError::Malformed)?;
        let id = std::str::from_utf8(id).map_err(|_| CipherError::Malformed)?;
        if version != VERSION {
            return Err(CipherError::Malformed);
        }
        let key = self.key(id)?;
        let payload = Payload { msg: sealed, aad: &context.associated_data(id) };
        let opened = key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| CipherError::Integrity)?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| CipherError::Malformed)
    }

    fn key(&self, id: &str) -> Result<&Key, CipherError> {
        self.keys.iter().find(|key| key.id == id).ok_or_else(|| CipherError::UnknownKey(id.to_owned()))
    }
}

/// True when each byte follows from the one before: all zeros, all the same, or 0, 1, 2, ..., as in examples.
fn is_made_up(key: &[u8]) -> bool {
    let step = |pair: &[u8]| pair[1].wrapping_sub(pair[0]);
    key.windows(2).all(|pair| step(pair) == step(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(row: u128, generation: i64) -> SealContext<'static> {
        SealContext {
            column: ("tokens", "access_token"),
            organization: "org",
            workspace: "ws",
            row: Uuid::from_u128(row),
            generation,
        }
    }

    #[test]
    fn a_sealed_value_opens_in_its_place_and_nowhere_else() {
        let ring = KeyRing::parse(&KeyRing::generate()).unwrap();
        let sealed = ring.seal(&place(1, 1), &SecretString::from("s3cret")).unwrap();
        assert_eq!(ring.open(&place(1, 1), &sealed).unwrap().expose_secret(), "s3cret");
        let elsewhere = [
            place(2, 1),
            place(1, 2),
            SealContext { column: ("tokens", "refresh_token"), ..place(1, 1) },
            SealContext { organization: "orgw", workspace: "s", ..place(1, 1) },
            SealContext { workspace: "other", ..place(1, 1) },
        ];
        for wrong in elsewhere {
            assert_eq!(ring.open(&wrong, &sealed).unwrap_err(), CipherError::Integrity, "{wrong:?}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let ring = KeyRing::parse(&KeyRing::generate()).unwrap();
        let sealed = ring.seal(&place(1, 1), &SecretString::from("s3cret")).unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(ring.open(&place(1, 1), &changed).is_err(), "byte {index}");
            assert!(ring.open(&place(1, 1), &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn an_older_key_still_opens_after_a_new_one_seals() {
        let old = KeyRing::generate();
        let sealed = KeyRing::parse(&old).unwrap().seal(&place(1, 1), &SecretString::from("x")).unwrap();
        let both = format!("{},{}", KeyRing::generate().expose_secret(), old.expose_secret());
        let ring = KeyRing::parse(&SecretString::from(both)).unwrap();
        assert_eq!(ring.open(&place(1, 1), &sealed).unwrap().expose_secret(), "x");
    }

    #[test]
    fn a_bad_setting_is_explained_without_the_key() {
        for (setting, part) in [
            ("", "not `id:base64`"),
            ("k1", "not `id:base64`"),
            ("k1:c2hvcnQ=", "key `k1` is not 32 bytes"),
            (":AAAA", "the id of key 1"),
            ("k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "key `k1` is not random"),
            ("k2:QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=", "key `k2` is not random"),
            ("k3:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "key `k3` is not random"),
        ] {
            let error = KeyRing::parse(&SecretString::from(setting)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("c2hvcnQ"), "{error}");
        }
    }
}
