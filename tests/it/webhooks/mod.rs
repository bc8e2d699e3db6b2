//! Webhooks: events are delivered at least once, signed, in the order of each token, and only to their workspace.

mod api;
mod commands;
mod deliveries;
mod ended;
mod events;
mod stream;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, Request};
use crate::support::binary::{Finished, run};
use crate::support::database::Database;
use crate::support::eventually::eventually;

const PATH: &str = "/webhook";
/// Without what is reported of the provider.
const OF_TOKENS: [&str; 2] =
    ["--events", "token.connected,token.consent_needed,token.refresh_failed,token.recovered,token.revoked"];
const SOON: Duration = Duration::from_secs(20);

/// A webhook, and the application that receives its events.
struct Hook {
    id: String,
    secret: String,
    receiver: AuthorizationServer,
}

impl Hook {
    /// One that takes everything.
    async fn add(database: &Database, options: &[&str]) -> Self {
        Self::add_with(database, options, |_| Reply::json(serde_json::json!({}))).await
    }

    async fn add_with(database: &Database, options: &[&str], answer: fn(&Request) -> Reply) -> Self {
        let receiver = AuthorizationServer::custom(answer).await;
        let url = receiver.at(PATH);
        let added = webhook(database, &[&["add", &url], options].concat()).await;
        assert!(added.status.success(), "{added:?}");
        let (_, rest) = added.stderr.split_once("id ").expect("an id");
        let id = rest.split(';').next().expect("an id").to_owned();
        Self { id, secret: added.stdout.trim().to_owned(), receiver }
    }

    /// What was received, each attempt. Every one must be signed.
    fn attempts(&self) -> Vec<Request> {
        let requests = self.receiver.requests(PATH);
        for request in &requests {
            assert_signed(request, &self.secret);
        }
        requests
    }

    /// The bodies that were received.
    fn bodies(&self) -> Vec<Value> {
        self.attempts().iter().map(Request::json).collect()
    }

    fn types(&self) -> Vec<String> {
        self.bodies().iter().map(|body| body["type"].as_str().expect("a type").to_owned()).collect()
    }

    /// Waits for so many attempts.
    async fn received(&self, many: usize) {
        eventually(SOON, async || self.receiver.count(PATH) >= many).await;
    }

    async fn command(&self, database: &Database, command: &str, options: &[&str]) -> Finished {
        webhook(database, &[&[command, &self.id], options].concat()).await
    }
}

/// `agent-auth webhook ...`
async fn webhook(database: &Database, arguments: &[&str]) -> Finished {
    run(&[&["webhook"], arguments].concat(), &database.environment()).await
}

fn assert_signed(request: &Request, secret: &str) {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a prefix")).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    mac.update(format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp")).as_bytes());
    mac.update(&request.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(request.header("webhook-signature"), expected);
    assert!(request.is_json());
}

/// With a provider `acme`.
async fn with_provider(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider
}

/// How many deliveries hold this, in SQL.
async fn count(database: &Database, condition: &str) -> i64 {
    database.number(&format!("SELECT count(*) FROM webhook_deliveries WHERE {condition}")).await
}

/// Moves the clock until nothing waits any more; fails if that takes more than so many steps.
async fn until_finished(app: &TestApp, steps: usize) {
    for _ in 0..steps {
        if count(&app.database, "due_at IS NOT NULL").await == 0 {
            return;
        }
        app.advance(24 * 3600);
        deliver(app).await;
    }
    panic!("{} deliveries still wait", count(&app.database, "due_at IS NOT NULL").await);
}

/// Sends what is due now, and waits for it.
async fn deliver(app: &TestApp) {
    use agent_auth::broker::jobs::webhooks::begin_due;
    for task in begin_due(&app.app.broker).await.unwrap() {
        task.await.unwrap();
    }
}
