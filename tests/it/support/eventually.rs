//! Waiting for something that happens in the background.

use std::time::{Duration, Instant};

/// Checks again and again until `holds`; fails when that takes longer than `limit`.
pub async fn eventually(limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < limit, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
