//! The server: starting it from settings, running it, and stopping it.
//! Owns: the order of starting and stopping, and signals.
//! Must not know: routes.

mod first_key;
mod traces;

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};

use crate::{
    broker::{
        audit::{record_refusals, record_start},
        context::Broker,
        jobs,
        open::{OpenError, check, data_folder_error, private_file, private_folder},
        providers::list::shared_callbacks,
    },
    clock::Clock,
    config::Settings,
    http::{self, app::App, brand::Brand, cors::cors, limits::Limits, serve},
    identity::{api_keys::ApiKeys, langsmith::LangSmith, openid::OpenId},
    model::consent::Consent,
    telemetry::{self, metrics::METRICS},
};

/// How long work in progress may take after a stop was requested.
const STOP_WITHIN: Duration = Duration::from_secs(25);

/// Files that are open besides connections of clients and of the database: SQLite's, calls to providers, and the like.
const OTHER_FILES: u64 = 32;
/// How long a start waits before it tries again to open a database that it could not reach.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A server for fewer connections would be of no use.
const CONNECTIONS_MIN: u64 = 8;

/// Serves until it is stopped.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    begin_telemetry(&settings)?;
    protect_memory();
    check(&settings)?;
    let listener = listen(&settings.listen).await?;
    let _lock = settings.database_url.is_none().then(|| lock_folder(&settings)).transpose()?;
    let app = start(settings, Clock::system()).await?;
    let router = http::router(Arc::clone(&app));
    run(app, listener, router).await
}

/// Starts the log, and traces if the settings say where they go.
///
/// # Errors
/// One line that names the setting that is wrong.
pub fn begin_telemetry(settings: &Settings) -> anyhow::Result<()> {
    let traces = traces::open(settings)?;
    Ok(telemetry::log(&settings.log, traces)?)
}

/// Opens the broker, creates the first API key if the database has no key, and starts the jobs.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub async fn start(settings: Settings, clock: Clock) -> anyhow::Result<Arc<App>> {
    let langsmith = LangSmith::open(&settings)?;
    let limits = Limits::new(&settings).map_err(|problem| OpenError::Setting("TRUSTED_PROXIES", problem))?;
    let cors = cors(&settings.cors_origins).map_err(|problem| OpenError::Setting("CORS_ORIGINS", problem))?;
    let brand = Arc::new(Brand::open(&settings).map_err(|problem| OpenError::Setting("BRAND_LOGO", problem))?);
    let connections_max = connections_max(&settings);
    let broker = open(settings, clock).await?;
    let openid = OpenId::open(&broker.settings, &broker.home_tenant().await?)?;
    broker.end_leases_of_other_processes().await?;
    jobs::encryption_keys::announce(&broker).await?;
    first_key::create(&broker).await?;
    record_start(&broker).await?;
    let remember = Duration::from_secs(broker.settings.api_key_cache_seconds);
    let api_keys = ApiKeys::new(broker.store().clone(), remember);
    let waiting_places = Arc::new(Semaphore::new(waiting_places(connections_max)));
    let leaving = Arc::new(AtomicBool::new(false));
    let app =
        App { broker, api_keys, langsmith, openid, limits, cors, brand, leaving, connections_max, waiting_places };
    let _ = METRICS.database.set(database_kind(&app.broker));
    jobs::schedule::start(&app.broker);
    Ok(Arc::new(app))
}

/// Opens the broker. While the database cannot be reached it waits, as long as the settings say: a machine or a cluster that
/// starts as a whole starts the database at the same time.
async fn open(settings: Settings, clock: Clock) -> Result<Arc<Broker>, OpenError> {
    let until = Instant::now() + Duration::from_secs(settings.database_wait_seconds);
    loop {
        match Broker::open_server(settings.clone(), clock.clone()).await {
            Err(error) if error.may_pass() && Instant::now() < until => {
                let seconds = until.saturating_duration_since(Instant::now()).as_secs();
                tracing::warn!(
                    event = "database.awaited", %error, seconds,
                    "the server cannot start without its database; it will try again every second, for this time"
                );
                tokio::time::sleep(OPEN_AGAIN_AFTER).await;
            }
            opened => return opened,
        }
    }
}

/// Stops the broker of an application: finishes work in progress, writes the recorded uses of tokens, and no longer counts
/// as running.
pub async fn stop(app: &App) {
    app.broker.stop().await;
    if let Err(error) = record_refusals(&app.broker).await {
        tracing::warn!(event = "audit.refusals_not_written", %error, "could not record how many callers were refused");
    }
    if let Err(error) = app.broker.handouts.write().await {
        tracing::error!(
            event = "audit.handouts_lost", handouts = app.broker.handouts.waiting(), %error,
            "the server stops, and hand-outs of tokens are not in the audit log"
        );
    }
    if let Err(error) = jobs::usage::write(&app.broker).await {
        tracing::warn!(event = "usage.not_written", %error, "could not write when tokens were last used");
    }
    jobs::encryption_keys::end(&app.broker).await;
    telemetry::traces::end().await;
}

/// Binds the address before anything else is opened, so that a port in use is reported at once.
///
/// # Errors
/// One line that says why the address cannot be bound and what to do.
pub async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    serve::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is used by another program; stop it, or choose another address with --listen")
        }
        io::ErrorKind::InvalidInput => not_an_address(address),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "cannot listen on {address}: permission denied; ports below 1024 are privileged, so choose a higher one"
        ),
        _ => anyhow::anyhow!(
            "cannot listen on {address}: {error}; choose another address with --listen or AGENT_AUTH_LISTEN"
        ),
    })
}

/// The setting that says where to listen cannot be read.
#[must_use]
pub fn not_an_address(address: &str) -> anyhow::Error {
    let port = address.parse::<u16>().unwrap_or(8080);
    anyhow::anyhow!(
        "AGENT_AUTH_LISTEN: `{address}` is not an address with a port; write ADDRESS:PORT, such as 127.0.0.1:{port}"
    )
}

/// Serves until SIGTERM or SIGINT. Then the server is no longer ready. After SIGTERM it goes on serving for the time that the
/// settings say. Then it answers its waiters, and finishes work in progress.
pub async fn run(app: Arc<App>, listener: TcpListener, router: Router) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listening address is unknown")?;
    tracing::info!(
        event = "server.listening", %address, public_url = app.broker.public_url, version = env!("CARGO_PKG_VERSION"),
        database = database_kind(&app.broker),
        identity = app.broker.settings.identity, consent = app.broker.consent.as_str(), "listening"
    );
    warn_of_open_doors(&app).await;
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    let stopping = Arc::clone(&app);
    tokio::spawn(async move {
        let delay = tokio::select! {
            _ = terminate.recv() => stopping.broker.settings.shutdown_delay_seconds,
            _ = interrupt.recv() => 0,
        };
        stopping.leaving.store(true, Ordering::Relaxed);
        tracing::info!(event = "server.stopping", delay_seconds = delay, "stopping");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(delay)) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.broker.shutdown.cancel();
    });
    let serving = tokio::spawn(serve::serve(
        listener,
        router,
        app.connections_max,
        Arc::clone(&app.leaving),
        app.broker.shutdown.clone(),
    ));
    app.broker.shutdown.cancelled().await;
    let stopping = async {
        // First the requests, then the tasks that they started.
        let served = serving.await;
        stop(&app).await;
        served
    };
    if tokio::time::timeout(STOP_WITHIN, stopping).await.is_err() {
        tracing::warn!(event = "server.stop_timed_out", "the stop took too long; what was still running was cut off");
    }
    Ok(())
}

fn database_kind(broker: &Broker) -> &'static str {
    if broker.is_shared() { "postgresql" } else { "sqlite" }
}

/// Keeps the memory of this process, which holds keys and tokens, out of core dumps and away from other processes of the
/// same user. Without the right to do so it goes on.
pub fn protect_memory() {
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        tracing::warn!(event = "server.memory_not_protected", %error, "core dumps could not be switched off");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(event = "server.memory_not_protected", %error, "other processes of this user can read the memory");
    }
}

/// As many connections as the settings say and the limit of open files permits, which is raised as far as it may be.
/// Without file descriptors, not even a client that is connected could be served: there would be none for the database.
fn connections_max(settings: &Settings) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    let others = OTHER_FILES + u64::from(settings.database_connections);
    let possible = files.map_or(u64::MAX, |files| files.saturating_sub(others).max(CONNECTIONS_MIN));
    let possible = usize::try_from(possible).unwrap_or(usize::MAX);
    if possible < settings.max_connections {
        tracing::warn!(
            event = "server.few_files",
            open_files = files,
            connections = possible,
            "the limit of open files permits fewer connections than max_connections"
        );
    }
    settings.max_connections.min(possible)
}

/// How many of the connections may wait for a consent at the same time.
fn waiting_places(connections: usize) -> usize {
    connections.saturating_sub((connections / 20).clamp(4, 500)).clamp(1, Semaphore::MAX_PERMITS)
}

/// Says at start what the settings, or records of earlier versions, leave open.
async fn warn_of_open_doors(app: &App) {
    if app.broker.consent == Consent::Direct {
        tracing::warn!(
            event = "consent.not_bound",
            "CONSENT=direct: a person who is sent the URL of another user's consent, and approves it, gives that user their \
             grant; CONSENT=confirm binds a consent to the browser that began it"
        );
    }
    match shared_callbacks(&app.broker).await {
        Ok(shared) if !shared.is_empty() => tracing::warn!(
            event = "provider.callback_shared",
            providers = shared.join(", "),
            "providers of several workspaces share a callback address, so the administrator of one can get codes of another; \
             delete the later ones and add them again, and each gets an address of its own"
        ),
        // A database that does not answer is reported by whatever needs it.
        Ok(_) | Err(_) => {}
    }
}

/// Locks the data folder for one server: with SQLite, waiters are woken only within the process.
pub fn lock_folder(settings: &Settings) -> anyhow::Result<File> {
    let folder = &settings.data_dir;
    let lock = private_folder(folder)
        .and_then(|()| private_file(&folder.join("serve.lock")))
        .map_err(|error| data_folder_error(folder, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(_) => bail!(
            "another agent-auth uses the data folder {}; stop it, or use PostgreSQL for several servers",
            folder.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_the_process_is_protected() {
        protect_memory();
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }

    #[test]
    fn no_more_connections_are_accepted_than_settings_and_open_files_permit() {
        let few = Settings { max_connections: 3, ..Settings::default() };
        assert_eq!(connections_max(&few), 3);
        assert_eq!([1, 8, 24, 20_000].map(waiting_places), [1, 4, 20, 19_500]);
        let many = Settings { max_connections: usize::MAX, ..Settings::default() };
        if let Some(files) = getrlimit(Resource::Nofile).maximum {
            assert!(u64::try_from(connections_max(&many)).unwrap() < files);
        }
    }
}
