//! Keys that Vault's Transit engine encrypted: they are decrypted once at start, and plain nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::json;

use super::id_of;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, Request};
use crate::support::binary::{Finished, free_port, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;

both_databases! {
    a_key_that_vault_encrypted_seals_and_opens_and_is_plain_nowhere,
    a_plain_key_is_rotated_to_one_that_vault_encrypted,
}

const TOKEN: &str = "hvs.the-vault-token-3f9a";
const DECRYPT: &str = "/v1/transit/decrypt/agent-auth";
const ENCRYPT: &str = "/v1/transit/encrypt/agent-auth";

/// Vault, with a cipher that tests can undo: it turns texts round.
async fn vault() -> AuthorizationServer {
    AuthorizationServer::custom(answer).await
}

fn answer(request: &Request) -> Reply {
    if request.header("x-vault-token") != TOKEN {
        return Reply::json(json!({"errors": ["permission denied"]})).status(403);
    }
    let turned = |text: &str| text.chars().rev().collect::<String>();
    match (request.path.as_str(), request.value("plaintext"), request.value("ciphertext")) {
        (ENCRYPT, Some(plaintext), None) => {
            Reply::json(json!({"data": {"ciphertext": format!("vault:v1:{}", turned(plaintext)), "key_version": 1}}))
        }
        (DECRYPT, None, Some(ciphertext)) => match ciphertext.strip_prefix("vault:v1:") {
            Some(ciphertext) => Reply::json(json!({"data": {"plaintext": turned(ciphertext)}})),
            None => Reply::json(json!({"errors": ["invalid ciphertext: no prefix"]})).status(400),
        },
        _ => Reply::json(json!({"errors": []})).status(404),
    }
}

fn environment(vault: &AuthorizationServer, mut environment: Vec<(String, String)>) -> Vec<(String, String)> {
    let settings = [("ADDRESS", vault.at("")), ("TOKEN", TOKEN.to_owned()), ("NAMESPACE", "team-a".to_owned())];
    environment.extend(settings.map(|(name, value)| (format!("AGENT_AUTH_VAULT_{name}"), value)));
    environment.retain(|(name, _)| name != "AGENT_AUTH_ALLOW_PRIVATE_UPSTREAMS");
    environment
}

async fn with_vault(app: &TestApp, vault: &AuthorizationServer, list: &str) -> TestApp {
    app.replica_with(|settings| {
        settings.encryption_keys = Some(SecretString::from(list));
        settings.vault_address = Some(vault.at(""));
        settings.vault_token = Some(SecretString::from(TOKEN));
    })
    .await
}

/// A new key that Vault encrypted, as the command prints it; and the key itself.
async fn wrapped_key(vault: &AuthorizationServer, arguments: &[&str]) -> (String, String) {
    let generated = run(&[&["keys", "generate"], arguments].concat(), &environment(vault, Vec::new())).await;
    assert!(generated.status.success(), "{generated:?}");
    let plain = vault.requests(ENCRYPT).pop().expect("it was encrypted").value("plaintext").unwrap().to_owned();
    assert_eq!(STANDARD.decode(&plain).unwrap().len(), 32);
    assert!(!generated.stdout.contains(&plain));
    (generated.stdout.trim().to_owned(), plain)
}

async fn a_key_that_vault_encrypted_seals_and_opens_and_is_plain_nowhere(database: Database) {
    let vault = vault().await;
    let (first, plain) = wrapped_key(&vault, &["--algorithm", "aes256gcm"]).await;
    assert!(first.contains(":aes256gcm:vault:v1:"), "{first}");
    let app = TestApp::start_with(database, |settings| {
        settings.encryption_keys = Some(SecretString::from(first.clone()));
        settings.vault_address = Some(vault.at(""));
        settings.vault_token = Some(SecretString::from(TOKEN));
    })
    .await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let token = app.connect(&provider, &question).await;
    app.stop().await;
    assert_eq!(with_vault(&app, &vault, &first).await.token(&question).await, token);
    assert_eq!(vault.requests(DECRYPT).len(), 2, "once at each start");
    let everything = app.database.everything_at_rest().await;
    assert!(!everything.windows(plain.len()).any(|window| window == plain.as_bytes()));
}

async fn a_plain_key_is_rotated_to_one_that_vault_encrypted(app: TestApp) {
    let vault = vault().await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let token = app.connect(&provider, &question).await;
    app.stop().await;
    let (database, mut list) = (&app.database, app.database.encryption_keys.clone());
    for _ in 0..3 {
        let rotated = run(&["keys", "rotate"], &environment(&vault, database.environment_with_keys(&list))).await;
        assert!(rotated.status.success(), "{rotated:?}");
        rotated.stdout.trim().clone_into(&mut list);
    }
    assert!(list.contains(":vault:v1:") && !list.contains(','), "{list}");
    let asked = vault.requests(DECRYPT).pop().expect("it was decrypted");
    assert_eq!((asked.header("x-vault-namespace"), asked.header("x-vault-request")), ("team-a", "true"));
    assert_eq!(database.sealed_with(&id_of(&list)).await.len(), 4);
    assert_eq!(with_vault(&app, &vault, &list).await.token(&question).await, token);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_generated_key_file_holds_what_vault_encrypted() {
    let (database, vault) = (Database::sqlite(), vault().await);
    let migrated = run(&["migrate"], &environment(&vault, database.environment_with_keys(""))).await;
    assert!(migrated.status.success(), "{migrated:?}");
    let file = std::fs::read_to_string(database.folder.path().join("encryption.key")).unwrap();
    assert!(file.contains(":vault:v1:"), "{file}");
    let plain = vault.requests(ENCRYPT)[0].value("plaintext").unwrap().to_owned();
    assert!(!file.contains(&plain));
    let again = run(&["migrate"], &environment(&vault, database.environment_with_keys(""))).await;
    assert!(again.status.success(), "{again:?}");
}

/// `serve` with a wrapped key, and what is wrong.
async fn refused(change: impl FnOnce(&AuthorizationServer, &mut Vec<(String, String)>)) -> String {
    let (database, vault) = (Database::sqlite(), vault().await);
    let (key, plain) = wrapped_key(&vault, &[]).await;
    let mut environment = environment(&vault, database.environment_with_keys(&key));
    environment.push(("AGENT_AUTH_LISTEN".to_owned(), format!("127.0.0.1:{}", free_port())));
    environment.push(("AGENT_AUTH_LOG".to_owned(), "trace".to_owned()));
    change(&vault, &mut environment);
    let finished = run(&["serve"], &environment).await;
    let Finished { stdout, stderr, .. } = &finished;
    for secret in [TOKEN, &plain] {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "a secret is printed: {finished:?}");
    }
    finished.expect_refusal().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_refuses_is_reported_with_the_remedy_and_without_secrets() {
    let errors = |text: &str| Reply::json(json!({"errors": [text]}));
    for (reply, parts) in [
        (errors("permission denied").status(403), ["AGENT_AUTH_VAULT_TOKEN", "`update` on transit/decrypt/agent-auth"]),
        (
            errors("no handler for route").status(404),
            ["there is no transit/decrypt/agent-auth", "no handler for route"],
        ),
        (errors("Vault is sealed").status(503), ["answered 503", "is sealed"]),
        (errors(&format!("what is {TOKEN}?\n")).status(400), ["Vault says: what is [token]?", "answered 400"]),
        (Reply::text("text/html", "<h1>Hello</h1>"), ["something else than a response", "AGENT_AUTH_VAULT_ADDRESS"]),
        (Reply::json(json!({"data": {"plaintext": "c2hvcnQ="}})), ["is not an encryption key of 32 bytes", "key `k"]),
        (Reply::flood(10_000_000), ["too large", "AGENT_AUTH_VAULT_ADDRESS"]),
    ] {
        let line = refused(|vault, _| vault.show(DECRYPT, reply.clone())).await;
        for part in parts {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_of_vault_is_not_followed() {
    let elsewhere = AuthorizationServer::silent().await;
    let redirect = Reply::text("text/plain", "").status(307).header("location", &elsewhere.at(DECRYPT));
    let line = refused(|vault, _| vault.show(DECRYPT, redirect)).await;
    assert!(line.contains("redirects are not followed"), "{line}");
    assert!(elsewhere.requests(DECRYPT).is_empty(), "the token went elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_for_vault_that_is_missing_or_wrong_is_named() {
    let set = |environment: &mut Vec<(String, String)>, name: &str, value: &str| {
        environment.retain(|(other, _)| other != name);
        environment.push((name.to_owned(), value.to_owned()));
    };
    for (name, value, expected) in [
        ("AGENT_AUTH_VAULT_ADDRESS", "", "set AGENT_AUTH_VAULT_ADDRESS and AGENT_AUTH_VAULT_TOKEN"),
        (
            "AGENT_AUTH_VAULT_ADDRESS",
            "http://vault.example:8200",
            "AGENT_AUTH_VAULT_ADDRESS: `http://vault.example:8200` must be",
        ),
        ("AGENT_AUTH_VAULT_TOKEN", "", "AGENT_AUTH_VAULT_TOKEN: required"),
        ("AGENT_AUTH_VAULT_TRANSIT_KEY", "../sys", "AGENT_AUTH_VAULT_TRANSIT_KEY: `../sys`"),
        ("AGENT_AUTH_VAULT_CA_FILE", "/etc/hostname", "/etc/hostname has no certificate"),
        ("AGENT_AUTH_VAULT_CA_FILE", "/missing.pem", "cannot read /missing.pem"),
        ("AGENT_AUTH_VAULT_ADDRESS", "http://127.0.0.1:1", "Vault at http://127.0.0.1:1"),
    ] {
        let line = refused(|_, environment| set(environment, name, value)).await;
        assert!(line.contains(expected), "{expected}: {line}");
    }
}

/// The setting is the operator's, so Vault may be on a private address; providers still may not.
#[tokio::test(flavor = "multi_thread")]
async fn the_exception_for_vault_does_not_apply_to_providers() {
    let (database, vault) = (Database::sqlite(), vault().await);
    let (key, _) = wrapped_key(&vault, &[]).await;
    let app = TestApp::start_with(database, |settings| {
        settings.encryption_keys = Some(SecretString::from(key));
        settings.vault_address = Some(vault.at(""));
        settings.vault_token = Some(SecretString::from(TOKEN));
        settings.allow_private_upstreams = "false".to_owned();
    })
    .await;
    let provider = AuthorizationServer::start().await;
    let answer = app.post("/v2/auth/providers", &provider.definition("acme")).await;
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.text());
}
