//! Providers whose responses repeat what was sent to them: no secret of a request gets into an answer, the log or the
//! database.

use axum::http::Method;
use serde_json::{Value, json};
use url::{Position, Url, form_urlencoded};

use crate::support::authorization_server::{AuthorizationServer, Reply, Request, TOKEN};
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::{Database, random_text};

both_databases! {
    a_code_exchange_repeats_nothing,
    a_refresh_repeats_nothing,
    client_credentials_repeat_nothing,
    a_device_repeats_nothing,
    a_revocation_repeats_nothing,
    a_registration_repeats_nothing,
    a_userinfo_endpoint_repeats_nothing,
    a_callback_repeats_nothing,
    a_token_response_repeats_nothing_beside_its_tokens,
}

/// Everything that is verbose.
const LOG: &str = "trace,sqlx=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace,tower_http=trace";
const SECRET: &str = "the client/secret+of=acme";

/// Fields of a request that are no secrets.
const PUBLIC: [&str; 8] = [
    "grant_type",
    "client_id",
    "redirect_uri",
    "scope",
    "resource",
    "token_type_hint",
    "client_name",
    "application_type",
];

/// What a provider that is too helpful says: the request's credentials, word for word, encoded and cut.
fn echo(request: &Request) -> Reply {
    let fields: Vec<(String, String)> = form_urlencoded::parse(&request.body).into_owned().collect();
    let secrets: Vec<&str> =
        fields.iter().filter(|(name, _)| !PUBLIC.contains(&name.as_str())).map(|(_, value)| value.as_str()).collect();
    let encoded: String = form_urlencoded::byte_serialize(secrets.concat().as_bytes()).collect();
    let first = secrets.first().copied().unwrap_or_default();
    let cut: String = first.chars().take(24).collect();
    let description =
        format!("{} {} {cut}... {encoded} were refused", request.header("authorization"), secrets.join(" "));
    let error = if first.is_empty() { "invalid_request" } else { first };
    Reply::json(json!({"error": error, "error_description": description, "message": description})).status(400)
}

struct Story {
    server: Server,
    database: Database,
    provider: AuthorizationServer,
    secrets: Vec<String>,
    answers: String,
}

impl Story {
    async fn begin(database: Database) -> Self {
        let mut environment = database.environment();
        environment.push(("AGENT_AUTH_LOG".to_owned(), LOG.to_owned()));
        let server = Server::start(&environment).await;
        let provider = AuthorizationServer::custom(echo).await;
        Self { server, database, provider, secrets: vec![SECRET.to_owned()], answers: String::new() }
    }

    async fn register(&self, more: Value) {
        let definition = with(self.provider.definition("acme"), json!({"client_secret": SECRET}));
        self.post("/v2/auth/providers", &with(definition, more)).await;
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.server.post(&self.database.bootstrap_key, path, body).await
    }

    /// Notes the answer to a request that fails or not.
    async fn send(&mut self, method: Method, path: &str, body: &Value) -> u16 {
        let answer = self.server.try_send(method, &self.database.bootstrap_key, path, body).await;
        let (status, text) = answer.expect("an answer");
        self.answers.push_str(&text);
        status
    }

    async fn authenticate(&mut self, more: Value) -> u16 {
        self.send(Method::POST, "/v2/auth/authenticate", &with(asking("alice", &["read"]), more)).await
    }

    /// Alice is sent to the provider.
    async fn pending(&mut self) -> (String, Url) {
        let answer =
            self.post("/v2/auth/authenticate", &with(asking("alice", &["read"]), json!({"force_new": true}))).await;
        let callback = self.provider.consent(answer["url"].as_str().expect("a url"));
        for (name, value) in callback.query_pairs().filter(|(name, _)| ["code", "state"].contains(&&**name)) {
            assert!(value.len() > 12, "{name}");
            self.secrets.push(value.into_owned());
        }
        (answer["auth_id"].as_str().expect("an auth_id").to_owned(), callback)
    }

    /// Alice comes back, and those who wait for her look.
    async fn come_back(&mut self, auth_id: &str, callback: &Url) -> u16 {
        let (status, page) = self.server.get(&callback[Position::BeforePath..]).await.expect("a page");
        self.answers.push_str(&page);
        self.send(Method::GET, &format!("/v2/auth/wait/{auth_id}?timeout=0"), &Value::Null).await;
        status
    }

    /// Alice connects, and gets this.
    async fn connect(&mut self, response: Value) {
        let (auth_id, callback) = self.pending().await;
        self.provider.answer_token(Reply::json(response));
        let (status, _) = self.server.get(&callback[Position::BeforePath..]).await.expect("a page");
        assert_eq!(status, 303);
        let _ = auth_id;
    }

    /// A token that is due at once.
    fn expired(&mut self) -> Value {
        let (access, refresh) = (random_text("access-"), random_text("refresh-"));
        self.secrets.extend([access.clone(), refresh.clone()]);
        json!({"access_token": access, "refresh_token": refresh, "expires_at": 1_700_000_000})
    }

    async fn end(self, at_least: usize) {
        let Self { server, database, provider, secrets, answers } = self;
        let echoed = provider.all_requests().len();
        assert!(echoed >= at_least, "{echoed} requests");
        for request in provider.all_requests() {
            let verifier = request.value("code_verifier").map(str::to_owned);
            assert!(verifier.is_none_or(|verifier| !answers.contains(&verifier)));
        }
        let (status, log) = server.stop().await;
        assert!(status.success(), "{status}");
        let stored = String::from_utf8_lossy(&database.everything_at_rest().await).into_owned();
        for (text, place) in [(answers, "an answer"), (log, "the log"), (stored, "the database")] {
            for secret in &secrets {
                let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
                for form in [secret, &encoded, &secret[..24]] {
                    let line = text.lines().find(|line| line.contains(form));
                    assert!(line.is_none(), "{form} is in {place}: {}", line.unwrap_or_default());
                }
            }
            assert!(!text.contains("Basic YWNtZS"), "the client's credentials are in {place}");
        }
    }
}

async fn a_code_exchange_repeats_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({"token_endpoint_auth_method": "client_secret_basic"})).await;
    let (auth_id, callback) = story.pending().await;
    assert_eq!(story.come_back(&auth_id, &callback).await, 502);
    assert!(story.answers.contains("were refused"), "the rest is shown: {}", story.answers);
    assert!(story.answers.contains("[redacted]"), "{}", story.answers);
    story.end(1).await;
}

async fn a_refresh_repeats_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({})).await;
    let response = story.expired();
    story.connect(response).await;
    assert_eq!(story.authenticate(json!({})).await, 502);
    assert!(story.answers.contains("were refused"), "{}", story.answers);
    story.send(Method::GET, "/v2/auth/tokens", &Value::Null).await;
    story.end(2).await;
}

async fn client_credentials_repeat_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({"grant_type": "client_credentials"})).await;
    assert_eq!(story.authenticate(json!({})).await, 502);
    assert!(story.answers.contains("were refused"), "{}", story.answers);
    story.end(1).await;
}

async fn a_device_repeats_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({"device_authorization_url": story.provider.at("/device")})).await;
    assert_eq!(story.authenticate(json!({"grant": "device"})).await, 502);
    let device_code = random_text("device-");
    let codes = json!({"device_code": device_code, "user_code": "WDJB-MJHT", "interval": 1,
        "verification_uri": story.provider.at("/activate")});
    story.secrets.push(device_code);
    // A code for people that is a secret is not shown to them.
    story.provider.answer("/device", Reply::json(with(codes.clone(), json!({"user_code": SECRET}))));
    assert_eq!(story.authenticate(json!({"grant": "device"})).await, 502);
    story.provider.answer("/device", Reply::json(codes));
    let begun =
        story.post("/v2/auth/authenticate", &with(asking("alice", &["read"]), json!({"grant": "device"}))).await;
    let wait = format!("/v2/auth/wait/{}?timeout=20", begun["auth_id"].as_str().expect("an auth_id"));
    story.send(Method::GET, &wait, &Value::Null).await;
    assert!(story.answers.contains("were refused"), "{}", story.answers);
    assert_eq!(story.provider.requests(TOKEN).len(), 1);
    story.end(4).await;
}

async fn a_revocation_repeats_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({"revocation_url": story.provider.at("/revoke")})).await;
    let response = with(story.expired(), json!({"expires_in": 3600}));
    story.connect(response).await;
    story.send(Method::DELETE, "/v2/auth/tokens?provider_id=acme", &Value::Null).await;
    assert_eq!(story.provider.requests("/revoke").len(), 1, "{}", story.answers);
    assert_eq!(story.database.number("SELECT count(*) FROM revocations WHERE last_error LIKE '%redacted%'").await, 1);
    story.end(2).await;
}

async fn a_registration_repeats_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    let metadata = json!({
        "issuer": story.provider.at(""), "authorization_endpoint": story.provider.at("/authorize"),
        "token_endpoint": story.provider.at(TOKEN), "registration_endpoint": story.provider.at("/register"),
        "code_challenge_methods_supported": ["S256"],
    });
    story.provider.show("/.well-known/oauth-authorization-server", Reply::json(metadata));
    let connection = json!({"provider_id": "acme", "name": "Acme", "mcp_server_url": story.provider.at("/mcp")});
    let refusal = json!({"error": "the-secret-of-another-client", "error_description": "the-secret-of-another-client"});
    story.secrets.push("the-secret-of-another-client".to_owned());
    story.provider.answer("/register", Reply::json(refusal).status(400));
    assert_eq!(story.send(Method::POST, "/v2/auth/providers/mcp-discover", &connection).await, 502);
    assert!(story.answers.contains("refused to register"), "{}", story.answers);
    story.end(2).await;
}

async fn a_userinfo_endpoint_repeats_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({"userinfo_url": story.provider.at("/userinfo")})).await;
    for (id, label) in [(None, None), (Some(true), None), (Some(false), Some(true))] {
        let response = with(story.expired(), json!({"expires_in": 3600}));
        let access = response["access_token"].clone();
        let named = |secret: Option<bool>| if secret == Some(true) { access.clone() } else { json!("7") };
        if id.is_some() {
            let person = json!({"sub": named(id), "name": named(label)});
            story.provider.answer_userinfo(Reply::json(person));
        }
        story.connect(response).await;
    }
    story.send(Method::GET, "/v2/auth/tokens", &Value::Null).await;
    assert!(story.answers.contains("[redacted]"), "{}", story.answers);
    assert_eq!(story.provider.requests("/userinfo").len(), 3);
    story.end(6).await;
}

async fn a_callback_repeats_nothing(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({})).await;
    let (auth_id, callback) = story.pending().await;
    let state = callback.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned();
    let mut refused = callback;
    let description = format!("the state {state} was refused");
    refused.query_pairs_mut().clear().append_pair("error", &state).append_pair("state", &state);
    refused.query_pairs_mut().append_pair("error_description", &description);
    assert_eq!(story.come_back(&auth_id, &refused).await, 400);
    assert!(story.answers.contains("the state [redacted] was refused"), "{}", story.answers);
    story.end(0).await;
}

async fn a_token_response_repeats_nothing_beside_its_tokens(database: Database) {
    let mut story = Story::begin(database).await;
    story.register(json!({})).await;
    let response = with(story.expired(), json!({"expires_in": 3600}));
    let (access, refresh) = (response["access_token"].clone(), response["refresh_token"].clone());
    let repeated = json!({"user_id": access, "app_id": {"of": refresh}, "team_id": SECRET, "uid": "u-1",
        "scope": format!("read {}", access.as_str().unwrap_or_default())});
    let access_token = response["access_token"].clone();
    story.connect(with(response, repeated)).await;
    assert_eq!(story.authenticate(json!({})).await, 200);
    let answer: Value = serde_json::from_str(&std::mem::take(&mut story.answers)).expect("JSON");
    assert_eq!(answer["metadata"]["uid"], "u-1", "the rest is kept");
    assert!(!answer["metadata"].to_string().contains("app_id"), "{answer}");
    assert_eq!(answer["token"], access_token);
    story.end(1).await;
}
