//! The whole application on a new SQLite database, with a token endpoint beside it, for the targets that send requests to
//! its router. It has providers of each kind, so that a request can get as far as a stored token.
#![allow(dead_code, reason = "each target uses a part of it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use agent_auth::{clock::Clock, config::Settings, http::router, server};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderMap, Method, Request, header::LOCATION},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use url::Url;

const KEY: &str = "fuzz-bootstrap-key-0123456789abcdef";
const PUBLIC_URL: &str = "http://127.0.0.1:8080";
const BROWSER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

pub struct App {
    runtime: Runtime,
    router: Router,
    _folder: TempDir,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl App {
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let settings = Settings {
            public_url: Some(PUBLIC_URL.to_owned()),
            data_dir: folder.path().to_owned(),
            bootstrap_api_key: Some(SecretString::from(KEY)),
            allow_private_upstreams: "127.0.0.1".to_owned(),
            consent: "direct".to_owned(),
            // A run sends more than any client.
            failed_keys_per_minute: 0,
            pending_requests_per_workspace: 0,
            pending_requests_per_user: 0,
            ..Settings::default()
        };
        let runtime = Runtime::new().expect("a runtime");
        let app = runtime.block_on(server::start(settings, Clock::system())).expect("it starts");
        let app = Self { runtime, router: router(app), _folder: folder };
        let token_url = token_endpoint();
        for (id, consent) in
            [("acme", "direct"), ("patched", "direct"), ("confirmed", "confirm"), ("verified", "verify")]
        {
            app.create(&json!({
                "provider_id": id, "name": id, "client_id": "c", "client_secret": "s", "auth_url": "https://acme.invalid/a",
                "token_url": token_url, "consent": consent, "return_urls": ["https://app.invalid/done"],
            }));
        }
        app.create(&json!({"provider_id": "key", "name": "Key", "grant_type": "api_key"}));
        app
    }

    fn create(&self, provider: &Value) {
        assert_eq!(self.post("/v2/auth/providers", &provider.to_string()).status, 200, "{provider}");
    }

    /// Sends a request, which must not end in a bug of ours.
    pub fn send(&self, method: Method, path: &str, body: &[u8]) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8080");
        // The key of an agent, the cookie and the origin of a browser: each route looks for its own.
        let request = request.header("x-api-key", KEY).header("origin", PUBLIC_URL);
        let request = request.header("cookie", format!("agent-auth={BROWSER}")).body(Body::from(body.to_vec()));
        self.runtime.block_on(async {
            let answer =
                self.router.clone().oneshot(request.expect("a request")).await.expect("the router never fails");
            let (parts, body) = answer.into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a whole body");
            assert_ne!(parts.status.as_u16(), 500, "{body:?}");
            Answer { status: parts.status.as_u16(), headers: parts.headers, body }
        })
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, body.as_bytes())
    }

    /// A new authorization request of Alice: its id, and where she is sent.
    pub fn begin(&self, provider: &str) -> (String, Url) {
        let body = json!({"provider": provider, "scopes": ["read"], "user_id": "alice", "force_new": true});
        let answer = self.post("/v2/auth/authenticate", &body.to_string());
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let text = |name: &str| answer[name].as_str().unwrap_or_else(|| panic!("{name}: {answer}"));
        (text("auth_id").to_owned(), Url::parse(text("url")).expect("a URL"))
    }

    /// The state of a new authorization request of Alice, who went on to the provider.
    pub fn state(&self, provider: &str) -> String {
        self.went_on(provider).1
    }

    fn went_on(&self, provider: &str) -> (String, String) {
        let (id, url) = self.begin(provider);
        let is_page = url.path().starts_with("/connect/");
        let url = if is_page { redirect(&self.post(url.path(), "decision=continue")) } else { url };
        (id, value(&url, "state"))
    }

    /// A new authorization request whose person came back, and that waits for the application: its id and reference.
    pub fn awaiting_confirmation(&self) -> (String, String) {
        let (id, state) = self.went_on("verified");
        let path = format!("/host-oauth-callback/verified?code=c&state={state}");
        (id, value(&redirect(&self.send(Method::GET, &path, b"")), "reference"))
    }

    /// The id of a new token of Alice.
    pub fn token(&self) -> String {
        let form = format!("state={}&key=k", self.state("key"));
        assert_eq!(self.post("/host-api-key/key", &form).status, 303);
        let tokens = self.send(Method::GET, "/v2/auth/tokens?provider_id=key&user_id=alice", b"");
        let tokens: Value = serde_json::from_slice(&tokens.body).expect("JSON");
        let id = tokens[0]["id"].as_str();
        id.unwrap_or_else(|| panic!("{tokens}")).to_owned()
    }
}

fn redirect(answer: &Answer) -> Url {
    let location = answer.headers.get(LOCATION).unwrap_or_else(|| panic!("no redirect: {:?}", answer.body));
    Url::parse(location.to_str().expect("text")).expect("a URL")
}

fn value(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("{name}: {url}")).1.into_owned()
}

/// The address of a token endpoint that grants a token for everything.
fn token_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/token", listener.local_addr().expect("an address"));
    thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = grant(&stream)));
    url
}

fn grant(mut stream: &TcpStream) -> std::io::Result<()> {
    let (mut request, mut length, mut line) = (BufReader::new(stream), 0, String::new());
    while request.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    request.read_exact(&mut vec![0; length])?;
    let body = r#"{"access_token":"at","refresh_token":"rt","token_type":"Bearer","expires_in":3600}"#;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ";
    write!(stream, "{head}{}\r\n\r\n{body}", body.len())
}
