//! The running server: first start, restart, health checks and shutdown.
//! Covers what survives a restart and which requests a shutdown must not cut off.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use url::Position;

use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::{Server, free_port, run, words_like_keys};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    the_first_key_goes_to_a_file_of_its_owner_and_never_into_the_log,
    on_a_terminal_the_first_key_is_printed_and_not_stored_in_a_file,
    if_the_name_of_the_first_keys_file_is_taken_the_log_names_another,
    with_a_bootstrap_key_no_other_is_created,
    restarts_keep_everything_and_make_no_second_key,
    after_sigterm_it_is_not_ready_and_serves_until_the_delay_is_over,
    the_delay_ends_by_itself_and_an_interrupt_does_not_wait,
    at_the_end_waiters_are_answered,
    at_the_end_an_exchange_is_finished,
    a_revoked_key_stops_working_soon,
    a_secret_may_come_from_a_file,
}

fn without(database: &Database, name: &str) -> Vec<(String, String)> {
    let mut environment = database.environment();
    environment.retain(|(key, _)| key != &format!("AGENT_AUTH_{name}"));
    environment
}

async fn works(server: &Server, key: &str) -> bool {
    let answer = server.get_with_key(key, "/v2/auth/providers").await;
    answer.is_some_and(|(status, _)| status == 200)
}

fn first_key_file(database: &Database) -> PathBuf {
    database.folder.path().join("first-admin-key")
}

/// The keys among what was said that work.
async fn working(server: &Server, said: &str) -> Vec<String> {
    let mut working = Vec::new();
    for word in words_like_keys(said) {
        if works(server, &word).await {
            working.push(word);
        }
    }
    working
}

async fn the_first_key_goes_to_a_file_of_its_owner_and_never_into_the_log(database: Database) {
    let environment = without(&database, "BOOTSTRAP_API_KEY");
    let server = Server::start(&environment).await;
    let said = server.said_so_far();
    assert_eq!(working(&server, &said).await, [""; 0], "{said}");
    let file = first_key_file(&database);
    assert!(said.contains("api_key.first_created") && said.contains(&file.display().to_string()), "{said}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() % 0o1000, 0o600);
    let key = std::fs::read_to_string(&file).unwrap().trim_end().to_owned();
    assert!(works(&server, &key).await);
    let folder = std::fs::read_dir(database.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let files = folder.filter(|name| name.display().to_string().starts_with("first-admin-key")).count();
    assert_eq!(files, 1, "nothing else holds it");
    std::fs::remove_file(&file).unwrap();
    let provider = AuthorizationServer::start().await;
    let path = "/v2/auth/providers";
    server.post(&key, path, &provider.definition("acme")).await;
    server.stop().await;

    let server = Server::start(&environment).await;
    assert!(works(&server, &key).await);
    let (_, said) = server.stop().await;
    assert!(!said.contains(&key));
    assert_eq!(database.row_counts().await["api_keys"], 1);
    assert!(!file.exists(), "a later start creates no key");
}

async fn on_a_terminal_the_first_key_is_printed_and_not_stored_in_a_file(database: Database) {
    let server = Server::start_on_a_terminal(&without(&database, "BOOTSTRAP_API_KEY")).await;
    let said = server.said_so_far();
    assert_eq!(working(&server, &said).await.len(), 1, "{said}");
    assert!(!first_key_file(&database).exists());
}

async fn if_the_name_of_the_first_keys_file_is_taken_the_log_names_another(database: Database) {
    std::fs::create_dir(first_key_file(&database)).unwrap();
    let server = Server::start(&without(&database, "BOOTSTRAP_API_KEY")).await;
    let folder = std::fs::read_dir(database.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let said = server.said_so_far();
    let file = folder.filter(|path| path.is_file()).find(|path| said.contains(&path.display().to_string()));
    let file = file.unwrap_or_else(|| panic!("the log names a file: {said}"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() % 0o1000, 0o600);
    assert!(works(&server, std::fs::read_to_string(&file).unwrap().trim()).await);
}

#[tokio::test]
async fn without_a_place_for_the_first_key_there_is_none_and_the_log_says_what_to_do() {
    let database = Database::postgres().await;
    let in_the_way = database.folder.path().join("a-file");
    std::fs::write(&in_the_way, "").unwrap();
    let mut environment = without(&database, "BOOTSTRAP_API_KEY");
    environment.retain(|(name, _)| name != "AGENT_AUTH_DATA_DIR");
    environment.push(("AGENT_AUTH_DATA_DIR".to_owned(), in_the_way.join("data").display().to_string()));
    let server = Server::start(&environment).await;
    let said = server.said_so_far();
    for part in ["api_key.first_not_created", "BOOTSTRAP_API_KEY_FILE", "agent-auth api-key create"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(database.row_counts().await["api_keys"], 0);
    let created = run(&["api-key", "create", "--role", "admin", "--name", "first"], &environment).await;
    assert!(works(&server, created.stdout.trim()).await, "{created:?}");
}

async fn with_a_bootstrap_key_no_other_is_created(database: Database) {
    let server = Server::start(&database.environment()).await;
    assert!(works(&server, &database.bootstrap_key).await);
    let (_, said) = server.stop().await;
    assert!(!said.contains(&database.bootstrap_key), "{said}");
    assert_eq!(database.row_counts().await["api_keys"], 1);
    assert!(!first_key_file(&database).exists());
}

async fn restarts_keep_everything_and_make_no_second_key(database: Database) {
    let provider = AuthorizationServer::start().await;
    let key = &database.bootstrap_key;
    let question = asking("alice", &["read"]);
    let path = "/v2/auth/authenticate";

    let server = Server::start(&database.environment()).await;
    let definition = provider.definition("acme");
    server.post(key, "/v2/auth/providers", &definition).await;
    let begun = server.post(key, path, &question).await;
    server.stop().await;

    let server = Server::start(&database.environment()).await;
    let callback = provider.consent(begun["url"].as_str().unwrap());
    let answer = server.get(&callback[Position::BeforePath..]).await;
    assert_eq!(answer.unwrap().0, 303, "a begun request survives");
    server.stop().await;

    let server = Server::start(&database.environment()).await;
    let answer = server.post(key, path, &question).await;
    assert_eq!(answer["status"], "completed", "a token survives");
    assert_eq!(database.row_counts().await["api_keys"], 1);
}

fn with_delay(database: &Database, seconds: &str) -> Vec<(String, String)> {
    let mut environment = database.environment();
    environment.push(("AGENT_AUTH_SHUTDOWN_DELAY_SECONDS".to_owned(), seconds.to_owned()));
    environment
}

async fn after_sigterm_it_is_not_ready_and_serves_until_the_delay_is_over(database: Database) {
    let provider = AuthorizationServer::start().await;
    let key = database.bootstrap_key.clone();
    let server = Server::start(&with_delay(&database, "600")).await;
    server.post(&key, "/v2/auth/providers", &provider.definition("acme")).await;
    let begun = server.post(&key, "/v2/auth/authenticate", &asking("alice", &["read"])).await;
    let waiter = server.http.get(server.url(&format!("/v2/auth/wait/{}", begun["auth_id"].as_str().unwrap())));
    let waiter = tokio::spawn(waiter.header("x-api-key", &key).send());

    server.terminate();
    eventually(Duration::from_secs(10), async || server.get("/readyz").await == Some((503, "stopping".to_owned())))
        .await;
    assert_eq!(server.get("/livez").await.unwrap().0, 200, "it is not restarted");
    let response = server.http.get(server.url("/v2/auth/providers")).header("x-api-key", &key).send().await.unwrap();
    assert_eq!(response.status(), 200, "new connections are served");
    assert_eq!(response.headers()["connection"], "close");
    server.post(&key, "/v2/auth/authenticate", &asking("bob", &["read"])).await;
    assert!(!waiter.is_finished(), "waiters go on waiting");

    // Another one ends the delay.
    let (status, said) = server.stop().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(waiter.await.unwrap().unwrap().status(), 200);
}

async fn the_delay_ends_by_itself_and_an_interrupt_does_not_wait(database: Database) {
    let server = Server::start(&with_delay(&database, "1")).await;
    let asked_to_end = Instant::now();
    let (status, said) = server.stop().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(asked_to_end.elapsed() >= Duration::from_secs(1));

    let server = Server::start(&with_delay(&database, "600")).await;
    server.signal("INT");
    let (status, said) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
}

async fn at_the_end_waiters_are_answered(database: Database) {
    let provider = AuthorizationServer::start().await;
    let key = database.bootstrap_key.clone();
    let server = Server::start(&database.environment()).await;
    let definition = provider.definition("acme");
    server.post(&key, "/v2/auth/providers", &definition).await;
    let question = asking("alice", &["read"]);
    let begun = server.post(&key, "/v2/auth/authenticate", &question).await;
    let url = server.url(&format!("/v2/auth/wait/{}", begun["auth_id"].as_str().unwrap()));
    let request = server.http.get(url).header("x-api-key", &key);
    let waiter = tokio::spawn(async move {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a whole body"))
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked_to_end = Instant::now();
    let (status, said) = server.stop().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(asked_to_end.elapsed() < Duration::from_secs(30));
    let (status, body) = waiter.await.unwrap();
    assert_eq!(status, 200, "{body}");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    let told = told["status"].as_str().unwrap();
    assert!(["pending", "timeout"].contains(&told), "{body}");
}

async fn at_the_end_an_exchange_is_finished(database: Database) {
    let provider = AuthorizationServer::start().await;
    let key = database.bootstrap_key.clone();
    let question = asking("alice", &["read"]);
    let server = Server::start(&database.environment()).await;
    let definition = provider.definition("acme");
    server.post(&key, "/v2/auth/providers", &definition).await;
    let begun = server.post(&key, "/v2/auth/authenticate", &question).await;
    let slowly = json!({"access_token": "in-time", "expires_in": 3600});
    provider.answer_token(Reply::json(slowly).after(Duration::from_secs(2)));
    let callback = provider.consent(begun["url"].as_str().unwrap());
    let request = server.http.get(server.url(&callback[Position::BeforePath..]));
    let browser = tokio::spawn(async move { request.send().await.expect("an answer").status() });
    while provider.exchanges().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, said) = server.stop().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert_eq!(browser.await.unwrap().as_u16(), 303);

    let server = Server::start(&database.environment()).await;
    let answer = server.post(&key, "/v2/auth/authenticate", &question).await;
    assert_eq!(answer["token"], "in-time");
}

async fn a_secret_may_come_from_a_file(database: Database) {
    let file = database.folder.path().join("the-key");
    std::fs::write(&file, format!("{}\n", database.bootstrap_key)).unwrap();
    let mut environment = without(&database, "BOOTSTRAP_API_KEY");
    environment.push(("AGENT_AUTH_BOOTSTRAP_API_KEY_FILE".to_owned(), file.display().to_string()));
    let server = Server::start(&environment).await;
    assert!(works(&server, &database.bootstrap_key).await);
}

async fn a_revoked_key_stops_working_soon(database: Database) {
    let mut environment = database.environment();
    environment.push(("AGENT_AUTH_API_KEY_CACHE_SECONDS".to_owned(), "2".to_owned()));
    let server = Server::start(&environment).await;
    let arguments = ["api-key", "create", "--name", "to be revoked", "--kind", "service"];
    let made = run(&arguments, &environment).await;
    let key = made.stdout.lines().last().unwrap().trim().to_owned();
    assert!(works(&server, &key).await, "{made:?}");

    let listed = run(&["api-key", "list"], &environment).await;
    assert!(listed.status.success(), "{listed:?}");
    assert!(!listed.stdout.contains(&key), "a list never shows keys");
    let line = listed.stdout.lines().find(|l| l.contains("to be revoked"));
    let line = line.unwrap_or_else(|| panic!("{listed:?}"));
    let ids = line.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
    let id = ids.into_iter().find(|word| uuid::Uuid::parse_str(word).is_ok());
    let id = id.unwrap_or_else(|| panic!("no id in {line}"));
    let revoked = run(&["api-key", "revoke", id], &environment).await;
    assert!(revoked.status.success(), "{revoked:?}");

    let begun = Instant::now();
    while works(&server, &key).await {
        assert!(begun.elapsed() < Duration::from_secs(10), "it still works");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let again = run(&["api-key", "revoke", id], &environment).await;
    assert!(!again.stderr.contains("panicked"), "{again:?}");
}

#[tokio::test]
async fn healthcheck_tells_by_its_exit_code() {
    let database = Database::sqlite();
    let mut environment = database.environment();
    let listen = |port: u16| ("AGENT_AUTH_LISTEN".to_owned(), format!("127.0.0.1:{port}"));
    environment.push(listen(free_port()));
    let down = run(&["healthcheck"], &environment).await;
    assert!(!down.status.success(), "{down:?}");
    let server = Server::start(&database.environment()).await;
    environment.pop();
    environment.push(listen(server.port));
    let up = run(&["healthcheck"], &environment).await;
    assert!(up.status.success(), "{up:?}");
}

#[tokio::test]
async fn sqlite_makes_its_own_encryption_key_and_needs_it_again() {
    let database = Database::sqlite();
    let environment = without(&database, "ENCRYPTION_KEYS");
    Server::start(&environment).await.stop().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "a-client-secret").unwrap();
    let file = secret.path().display().to_string();
    let added = ["provider", "add", "github", "--client-id", "id", "--client-secret-file", &file];
    assert!(run(&added, &environment).await.status.success());
    Server::start(&environment).await.stop().await;
    let files: Vec<_> = std::fs::read_dir(database.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in &files {
        let file_facts = std::fs::metadata(file).unwrap();
        let closed = file_facts.permissions().mode() % 0o100 == 0;
        assert!(closed || file_facts.len() == 0, "{} can be read by others", file.display());
    }
    let keys: Vec<_> = files
        .iter()
        .filter(|file| std::fs::read(file).unwrap().len() < 1000)
        .filter(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains(':')))
        .collect();
    assert_eq!(keys.len(), 1, "one file with the key: {files:?}");
    std::fs::remove_file(keys[0]).unwrap();
    let mut environment = environment;
    environment.push(("AGENT_AUTH_LISTEN".to_owned(), format!("127.0.0.1:{}", free_port())));
    run(&["serve"], &environment).await.expect_refusal();
}

#[tokio::test]
async fn a_half_sent_request_is_hung_up_on() {
    let database = Database::sqlite();
    let server = Server::start(&database.environment()).await;
    let mut connection = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    connection.write_all(b"GET /ok HTTP/1.1\r\nHost: x\r\n").unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(25))).unwrap();
    let begun = Instant::now();
    let read = tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).map(|_| answer)
    })
    .await
    .unwrap();
    assert!(read.is_ok(), "still open after {:?}", begun.elapsed());
    assert!(server.get("/ok").await.is_some(), "others are served");
}
