//! A client of real servers that come and go.
//! Owns: which servers there are at the moment, and asking one of them.
//! Must not know: what is asked, or who ends them.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::support::binary::Server;
use crate::support::database::PUBLIC_URL;

/// Longer than this no call may take: a provider is given two seconds, and whoever waits for another's refresh a few
/// times that.
const HANGS_AFTER: Duration = Duration::from_secs(45);

/// What became of a request.
#[derive(Debug)]
pub enum Reply {
    Answer {
        status: u16,
        retry_after: Option<u64>,
        body: Value,
    },
    /// The server was killed, or is not there yet.
    Gone,
    /// Nothing came.
    Hung,
}

/// Who asks.
pub struct Client {
    http: reqwest::Client,
    key: String,
    ports: Vec<AtomicU16>,
}

impl Client {
    pub fn new(key: &str, servers: &[Server]) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
        let ports = servers.iter().map(|server| AtomicU16::new(server.port)).collect();
        Self { http, key: key.to_owned(), ports }
    }

    /// From now on that replica is this server.
    pub fn moved(&self, replica: usize, server: &Server) {
        self.ports[replica].store(server.port, Ordering::SeqCst);
    }

    fn url(&self, path: &str) -> String {
        let replica = rand::random_range(0..self.ports.len());
        format!("http://127.0.0.1:{}{path}", self.ports[replica].load(Ordering::SeqCst))
    }

    /// Asks any replica for a token.
    pub async fn authenticate(&self, provider: &str, user: &str) -> Reply {
        let body = json!({"provider": provider, "scopes": ["read"], "user_id": user}).to_string();
        let request = self.http.post(self.url("/v2/auth/authenticate")).header("content-type", "application/json");
        self.send(request.body(body)).await
    }

    pub async fn wait(&self, auth_id: &str) -> Reply {
        self.send(self.http.get(self.url(&format!("/v2/auth/wait/{auth_id}?timeout=3")))).await
    }

    /// The browser comes back to any replica. Says only how that ended.
    pub async fn come_back(&self, callback: &url::Url) -> Reply {
        let path = callback.as_str().strip_prefix(PUBLIC_URL).expect("our callback");
        self.send(self.http.get(self.url(path))).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let request = request.header("x-api-key", &self.key).send();
        let answered = async {
            let response = request.await?;
            let status = response.status().as_u16();
            let seconds = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            Ok::<_, reqwest::Error>((status, seconds, response.bytes().await?))
        };
        match tokio::time::timeout(HANGS_AFTER, answered).await {
            Err(_) => Reply::Hung,
            Ok(Err(_)) => Reply::Gone,
            Ok(Ok((status, retry_after, body))) => {
                // A page is of no interest beyond its status.
                let body = serde_json::from_slice(&body).unwrap_or_default();
                Reply::Answer { status, retry_after, body }
            }
        }
    }
}
