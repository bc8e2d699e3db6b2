//! The plainest HTTP client there is: one connection for each request, so that thousands cost this program little.
//! Owns: writing a request and reading its answer whole.
//! Must not know: what is asked for.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer, whatever its status.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of a 200.
    pub fn json(&self) -> anyhow::Result<Value> {
        let text = String::from_utf8_lossy(&self.body);
        anyhow::ensure!(self.status == 200, "{} instead of 200: {text}", self.status);
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {text}"))
    }
}

/// A request that was sent and waits for its answer.
pub struct Sent(TcpStream);

/// Sends a request with this API key. An empty body is none.
pub async fn send(to: SocketAddr, api_key: &str, method: &str, target: &str, body: &str) -> anyhow::Result<Sent> {
    let mut stream = TcpStream::connect(to).await.context("connecting")?;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: {to}\r\nx-api-key: {api_key}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.context("sending")?;
    Ok(Sent(stream))
}

impl Sent {
    /// Waits for the answer. The server closes the connection behind it.
    pub async fn answer(mut self) -> anyhow::Result<Answer> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).await.context("reading")?;
        let end =
            bytes.windows(4).position(|four| four == b"\r\n\r\n").context("an answer without an end of its head")?;
        let head = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
        let status =
            head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer without status")?;
        Ok(Answer { status, body: bytes.split_off(end + 4) })
    }
}
