//! Opening the database that the settings name.
//! Owns: what the settings mean for the database, its keys and the data folder.
//! Must not know: the rules of the broker.

use std::{fs::File, io, net::SocketAddr, path::Path, time::Duration};

use secrecy::SecretString;

use super::{
    handouts::Mode,
    key_ring::{self, KeyRingError},
};
use crate::{
    catalog::{Catalog, CatalogError},
    cipher::KeyRing,
    clock::Clock,
    config::Settings,
    model::{consent::Consent, outage::Outage, web_address},
    outbound::{address::AddressGuard, client::Outbound},
    store::{db::Location, error::StoreError, handle::Store, postgres::PostgresLocation},
};

/// Why the broker cannot be opened: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is invalid.
    #[error("AGENT_AUTH_{0}: {1}")]
    Setting(&'static str, String),
    /// The operator's catalogue cannot be read.
    #[error("AGENT_AUTH_CATALOG_FILE: {0}")]
    Catalog(#[from] CatalogError),
    /// The keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data folder cannot be used.
    #[error("AGENT_AUTH_DATA_DIR: {0}")]
    DataFolder(String),
    /// The outbound client cannot be created.
    #[error(
        "no trusted CA certificates were found on this machine; install the package `ca-certificates`, or set \
         SSL_CERT_FILE to a file that contains them ({})",
        root_cause(.0)
    )]
    Trust(reqwest::Error),
}

impl OpenError {
    /// True when the database cannot be reached, which may pass.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Store(StoreError::NotReached(_) | StoreError::Unavailable(Outage::Unreachable, _)))
    }
}

/// Opens the database the settings name, with the keys they name.
pub async fn open_store(settings: &Settings, clock: &Clock) -> Result<Store, OpenError> {
    let location = location(settings)?;
    Ok(Store::open(&location, keys(settings, clock).await?, clock.now()).await?)
}

/// The same for a server. With SQLite it holds the lock of the data folder, so it is the only one.
pub(super) async fn open_store_of_server(settings: &Settings, clock: &Clock) -> Result<Store, OpenError> {
    let location = location(settings)?;
    let keys = keys(settings, clock).await?;
    Ok(match &location {
        Location::Postgres(_) => Store::open(&location, keys, clock.now()).await?,
        Location::Sqlite(_) => Store::open_alone(&location, keys, clock.now()).await?,
    })
}

fn location(settings: &Settings) -> Result<Location, OpenError> {
    Ok(match &settings.database_url {
        Some(url) => Location::Postgres(postgres(settings, url)?),
        None => {
            let failed = |error| data_folder_error(&settings.data_dir, &error);
            private_folder(&settings.data_dir).map_err(failed)?;
            let database = settings.data_dir.join("agent-auth.db");
            private_file(&database).map_err(failed)?;
            Location::Sqlite(database)
        }
    })
}

async fn keys(settings: &Settings, clock: &Clock) -> Result<KeyRing, OpenError> {
    let keys = key_ring::read(settings, clock).await?;
    Ok(key_ring::unwrap(&keys, settings, clock).await?)
}

/// The PostgreSQL that the settings name.
fn postgres(settings: &Settings, url: &SecretString) -> Result<PostgresLocation, OpenError> {
    let location = PostgresLocation {
        url: url.clone(),
        connections: settings.database_connections,
        listen_url: settings.listen_database_url.clone(),
        shares_sessions: settings.database_pooler == "transaction",
    };
    location.check()?;
    Ok(location)
}

/// The address that browsers use to reach the server: `public_url`, or else the listen address, if that is on loopback. A
/// server for others cannot know under which address they reach it.
pub fn public_url(settings: &Settings) -> Result<String, OpenError> {
    let Some(configured) = &settings.public_url else {
        return if is_for_others(&settings.listen) {
            let problem = format!(
                "required with AGENT_AUTH_LISTEN={}, which other machines can reach; set it to the address that browsers \
                 use, such as https://auth.example.com",
                settings.listen
            );
            Err(OpenError::Setting("PUBLIC_URL", problem))
        } else {
            Ok(format!("http://{}", settings.listen))
        };
    };
    let url = web_address::parse(configured).filter(|url| {
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
    });
    match url {
        Some(_) => Ok(configured.trim_end_matches('/').to_owned()),
        None => Err(OpenError::Setting("PUBLIC_URL", format!("`{configured}` is not like https://auth.example.com"))),
    }
}

/// True for an address with a port that is not on loopback.
fn is_for_others(listen: &str) -> bool {
    match listen.parse::<SocketAddr>() {
        Ok(address) => !address.ip().to_canonical().is_loopback(),
        Err(_) => {
            let named = listen.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
            named.is_some_and(|(name, _)| name != "localhost")
        }
    }
}

/// How strictly consents are bound on this server.
pub fn consent(settings: &Settings) -> Result<Consent, OpenError> {
    let unknown = || OpenError::Setting("CONSENT", "expected `direct`, `confirm` or `verify`".to_owned());
    Consent::named(&settings.consent).ok_or_else(unknown)
}

/// Creates a folder that only its owner can access, if it does not exist.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Opens a file that only its owner can read, and creates it if it does not exist. (SQLite gives its journal files the
/// mode of the database file.)
pub fn private_file(file: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file)
}

/// Why the data folder cannot be used, and what to do.
#[must_use]
pub fn data_folder_error(folder: &Path, error: &io::Error) -> OpenError {
    use std::os::unix::fs::MetadataExt;
    let shown = folder.display();
    let existing = folder.ancestors().find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
    OpenError::DataFolder(match (error.kind(), existing) {
        (io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory, Some((path, metadata))) if !metadata.is_dir() => {
            format!("{} is a file, not a folder; choose another folder", path.display())
        }
        (io::ErrorKind::PermissionDenied, Some((path, metadata))) => {
            let uid = rustix::process::geteuid().as_raw();
            format!(
                "{shown} is not writable: {} belongs to uid {}, but this process runs as uid {uid}. Change the owner, or \
                 choose another folder",
                path.display(),
                metadata.uid()
            )
        }
        (io::ErrorKind::ReadOnlyFilesystem, _) => {
            format!("{shown} is on a read-only file system; mount a writable volume there, or choose another folder")
        }
        _ => format!("{shown} cannot be used: {error}"),
    })
}

/// The innermost cause of an error, which says more than the outer ones.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Checks what can be checked from the settings alone, before anything is changed.
pub fn check(settings: &Settings) -> Result<(), OpenError> {
    public_url(settings)?;
    consent(settings)?;
    address_guard(settings)?;
    handout_mode(settings)?;
    Catalog::load(settings.catalog_file.as_deref())?;
    if let Some(url) = &settings.database_url {
        postgres(settings, url)?;
    }
    Ok(key_ring::check(settings)?)
}

/// The way out to other servers, without a database. Each call may take `timeout`.
pub fn outbound(settings: &Settings, timeout: Duration) -> Result<Outbound, OpenError> {
    let outbound = Outbound::new(address_guard(settings)?, timeout).map_err(OpenError::Trust)?;
    Ok(outbound.with_trace_context(settings.trace_context_to_providers == "on"))
}

pub(super) fn address_guard(settings: &Settings) -> Result<AddressGuard, OpenError> {
    AddressGuard::parse(&settings.allow_private_upstreams)
        .map_err(|problem| OpenError::Setting("ALLOW_PRIVATE_UPSTREAMS", problem))
}

pub(super) fn handout_mode(settings: &Settings) -> Result<Mode, OpenError> {
    match settings.audit_handouts.as_str() {
        "batched" => Ok(Mode::Batched),
        "strict" => Ok(Mode::Strict),
        "off" => Ok(Mode::Off),
        _ => Err(OpenError::Setting("AUDIT_HANDOUTS", "expected `batched`, `strict` or `off`".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_on_loopback_can_be_the_public_url() {
        for listen in ["127.0.0.1:8080", "127.8.8.8:1", "[::1]:8080", "[::ffff:127.0.0.1]:8080", "localhost:8080"] {
            let settings = Settings { listen: listen.to_owned(), ..Settings::default() };
            assert_eq!(public_url(&settings).unwrap(), format!("http://{listen}"));
        }
        for listen in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:80", "localhost.example.com:80"] {
            let settings = Settings { listen: listen.to_owned(), ..Settings::default() };
            assert!(public_url(&settings).is_err(), "{listen}");
            let settings = Settings { public_url: Some("https://auth.example.com/".to_owned()), ..settings };
            assert_eq!(public_url(&settings).unwrap(), "https://auth.example.com");
        }
    }

    #[test]
    fn a_data_folder_that_cannot_be_written_is_reported_with_both_users() {
        let folder = tempfile::TempDir::new().unwrap();
        let inside = folder.path().join("data");
        let error = data_folder_error(&inside, &io::ErrorKind::PermissionDenied.into()).to_string();
        let start = format!(
            "AGENT_AUTH_DATA_DIR: {} is not writable: {} belongs to uid ",
            inside.display(),
            folder.path().display()
        );
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains(", but this process runs as uid "), "{error}");
    }
}
