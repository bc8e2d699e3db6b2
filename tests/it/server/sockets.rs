//! The server's sockets: clients that do not read, requests that HTTP itself forbids, and few open files.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::Server;
use crate::support::caller::asking;
use crate::support::database::Database;
use crate::support::eventually::eventually;

fn environment(database: &Database, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut environment = database.environment();
    environment.extend(more.iter().map(|(name, value)| (format!("AGENT_AUTH_{name}"), (*value).to_owned())));
    environment
}

fn connect(server: &Server) -> TcpStream {
    let connection = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    connection.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    connection
}

/// Everything until the server closes the connection.
async fn whole_answer(mut connection: TcpStream) -> String {
    tokio::task::spawn_blocking(move || {
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_read_nothing_lose_their_connections() {
    let database = Database::sqlite();
    let server = Server::start(&environment(&database, &[("MAX_CONNECTIONS", "60")])).await;
    let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut greedy: Vec<TcpStream> = (0..60).map(|_| connect(&server)).collect();
    for connection in &mut greedy {
        // Not `write_all`: the server stops reading them at some point, and then this would block.
        connection.set_nonblocking(true).unwrap();
        for _ in 0..200 {
            if connection.write(request).is_err() {
                break;
            }
        }
        connection.set_nonblocking(false).unwrap();
    }
    // A connection of its own, which has to wait for a place.
    let begun = Instant::now();
    let mut patient = connect(&server);
    patient.write_all(b"GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let answer = whole_answer(patient).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() < Duration::from_mins(1));
    for mut connection in greedy {
        let ended = tokio::task::spawn_blocking(move || {
            let mut nowhere = vec![0; 1 << 20];
            loop {
                match connection.read(&mut nowhere) {
                    Ok(0) => return ErrorKind::UnexpectedEof,
                    Ok(_) => {}
                    Err(error) => return error.kind(),
                }
            }
        });
        let ended = ended.await.unwrap();
        assert!([ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof].contains(&ended), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_everything_and_a_waiter_waits_longer_than_a_write_may_take() {
    let database = Database::sqlite();
    let server = Server::start(&database.environment()).await;
    let provider = AuthorizationServer::start().await;
    let key = database.bootstrap_key.clone();
    server.post(&key, "/v2/auth/providers", &provider.definition("acme")).await;
    let begun = server.post(&key, "/v2/auth/authenticate", &asking("alice", &["read"])).await;
    let mut waiter = connect(&server);
    let path = format!("/v2/auth/wait/{}?timeout=20", begun["auth_id"].as_str().unwrap());
    write!(waiter, "GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n").unwrap();

    let mut slow = connect(&server);
    slow.write_all(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let length = tokio::task::spawn_blocking(move || {
        let (mut chunk, mut length) = (vec![0; 64 * 1024], 0);
        loop {
            match slow.read(&mut chunk).unwrap() {
                0 => return length,
                read => length += read,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    })
    .await
    .unwrap();
    let (_, whole) = server.get("/docs/swagger-ui-bundle.js").await.unwrap();
    assert!(length > whole.len(), "{length} of {}", whole.len());
    let answer = whole_answer(waiter).await;
    assert!(answer.contains(r#""status":"timeout""#), "{answer}");
}

/// A request whose head has this many bytes.
fn head_of(bytes: usize) -> String {
    let (start, end) = ("GET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-large: ", "\r\n\r\n");
    format!("{start}{}{end}", "y".repeat(bytes - start.len() - end.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_http_forbids_is_refused_in_json() {
    let database = Database::sqlite();
    let server = Server::start(&database.environment()).await;
    let many = (0..65).map(|number| format!("x-{number}: y\r\n")).collect::<Vec<_>>().concat();
    let large = format!("x-large: {}\r\n", "y".repeat(300 * 1024));
    for (request, status, code) in [
        (format!("GET /ok HTTP/1.1\r\nhost: x\r\n{many}\r\n"), 431, "headers_too_large"),
        (format!("GET /ok HTTP/1.1\r\nhost: x\r\n{large}\r\n"), 431, "headers_too_large"),
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "y".repeat(20 * 1024)),
            414,
            "uri_too_long",
        ),
        ("GET /ok HTTP/1.1\r\nconnection: close\r\n\r\n".into(), 400, "bad_request"),
        ("GET /ok HTTP/1.1\r\nhost: x\r\nhost: x\r\nconnection: close\r\n\r\n".into(), 400, "bad_request"),
        (head_of(32 * 1024 + 1), 431, "headers_too_large"),
        (head_of(40_000), 431, "headers_too_large"),
        ("GET /ok HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n".into(), 400, "bad_request"),
        ("GET /ok HTTP/1.1\r\nhost x\r\n\r\n".into(), 400, "bad_request"),
        ("GET /o k HTTP/1.1\r\nhost: x\r\n\r\n".into(), 400, "bad_request"),
        ("\u{1}\u{2} / HTTP/1.1\r\nhost: x\r\n\r\n".into(), 400, "bad_request"),
    ] {
        let mut connection = connect(&server);
        let shown: String = request.chars().take(80).collect();
        // It may be refused before all of it is sent.
        let _ = connection.write_all(request.as_bytes());
        let answer = whole_answer(connection).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{shown}: {answer}");
        assert!(head.contains("x-content-type-options: nosniff"), "{shown}: {answer}");
        assert!(head.contains("x-request-id: "), "{shown}: {answer}");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"));
        assert_eq!(body["code"], code, "{shown}");
    }
    let mut connection = connect(&server);
    connection.write_all(head_of(32 * 1024).as_bytes()).unwrap();
    let answer = whole_answer(connection).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "the largest head: {answer}");
    let old = b"GET /ok HTTP/1.0\r\n\r\n";
    let mut connection = connect(&server);
    connection.write_all(old).unwrap();
    let answer = whole_answer(connection).await;
    assert!(answer.starts_with("HTTP/1.0 200"), "HTTP/1.0 needs no Host: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_places_are_taken_new_waiters_are_sent_away_and_others_are_served() {
    let database = Database::postgres().await;
    let server = Server::start_with_files(&database.environment(), 64).await;
    let provider = AuthorizationServer::start().await;
    let key = database.bootstrap_key.clone();
    server.post(&key, "/v2/auth/providers", &provider.definition("acme")).await;
    let begun = server.post(&key, "/v2/auth/authenticate", &asking("alice", &["read"])).await;
    let auth_id = begun["auth_id"].as_str().expect("an id");
    let request = format!(
        "GET /v2/auth/wait/{auth_id}?timeout=60 HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n"
    );
    // Sixty-four files less thirty-two for others and eight for the database, of which four are for those who do not wait.
    let waiting: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut connection = connect(&server);
            connection.write_all(request.as_bytes()).expect("sent");
            connection
        })
        .collect();
    let metrics = async || server.get("/metrics").await.expect("metrics").1;
    eventually(Duration::from_secs(20), async || metrics().await.contains("agent_auth_waiters 20\n")).await;
    for _ in 0..30 {
        let mut connection = connect(&server);
        connection.write_all(request.as_bytes()).expect("sent");
        let answer = whole_answer(connection).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 2\r\n"), "{answer}");
        assert!(answer.contains(r#""code":"too_many_waiters""#), "{answer}");
    }
    let (status, now) = server.get_with_key(&key, &format!("/v2/auth/wait/{auth_id}?timeout=0")).await.expect("served");
    assert!(status == 200 && now.contains("pending"), "{status} {now}");
    // Whoever disconnects leaves a place.
    drop(waiting);
    eventually(Duration::from_secs(20), async || metrics().await.contains("agent_auth_waiters 0\n")).await;
    let mut connection = connect(&server);
    connection.write_all(request.replace("timeout=60", "timeout=1").as_bytes()).expect("sent");
    let answer = whole_answer(connection).await;
    assert!(answer.contains(r#""status":"timeout""#), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sixty_four_open_files_it_keeps_serving() {
    for database in [Database::sqlite(), Database::postgres().await] {
        let server = Server::start_with_files(&database.environment(), 64).await;
        let provider = AuthorizationServer::start().await;
        let key = database.bootstrap_key.clone();
        server.post(&key, "/v2/auth/providers", &provider.definition("acme")).await;
        let idle: Vec<TcpStream> = (0..200).map(|_| connect(&server)).collect();
        // All places are taken, so this waits, and is served when there is one.
        let waiting = server.get_with_key(&key, "/v2/auth/providers");
        let (waited, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(idle);
        });
        assert_eq!(waited.expect("an answer").0, 200);
        let question = asking("alice", &["read"]);
        let path = "/v2/auth/authenticate";
        let many = join_all((0..300).map(|_| server.try_post(&key, path, &question))).await;
        assert!(many.iter().all(|answer| answer.as_ref().is_some_and(|(status, _)| *status == 200)), "{many:?}");
        let (status, said) = server.stop().await;
        assert!(status.success(), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(said.contains("server.few_files"), "{said}");
    }
}
