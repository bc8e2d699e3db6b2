//! Hints between replicas: one LISTEN connection on PostgreSQL.
//! Owns: that connection, and telling that hints may have been lost.
//! Must not know: what the ids are.

use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use super::{Store, StoreError};

/// The connection that hears what other replicas tell.
pub struct Listener(PgListener);

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// This id is worth a look.
    Id(Uuid),
    /// The connection was lost for a while: anything may have happened.
    Gap,
}

impl Store {
    /// Listens to a channel. `None` on SQLite, where there is nobody to hear.
    pub async fn listen(&self, channel: &str) -> Result<Option<Listener>, StoreError> {
        let Some(options) = self.db.postgres_options() else { return Ok(None) };
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(channel).await?;
        Ok(Some(Listener(listener)))
    }
}

impl Listener {
    /// Waits for the next hint.
    ///
    /// # Errors
    /// [`StoreError`] when the connection is lost and cannot be had again at once.
    pub async fn next(&mut self) -> Result<Heard, StoreError> {
        loop {
            match self.0.try_recv().await? {
                None => return Ok(Heard::Gap),
                Some(hint) => {
                    // Others may notify on our channel; what is no id of ours is nothing to us.
                    if let Ok(id) = Uuid::try_parse(hint.payload()) {
                        return Ok(Heard::Id(id));
                    }
                }
            }
        }
    }
}
