//! Notifications between replicas: NOTIFY, and one LISTEN connection on PostgreSQL.
//! Owns: that connection. A notification is a hint: it may be lost.
//! Must not know: what channels and payloads mean.

use std::time::Duration;

use sqlx::{Acquire, Connection, postgres::PgListener};
use tokio::time::timeout;

use super::{error::StoreError, handle::Store, postgres::in_time};
use crate::model::outage::Outage;

/// How long a connection on which nothing comes is trusted.
const TEST_EVERY: Duration = Duration::from_secs(5);

/// The connection that listens for messages of other replicas.
pub struct Listener(PgListener);

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
        Ok(self.db.listen(channels).await?.map(Listener))
    }
}

impl Listener {
    /// Waits for the next notification. A connection on which nothing comes is tested from time to time: a server that
    /// is frozen or cut off does not close it.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn next(&mut self) -> Result<Notification, StoreError> {
        loop {
            match timeout(TEST_EVERY, self.0.try_recv()).await {
                Ok(Ok(Some(message))) => {
                    return Ok(Notification {
                        channel: message.channel().to_owned(),
                        payload: message.payload().to_owned(),
                    });
                }
                Ok(Ok(None)) => return Err(StoreError::Unavailable(Outage::Unreachable, "it was closed".into())),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => in_time(async { self.0.acquire().await?.ping().await }).await?,
            }
        }
    }
}
