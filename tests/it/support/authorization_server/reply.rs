//! One answer of a scripted server, which may be as odd as a test needs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream;
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    content_type: Option<String>,
    headers: Vec<(String, String)>,
    body: Content,
    delay: Duration,
}

#[derive(Debug, Clone)]
enum Content {
    Whole(Vec<u8>),
    /// So many bytes, sent as fast as they are read.
    Flood(u64),
    /// A byte every half second, without end.
    Drip,
}

impl Reply {
    pub fn json(body: impl Into<Value>) -> Self {
        Self::text("application/json", &body.into().to_string())
    }

    pub fn text(content_type: &str, body: &str) -> Self {
        Self {
            status: 200,
            content_type: Some(content_type.to_owned()),
            headers: Vec::new(),
            body: Content::Whole(body.as_bytes().to_vec()),
            delay: Duration::ZERO,
        }
    }

    /// A body that begins like a token response and does not end before `size` bytes.
    pub fn flood(size: u64) -> Self {
        Self { body: Content::Flood(size), ..Self::text("application/json", "") }
    }

    /// A body that never ends although it never falls silent either.
    pub fn drip() -> Self {
        Self { body: Content::Drip, ..Self::text("application/json", "") }
    }

    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without_content_type(mut self) -> Self {
        self.content_type = None;
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(super) async fn give(self, sent: Arc<AtomicU64>) -> Response {
        tokio::time::sleep(self.delay).await;
        let mut response = Response::builder()
            .status(StatusCode::from_u16(self.status).expect("a status"))
            .header("cache-control", "no-store");
        if let Some(content_type) = &self.content_type {
            response = response.header("content-type", content_type);
        }
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        let body = match self.body {
            Content::Whole(bytes) => {
                sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                Body::from(bytes)
            }
            Content::Flood(size) => flood(size, sent),
            Content::Drip => Body::from_stream(stream::unfold((), async |()| {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            })),
        };
        response.body(body).expect("a sound response")
    }
}

fn flood(size: u64, sent: Arc<AtomicU64>) -> Body {
    let opening = Bytes::from_static(b"{\"access_token\":\"");
    let chunk = Bytes::from(vec![b'a'; 64 * 1024]);
    Body::from_stream(stream::unfold(0_u64, move |already| {
        let next = if already == 0 { opening.clone() } else { chunk.clone() };
        let sent = Arc::clone(&sent);
        async move {
            if already >= size {
                return None;
            }
            let length = next.len() as u64;
            sent.fetch_add(length, Ordering::SeqCst);
            Some((Ok::<_, std::io::Error>(next), already + length))
        }
    }))
}
