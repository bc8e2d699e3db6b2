//! The key ring as it is written down: `id:base64`, `id:aes256gcm:base64`, `id:vault:v1:...`, separated by commas.
//! Owns: this notation, and changing the list.
//! Must not know: where the list is kept, or how a key seals.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{algorithm::Algorithm, error::CipherError};

pub(super) const KEY_BYTES: usize = 32;
const KEY_ID_MAX: usize = 64;
/// How AES-256-GCM is written, between the id and the key. Without it a key is one for XChaCha20-Poly1305.
const AES_256_GCM: &str = "aes256gcm";
/// How a key begins that Vault's Transit engine encrypted.
const WRAPPED: &str = "vault:";

/// One key as it is written down.
#[derive(Clone, Debug)]
pub struct ListedKey {
    /// Its name, which every value that it sealed carries.
    pub id: String,
    /// What it seals with.
    pub algorithm: Algorithm,
    /// 32 bytes in base64, or `vault:v1:...`.
    key: SecretString,
}

impl ListedKey {
    /// A new random key.
    #[must_use]
    pub fn generate(algorithm: Algorithm) -> Self {
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(&mut key[..]);
        let mut id = [0_u8; 4];
        rand::fill(&mut id);
        let id = u32::from_be_bytes(id);
        Self { id: format!("k{id:08x}"), algorithm, key: SecretString::from(STANDARD.encode(*key)) }
    }

    /// What Vault encrypted, if the key is wrapped.
    #[must_use]
    pub fn wrapped(&self) -> Option<&str> {
        Some(self.key.expose_secret()).filter(|key| key.starts_with(WRAPPED))
    }

    /// The key in base64, or what Vault encrypted.
    #[must_use]
    pub fn key(&self) -> &SecretString {
        &self.key
    }

    /// The same key written in another way.
    #[must_use]
    pub fn with_key(self, key: SecretString) -> Self {
        Self { key, ..self }
    }

    /// As it is written in the list.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        let mut text = format!("{}:", self.id);
        if self.algorithm == Algorithm::Aes256Gcm {
            let _ = write!(text, "{AES_256_GCM}:");
        }
        text.push_str(self.key.expose_secret());
        SecretString::from(text)
    }

    fn parse(entry: &str, nth: usize) -> Result<Self, CipherError> {
        let (id, rest) = entry.split_once(':').ok_or_else(|| {
            CipherError::Setting(format!("key {nth} is not `id:base64`; generate one with `agent-auth keys generate`"))
        })?;
        let well_named = !id.is_empty()
            && id.len() <= KEY_ID_MAX
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !well_named {
            return Err(CipherError::Setting(format!(
                "the id of key {nth} must be 1 to {KEY_ID_MAX} letters, digits, `-` or `_`"
            )));
        }
        let (algorithm, key) = match rest.split_once(':') {
            Some((AES_256_GCM, key)) => (Algorithm::Aes256Gcm, key),
            _ => (Algorithm::XChaCha20Poly1305, rest),
        };
        if key.contains(':') && !key.starts_with(WRAPPED) {
            return Err(CipherError::Setting(format!(
                "key `{id}` is neither `{id}:base64`, `{id}:{AES_256_GCM}:base64` nor `{id}:vault:v1:...`"
            )));
        }
        Ok(Self { id: id.to_owned(), algorithm, key: SecretString::from(key) })
    }
}

/// The keys as they are written down: the first seals, all of them open.
#[derive(Clone, Debug)]
pub struct KeyList(Vec<ListedKey>);

impl KeyList {
    /// Reads the notation of the setting. The keys themselves are not looked at.
    ///
    /// # Errors
    /// [`CipherError::Setting`] says which key is wrong and what is expected, never the key itself.
    pub fn parse(setting: &SecretString) -> Result<Self, CipherError> {
        let mut keys: Vec<ListedKey> = Vec::new();
        for (index, entry) in setting.expose_secret().split(',').map(str::trim).enumerate() {
            let key = ListedKey::parse(entry, index + 1)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(CipherError::Setting(format!("the key id `{}` is listed twice", key.id)));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// The keys, the sealing one first.
    #[must_use]
    pub fn keys(&self) -> &[ListedKey] {
        &self.0
    }

    /// The ids of the keys, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// True when the list names this key.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.ids().any(|listed| listed == id)
    }

    /// Appends a key.
    pub fn append(&mut self, key: ListedKey) {
        self.0.push(key);
    }

    /// Moves a key to the front, so that it seals.
    pub fn move_to_front(&mut self, id: &str) {
        self.0.sort_by_key(|key| key.id != id);
    }

    /// Removes a key.
    pub fn remove(&mut self, id: &str) {
        self.0.retain(|key| key.id != id);
    }

    /// The list in the notation of the setting.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        let texts: Vec<SecretString> = self.0.iter().map(ListedKey::to_text).collect();
        let texts: Vec<&str> = texts.iter().map(ExposeSecret::expose_secret).collect();
        SecretString::from(texts.join(","))
    }
}

impl From<Vec<ListedKey>> for KeyList {
    fn from(keys: Vec<ListedKey>) -> Self {
        Self(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_as_it_was_read() {
        let text = "a:AAAA, b:aes256gcm:BBBB,c:vault:v1:CCCC,d:aes256gcm:vault:v2:DDDD";
        let mut list = KeyList::parse(&SecretString::from(text)).unwrap();
        assert_eq!(list.to_text().expose_secret(), text.replace(' ', ""));
        let wrapped: Vec<_> = list.keys().iter().map(ListedKey::wrapped).collect();
        assert_eq!(wrapped, [None, None, Some("vault:v1:CCCC"), Some("vault:v2:DDDD")]);
        list.move_to_front("c");
        assert_eq!(list.ids().collect::<Vec<_>>(), ["c", "a", "b", "d"], "the others keep their order");
        list.remove("a");
        assert_eq!(list.to_text().expose_secret(), "c:vault:v1:CCCC,b:aes256gcm:BBBB,d:aes256gcm:vault:v2:DDDD");
    }

    #[test]
    fn an_unknown_algorithm_is_refused_without_the_key() {
        let refused = KeyList::parse(&SecretString::from("k1:aes128:c2VjcmV0")).unwrap_err().to_string();
        assert!(refused.contains("`k1:aes256gcm:base64`"), "{refused}");
        assert!(!refused.contains("c2VjcmV0"), "{refused}");
    }
}
