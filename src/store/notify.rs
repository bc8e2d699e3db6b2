//! Notifications between replicas: NOTIFY, and one LISTEN connection on PostgreSQL.
//! Owns: that connection. A notification is a hint: it may be lost.
//! Must not know: what channels and payloads mean.

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::{error::StoreError, handle::Store};

/// The connection that listens for messages of other replicas.
pub struct Listener(PgListener);

/// What was received.
#[derive(Debug)]
pub enum Notification {
    /// A message of another replica, or of this one.
    Message {
        /// Its channel.
        channel: String,
        /// Its text.
        payload: String,
    },
    /// The connection was lost for a while: any message may be missing.
    Reconnected,
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
        let Some(options) = self.db.postgres_options() else { return Ok(None) };
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen_all(channels.iter().copied()).await?;
        Ok(Some(Listener(listener)))
    }
}

impl Listener {
    /// Waits for the next notification.
    ///
    /// # Errors
    /// The connection is lost and cannot be opened again at once.
    pub async fn next(&mut self) -> Result<Notification, StoreError> {
        Ok(match self.0.try_recv().await? {
            None => Notification::Reconnected,
            Some(message) => {
                Notification::Message { channel: message.channel().to_owned(), payload: message.payload().to_owned() }
            }
        })
    }
}
