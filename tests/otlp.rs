//! Traces of the real server, as a scripted collector receives them over HTTP. Built only with the feature `otlp`.
//! Owns: the reading of the protobuf that arrives, as far as the tests need it.
//! Must not know: how spans are made.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failure of the test")]

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};

const KEY: &str = "a-bootstrap-key-of-thirty-two-characters";
const SECRETS: [&str; 3] = [KEY, "acme-secret", "the-access-token"];
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector of traces and a provider in one, on a port of its own.
#[derive(Clone, Default)]
struct Scripted {
    batches: Arc<Mutex<Vec<Bytes>>>,
    token_requests: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Scripted {
    async fn start(&self) -> String {
        let (batches, requests) = (Arc::clone(&self.batches), Arc::clone(&self.token_requests));
        let collect = move |headers: HeaderMap, batch: Bytes| async move {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            batches.lock().unwrap().push(batch);
            StatusCode::OK
        };
        let token = move |headers: HeaderMap| async move {
            requests.lock().unwrap().push(headers);
            Json(json!({"access_token": "the-access-token", "expires_in": 3600, "token_type": "Bearer"}))
        };
        let router = Router::new().route("/v1/traces", post(collect)).route("/token", post(token));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = router.layer(DefaultBodyLimit::disable());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }

    fn spans(&self) -> Vec<Span> {
        self.batches.lock().unwrap().iter().flat_map(|batch| spans(batch)).collect()
    }
}

/// The server as a process, with its own data folder.
struct Server {
    process: Child,
    url: String,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(scripted: &str, more: &[(&str, &str)]) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        #[expect(clippy::disallowed_methods, reason = "a test's own client")]
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(env!("CARGO_BIN_EXE_agent-auth"))
            .arg("serve")
            .env_clear()
            .env("AGENT_AUTH_LISTEN", format!("127.0.0.1:{port}"))
            .env("AGENT_AUTH_DATA_DIR", folder.path())
            .env("AGENT_AUTH_BOOTSTRAP_API_KEY", KEY)
            .env("AGENT_AUTH_ALLOW_PRIVATE_UPSTREAMS", "127.0.0.1")
            .env("AGENT_AUTH_OTLP_ENDPOINT", scripted)
            .envs(more.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Self { process, url: format!("http://127.0.0.1:{port}"), http, _folder: folder };
        for _ in 0..3000 {
            if server.http.get(format!("{}/readyz", server.url)).send().await.is_ok_and(|answer| answer.status() == 200)
            {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server does not start");
    }

    async fn post(&self, path: &str, body: Value, traceparent: Option<&str>) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).header("X-API-Key", KEY);
        let request = request.header("content-type", "application/json").header("X-Request-Id", "request-7");
        let request = traceparent.into_iter().fold(request, |request, value| request.header("traceparent", value));
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Adds a provider, and lets an agent get a token without a person, in the trace [`TRACE`].
    async fn get_a_token(&self, scripted: &str) {
        let provider = json!({
            "provider_id": "acme", "name": "Acme Inc.", "grant_type": "client_credentials", "client_id": "acme-client",
            "client_secret": "acme-secret", "token_url": format!("{scripted}/token"),
        });
        let (status, body) = self.post("/v2/auth/providers", provider, None).await;
        assert!((200..300).contains(&status), "{status} {body}");
        let wanted = json!({"provider": "acme", "scopes": ["read"], "user_id": "alice"});
        let (status, body) = self.post("/v2/auth/authenticate", wanted, Some(&format!("00-{TRACE}-{PARENT}-01"))).await;
        assert_eq!((status, &body["token"]), (200, &json!("the-access-token")), "{body}");
    }

    /// Stops it, which sends what was not sent yet. Returns its log.
    fn stop(mut self) -> String {
        let process = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.process.stderr.take().unwrap(), &mut log).unwrap();
        assert!(self.process.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_of_the_callers_trace_with_its_route_and_its_calls() {
    let scripted = Scripted::default();
    let address = scripted.start().await;
    let server = Server::start(&address, &[]).await;
    server.get_a_token(&address).await;
    let (status, _) = server.post("/v2/auth/authenticate", json!({"provider": "none", "scopes": []}), None).await;
    assert!((400..500).contains(&status), "{status}");
    server.stop();

    let spans = scripted.spans();
    let request = one(&spans, |span| span.trace == TRACE && span.kind == SERVER);
    assert_eq!(request.parent, PARENT);
    assert_eq!(request.name, "POST /v2/auth/authenticate");
    assert_eq!(request.attribute("http.route"), Some("/v2/auth/authenticate"));
    assert_eq!(request.attribute("http.request.method"), Some("POST"));
    assert_eq!(request.attribute("http.response.status_code"), Some("200"));
    assert_eq!(request.attribute("request_id"), Some("request-7"));
    let call = one(&spans, |span| span.trace == TRACE && span.kind == CLIENT);
    assert_eq!((call.name.as_str(), &call.parent), ("token", &request.id));
    assert_eq!(call.attribute("agent_auth.provider"), Some("acme"));
    assert_eq!(call.attribute("agent_auth.outcome"), Some("ok"));
    let refused = one(&spans, |span| span.name == request.name && span.trace != TRACE);
    assert_eq!(
        (refused.parent.as_str(), refused.attribute("http.response.status_code")),
        ("", Some(&*status.to_string()))
    );
    assert!(refused.attribute("error.type").is_some());
    // Neither the monitors' requests nor those to the collector.
    assert_eq!(spans.len(), 4, "{spans:?}");
    let sent = scripted.batches.lock().unwrap().concat();
    for secret in SECRETS {
        assert!(!sent.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret} is in a span");
    }
    let headers = scripted.token_requests.lock().unwrap();
    assert_eq!(headers.len(), 1);
    assert!(!headers[0].contains_key("traceparent") && !headers[0].contains_key("tracestate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_receive_the_trace_context_where_the_setting_says_so() {
    let scripted = Scripted::default();
    let address = scripted.start().await;
    let server = Server::start(&address, &[("AGENT_AUTH_TRACE_CONTEXT_TO_PROVIDERS", "on")]).await;
    server.get_a_token(&address).await;
    server.stop();
    let spans = scripted.spans();
    let call = one(&spans, |span| span.trace == TRACE && span.kind == CLIENT);
    let headers = scripted.token_requests.lock().unwrap();
    assert_eq!(headers[0]["traceparent"], format!("00-{TRACE}-{}-01", call.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_no_request_and_is_reported_once() {
    let scripted = Scripted::default();
    let address = scripted.start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(&format!("http://{nobody}"), &[("OTEL_BSP_SCHEDULE_DELAY", "50")]).await;
    server.get_a_token(&address).await;
    let log = server.stop();
    assert_eq!(log.matches("traces.not_sent").count(), 1, "{log}");
    assert_eq!(log.matches("opentelemetry").count(), 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_no_address_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-auth"));
    command.arg("serve").env_clear().env("AGENT_AUTH_DATA_DIR", folder.path());
    let output = command.env("AGENT_AUTH_OTLP_ENDPOINT", "collector:4318").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert_eq!(said.trim(), "agent-auth: AGENT_AUTH_OTLP_ENDPOINT: `collector:4318` is not like http://collector:4318");
}

fn one(spans: &[Span], is_it: impl Fn(&Span) -> bool) -> &Span {
    let found: Vec<&Span> = spans.iter().filter(|span| is_it(span)).collect();
    assert_eq!(found.len(), 1, "{spans:#?}");
    found[0]
}

// The protobuf of OTLP, opentelemetry/proto/trace/v1/trace.proto.

const SERVER: u64 = 2;
const CLIENT: u64 = 3;

#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    attributes: Vec<(String, String)>,
}

impl Span {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A field of a message: its number, and its value as a number or as bytes.
struct Field<'a> {
    number: u64,
    value: u64,
    bytes: &'a [u8],
}

fn spans(request: &[u8]) -> Vec<Span> {
    let of = |message, number| fields(message).into_iter().filter(move |field| field.number == number);
    let resources = of(request, 1);
    let scopes = resources.flat_map(|resource| of(resource.bytes, 2));
    scopes.flat_map(|scope| of(scope.bytes, 2)).map(|span| span_of(span.bytes)).collect()
}

fn span_of(message: &[u8]) -> Span {
    let fields = fields(message);
    let bytes =
        |number| fields.iter().find(|field| field.number == number).map(|field| field.bytes).unwrap_or_default();
    Span {
        trace: hex::encode(bytes(1)),
        id: hex::encode(bytes(2)),
        parent: hex::encode(bytes(4)),
        name: text(bytes(5)),
        kind: fields.iter().find(|field| field.number == 6).map_or(0, |field| field.value),
        attributes: fields.iter().filter(|field| field.number == 9).map(|field| attribute(field.bytes)).collect(),
    }
}

fn attribute(message: &[u8]) -> (String, String) {
    let parts = fields(message);
    let value = fields(parts[1].bytes);
    let value = match value[0].number {
        1 => text(value[0].bytes),
        _ => value[0].value.to_string(),
    };
    (text(parts[0].bytes), value)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn fields(mut message: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let (value, length) = match tag & 7 {
            0 => (varint(&mut message), 0),
            1 => (0, 8),
            2 => (0, usize::try_from(varint(&mut message)).unwrap()),
            5 => (0, 4),
            other => panic!("wire type {other}"),
        };
        let (bytes, rest) = message.split_at(length);
        fields.push(Field { number: tag >> 3, value, bytes });
        message = rest;
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first().unwrap();
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}
