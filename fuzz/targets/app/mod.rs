//! The whole application on a new SQLite database, for the targets that send requests to its router.

use agent_auth::{clock::Clock, config::Settings, http::router, server};
use axum::{Router, body::Body, http::Request};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

pub const KEY: &str = "fuzz-bootstrap-key-0123456789abcdef";

pub struct App {
    runtime: Runtime,
    router: Router,
    _folder: TempDir,
}

impl App {
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let settings = Settings {
            public_url: Some("http://127.0.0.1:8080".to_owned()),
            data_dir: folder.path().to_owned(),
            bootstrap_api_key: Some(SecretString::from(KEY)),
            ..Settings::default()
        };
        let runtime = Runtime::new().expect("a runtime");
        let app = runtime.block_on(server::start(settings, Clock::system())).expect("it starts");
        Self { runtime, router: router(app), _folder: folder }
    }

    /// Sends a request, which must not end in a bug of ours.
    pub fn send(&self, request: Request<Body>) {
        let answer = self.runtime.block_on(self.router.clone().oneshot(request)).expect("the router never fails");
        assert_ne!(answer.status().as_u16(), 500);
    }
}
