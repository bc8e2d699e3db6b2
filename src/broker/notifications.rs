//! Notifications: who in this process sleeps until something happens to an id, and what other replicas report.
//! Owns: the hub of waiters, the LISTEN connection, and the catch-up after messages that may be missing.
//! Must not know: what the ids are. A wake is only a reason to look again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use super::pending::PendingRequests;
use crate::{
    clock::Clock,
    store::{
        error::StoreError,
        handle::Store,
        notify::{Listener, Notification},
    },
    telemetry::metrics::{Gauge, METRICS},
};

/// How often a replica looks for authorization requests that ended and whose message it may have missed.
const CATCH_UP_EVERY: Duration = Duration::from_secs(5);
/// How far back such a look reaches beyond the last one: clocks differ, and commits come late.
const CATCH_UP_MARGIN: TimeDelta = TimeDelta::seconds(60);
/// How long to wait before the LISTEN connection is opened again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// What replicas report to each other, each kind on a channel of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    /// This id is worth another look.
    Wake(Uuid),
}

/// The channel of [`Message::Wake`].
const WAKE: &str = "agent_auth_wake";
/// Every channel.
const CHANNELS: [&str; 1] = [WAKE];

impl Message {
    fn channel(self) -> &'static str {
        match self {
            Self::Wake(_) => WAKE,
        }
    }

    fn payload(self) -> String {
        match self {
            Self::Wake(id) => id.to_string(),
        }
    }

    /// `None` for what is not ours: others may notify on our channels.
    fn read(channel: &str, payload: &str) -> Option<Self> {
        match channel {
            WAKE => Uuid::try_parse(payload).ok().map(Self::Wake),
            _ => None,
        }
    }
}

type Waiters = Arc<Mutex<HashMap<Uuid, Arc<Notify>>>>;

/// The notifications of this process, cheap to clone.
#[derive(Clone)]
pub struct Notifications {
    waiters: Waiters,
    store: Store,
    clock: Clock,
    /// The authorization requests that may still end.
    pub pending: PendingRequests,
}

/// A registration, which ends when it is dropped.
pub struct Waiter {
    waiters: Waiters,
    id: Uuid,
    /// Enable its `notified()` before looking, or a wake between the look and the sleep is lost.
    pub notify: Arc<Notify>,
}

impl Notifications {
    /// Over this store.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { waiters: Arc::default(), store, clock, pending: PendingRequests::default() }
    }

    /// Registers a waiter for `id`.
    #[must_use]
    pub fn register(&self, id: Uuid) -> Waiter {
        let notify = Arc::clone(self.waiters.lock().entry(id).or_default());
        Waiter { waiters: Arc::clone(&self.waiters), id, notify }
    }

    /// Wakes all who wait for `id`: here at once, on other replicas by a message.
    pub async fn wake(&self, id: Uuid) {
        self.wake_here(id);
        let message = Message::Wake(id);
        if let Err(error) = self.store.notify(message.channel(), message.payload()).await {
            tracing::warn!(event = "notification.send_failed", %error, "could not notify other replicas; their waiters poll");
        }
    }

    /// Receives the messages of other replicas, for ever.
    pub async fn listen(self) {
        let connected = METRICS.listener.get_or_init(Gauge::default);
        loop {
            match self.store.listen(&CHANNELS).await {
                Ok(None) => return,
                Ok(Some(listener)) => {
                    connected.set(1);
                    let error = self.receive(listener).await;
                    connected.set(0);
                    tracing::warn!(event = "notification.listen_lost", %error, "LISTEN connection lost");
                }
                Err(error) => {
                    tracing::warn!(event = "notification.listen_failed", %error, "cannot open the LISTEN connection");
                }
            }
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
    }

    /// Looks, for ever, for what ended without a message.
    pub async fn catch_up_repeatedly(self) {
        let mut since = self.clock.now();
        loop {
            tokio::time::sleep(CATCH_UP_EVERY).await;
            let now = self.clock.now();
            if !self.has_waiters() || self.catch_up(since).await {
                since = now;
            }
        }
    }

    /// Receives until the connection is lost, and returns why.
    async fn receive(&self, mut listener: Listener) -> StoreError {
        self.catch_up(self.clock.now()).await;
        loop {
            match listener.next().await {
                Ok(Notification { channel, payload }) => match Message::read(&channel, &payload) {
                    Some(Message::Wake(id)) => self.wake_here(id),
                    None => {}
                },
                Err(error) => return error,
            }
        }
    }

    /// Wakes those whose authorization request ended since `since`: one statement for all waiters. Returns whether it
    /// could look.
    async fn catch_up(&self, since: DateTime<Utc>) -> bool {
        match self.store.authorization_requests_finished_since(since - CATCH_UP_MARGIN).await {
            Ok(ended) => {
                for id in ended {
                    self.wake_here(id);
                }
                true
            }
            Err(error) => {
                tracing::warn!(event = "notification.catch_up_failed", %error, "could not read which authorization requests ended");
                false
            }
        }
    }

    fn wake_here(&self, id: Uuid) {
        self.pending.end(id);
        tracing::trace!(event = "notification.waiters_woken", auth_id = %id, "waiters woken");
        if let Some(notify) = self.waiters.lock().get(&id) {
            notify.notify_waiters();
        }
    }

    fn has_waiters(&self) -> bool {
        !self.waiters.lock().is_empty()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.waiters.lock();
        // The map's own reference and this one: nobody else waits.
        if Arc::strong_count(&self.notify) <= 2 {
            waiters.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::{cipher::KeyRing, store::db::Location};

    async fn hub() -> (Notifications, TempDir) {
        let folder = TempDir::new().unwrap();
        let (location, clock) = (Location::Sqlite(folder.path().join("db")), Clock::system());
        let keys = KeyRing::parse(&KeyRing::generate()).unwrap();
        let store = Store::open(&location, keys, clock.now()).await.unwrap();
        (Notifications::new(store, clock), folder)
    }

    #[tokio::test]
    async fn all_waiters_of_an_id_are_woken_and_then_forgotten() {
        let (hub, _folder) = hub().await;
        let id = Uuid::new_v4();
        let waiters = [hub.register(id), hub.register(id), hub.register(Uuid::new_v4())];
        let mut woken: Vec<_> = waiters[..2].iter().map(|waiter| Box::pin(waiter.notify.notified())).collect();
        for sleeper in &mut woken {
            sleeper.as_mut().enable();
        }
        hub.wake(id).await;
        for sleeper in woken {
            sleeper.await;
        }
        drop(waiters);
        assert!(!hub.has_waiters());
    }

    #[test]
    fn what_others_send_on_our_channel_is_ignored() {
        let id = Uuid::new_v4();
        assert_eq!(Message::read(WAKE, &Message::Wake(id).payload()), Some(Message::Wake(id)));
        assert_eq!(Message::read(WAKE, "hello"), None);
        assert_eq!(Message::read("other", &id.to_string()), None);
    }
}
