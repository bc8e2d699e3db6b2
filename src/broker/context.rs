//! The broker: what every rule works with.
//! Owns: putting these parts together. The HTTP server, the demo and the command line all open one.
//! Must not know: who uses it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    error::BrokerError,
    handouts::Handouts,
    limits::Limits,
    notifications::Notifications,
    open::{OpenError, consent, handout_mode, open_store, open_store_of_server, outbound, public_url},
    persist::Unstored,
    refusals::{Denial, FailedSignIn, Refusals, Replay},
    sights::Sights,
    usage::Usage,
};
use crate::{
    catalog::Catalog,
    clock::Clock,
    config::Settings,
    model::{consent::Consent, outage::Outage, subject::Tenant},
    outbound::client::Outbound,
    store::handle::Store,
};

/// How long the database may take to respond before the server counts as not ready: a load balancer asks often, and does
/// not wait for long.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The broker.
pub struct Broker {
    /// The settings it was opened with.
    pub settings: Settings,
    /// The address browsers reach the server at, without a trailing slash.
    pub public_url: String,
    /// How strictly every consent is bound at least.
    pub consent: Consent,
    /// What is stored.
    pub(in crate::broker) store: Store,
    /// The time.
    pub clock: Clock,
    /// What is known of providers.
    pub catalog: Catalog,
    /// The way out to other servers.
    pub outbound: Outbound,
    /// Who waits for what.
    pub notifications: Notifications,
    /// What those who wait see.
    pub sights: Sights,
    /// What runs at a time, and what was refused a moment ago.
    pub limits: Limits,
    /// Which grants cannot be stored for now.
    pub unstored: Unstored,
    /// Which tokens were handed out and when, as far as it is not stored yet.
    pub usage: Usage,
    /// Sign-ins to the console that failed at or after the identity provider, as far as they are not in the audit log yet.
    pub failed_sign_ins: Refusals<FailedSignIn>,
    /// Tokens that were handed out, as far as that is not in the audit log yet.
    pub handouts: Handouts,
    /// Callers without a valid key, by address, as far as they are not in the audit log yet.
    pub refused_keys: Refusals<IpAddr>,
    /// Callers who may not do what they asked for, as far as they are not in the audit log yet.
    pub denials: Refusals<Denial>,
    /// Consents that came back when or where they must not, as far as they are not in the audit log yet.
    pub replays: Refusals<Replay>,
    /// Exchanges, refreshes and jobs that run, which a stop waits for.
    pub tasks: TaskTracker,
    /// Cancelled when the process stops.
    pub shutdown: CancellationToken,
}

impl Broker {
    /// Opens the database that the settings name and brings its schema up to date. Nothing runs in the background yet.
    pub async fn open(settings: Settings, clock: Clock) -> Result<Arc<Self>, OpenError> {
        Self::open_for(false, settings, clock).await
    }

    /// The same for a server. With SQLite it must hold the lock of the data folder.
    pub async fn open_server(settings: Settings, clock: Clock) -> Result<Arc<Self>, OpenError> {
        Self::open_for(true, settings, clock).await
    }

    async fn open_for(is_server: bool, settings: Settings, clock: Clock) -> Result<Arc<Self>, OpenError> {
        let public_url = public_url(&settings)?;
        let consent = consent(&settings)?;
        let catalog = Catalog::load(settings.catalog_file.as_deref())?;
        let timeout = Duration::from_secs(settings.provider_timeout_seconds);
        let outbound = outbound(&settings, timeout)?;
        let store = if is_server {
            open_store_of_server(&settings, &clock).await?
        } else {
            open_store(&settings, &clock).await?
        };
        let tasks = TaskTracker::new();
        Ok(Arc::new(Self {
            handouts: Handouts::new(handout_mode(&settings)?, store.clone(), tasks.clone()),
            refused_keys: Refusals::default(),
            failed_sign_ins: Refusals::default(),
            denials: Refusals::default(),
            replays: Refusals::default(),
            notifications: Notifications::new(store.clone(), clock.clone()),
            settings,
            public_url,
            consent,
            store,
            clock,
            catalog,
            outbound,
            sights: Sights::default(),
            limits: Limits::default(),
            unstored: Unstored::default(),
            usage: Usage::default(),
            tasks,
            shutdown: CancellationToken::new(),
        }))
    }

    /// Makes sure that the database responds, and soon.
    pub async fn ping(&self) -> Result<(), BrokerError> {
        match timeout(PING_TIMEOUT, self.store.ping()).await {
            Ok(responded) => Ok(responded?),
            Err(_) => {
                let reason = format!("no response within {} seconds", PING_TIMEOUT.as_secs());
                Err(BrokerError::Unavailable(Outage::Unreachable, reason))
            }
        }
    }

    /// Measures what is counted where it is, for the metrics. Takes no time, and needs no database.
    pub fn measure(&self) {
        let now = self.clock.now();
        self.store.measure();
        self.handouts.measure(now);
        self.notifications.pending.forget_expired(now);
    }

    /// True when other replicas may share the database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Ends the leases of processes that are gone: with SQLite there is no other process.
    pub async fn end_leases_of_other_processes(&self) -> Result<(), BrokerError> {
        if !self.is_shared() {
            self.store.end_refresh_leases().await?;
            self.store.end_delivery_leases().await?;
        }
        Ok(())
    }

    /// The tenant this database began with, created now if this is its first start.
    pub async fn home_tenant(&self) -> Result<Tenant, BrokerError> {
        Ok(self.store.home_tenant(self.clock.now()).await?)
    }

    /// The store, for those who tell who a caller is.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Stops: no more work begins, and exchanges and refreshes that run are finished.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
