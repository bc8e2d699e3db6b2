//! How Nango encrypts: AES-256-GCM with a nonce of twelve bytes; ciphertext, nonce and tag are base64 of their own.
//! Owns: the key, and opening a value.
//! Must not know: which columns hold such values.

use aes_gcm::{
    Aes256Gcm, Nonce, Tag,
    aead::{AeadInOut, KeyInit},
};
use anyhow::{anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// What `NANGO_ENCRYPTION_KEY` holds.
pub struct Key(Aes256Gcm);

impl Key {
    /// Reads 32 bytes in base64.
    ///
    /// # Errors
    /// When it is something else. It is not repeated.
    pub fn parse(text: &SecretString) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(text.expose_secret().trim()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| anyhow!("NANGO_ENCRYPTION_KEY is not base64"))?;
        let cipher = Aes256Gcm::new_from_slice(&bytes);
        Ok(Self(cipher.map_err(|_| anyhow!("NANGO_ENCRYPTION_KEY is not 32 bytes in base64"))?))
    }

    /// Opens a value.
    ///
    /// # Errors
    /// When the key is another one, or the value was changed.
    pub fn open(&self, ciphertext: &str, nonce: &str, tag: &str) -> anyhow::Result<SecretString> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| anyhow!("it is not base64"));
        let (mut bytes, nonce, tag) = (Zeroizing::new(decode(ciphertext)?), decode(nonce)?, decode(tag)?);
        let (Ok(nonce), Ok(tag)) = (Nonce::try_from(&nonce[..]), Tag::try_from(&tag[..])) else {
            bail!("its nonce or its tag has another length");
        };
        let opened = self.0.decrypt_inout_detached(&nonce, b"", bytes.as_mut_slice().into(), &tag);
        opened.map_err(|_| anyhow!("it does not open with NANGO_ENCRYPTION_KEY"))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| anyhow!("it is not UTF-8"))?;
        Ok(SecretString::from(text))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}
