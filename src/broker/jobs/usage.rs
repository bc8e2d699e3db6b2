//! Storing when tokens were last handed out.
//! Owns: how often, and how many at a time.
//! Must not know: when a use is noted.

use std::time::Duration;

use crate::{broker::context::Broker, store::error::StoreError};

/// How often the notes are written. A server that is killed loses those since the last write.
pub(super) const EVERY: Duration = Duration::from_mins(1);
/// How many tokens one transaction writes. It locks their rows until its end, and a refresh of one of them has to
/// wait for it.
const ROWS_MAX: usize = 200;

/// Writes what was noted. What could not be written is kept for the next time.
pub async fn write(broker: &Broker) -> Result<(), StoreError> {
    let uses = broker.usage.take();
    let mut written = 0;
    for some in uses.chunks(ROWS_MAX) {
        if let Err(error) = broker.store.write_uses(some).await {
            broker.usage.give_back(&uses[written..]);
            return Err(error);
        }
        written += some.len();
    }
    Ok(())
}
