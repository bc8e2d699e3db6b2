//! A response that goes on: what has come of it so far, and whether it has ended.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::eventually::eventually;

const SOON: Duration = Duration::from_secs(20);

/// Read in the background; dropping it closes the connection.
pub struct Stream {
    received: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Stream {
    pub fn read(mut body: Body) -> Self {
        let received: Arc<Mutex<String>> = Arc::default();
        let to = Arc::clone(&received);
        let reading = tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    to.lock().unwrap().push_str(std::str::from_utf8(&data).expect("text"));
                }
            }
        });
        Self { received, reading }
    }

    /// What has come so far.
    pub fn text(&self) -> String {
        self.received.lock().unwrap().clone()
    }

    /// Waits until this has come.
    pub async fn brings(&self, text: &str) -> String {
        eventually(SOON, async || self.text().contains(text)).await;
        self.text()
    }

    /// Waits until it ends, and gives all of it.
    pub async fn ends(mut self) -> String {
        timeout(SOON, &mut self.reading).await.expect("it ends").unwrap();
        self.text()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
