//! The key ring: where it is kept, how it is read, and how its file is written.
//! Owns: the file with the generated key, and that wrapped keys are unwrapped by Vault, once.
//! Must not know: which keys the database needs.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    cipher::{
        Algorithm, CipherError, KeyRing,
        key_list::{KeyList, ListedKey},
    },
    clock::Clock,
    config::Settings,
    outbound::address::AddressGuard,
    vault::{Vault, VaultError, VaultSettings},
};

/// The file in the data folder that holds the generated encryption key.
const KEY_FILE: &str = "encryption.key";

/// Why the key ring cannot be used: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] CipherError),
    /// The keys are missing.
    #[error(
        "AGENT_AUTH_ENCRYPTION_KEYS: required with PostgreSQL; generate a key with `agent-auth keys generate` and store it \
         safely"
    )]
    Missing,
    /// Vault cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A key is wrapped, and Vault is not set.
    #[error(
        "ENCRYPTION_KEYS: key `{0}` is encrypted by Vault; set AGENT_AUTH_VAULT_ADDRESS and AGENT_AUTH_VAULT_TOKEN"
    )]
    NoVault(String),
    /// Vault encrypted something else than a key.
    #[error("ENCRYPTION_KEYS: what Vault decrypted for key `{0}` is not an encryption key of 32 bytes in base64")]
    NotAKey(String),
    /// The file cannot be read or written.
    #[error("{file}: {error}", file = .0.display(), error = .1)]
    File(PathBuf, io::Error),
}

/// Where the key ring is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the setting, which only the operator can change.
    InSetting,
    /// In our file in the data folder.
    InFile(PathBuf),
}

/// Where the settings say that the key ring is kept.
#[must_use]
pub fn kept(settings: &Settings) -> Kept {
    match (&settings.encryption_keys, &settings.database_url) {
        (None, None) => Kept::InFile(settings.data_dir.join(KEY_FILE)),
        _ => Kept::InSetting,
    }
}

/// Checks what can be checked from the settings alone.
pub fn check(settings: &Settings) -> Result<(), KeyRingError> {
    let vault = vault(settings)?;
    let Some(keys) = &settings.encryption_keys else {
        return if settings.database_url.is_some() { Err(KeyRingError::Missing) } else { Ok(()) };
    };
    let list = KeyList::parse(keys)?;
    let (wrapped, plain): (Vec<_>, Vec<_>) = list.keys().iter().cloned().partition(|key| key.wrapped().is_some());
    KeyRing::new(&plain.into())?;
    match wrapped.into_iter().next() {
        Some(key) if vault.is_none() => Err(KeyRingError::NoVault(key.id)),
        _ => Ok(()),
    }
}

/// Reads the list of keys. The file is generated if it does not exist; its folder must exist.
pub async fn read(settings: &Settings, clock: &Clock) -> Result<KeyList, KeyRingError> {
    let text = match (kept(settings), &settings.encryption_keys) {
        (Kept::InFile(file), _) => {
            let failed = |error| KeyRingError::File(file.clone(), error);
            if !file.try_exists().map_err(failed)? {
                let key = new_key(settings, clock, Algorithm::XChaCha20Poly1305).await?;
                create_file(&file, &key.to_text()).map_err(failed)?;
            }
            std::fs::read_to_string(&file).map(|text| SecretString::from(text.trim())).map_err(failed)?
        }
        (Kept::InSetting, Some(keys)) => keys.clone(),
        (Kept::InSetting, None) => return Err(KeyRingError::Missing),
    };
    Ok(KeyList::parse(&text)?)
}

/// The ring of these keys. Wrapped ones are unwrapped by Vault.
pub async fn unwrap(list: &KeyList, settings: &Settings, clock: &Clock) -> Result<KeyRing, KeyRingError> {
    let vault = vault(settings)?;
    let mut keys = Vec::new();
    for key in list.keys().iter().cloned() {
        let Some(wrapped) = key.wrapped() else {
            keys.push(key);
            continue;
        };
        let vault = vault.as_ref().ok_or_else(|| KeyRingError::NoVault(key.id.clone()))?;
        let plain = vault.decrypt(wrapped, clock.now()).await?;
        let key = key.with_key(plain);
        KeyRing::new(&vec![key.clone()].into()).map_err(|_| KeyRingError::NotAKey(key.id.clone()))?;
        keys.push(key);
    }
    Ok(KeyRing::new(&keys.into())?)
}

/// A new key, wrapped by Vault if the settings name one.
pub async fn new_key(settings: &Settings, clock: &Clock, algorithm: Algorithm) -> Result<ListedKey, KeyRingError> {
    let key = ListedKey::generate(algorithm);
    Ok(match vault(settings)? {
        Some(vault) => {
            let wrapped = vault.encrypt(key.key(), clock.now()).await?;
            key.with_key(wrapped)
        }
        None => key,
    })
}

fn vault(settings: &Settings) -> Result<Option<Vault>, KeyRingError> {
    let Some(address) = &settings.vault_address else { return Ok(None) };
    let refused = |name, problem: String| KeyRingError::Vault(VaultError::Setting(name, problem));
    let token = settings.vault_token.clone();
    let token = token.ok_or_else(|| {
        refused("TOKEN", "required with VAULT_ADDRESS; set it, or AGENT_AUTH_VAULT_TOKEN_FILE".to_owned())
    })?;
    let authorities = settings.vault_ca_file.as_ref().map(|file| {
        let pem = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let has_one = String::from_utf8_lossy(&pem).contains("BEGIN CERTIFICATE");
        if has_one { Ok(pem) } else { Err(format!("{} has no certificate in PEM format", file.display())) }
    });
    let guard = AddressGuard::parse(&settings.allow_private_upstreams)
        .map_err(|problem| refused("ADDRESS", format!("ALLOW_PRIVATE_UPSTREAMS: {problem}")))?;
    let settings = VaultSettings {
        address: address.clone(),
        transit_key: settings.vault_transit_key.clone(),
        token,
        namespace: settings.vault_namespace.clone(),
        authorities: authorities.transpose().map_err(|problem| refused("CA_FILE", problem))?,
    };
    Ok(Some(Vault::new(settings, &guard)?))
}

/// Holds off other commands that change the file, until it is dropped.
pub fn lock_file(file: &Path) -> Result<File, KeyRingError> {
    let lock = || {
        let folder = File::open(file.parent().unwrap_or(Path::new(".")))?;
        match folder.try_lock() {
            Ok(()) => Ok(folder),
            Err(_) => Err(io::Error::other("another command is changing the encryption keys; try again later")),
        }
    };
    lock().map_err(|error| KeyRingError::File(file.to_owned(), error))
}

/// Replaces the file as a whole: after a crash it is the old one or the new one.
pub fn write_file(file: &Path, list: &KeyList) -> Result<(), KeyRingError> {
    let write = || {
        let folder = file.parent().unwrap_or(Path::new("."));
        new_file(folder, &list.to_text())?.persist(file).map_err(|error| error.error)?;
        // The new name is durable only when the folder is.
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| KeyRingError::File(file.to_owned(), error))
}

/// A file that only its owner can read, without a name yet.
fn new_file(folder: &Path, text: &SecretString) -> io::Result<tempfile::NamedTempFile> {
    let mut made = tempfile::NamedTempFile::new_in(folder)?;
    made.write_all(text.expose_secret().as_bytes())?;
    made.as_file().sync_all()?;
    Ok(made)
}

/// Creates the file, as a whole. Of several processes one does.
fn create_file(file: &Path, key: &SecretString) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    match new_file(folder, key)?.persist_noclobber(file) {
        Ok(_) => {
            tracing::info!(
                event = "encryption_key.generated", file = %file.display(),
                "generated an encryption key; back it up, separately from the database"
            );
            Ok(())
        }
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}
