//! `agent-auth serve`: from settings to a listening server, and to its end.
//! Owns: the order of starting and stopping, and signals.
//! Must not know: routes.

use std::{fs::File, io, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    app::{App, check, private_file, private_folder},
    clock::Clock,
    config::Settings,
    http::{self, serve},
    telemetry,
    terminal::print,
};

/// What is under way when the server is told to stop gets this long.
const STOP_WITHIN: Duration = Duration::from_secs(25);

pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::log(&settings.log).context("AGENT_AUTH_LOG")?;
    check(&settings)?;
    let listener = listen(&settings.listen).await?;
    let _lock = settings.database_url.is_none().then(|| lock_folder(&settings)).transpose()?;
    let app = App::start(settings, Clock::system()).await?;
    if let Some(key) = &app.first_api_key {
        print(&format!("First start. This admin API key is shown once:\n{}", key.expose_secret()))?;
    }
    run(app, listener).await
}

/// Binds the address before anything else is touched, so that a taken port is told at once.
pub async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    serve::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is taken by another program; stop it, or choose another address with --listen")
        }
        _ => anyhow::anyhow!("cannot listen on {address}: {error}; choose another address with --listen"),
    })
}

/// Serves until SIGTERM or SIGINT. Then the server is no longer ready, waiters are answered, and what is under way
/// finishes.
pub async fn run(app: Arc<App>, listener: TcpListener) -> anyhow::Result<()> {
    telemetry::count();
    let address = listener.local_addr().context("the listening address is unknown")?;
    tracing::info!(
        %address, public_url = app.public_url, version = env!("CARGO_PKG_VERSION"),
        database = if app.store.is_shared() { "postgresql" } else { "sqlite" },
        consent = app.settings.consent, "agent-auth serves"
    );
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let stopping = Arc::clone(&app);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping");
        stopping.shutdown.cancel();
    });
    let connections_max = app.settings.max_connections;
    let serving =
        tokio::spawn(serve::serve(listener, http::router(Arc::clone(&app)), connections_max, app.shutdown.clone()));
    app.shutdown.cancelled().await;
    let stopping = async {
        // First the requests, then what they began and noted.
        let served = serving.await;
        app.stop().await;
        served
    };
    if tokio::time::timeout(STOP_WITHIN, stopping).await.is_err() {
        tracing::warn!("not everything under way ended in time");
    }
    Ok(())
}

/// One server a data folder: with SQLite, waiters are woken inside the process alone.
pub fn lock_folder(settings: &Settings) -> anyhow::Result<File> {
    let folder = &settings.data_dir;
    let lock = private_folder(folder)
        .and_then(|()| private_file(&folder.join("serve.lock")))
        .with_context(|| format!("the data folder {}", folder.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(_) => bail!(
            "another agent-auth serves the data folder {}; stop it, or use PostgreSQL for several servers",
            folder.display()
        ),
    }
}
