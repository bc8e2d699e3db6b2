//! Notifications between replicas: NOTIFY, and one LISTEN connection on PostgreSQL.
//! Owns: that connection, and that changes of tokens count as reported only while it works. Other notifications are hints.
//! Must not know: what the channels and payloads of others mean.

use std::time::{Duration, Instant};

use sqlx::{
    Acquire, Connection,
    postgres::{PgListener, PgNotification},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    error::StoreError,
    handle::Store,
    postgres::in_time,
    token_changes::{CHANNEL, Listening, TokenChanges},
};
use crate::model::outage::Outage;

/// How often the connection is tested: a server that is frozen or cut off does not close it.
const TEST_EVERY: Duration = Duration::from_secs(1);

/// The channel on which a listener makes sure that it receives what other connections send.
const PROBES: &str = "agent_auth_probe";

/// The connection that listens for messages of other replicas.
pub struct Listener {
    connection: PgListener,
    changes: TokenChanges,
    /// Its text, and when it was sent.
    probe: (String, Instant),
    /// Set when the probe has arrived.
    listening: Option<Listening>,
    /// When the last test was sent.
    tested_at: Instant,
    /// Set when a test succeeded, and what came before the response is not read yet.
    is_confirmed: bool,
}

/// A message of another replica, or of this one.
#[derive(Debug)]
pub struct Notification {
    /// Its channel.
    pub channel: String,
    /// Its text.
    pub payload: String,
}

impl Store {
    /// Sends a message to every replica that listens. On SQLite this does nothing.
    pub async fn notify(&self, channel: &'static str, payload: String) -> Result<(), StoreError> {
        if self.is_shared() {
            // A hint that is sent twice does no harm, so it may be tried again as a read is.
            self.db.query("SELECT pg_notify($1, $2)").bind(channel.to_owned()).bind(payload).read().execute().await?;
        }
        Ok(())
    }

    /// Listens to these channels. `None` on SQLite, where there are no other replicas.
    pub async fn listen(&self, channels: &[&'static str]) -> Result<Option<Listener>, StoreError> {
        let counts = self.token_changes.is_counting();
        let own = counts.then_some([CHANNEL, PROBES]).into_iter().flatten();
        let channels: Vec<&str> = channels.iter().copied().chain(own).collect();
        let Some(connection) = self.db.listen(&channels).await? else { return Ok(None) };
        let now = Instant::now();
        let probe = (Uuid::new_v4().to_string(), now);
        if counts {
            self.notify(PROBES, probe.0.clone()).await?;
        }
        let changes = self.token_changes.clone();
        Ok(Some(Listener { connection, changes, probe, listening: None, tested_at: now, is_confirmed: false }))
    }
}

impl Listener {
    /// Waits for the next notification of the channels that were named.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn next(&mut self) -> Result<Notification, StoreError> {
        loop {
            let Some(message) = self.receive().await? else { continue };
            let (channel, payload) = (message.channel(), message.payload());
            match (channel, &self.listening) {
                (CHANNEL, Some(listening)) => listening.report(payload),
                // Of a pooler that lends connections for a transaction, LISTEN is accepted, and nothing arrives.
                (PROBES, None) if payload == self.probe.0 => {
                    let listening = self.changes.listen();
                    listening.confirm(self.probe.1);
                    self.listening = Some(listening);
                }
                // Before the probe has arrived, nothing is remembered; those of others say nothing.
                (CHANNEL | PROBES, _) => {}
                _ => return Ok(Notification { channel: channel.to_owned(), payload: payload.to_owned() }),
            }
        }
    }

    /// The next message, if there is one before the next test. The server has sent what it had to report before it
    /// responds to a test, so when that is read, all changes before the test are known.
    async fn receive(&mut self) -> Result<Option<PgNotification>, StoreError> {
        if let Some(message) = self.connection.next_buffered() {
            return Ok(Some(message));
        }
        if std::mem::take(&mut self.is_confirmed)
            && let Some(listening) = &self.listening
        {
            listening.confirm(self.tested_at);
        }
        let left = TEST_EVERY.saturating_sub(self.tested_at.elapsed());
        if left.is_zero() {
            self.tested_at = Instant::now();
            in_time(async { self.connection.acquire().await?.ping().await }).await?;
            self.is_confirmed = true;
            return Ok(None);
        }
        match timeout(left, self.connection.try_recv()).await {
            Ok(Ok(Some(message))) => Ok(Some(message)),
            Ok(Ok(None)) => Err(StoreError::Unavailable(Outage::Unreachable, "it was closed".into())),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }
}
