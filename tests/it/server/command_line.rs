//! The binary for operators: commands, settings, first start, exit codes and messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::{Finished, Server, free_port, run};
use crate::support::both_databases;
use crate::support::database::{Database, encryption_key};

both_databases! {
    migrating_twice_is_fine_and_needs_no_server,
    an_unreadable_stored_secret_is_noticed_at_start,
}

/// The environment of a server on SQLite in that folder, and nothing else.
fn in_folder(folder: &TempDir, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let folder = folder.path().display().to_string();
    let mut environment = vec![("AGENT_AUTH_DATA_DIR".to_owned(), folder)];
    let more = more.iter();
    environment.extend(more.map(|(name, value)| (format!("AGENT_AUTH_{name}"), (*value).to_owned())));
    environment
}

async fn serve(more: &[(&str, &str)]) -> Finished {
    let folder = TempDir::new().unwrap();
    let free = format!("127.0.0.1:{}", free_port());
    let mut environment = in_folder(&folder, &[("LISTEN", &free)]);
    environment.extend(in_folder(&folder, more));
    run(&["serve"], &environment).await
}

#[tokio::test]
async fn an_unknown_variable_is_refused_by_name() {
    let refused = serve(&[("LISTN", "127.0.0.1:0")]).await;
    let line = refused.expect_refusal();
    assert!(line.ends_with("unknown setting AGENT_AUTH_LISTN. Did you mean AGENT_AUTH_LISTEN?"), "{line}");
}

#[tokio::test]
async fn what_kubernetes_sets_for_a_service_called_agent_auth_is_ignored() {
    let mut environment = Database::sqlite().environment();
    for (name, value) in [
        ("SERVICE_HOST", "10.96.4.1"),
        ("SERVICE_PORT", "80"),
        ("SERVICE_PORT_HTTP", "80"),
        ("PORT", "tcp://10.96.4.1:80"),
        ("PORT_80_TCP", "tcp://10.96.4.1:80"),
        ("PORT_80_TCP_PROTO", "tcp"),
        ("PORT_80_TCP_PORT", "80"),
        ("PORT_80_TCP_ADDR", "10.96.4.1"),
    ] {
        environment.push((format!("AGENT_AUTH_{name}"), value.to_owned()));
    }
    let server = Server::start(&environment).await;
    assert!(server.stop().await.0.success());
    let refused = serve(&[("PORT", "8080")]).await;
    assert!(refused.expect_refusal().contains("unknown setting AGENT_AUTH_PORT;"), "{refused:?}");
}

#[tokio::test]
async fn a_server_for_other_machines_is_refused_without_a_public_url() {
    for address in ["0.0.0.0", "[::]", "192.0.2.1", "auth.example.com"] {
        let refused = serve(&[("LISTEN", &format!("{address}:8080"))]).await;
        let line = refused.expect_refusal();
        let expected = format!("AGENT_AUTH_PUBLIC_URL: required with AGENT_AUTH_LISTEN={address}:8080");
        assert!(line.contains(&expected) && line.ends_with("such as https://auth.example.com"), "{line}");
    }
}

#[tokio::test]
async fn an_unknown_setting_in_the_file_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "publik_url = \"https://broker.example\"\n").unwrap();
    let file = file.display().to_string();
    for arguments in [["--config", &file, "serve"], ["serve", "--config", &file]] {
        let refused = run(&arguments, &in_folder(&folder, &[])).await;
        if refused.stderr.contains("unexpected argument") {
            continue;
        }
        let line = refused.expect_refusal();
        assert!(line.contains("publik_url"), "{line}");
        return;
    }
    panic!("--config is taken nowhere");
}

#[tokio::test]
async fn a_value_that_makes_no_sense_is_refused_by_name() {
    for (name, value) in [
        ("LISTEN", "nowhere"),
        ("AUTHORIZATION_TTL_SECONDS", "soon"),
        ("LOG", "info,agent_auth=loud"),
        ("PUBLIC_URL", "javascript:alert(1)"),
        ("ALLOW_PRIVATE_UPSTREAMS", "10.0.0.0/99"),
        ("CONSENT", "perhaps"),
        ("IDENTITY", "nobody"),
        ("OTLP_ENDPOINT", "collector:4318"),
        ("TRACE_CONTEXT_TO_PROVIDERS", "on"),
    ] {
        let refused = serve(&[(name, value)]).await;
        let line = refused.expect_refusal();
        assert!(line.to_uppercase().contains(name), "{name}: {line}");
    }
}

#[cfg(not(feature = "otlp"))]
#[tokio::test]
async fn an_address_for_traces_is_refused_by_a_build_that_has_none() {
    let refused = serve(&[("OTLP_ENDPOINT", "http://127.0.0.1:4318")]).await;
    let line = refused.expect_refusal();
    assert!(line.contains("AGENT_AUTH_OTLP_ENDPOINT: this build has no traces;"), "{line}");
    assert!(line.contains("--features otlp") && line.ends_with("or remove this setting"), "{line}");
}

#[tokio::test]
async fn a_taken_port_is_refused_in_one_line_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = serve(&[("LISTEN", &address)]).await;
    let line = refused.expect_refusal();
    assert!(line.contains(&address), "{line}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_refused_without_its_password() {
    let key = encryption_key("first");
    let url = "postgres://someone:hunter2@127.0.0.1:1/nothing";
    let refused = serve(&[("DATABASE_URL", url), ("ENCRYPTION_KEYS", &key), ("DATABASE_WAIT_SECONDS", "1")]).await;
    assert!(refused.stderr.contains("database.awaited"), "{refused:?}");
    let line = refused.expect_refusal();
    for part in ["127.0.0.1:1 ", "AGENT_AUTH_DATABASE_URL", "the connection was refused", "is running"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!refused.stderr.contains("hunter2"), "{line}");
    assert!(!refused.stdout.contains("hunter2"));
}

#[tokio::test]
async fn a_database_host_that_does_not_exist_is_refused_by_name() {
    let key = encryption_key("first");
    let url = "postgres://someone:hunter2@no-such-host.invalid/nothing";
    let refused = serve(&[("DATABASE_URL", url), ("ENCRYPTION_KEYS", &key), ("DATABASE_WAIT_SECONDS", "0")]).await;
    let line = refused.expect_refusal();
    for part in ["no-such-host.invalid:5432", "AGENT_AUTH_DATABASE_URL", "cannot be resolved"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("hunter2"), "{line}");
}

#[tokio::test]
async fn a_database_of_another_kind_is_refused() {
    let key = encryption_key("first");
    for (url, problem) in [
        ("mysql://someone:hunter2@127.0.0.1/x", "`mysql://` is not supported"),
        ("hunter2", "this is not a URL"),
        ("postgres://someone:hunter2#@127.0.0.1:x/y", "percent-encode"),
    ] {
        // The URL is checked first: a key would not help.
        for keys in [&key, ""] {
            let refused = serve(&[("DATABASE_URL", url), ("ENCRYPTION_KEYS", keys)]).await;
            let line = refused.expect_refusal();
            for part in ["AGENT_AUTH_DATABASE_URL", problem, "postgres://user:password@host/database"] {
                assert!(line.contains(part), "{part}: {line}");
            }
            assert!(!line.contains("hunter2"), "{line}");
        }
    }
}

#[tokio::test]
async fn an_address_without_a_port_is_refused_with_an_example() {
    let folder = TempDir::new().unwrap();
    for (given, example) in [("8081", "127.0.0.1:8081"), ("localhost", "127.0.0.1:8080")] {
        let refused = run(&["serve", "--listen", given], &in_folder(&folder, &[])).await;
        let line = refused.expect_refusal();
        assert!(line.contains(&format!("`{given}`")) && line.ends_with(&format!("such as {example}")), "{line}");
    }
}

#[tokio::test]
async fn a_data_folder_that_is_a_file_is_refused_as_one() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("afile");
    std::fs::write(&file, "").unwrap();
    for folder in [file.clone(), file.join("inside")] {
        let folder = folder.display().to_string();
        for command in [&["serve"][..], &["migrate"], &["api-key", "list"]] {
            let refused = run(command, &[("AGENT_AUTH_DATA_DIR".to_owned(), folder.clone())]).await;
            let line = refused.expect_refusal();
            let expected = format!("AGENT_AUTH_DATA_DIR: {} is a file, not a folder", file.display());
            assert!(line.contains(&expected), "{line}");
        }
    }
}

#[tokio::test]
async fn a_machine_without_certificates_is_refused_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    let mut environment = in_folder(&folder, &[]);
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        environment.push((name.to_owned(), folder.path().join("missing").display().to_string()));
    }
    let refused = run(&["serve"], &environment).await;
    let line = refused.expect_refusal();
    for part in ["ca-certificates", "SSL_CERT_FILE"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn postgres_without_encryption_keys_is_refused() {
    let database = Database::postgres().await;
    let mut environment = database.environment();
    environment.retain(|(name, _)| name != "AGENT_AUTH_ENCRYPTION_KEYS");
    let refused = run(&["serve"], &environment).await;
    let line = refused.expect_refusal();
    assert!(line.contains("ENCRYPTION_KEYS"), "{line}");
    assert!(line.contains("keys generate"), "it says what to do: {line}");
}

#[tokio::test]
async fn a_malformed_encryption_key_is_refused_without_repeating_it() {
    for wrong in [
        "bm9ib2R5c3NlY3JldA",
        "first:bm9ib2R5c3NlY3JldA==",
        "first:!!!nobodyssecret!!!",
        ":bm9ib2R5c3NlY3JldG5vYm9keXNzZWNyZXRub2JvZHlzcw==",
        "zeros:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "counted:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ] {
        let refused = serve(&[("ENCRYPTION_KEYS", wrong)]).await;
        let line = refused.expect_refusal();
        assert!(line.contains("ENCRYPTION_KEYS"), "{line}");
        for secret in ["bm9ib2R5", "nobodyssecret"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
}

#[tokio::test]
async fn a_short_bootstrap_key_is_refused_without_repeating_it() {
    let refused = serve(&[("BOOTSTRAP_API_KEY", "hunter2-hunter2")]).await;
    let line = refused.expect_refusal();
    assert!(line.contains("BOOTSTRAP_API_KEY"), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}

async fn an_unreadable_stored_secret_is_noticed_at_start(database: Database) {
    let migrated = run(&["migrate"], &database.environment()).await;
    assert!(migrated.status.success(), "{migrated:?}");
    let first = Server::start(&database.environment()).await;
    let provider =
        json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key", "client_secret": "a-secret"});
    first.post(&database.bootstrap_key, "/v2/auth/providers", &provider).await;
    first.stop().await;
    for wrong in [encryption_key("first"), encryption_key("other")] {
        let mut environment = database.environment();
        environment.retain(|(name, _)| name != "AGENT_AUTH_ENCRYPTION_KEYS");
        environment.push(("AGENT_AUTH_ENCRYPTION_KEYS".to_owned(), wrong));
        environment.push(("AGENT_AUTH_LISTEN".to_owned(), format!("127.0.0.1:{}", free_port())));
        let refused = run(&["serve"], &environment).await;
        let line = refused.expect_refusal();
        assert!(line.to_lowercase().contains("key"), "{line}");
    }
    let again = Server::start(&database.environment()).await;
    assert!(again.stop().await.0.success());
}

async fn migrating_twice_is_fine_and_needs_no_server(database: Database) {
    for _ in 0..2 {
        let migrated = run(&["migrate"], &database.environment()).await;
        assert!(migrated.status.success(), "{migrated:?}");
    }
    assert!(database.tables().await.len() >= 5);
}

#[tokio::test]
async fn keys_generate_prints_an_id_and_32_random_bytes() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let generated = run(&["keys", "generate"], &[]).await;
        assert!(generated.status.success(), "{generated:?}");
        let key = generated.stdout.lines().last().unwrap().trim().to_owned();
        let (id, bytes) = key.split_once(':').expect("id:base64");
        assert!(!id.is_empty(), "{key}");
        assert_eq!(STANDARD.decode(bytes).expect("base64").len(), 32);
        seen.push(key);
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn openapi_prints_the_description() {
    let printed = run(&["openapi"], &[]).await;
    assert!(printed.status.success(), "{printed:?}");
    let document: Value = serde_json::from_str(&printed.stdout).expect("JSON alone on stdout");
    assert!(document["paths"]["/v2/auth/authenticate"]["post"].is_object());
}

#[tokio::test]
async fn help_and_version_are_given() {
    let help = run(&["--help"], &[]).await;
    assert!(help.status.success());
    for command in ["serve", "demo", "migrate", "keys", "api-key", "provider", "openapi", "healthcheck"] {
        assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
    }
    let version = run(&["--version"], &[]).await;
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell], &[]).await;
        assert!(script.status.success(), "{script:?}");
        for word in ["api-key", "healthcheck", "public-url"] {
            assert!(script.stdout.contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn the_manual_has_a_page_for_each_command_and_every_setting() {
    let folder = TempDir::new().unwrap();
    let pages = folder.path().join("man1");
    let written = run(&["man", &pages.display().to_string()], &[]).await;
    assert!(written.status.success(), "{written:?}");
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(page("agent-auth.1").contains("agent\\-auth\\-serve(1)"));
    assert!(page("agent-auth-serve.1").contains("shutdown_delay_seconds = 0"));
    assert!(page("agent-auth-api-key-create.1").contains("\\-\\-role"));
    assert!(!pages.join("agent-auth-completions.1").exists(), "hidden commands have none");
}

#[tokio::test]
async fn an_unknown_command_is_refused() {
    let refused = run(&["sreve"], &[]).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("sreve"));
}
