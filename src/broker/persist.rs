//! Writing what must not be lost.
//! Owns: how long a write is tried again.
//! Must not know: what is written.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};

use crate::store::error::StoreError;

/// How long a grant that was obtained waits for a database that cannot be reached.
const PERSIST_FOR: Duration = Duration::from_mins(5);

/// Writes, again and again while the database cannot be reached or another writer is in the way.
pub(in crate::broker) async fn persist<T, F>(write: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_secs(1))
        .without_max_times();
    let begun = Instant::now();
    write.retry(backoff).when(|error| error.may_pass() && begun.elapsed() < PERSIST_FOR).await
}
