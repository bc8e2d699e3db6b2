//! The running server's parts, put together once at start.
//! Owns: start-up, and the background task that hears other replicas.
//! Must not know: routes, or the rules of the broker.

use std::{fs::File, io, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use uuid::Uuid;

use crate::{
    broker::{
        consent::{authorization::WAKE_CHANNEL, client_credentials::Refusals, device},
        jobs::schedule,
        limits::Discoveries,
        notifications::Waiters,
        tokens::{
            refresh::Refreshing,
            usage::{self, Usage},
        },
    },
    catalog::{Catalog, CatalogError},
    cipher::{CipherError, KeyRing},
    clock::Clock,
    config::Settings,
    identity::api_keys::{ApiKeys, bootstrap},
    outbound::{address::AddressGuard, client::Outbound},
    store::{Store, StoreError, db::Location, notify::Heard},
};

/// How often a replica looks for ended authorization requests whose hint it may have missed.
const CATCH_UP_EVERY: Duration = Duration::from_secs(5);
/// How far back such a look reaches beyond the last one: clocks differ, and commits come late.
const CATCH_UP_MARGIN: TimeDelta = TimeDelta::seconds(60);
/// The file in the data folder that holds the generated encryption key.
const KEY_FILE: &str = "encryption.key";

/// The server's parts.
pub struct App {
    /// The settings it was started with.
    pub settings: Settings,
    /// The address browsers reach it at, without a trailing slash.
    pub public_url: String,
    /// What is kept.
    pub store: Store,
    /// The time of day.
    pub clock: Clock,
    /// The providers that are known by name.
    pub catalog: Catalog,
    /// The way out to authorization servers.
    pub outbound: Outbound,
    /// Who waits for what, in this process.
    pub waiters: Waiters,
    /// The discoveries under way.
    pub discoveries: Discoveries,
    /// Which tokens are being refreshed behind their callers.
    pub refreshing: Refreshing,
    /// What providers refused our own client a moment ago.
    pub refusals: Refusals,
    /// How many questions about devices may still be under way.
    pub device_questions: Arc<Semaphore>,
    /// Which tokens were handed out and when, as far as it is not written yet.
    pub usage: Usage,
    /// Who calls.
    pub api_keys: ApiKeys,
    /// The key made because there was none: to be shown once.
    pub first_api_key: Option<SecretString>,
    /// Exchanges, refreshes and background work under way, which a stop waits for.
    pub tasks: TaskTracker,
    /// Cancelled when the server stops.
    pub shutdown: CancellationToken,
}

/// Why the server does not start: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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

impl App {
    /// Opens the database, brings it up to date, makes the first key and starts what runs in the background.
    pub async fn start(settings: Settings, clock: Clock) -> Result<Arc<Self>, StartError> {
        let public_url = public_url(&settings)?;
        let catalog = Catalog::load(settings.catalog_file.as_deref())?;
        let outbound = Outbound::new(guard(&settings)?, Duration::from_secs(settings.provider_timeout_seconds))
            .map_err(StartError::Trust)?;
        let store = open_store(&settings, &clock).await?;
        if !store.is_shared() {
            store.end_refresh_leases().await?;
        }
        let first_api_key = bootstrap(&store, &settings, clock.now()).await?;
        let app = Arc::new(Self {
            api_keys: ApiKeys::new(store.clone(), Duration::from_secs(settings.api_key_cache_seconds)),
            settings,
            public_url,
            store,
            clock,
            catalog,
            outbound,
            waiters: Waiters::default(),
            discoveries: Discoveries::default(),
            refreshing: Refreshing::default(),
            refusals: Refusals::default(),
            device_questions: Arc::new(Semaphore::new(device::AT_ONCE)),
            usage: Usage::default(),
            first_api_key,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        });
        if app.store.is_shared() {
            tokio::spawn(app.shutdown.clone().run_until_cancelled_owned(hear(Arc::clone(&app))));
            tokio::spawn(app.shutdown.clone().run_until_cancelled_owned(catch_up_now_and_then(Arc::clone(&app))));
        }
        schedule::start(&app);
        Ok(app)
    }

    /// Wakes those who wait for `id`: here at once, on other replicas by a hint.
    pub async fn wake(&self, id: Uuid) {
        self.waiters.wake(id);
        if let Err(error) = self.store.notify(WAKE_CHANNEL, id).await {
            tracing::warn!(%error, "other replicas were not told; their waiters look for themselves");
        }
    }

    /// Stops: waiters are answered, exchanges and refreshes under way come to their end, and what was noted is written.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = usage::write(self).await {
            tracing::warn!(%error, "when tokens were last used could not be written");
        }
    }
}

/// Opens the database the settings name, with the keys they name.
pub async fn open_store(settings: &Settings, clock: &Clock) -> Result<Store, StartError> {
    let (location, keys) = match &settings.database_url {
        Some(url) => {
            let keys = settings.encryption_keys.clone().ok_or_else(no_keys)?;
            (Location::Postgres(url.clone(), settings.database_connections), keys)
        }
        None => {
            let failed = |error| StartError::DataFolder(settings.data_dir.display().to_string(), error);
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
pub fn public_url(settings: &Settings) -> Result<String, StartError> {
    let Some(configured) = &settings.public_url else { return Ok(format!("http://{}", settings.listen)) };
    let url = Url::parse(configured).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none()
    });
    match url {
        Some(_) => Ok(configured.trim_end_matches('/').to_owned()),
        None => Err(StartError::Setting("PUBLIC_URL", format!("`{configured}` is not like https://auth.example.com"))),
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
pub fn check(settings: &Settings) -> Result<(), StartError> {
    public_url(settings)?;
    guard(settings)?;
    Catalog::load(settings.catalog_file.as_deref())?;
    if let Some(keys) = &settings.encryption_keys {
        KeyRing::parse(keys)?;
    } else if settings.database_url.is_some() {
        return Err(no_keys());
    }
    Ok(())
}

fn guard(settings: &Settings) -> Result<AddressGuard, StartError> {
    AddressGuard::parse(&settings.allow_private_upstreams)
        .map_err(|problem| StartError::Setting("ALLOW_PRIVATE_UPSTREAMS", problem))
}

fn no_keys() -> StartError {
    StartError::Setting(
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
            Ok(_) => tracing::info!(file = %file.display(), "made an encryption key; back it up beside the database"),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.error),
        }
    }
    std::fs::read_to_string(file).map(|text| SecretString::from(text.trim().to_owned()))
}

/// Hears the hints of other replicas, for ever.
async fn hear(app: Arc<App>) {
    loop {
        match app.store.listen(WAKE_CHANNEL).await {
            Ok(None) => return,
            Ok(Some(mut listener)) => {
                catch_up(&app, app.clock.now()).await;
                loop {
                    match listener.next().await {
                        Ok(Heard::Id(id)) => app.waiters.wake(id),
                        Ok(Heard::Gap) => {
                            catch_up(&app, app.clock.now()).await;
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the connection that hears other replicas was lost");
                            break;
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot listen for other replicas"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Looks, for ever, for what ended without a hint.
async fn catch_up_now_and_then(app: Arc<App>) {
    let mut since = app.clock.now();
    loop {
        tokio::time::sleep(CATCH_UP_EVERY).await;
        let now = app.clock.now();
        if app.waiters.is_empty() || catch_up(&app, since).await {
            since = now;
        }
    }
}

/// Wakes those whose authorization request ended since `since`: one statement for all who wait. Says whether it could.
async fn catch_up(app: &App, since: DateTime<Utc>) -> bool {
    match app.store.authorization_requests_finished_since(since - CATCH_UP_MARGIN).await {
        Ok(ended) => {
            for id in ended {
                app.waiters.wake(id);
            }
            true
        }
        Err(error) => {
            tracing::warn!(%error, "could not look for ended authorization requests");
            false
        }
    }
}
