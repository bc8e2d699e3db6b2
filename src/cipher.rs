//! Sealing of secrets at rest: XChaCha20-Poly1305 or AES-256-GCM under a ring of keys.
//! Owns: the envelope `algorithm | key id length | key id | nonce | ciphertext and tag`, and what each seal is bound to.
//! Must not know: which records exist. The store is its only caller.

mod algorithm;
mod error;
pub mod key_list;
mod seal_count;

use aes_gcm::Aes256Gcm;
use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

pub use algorithm::Algorithm;
pub use error::CipherError;
use key_list::{KEY_BYTES, KeyList, ListedKey};
use seal_count::SealCount;
pub use seal_count::{SEALS_MAX, UnrecordedSeals};

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
    fn associated_data(&self, algorithm: Algorithm, key_id: &str) -> Vec<u8> {
        let mut data = Vec::with_capacity(256);
        let generation = self.generation.to_be_bytes();
        let fields: [&[u8]; 8] = [
            algorithm.label(),
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

/// The cipher of one key.
enum Cipher {
    XChaCha20Poly1305(XChaCha20Poly1305),
    Aes256Gcm(Box<Aes256Gcm>, SealCount),
}

impl Cipher {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, CipherError> {
        let malformed = |_| CipherError::Malformed;
        Ok(match algorithm {
            Algorithm::XChaCha20Poly1305 => {
                Self::XChaCha20Poly1305(XChaCha20Poly1305::new_from_slice(key).map_err(malformed)?)
            }
            Algorithm::Aes256Gcm => {
                let cipher = Aes256Gcm::new_from_slice(key).map_err(malformed)?;
                Self::Aes256Gcm(Box::new(cipher), SealCount::default())
            }
        })
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::XChaCha20Poly1305(_) => Algorithm::XChaCha20Poly1305,
            Self::Aes256Gcm(..) => Algorithm::Aes256Gcm,
        }
    }

    /// The nonce and what follows it.
    fn encrypt(&self, payload: Payload<'_, '_>) -> Result<Vec<u8>, CipherError> {
        let (mut sealed, encrypted) = match self {
            Self::XChaCha20Poly1305(cipher) => {
                let mut nonce = [0_u8; 24];
                rand::fill(&mut nonce);
                (nonce.to_vec(), cipher.encrypt(&XNonce::from(nonce), payload))
            }
            Self::Aes256Gcm(cipher, _) => {
                let mut nonce = [0_u8; 12];
                rand::fill(&mut nonce);
                (nonce.to_vec(), cipher.encrypt(&nonce.into(), payload))
            }
        };
        sealed.extend(encrypted.map_err(|_| CipherError::Integrity)?);
        Ok(sealed)
    }

    fn decrypt(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, CipherError> {
        match self {
            Self::XChaCha20Poly1305(cipher) => {
                let (nonce, msg) = sealed.split_first_chunk::<24>().ok_or(CipherError::Malformed)?;
                cipher.decrypt(&XNonce::from(*nonce), Payload { msg, aad })
            }
            Self::Aes256Gcm(cipher, _) => {
                let (nonce, msg) = sealed.split_first_chunk::<12>().ok_or(CipherError::Malformed)?;
                cipher.decrypt(&(*nonce).into(), Payload { msg, aad })
            }
        }
        .map_err(|_| CipherError::Integrity)
    }
}

struct Key {
    id: String,
    cipher: Cipher,
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
    /// Reads the setting, for example `id:base64,id:aes256gcm:base64`.
    ///
    /// # Errors
    /// [`CipherError::Setting`] says which key is wrong and what is expected, never the key itself.
    pub fn parse(setting: &SecretString) -> Result<Self, CipherError> {
        Self::new(&KeyList::parse(setting)?)
    }

    /// The ring of these keys, none of which may be wrapped.
    ///
    /// # Errors
    /// [`CipherError::Setting`] says which key is wrong and what is expected, never the key itself.
    pub fn new(list: &KeyList) -> Result<Self, CipherError> {
        let keys = list.keys().iter().map(|listed| {
            let ListedKey { id, algorithm, .. } = listed;
            let bytes = Zeroizing::new(STANDARD.decode(listed.key().expose_secret()).unwrap_or_default());
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
            Ok(Key { id: id.clone(), cipher: Cipher::new(*algorithm, &bytes)? })
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// A new random key in the format of the setting, `id:base64`.
    #[must_use]
    pub fn generate() -> SecretString {
        ListedKey::generate(Algorithm::XChaCha20Poly1305).to_text()
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
        let Key { cipher, .. } = self.key(key_id)?;
        if let Cipher::Aes256Gcm(_, count) = cipher
            && !count.count()
        {
            return Err(CipherError::Exhausted(key_id.to_owned()));
        }
        let aad = context.associated_data(cipher.algorithm(), key_id);
        let sealed = cipher.encrypt(Payload { msg: value.expose_secret().as_bytes(), aad: &aad })?;
        let mut envelope = envelope_head(cipher.algorithm(), key_id)?;
        envelope.extend_from_slice(&sealed);
        Ok(envelope)
    }

    /// The bytes that every value begins with that [`Self::seal`] makes, and no other value.
    ///
    /// # Errors
    /// [`CipherError::UnknownKey`] if the ring is empty.
    pub fn sealing_head(&self) -> Result<Vec<u8>, CipherError> {
        let key = self.keys.first().ok_or_else(|| CipherError::UnknownKey(String::new()))?;
        envelope_head(key.cipher.algorithm(), &key.id)
    }

    /// Opens a value that was sealed for exactly this `context`.
    ///
    /// # Errors
    /// [`CipherError`] when the key is unknown, or the value was sealed for another context.
    pub fn open(&self, context: &SealContext<'_>, envelope: &[u8]) -> Result<SecretString, CipherError> {
        let (algorithm, id, sealed) = split_envelope(envelope).ok_or(CipherError::Malformed)?;
        let Key { cipher, .. } = self.key(id)?;
        if cipher.algorithm() != algorithm {
            return Err(CipherError::OtherAlgorithm(id.to_owned()));
        }
        let opened = Zeroizing::new(cipher.decrypt(sealed, &context.associated_data(algorithm, id))?);
        std::str::from_utf8(&opened).map(SecretString::from).map_err(|_| CipherError::Malformed)
    }

    /// What the keys of AES-256-GCM have sealed and the database does not count yet.
    #[must_use]
    pub fn unrecorded_seals(&self) -> Vec<UnrecordedSeals> {
        let counts = self.keys.iter().enumerate().filter_map(|(place, key)| match &key.cipher {
            Cipher::Aes256Gcm(_, count) => Some(UnrecordedSeals::of(&key.id, count.unrecorded(place == 0)?)),
            Cipher::XChaCha20Poly1305(_) => None,
        });
        counts.collect()
    }

    /// The database counts these now; `total` is its whole count for the key.
    pub fn seals_recorded(&self, recorded: &UnrecordedSeals, total: u64) {
        if let Ok(Key { cipher: Cipher::Aes256Gcm(_, count), .. }) = self.key(&recorded.key_id) {
            count.recorded(recorded.seals, total);
        }
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

/// The key that sealed a value, without opening it. The beginning of the value is enough: [`ENVELOPE_HEAD_MAX`] bytes.
#[must_use]
pub fn sealing_key(envelope: &[u8]) -> Option<&str> {
    split_envelope(envelope).map(|(_, id, _)| id)
}

/// The most bytes that come before the nonce.
pub const ENVELOPE_HEAD_MAX: i32 = 2 + u8::MAX as i32;

fn envelope_head(algorithm: Algorithm, key_id: &str) -> Result<Vec<u8>, CipherError> {
    let id_length = u8::try_from(key_id.len()).map_err(|_| CipherError::Malformed)?;
    let mut head = vec![algorithm.id(), id_length];
    head.extend_from_slice(key_id.as_bytes());
    Ok(head)
}

/// The algorithm, the key id, and the rest: nonce, ciphertext and tag.
fn split_envelope(envelope: &[u8]) -> Option<(Algorithm, &str, &[u8])> {
    let (&[algorithm, id_length], rest) = envelope.split_first_chunk::<2>()?;
    let (id, sealed) = rest.split_at_checked(id_length.into())?;
    Some((Algorithm::of_id(algorithm)?, std::str::from_utf8(id).ok()?, sealed))
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

    /// Made by another implementation (`PyCryptodome`), with the key 00 01 .. 1f and the nonce 64 65 ...
    const GOLDEN: [(&str, Algorithm, &str); 2] = [
        (
            "gold",
            Algorithm::XChaCha20Poly1305,
            "0104676f6c646465666768696a6b6c6d6e6f707172737475767778797a7b0f409ac29a5a77d973800f073ac16c14db3afd0a62fa",
        ),
        (
            "fips",
            Algorithm::Aes256Gcm,
            "0204666970736465666768696a6b6c6d6e6f3b28bd141c9d6ee6cb04fc406bba292337ad3c880877",
        ),
    ];

    fn golden_ring() -> KeyRing {
        // Put together by hand: a setting with such a key is refused.
        let bytes = std::array::from_fn::<u8, 32, _>(|place| u8::try_from(place).unwrap());
        let key = |(id, algorithm, _): (&str, Algorithm, &str)| Key {
            id: id.to_owned(),
            cipher: Cipher::new(algorithm, &bytes).unwrap(),
        };
        KeyRing { keys: GOLDEN.map(key).into() }
    }

    #[test]
    fn golden_envelopes_of_both_algorithms_open_side_by_side() {
        let ring = golden_ring();
        for (id, _, envelope) in GOLDEN {
            let envelope = hex::decode(envelope).unwrap();
            assert_eq!(ring.open(&place(1, 1), &envelope).unwrap().expose_secret(), "s3cret", "{id}");
            assert_eq!(sealing_key(&envelope), Some(id));
            let sealed = ring.seal_with(id, &place(1, 1), &SecretString::from("s3cret")).unwrap();
            assert_eq!(sealed.len(), envelope.len(), "{id}");
            assert_eq!(sealed[..2 + id.len()], envelope[..2 + id.len()], "{id}");
            assert_ne!(sealed, envelope, "a nonce is used once");
        }
    }

    #[test]
    fn a_key_that_is_listed_with_another_algorithm_opens_nothing() {
        let ring = golden_ring();
        let mut envelope = hex::decode(GOLDEN[0].2).unwrap();
        envelope[0] = Algorithm::Aes256Gcm.id();
        let refused = ring.open(&place(1, 1), &envelope).unwrap_err();
        assert_eq!(refused, CipherError::OtherAlgorithm("gold".to_owned()));
    }

    #[test]
    fn an_exhausted_key_of_aes_256_gcm_seals_nothing_and_still_opens() {
        let ring = golden_ring();
        let value = SecretString::from("x");
        let sealed = ring.seal_with("fips", &place(1, 1), &value).unwrap();
        ring.seals_recorded(&UnrecordedSeals { key_id: "fips".to_owned(), seals: 1 }, SEALS_MAX);
        let refused = ring.seal_with("fips", &place(1, 1), &value).unwrap_err();
        assert_eq!(refused, CipherError::Exhausted("fips".to_owned()));
        ring.open(&place(1, 1), &sealed).unwrap();
        ring.seal(&place(1, 1), &value).expect("the other key has no limit");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        for algorithm in [Algorithm::XChaCha20Poly1305, Algorithm::Aes256Gcm] {
            refuses_what_was_changed(&KeyRing::parse(&ListedKey::generate(algorithm).to_text()).unwrap());
        }
    }

    fn refuses_what_was_changed(ring: &KeyRing) {
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
