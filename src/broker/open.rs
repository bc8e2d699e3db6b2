//! From settings to an open database.
//! Owns: what the settings mean for the database, its keys and the data folder.
//! Must not know: the rules of the broker.

use std::{fs::File, io, path::Path};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    catalog::{Catalog, CatalogError},
    cipher::{CipherError, KeyRing},
    clock::Clock,
    config::Settings,
    outbound::address::AddressGuard,
    store::{db::Location, error::StoreError, handle::Store},
};

/// The file in the data folder that holds the generated encryption key.
const KEY_FILE: &str = "encryption.key";

/// Why the broker cannot be opened: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting does not make sense.
    #[error("AGENT_AUTH_{0}: {1}")]
    Setting(&'static str, String),
    /// The operator's catalogue cannot be read.
    #[error("AGENT_AUTH_CATALOG_FILE: {0}")]
    Catalog(#[from] CatalogError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] CipherError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data folder cannot be used.
    #[error("the data folder {0}: {1}")]
    DataFolder(String, io::Error),
    /// The outbound client cannot be made.
    #[error("the machine's trusted certificates cannot be read: {0}")]
    Trust(reqwest::Error),
}

/// Opens the database the settings name, with the keys they name.
pub async fn open_store(settings: &Settings, clock: &Clock) -> Result<Store, OpenError> {
    let (location, keys) = match &settings.database_url {
        Some(url) => {
            let keys = settings.encryption_keys.clone().ok_or_else(no_keys)?;
            (Location::Postgres(url.clone(), settings.database_connections), keys)
        }
        None => {
            let failed = |error| OpenError::DataFolder(settings.data_dir.display().to_string(), error);
            private_folder(&settings.data_dir).map_err(failed)?;
            let keys = match &settings.encryption_keys {
                Some(keys) => keys.clone(),
                None => generated_key(&settings.data_dir.join(KEY_FILE)).map_err(failed)?,
            };
            let database = settings.data_dir.join("agent-auth.db");
            private_file(&database).map_err(failed)?;
            (Location::Sqlite(database), keys)
        }
    };
    Ok(Store::open(&location, KeyRing::parse(&keys)?, clock.now()).await?)
}

/// The address browsers reach the server at: as configured, else where it listens.
pub fn public_url(settings: &Settings) -> Result<String, OpenError> {
    let Some(configured) = &settings.public_url else { return Ok(format!("http://{}", settings.listen)) };
    let url = Url::parse(configured).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none()
    });
    match url {
        Some(_) => Ok(configured.trim_end_matches('/').to_owned()),
        None => Err(OpenError::Setting("PUBLIC_URL", format!("`{configured}` is not like https://auth.example.com"))),
    }
}

/// Makes a folder that only its owner can look into, if it is not there.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens a file that only its owner can read, made if it is not there. (SQLite gives its journal files the mode of the
/// database file, so that one decides for all.)
pub fn private_file(file: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file)
}

/// Checks what can be told from the settings alone, before anything is touched.
pub fn check(settings: &Settings) -> Result<(), OpenError> {
    public_url(settings)?;
    address_guard(settings)?;
    Catalog::load(settings.catalog_file.as_deref())?;
    if let Some(keys) = &settings.encryption_keys {
        KeyRing::parse(keys)?;
    } else if settings.database_url.is_some() {
        return Err(no_keys());
    }
    Ok(())
}

pub(super) fn address_guard(settings: &Settings) -> Result<AddressGuard, OpenError> {
    AddressGuard::parse(&settings.allow_private_upstreams)
        .map_err(|problem| OpenError::Setting("ALLOW_PRIVATE_UPSTREAMS", problem))
}

fn no_keys() -> OpenError {
    OpenError::Setting(
        "ENCRYPTION_KEYS",
        "required with PostgreSQL; make a key with `agent-auth keys generate` and keep it safe".into(),
    )
}

/// The key of this data folder, made now if there is none. `link` makes it appear whole or not at all, and only once.
fn generated_key(file: &Path) -> io::Result<SecretString> {
    use std::io::Write;
    if !file.exists() {
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut made = tempfile::NamedTempFile::new_in(folder)?;
        made.write_all(KeyRing::generate().expose_secret().as_bytes())?;
        made.as_file().sync_all()?;
        match made.persist_noclobber(file) {
            Ok(_) => tracing::info!(
                event = "encryption_key.generated", file = %file.display(),
                "generated an encryption key; back it up, apart from the database"
            ),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
    }
    std::fs::read_to_string(file).map(|text| SecretString::from(text.trim().to_owned()))
}
