//! Secrets at rest and in the logs: no secret can be read in what stays behind, and sealed values cannot be exchanged.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::json;
use url::{Position, Url};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::{Pending, asking, with};
use crate::support::database::{Database, random_text};

both_databases! {
    nothing_secret_can_be_read_in_the_database,
    nothing_secret_of_a_pending_request_can_be_read_in_the_database,
    an_api_key_cannot_be_read_in_the_database,
    exchanged_ciphertexts_are_refused,
    a_damaged_ciphertext_is_refused,
    nothing_secret_is_in_the_logs_at_trace_level,
}

/// The encodings in which a secret could be stored.
fn encodings(secret: &str) -> Vec<Vec<u8>> {
    let hex: Vec<_> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    // The last characters of an encoding depend on what follows, so they are left out.
    let cut = |text: String| text.as_bytes()[..text.len() - 2].to_vec();
    vec![
        secret.as_bytes().to_vec(),
        hex.concat().into_bytes(),
        cut(STANDARD_NO_PAD.encode(secret)),
        cut(URL_SAFE_NO_PAD.encode(secret)),
    ]
}

#[track_caller]
fn cannot_be_read(secret: &str, what: &str, everything: &[u8]) {
    assert!(secret.len() >= 12, "too short to search for: {what}");
    for encoded in encodings(secret) {
        let found = everything.windows(encoded.len()).any(|window| window == encoded);
        assert!(!found, "{what} can be read");
    }
}

async fn nothing_secret_can_be_read_in_the_database(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let (access, refresh) = (random_text("access-"), random_text("refresh-"));
    provider.answer_token(Reply::json(json!({
        "access_token": access,
        "refresh_token": refresh,
        "expires_in": 3600,
        "id_token": "header.payload-of-the-id-token.signature",
        "authed_user": {"id": "U1", "access_token": "xoxp-of-the-slack-user"},
    })));
    let question = asking("alice", &["read"]);
    let pending = app.begin(&question).await;
    app.come_back(&provider.consent(&pending.url)).await;
    app.advance(3600);
    let refreshed = app.token(&question).await;

    let everything = app.database.everything_at_rest().await;
    assert!(everything.windows(5).any(|window| window == b"alice"), "the search sees the rows");
    let exchange = provider.exchange();
    for (secret, what) in [
        (access.as_str(), "an access token"),
        (&refresh, "a refresh token"),
        (&refreshed, "a refreshed access token"),
        ("acme-client-secret-3f9a", "the client secret"),
        (exchange.value("code").unwrap(), "the code"),
        (exchange.value("code_verifier").unwrap(), "the verifier"),
        (&pending.state(), "the state"),
        ("payload-of-the-id-token", "an ID token"),
        ("xoxp-of-the-slack-user", "a second access token"),
        (app.database.encryption_keys.split_once(':').unwrap().1, "the encryption key"),
    ] {
        cannot_be_read(secret, what, &everything);
    }
}

async fn nothing_secret_of_a_pending_request_can_be_read_in_the_database(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let while_pending = app.database.everything_at_rest().await;
    app.come_back(&provider.consent(&pending.url)).await;
    let verifier = provider.exchange();
    let verifier = verifier.value("code_verifier").unwrap();
    cannot_be_read(&pending.state(), "the state", &while_pending);
    cannot_be_read(verifier, "the verifier", &while_pending);
}

async fn an_api_key_cannot_be_read_in_the_database(app: TestApp) {
    app.service_key().await;
    let everything = app.database.everything_at_rest().await;
    cannot_be_read(&app.database.bootstrap_key, "the bootstrap key", &everything);
}

/// Tokens of Alice and Bob; the sealed columns are those of bytes.
async fn two_tokens(app: &TestApp) -> (AuthorizationServer, Vec<String>) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for user in ["alice", "bob"] {
        app.connect(&provider, &asking(user, &["read"])).await;
    }
    let columns = app.database.byte_columns("tokens").await;
    assert!(!columns.is_empty(), "no column of the tokens holds bytes");
    (provider, columns)
}

async fn exchanged_ciphertexts_are_refused(app: TestApp) {
    let (_provider, columns) = two_tokens(&app).await;
    let bobs = app.token(&asking("bob", &["read"])).await;
    let changes: Vec<_> =
        columns.iter().map(|c| format!("{c} = (SELECT {c} FROM tokens WHERE user_id = 'bob')")).collect();
    let changes = changes.join(", ");
    let hit = app.database.tamper(&format!("UPDATE tokens SET {changes} WHERE user_id = 'alice'")).await;
    assert_eq!(hit, 1);
    let answer = app.try_authenticate(&asking("alice", &["read"])).await;
    answer.expect_error(500, "internal_error");
    assert!(!answer.text().contains(&bobs), "the token of another user");
    assert_eq!(app.token(&asking("bob", &["read"])).await, bobs);
}

async fn a_damaged_ciphertext_is_refused(app: TestApp) {
    let (_provider, columns) = two_tokens(&app).await;
    let mut refused = 0;
    for column in columns {
        let cut = if app.database.postgres.is_some() {
            format!("substring({column} from 1 for length({column}) - 1)")
        } else {
            format!("substr({column}, 1, length({column}) - 1)")
        };
        let statement = format!("UPDATE tokens SET {column} = {cut} WHERE user_id = 'alice'");
        app.database.tamper(&statement).await;
        let answer = app.try_authenticate(&asking("alice", &["read"])).await;
        if answer.status.as_u16() == 500 {
            answer.expect_error(500, "internal_error");
            refused += 1;
        }
    }
    assert!(refused > 0, "nobody noticed the damage");
    app.token(&asking("bob", &["read"])).await;
}

/// The most verbose log that the application allows.
const EVERYTHING: &str = "trace,sqlx=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace,tower_http=trace";

/// What a client does with the running binary, the good and the bad.
struct Journey {
    server: Server,
    key: String,
    secrets: Vec<(String, &'static str)>,
}

impl Journey {
    fn keep(&mut self, secret: &str, what: &'static str) {
        self.secrets.push((secret.to_owned(), what));
    }

    async fn begin(&self, body: &serde_json::Value) -> Pending {
        let path = "/v2/auth/authenticate";
        let answer = self.server.post(&self.key, path, body).await;
        Pending {
            url: answer["url"].as_str().expect("a url").to_owned(),
            auth_id: answer["auth_id"].as_str().expect("an auth_id").to_owned(),
        }
    }

    async fn visit(&self, callback: &Url) -> u16 {
        let path = &callback[Position::BeforePath..];
        let (status, _) = self.server.get(path).await.expect("an answer");
        status
    }

    async fn walk(&mut self, provider: &AuthorizationServer) {
        let path = "/v2/auth/providers";
        let definition = provider.definition("acme");
        self.server.post(&self.key, path, &definition).await;
        self.keep("acme-client-secret-3f9a", "the client secret");

        let question = asking("alice", &["read"]);
        let pending = self.begin(&question).await;
        let first = json!({
            "access_token": "the-first-access-token",
            "refresh_token": "the-first-refresh-token",
            "expires_in": 1,
            "id_token": "the-header.the-id-token-payload.the-signature",
        });
        provider.answer_token(Reply::json(first));
        assert_eq!(self.visit(&provider.consent(&pending.url)).await, 303);
        let wait = format!("/v2/auth/wait/{}", pending.auth_id);
        self.server.get_with_key(&self.key, &wait).await;
        let refreshed = json!({
            "access_token": "the-second-access-token",
            "refresh_token": "the-second-refresh-token",
            "expires_in": 3600,
        });
        provider.answer_token(Reply::json(refreshed));
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let path = "/v2/auth/authenticate";
        let answer = self.server.post(&self.key, path, &question).await;
        assert_eq!(answer["token"], "the-second-access-token");
        for token in [
            "the-first-access-token",
            "the-first-refresh-token",
            "the-second-access-token",
            "the-second-refresh-token",
            "the-id-token-payload",
        ] {
            self.keep(token, "a token");
        }
        let exchange = provider.exchange();
        self.keep(exchange.value("code").unwrap(), "the code");
        self.keep(exchange.value("code_verifier").unwrap(), "the verifier");
        self.keep(&pending.state(), "the state");
    }

    async fn stumble(&mut self, provider: &AuthorizationServer) {
        let question = with(asking("bob", &["read"]), json!({"force_new": true}));
        let pending = self.begin(&question).await;
        let broken = r#"{"access_token": "the-token-in-broken-json""#;
        provider.answer_token(Reply::text("application/json", broken));
        let callback = provider.consent(&pending.url);
        assert!(self.visit(&callback).await >= 400);
        self.keep("the-token-in-broken-json", "a token that was not understood");
        let code = callback.query_pairs().find(|(name, _)| name == "code");
        self.keep(&code.unwrap().1, "the code of a failed exchange");
        self.keep(&pending.state(), "the state of a failed exchange");

        let made_up = random_text("state-");
        let url = format!("/host-oauth-callback/acme?code=the-stray-code&state={made_up}");
        self.server.get(&url).await;
        self.keep(&made_up, "an unknown state");
        self.keep("the-stray-code", "a stray code");

        let unknown = random_text("key-");
        self.server.get_with_key(&unknown, "/v2/auth/tokens").await;
        self.keep(&unknown, "an unknown API key");

        let wrong = json!({"client_secret": ["the-secret-of-wrong-type"]});
        let request = self.server.http.post(self.server.url("/v2/auth/providers"));
        let request = request.header("x-api-key", &self.key).body(wrong.to_string());
        request.send().await.expect("an answer");
        self.keep("the-secret-of-wrong-type", "a secret of the wrong type");
    }
}

async fn nothing_secret_is_in_the_logs_at_trace_level(database: Database) {
    let provider = AuthorizationServer::start().await;
    let mut environment = database.environment();
    environment.push(("AGENT_AUTH_LOG".to_owned(), EVERYTHING.to_owned()));
    let mut journey =
        Journey { server: Server::start(&environment).await, key: database.bootstrap_key.clone(), secrets: Vec::new() };
    journey.keep(&database.bootstrap_key, "the API key");
    let (_, encryption_key) = database.encryption_keys.split_once(':').unwrap();
    journey.keep(encryption_key, "the encryption key");
    journey.walk(&provider).await;
    journey.stumble(&provider).await;

    let Journey { server, secrets, .. } = journey;
    let (status, said) = server.stop().await;
    assert!(status.success(), "{status}");
    assert!(said.contains("/host-oauth-callback/{provider_id}"), "it logs routes, not addresses");
    for (secret, what) in secrets {
        let line = said.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{what} is logged: {}", line.unwrap());
        cannot_be_read(&secret, what, said.as_bytes());
    }
}
