//! Encryption keys: rotating them while servers run, two algorithms, and keys that Vault encrypted.

mod algorithms;
mod audited;
mod interrupted;
mod key_file;
mod moved_values;
mod not_opened;
mod rotation;
mod servers;
mod vault;

use secrecy::SecretString;
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, DEVICE, Reply};
use crate::support::binary::{Finished, free_port, run};
use crate::support::browser::Browser;
use crate::support::caller::{asking, with};
use crate::support::database::Database;

const EVERY_SEALED_COLUMN: [&str; 13] = [
    "audit_heads.audit_key",
    "authorization_requests.authorization_url",
    "authorization_requests.client_secret",
    "authorization_requests.code",
    "authorization_requests.code_verifier",
    "authorization_requests.device_code",
    "authorization_requests.user_code",
    "providers.client_secret",
    "revocations.access_token",
    "revocations.client_secret",
    "revocations.refresh_token",
    "tokens.access_token",
    "tokens.refresh_token",
];

/// Fills every sealed column, each of them in several rows.
async fn fill(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    let endpoints = json!({
        "revocation_url": provider.at("/revoke"), "device_authorization_url": provider.at(DEVICE),
    });
    for (id, more) in [
        ("acme", json!({})),
        ("careful", json!({"consent": "confirm"})),
        ("verified", json!({"consent": "verify", "return_urls": ["https://app.example/done"]})),
    ] {
        app.register_as(with(with(provider.definition(id), endpoints.clone()), more)).await;
    }
    provider.show("/revoke", Reply::text("text/plain", "later").status(503));
    for user in ["alice", "bob", "carol", "cora"] {
        app.connect(&provider, &asking(user, &["read"])).await;
    }
    // The key of another organization, whose audit log begins with it.
    let elsewhere = app.service_key_in("other", "ws").await;
    elsewhere.get("/v2/auth/providers").await.expect(200);
    let platform = app.service_key().await;
    for user in ["carol", "cora"] {
        platform.acting_for(user).delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    }
    for user in ["dave", "dora"] {
        provider.answer(
            DEVICE,
            Reply::json(json!({
                "device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": provider.at("/activate"),
                "expires_in": 900, "interval": 5,
            })),
        );
        let device = json!({"provider": "careful", "grant": "device"});
        assert_eq!(app.authenticate(&with(asking(user, &["read"]), device)).await["status"], "pending");
    }
    for user in ["frank", "fiona"] {
        let pending = app.begin(&with(asking(user, &["read"]), json!({"provider": "verified"}))).await;
        let browser = Browser::new(app);
        let at_provider = browser.go_on(&pending.url).await;
        assert_eq!(browser.open(provider.consent(&at_provider).as_str()).await.status, 303);
    }
    provider
}

/// Runs `agent-auth keys ...` with this list of keys.
async fn keys(database: &Database, list: &str, arguments: &[&str]) -> Finished {
    run(&[&["keys"], arguments].concat(), &database.environment_with_keys(list)).await
}

/// Runs it and gives what it printed on standard output: the new list of keys.
async fn new_list(database: &Database, list: &str, arguments: &[&str]) -> String {
    let done = keys(database, list, arguments).await;
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    done.stdout.trim().to_owned()
}

/// Runs it; it must succeed. Gives what it said.
async fn done(database: &Database, list: &str, arguments: &[&str]) -> String {
    let done = keys(database, list, arguments).await;
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    done.stderr
}

/// Runs it; it must refuse. Gives its reason, which holds no key.
async fn refused(database: &Database, list: &str, arguments: &[&str]) -> String {
    let refused = keys(database, list, arguments).await;
    let line = refused.expect_refusal();
    for key in list.split(',') {
        let secret = key.rsplit(':').next().expect("a key");
        assert!(!line.contains(secret), "it repeats a key: {line}");
    }
    line.to_owned()
}

/// Starts a server with this list; it must refuse. Gives its reason.
async fn serve(database: &Database, list: &str) -> String {
    let mut environment = database.environment_with_keys(list);
    environment.push(("AGENT_AUTH_LISTEN".to_owned(), format!("127.0.0.1:{}", free_port())));
    run(&["serve"], &environment).await.expect_refusal().to_owned()
}

fn id_of(key: &str) -> String {
    key.split_once(':').expect("id:...").0.to_owned()
}

/// Another replica with this list of keys.
async fn replica(app: &TestApp, list: &str) -> TestApp {
    app.replica_with(|settings| settings.encryption_keys = Some(SecretString::from(list))).await
}
