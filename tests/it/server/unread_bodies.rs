//! Responses that are sent before the request's body was read, and bodies that cannot be read: whether the connection can be
//! used for the next request, and that the client learns it when it cannot.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::binary::{Server, run};
use crate::support::database::Database;

const BODY: &str = r#"{"provider_ids":["acme"]}"#;

struct Connection(TcpStream);

impl Connection {
    fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self(stream)
    }

    fn send(&mut self, part: &str) {
        self.0.write_all(part.as_bytes()).unwrap();
    }

    /// The head of the next response in lower case, and its body.
    fn response(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0
                .read_exact(&mut byte)
                .unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&head)));
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap_or_else(|| panic!("{head}"));
        let mut body = vec![0; length.split_once("\r\n").unwrap().0.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }

    fn is_open(&mut self) -> bool {
        self.0.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        self.response().0.starts_with("http/1.1 200")
    }
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_request_was_refused_before_its_body_was_read_serves_the_next_request() {
    let database = Database::sqlite();
    let server = Server::start(&database.environment()).await;
    let limited = ["api-key", "create", "--name", "x", "--role", "agent", "--only-user", "ada"];
    let limited = run(&limited, &database.environment()).await.stdout.trim().to_owned();
    let admin = database.bootstrap_key.as_str();
    let batch = "/v2/auth/tokens/exists/batch";
    let length = format!("content-length: {}\r\n", BODY.len());
    let large = "x".repeat(256 * 1024);
    let large_length = format!("content-length: {}\r\n", large.len());
    let chunked = "transfer-encoding: chunked\r\n".to_owned();
    let chunks = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let with_key = |key: &str, framing: &str| format!("x-api-key: {key}\r\n{framing}");
    for (method, path, headers, body, status) in [
        ("POST", batch, with_key("wrong", &length), BODY, 401),
        ("POST", batch, with_key("wrong", &chunked), chunks.as_str(), 401),
        ("POST", batch, with_key("wrong", &large_length), &large, 401),
        ("POST", batch, with_key(&limited, &format!("x-user-id: bob\r\n{length}")), BODY, 403),
        ("POST", "/v2/auth/nothing", with_key(admin, &length), BODY, 404),
        ("POST", "/v2/auth/tokens", with_key(admin, &length), BODY, 405),
        ("DELETE", "/v2/auth/tokens", with_key(admin, &length), BODY, 422),
        ("POST", batch, with_key(admin, &length), BODY, 200),
    ] {
        let mut connection = Connection::to(&server);
        for pause in [0, 0, 30] {
            connection.send(&head(method, path, &headers));
            std::thread::sleep(Duration::from_millis(pause));
            connection.send(body);
            let (response, text) = connection.response();
            assert!(response.starts_with(&format!("http/1.1 {status} ")), "{method} {path}: {response}{text}");
            assert!(!response.contains("connection: close"), "{method} {path}: {response}");
        }
        assert!(connection.is_open(), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_too_slow_or_not_sent_closes_the_connection_and_the_response_says_so() {
    let database = Database::sqlite();
    let server = Server::start(&database.environment()).await;
    let admin = format!("x-api-key: {}\r\n", database.bootstrap_key);
    let large = "x".repeat(700 * 1024);
    let large_length = format!("content-length: {}\r\n", large.len());
    let chunks = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let chunked = "transfer-encoding: chunked\r\n";
    for (headers, body, status) in [
        (large_length.clone(), large.as_str(), 401),
        (chunked.into(), chunks.as_str(), 401),
        (format!("{admin}{large_length}"), large.as_str(), 413),
        (format!("{admin}{chunked}"), chunks.as_str(), 413),
        ("content-length: 20\r\n".into(), "", 401),
        ("content-length: 20\r\nexpect: 100-continue\r\n".into(), "", 401),
    ] {
        let mut connection = Connection::to(&server);
        connection.send(&head("POST", "/v2/auth/authenticate", &headers));
        connection.send(body);
        let (response, text) = connection.response();
        assert!(response.starts_with(&format!("http/1.1 {status} ")), "{headers}: {response}{text}");
        assert!(response.contains("connection: close"), "{headers}: {response}");
        assert_eq!(connection.0.read(&mut [0]).unwrap(), 0, "it is closed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_valid_http_is_a_bad_request() {
    let database = Database::sqlite();
    let server = Server::start(&database.environment()).await;
    let headers = format!("x-api-key: {}\r\ntransfer-encoding: chunked\r\n", database.bootstrap_key);
    for body in ["zz\r\nx\r\n", "5;\r\nabc", "ffffffffffffffffffff\r\n", "3\r\nabcde\r\n0\r\n\r\n"] {
        let mut connection = Connection::to(&server);
        connection.send(&head("POST", "/v2/auth/authenticate", &headers));
        connection.send(body);
        connection.0.shutdown(std::net::Shutdown::Write).unwrap();
        let (response, text) = connection.response();
        assert!(response.starts_with("http/1.1 400 "), "{body:?}: {response}{text}");
        assert!(response.contains("connection: close"), "{body:?}: {response}");
        assert!(text.contains("bad_request"), "{text}");
    }
}
