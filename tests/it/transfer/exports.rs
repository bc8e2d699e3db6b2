//! `agent-auth export`: what leaves, for whom, and that another installation can take it.

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use serde_json::{Value, json};

use super::{file, import, lines};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET};
use crate::support::binary::{Finished, Server, run};
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::Database;

both_databases! {
    another_installation_takes_over_what_was_exported,
    only_the_recipient_can_read_an_export,
    an_export_is_recorded_before_anything_leaves,
    an_export_overwrites_nothing_and_prints_no_secret,
    a_damaged_export_is_noticed,
}

/// A key pair, and the file with the secret one.
fn keys(database: &Database) -> (Identity, String) {
    let identity = Identity::generate();
    let text = format!("# created by a test\n{}\n", identity.to_string().expose_secret());
    let path = file(database, "identity.txt", &text);
    (identity, path)
}

async fn export(database: &Database, identity: &Identity, output: &str) -> Finished {
    let recipient = identity.to_public().to_string();
    run(&["export", "--recipient", &recipient, "--output", output], &database.environment()).await
}

fn decrypted(path: &str, identity: &Identity) -> Vec<Value> {
    let text = age::decrypt(identity, &std::fs::read(path).unwrap()).expect("it is encrypted to us");
    String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The definition of a provider with everything that an operator can say of one.
fn definition(provider: &AuthorizationServer) -> Value {
    let mut definition = provider.definition("acme");
    let more = json!({
        "token_endpoint_auth_method": "client_secret_basic", "revocation_url": provider.at("/revoke"),
        "userinfo_url": provider.at("/userinfo"), "refresh_url": provider.at("/token"), "scope_separator": ",",
        "default_scopes": ["read"], "always_scopes": ["offline"], "resource": "https://api.acme.example/",
        "token_params": {"audience": "acme"}, "authorization_params": {"prompt": "consent"}, "consent": "confirm",
        "return_urls": ["https://app.example/done"], "allowed_redirect_uris": ["https://app.example/callback"],
    });
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    definition
}

async fn another_installation_takes_over_what_was_exported(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register_as(definition(&provider)).await;
    let grant = json!({
        "type": "grant", "provider_id": "acme", "user_id": "alice", "agent_id": "triage", "account_id": "42",
        "account_label": "alice@acme.example", "refresh_token": "refresh-1", "scopes": ["read"], "is_default": true,
        "metadata": {"instance_url": "https://eu.acme.example"}, "agents": ["writer"],
    });
    let grants = file(&app.database, "grants.jsonl", &lines(&[grant]));
    assert!(import(&app.database, &["jsonl", &grants]).await.status.success());
    let (identity, identity_file) = keys(&app.database);
    let exported = file(&app.database, "unused", "") + ".age";
    let done = export(&app.database, &identity, &exported).await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stderr.contains("Exported 1 providers and 1 grants."), "{done:?}");

    let there = Database::sqlite();
    let taken = import(&there, &["jsonl", &exported, "--identity", &identity_file]).await;
    assert!(taken.status.success(), "{taken:?}");
    let server = Server::start(&there.environment()).await;
    let mut records = Vec::new();
    for (key, server_url) in [(&there.bootstrap_key, server.url("/v2/auth/providers/acme"))] {
        let response = server.http.get(server_url).header("x-api-key", key).send().await.unwrap();
        records.push(response.text().await.unwrap());
    }
    let there_record: Value = serde_json::from_str(&records[0]).unwrap();
    let here_record = app.get("/v2/auth/providers/acme").await.expect(200);
    let shown = |record: &Value| {
        let mut record = record.as_object().unwrap().clone();
        for own in ["id", "organization_id", "created_at", "updated_at", "callback_url"] {
            record.remove(own);
        }
        record
    };
    assert_eq!(shown(&there_record), shown(&here_record), "the record is the same");
    let ask = with(asking("alice", &["read"]), json!({"agent_id": "triage"}));
    let answer = server.post(&there.bootstrap_key, "/v2/auth/authenticate", &ask).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    assert_eq!(answer["metadata"]["instance_url"], "https://eu.acme.example", "{answer}");
    let refresh = provider.refreshes().pop().unwrap();
    assert_eq!(refresh.value("refresh_token"), Some("refresh-1"));
    assert_eq!(refresh.value("audience"), Some("acme"));
    assert_eq!(refresh.basic().unwrap().1, CLIENT_SECRET);
    let ask = with(asking("alice", &["read"]), json!({"agent_id": "writer"}));
    let answer = server.post(&there.bootstrap_key, "/v2/auth/authenticate", &ask).await;
    assert_eq!(answer["status"], "completed", "the connected agent came along: {answer}");
    let again = import(&there, &["jsonl", &exported, "--identity", &identity_file]).await;
    assert!(again.stdout.contains("1 grants were brought in before."), "{again:?}");
}

async fn only_the_recipient_can_read_an_export(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    let (identity, identity_file) = keys(&app.database);
    let exported = app.database.folder.path().join("export.age").display().to_string();
    assert!(export(&app.database, &identity, &exported).await.status.success());
    let bytes = std::fs::read(&exported).unwrap();
    for secret in [CLIENT_SECRET, "alice", "acme"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    let records = decrypted(&exported, &identity);
    assert_eq!(records[0]["client_secret"], CLIENT_SECRET);
    assert_eq!(records[1]["user_id"], "alice");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&exported).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let there = Database::sqlite();
    let other = Identity::generate();
    let other_file = file(&there, "other.txt", other.to_string().expose_secret());
    let refused = import(&there, &["jsonl", &exported, "--identity", &other_file]).await;
    assert!(refused.stderr.contains("it is encrypted to somebody else: no identity fits"), "{refused:?}");
    let refused = import(&there, &["jsonl", &exported]).await;
    assert!(refused.stderr.contains("it is encrypted: add --identity FILE"), "{refused:?}");
    let plain = file(&there, "plain.jsonl", "{}");
    let refused = import(&there, &["jsonl", &plain, "--identity", &identity_file]).await;
    assert!(refused.stderr.contains("it is not encrypted with age: leave --identity out"), "{refused:?}");
}

async fn an_export_is_recorded_before_anything_leaves(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    let (identity, _) = keys(&app.database);
    let exported = app.database.folder.path().join("export.age").display().to_string();
    assert!(export(&app.database, &identity, &exported).await.status.success());
    let events = app.get("/v2/audit?event=workspace.exported").await.expect(200);
    let event = &events["data"][0];
    assert_eq!(event["actor"], "command_line", "{events}");
    assert_eq!(event["details"]["recipients"], identity.to_public().to_string());
    assert_eq!((&event["details"]["providers"], &event["details"]["grants"]), (&json!("1"), &json!("1")));

    // Without an audit log nothing leaves.
    app.database.tamper("UPDATE audit_heads SET sequence = sequence + 1").await;
    std::fs::remove_file(&exported).unwrap();
    let refused = export(&app.database, &identity, &exported).await;
    assert!(!refused.status.success(), "{refused:?}");
    assert!(std::fs::read(&exported).unwrap_or_default().is_empty(), "nothing was written");
}

async fn an_export_overwrites_nothing_and_prints_no_secret(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let token = app.connect(&provider, &asking("alice", &["read"])).await;
    let (identity, _) = keys(&app.database);
    let kept = file(&app.database, "kept.age", "something else");
    let refused = export(&app.database, &identity, &kept).await;
    assert!(refused.stderr.contains("cannot create"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "something else");
    let secret_key = identity.to_string();
    let refused = run(&["export", "--recipient", secret_key.expose_secret()], &app.database.environment()).await;
    assert!(refused.stderr.contains("this is a secret key"), "{refused:?}");
    let done = run(&["export", "--recipient", &identity.to_public().to_string()], &app.database.environment()).await;
    for secret in [CLIENT_SECRET, &token] {
        assert!(!format!("{done:?}").contains(secret), "{secret}");
    }
}

async fn a_damaged_export_is_noticed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let (identity, identity_file) = keys(&app.database);
    let exported = app.database.folder.path().join("export.age").display().to_string();
    assert!(export(&app.database, &identity, &exported).await.status.success());
    let whole = std::fs::read(&exported).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    for damaged in [&whole[..whole.len() - 20], &changed[..]] {
        std::fs::write(&exported, damaged).unwrap();
        let there = Database::sqlite();
        let refused = import(&there, &["jsonl", &exported, "--identity", &identity_file]).await;
        assert!(!refused.status.success(), "{refused:?}");
        assert!(!refused.stdout.contains("Created"), "{refused:?}");
    }
}
