//! A client's connection: its writes are bounded, and a request that hyper itself refuses gets a body.
//! Owns: when a client that does not read its responses is disconnected, and what replaces hyper's empty responses.
//! Must not know: routes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::{error::of_malformed_request, request_id};

/// How long a write may make no progress.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a response may be in the kernel without being sent. More would hide from us that a client reads nothing,
/// and would cost memory for each client that does so.
pub(super) const UNSENT_MAX: u32 = 64 * 1024;

/// How hyper's own response to a request begins that it cannot parse, after the status line. (Responses of our router begin
/// with their headers.)
const REFUSED_BY_HYPER: &[u8] = b"connection: close\r\ncontent-length: 0\r\n";

/// The connection. The timer exists only while a write is blocked, so that an idle connection does not pay for it.
pub(super) struct ClientStream {
    stream: TcpStream,
    blocked: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, blocked: None }
    }

    /// Passes on the outcome of a write, unless it has been blocked for too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        ready!(self.blocked.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT))).as_mut().poll(cx));
        // What is left in the kernel is dropped with the connection; nobody reads it.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not read the response")))
    }
}

/// What replaces `head`, if it is hyper's empty response to a request that it cannot parse.
fn replacement(head: &[u8]) -> Option<Vec<u8>> {
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3).filter(|status| status[0] == b'4')?;
    let after = head.iter().position(|byte| *byte == b'\n')? + 1;
    if !head[after..].starts_with(REFUSED_BY_HYPER) {
        return None;
    }
    let (status, body) = of_malformed_request(StatusCode::from_bytes(status).ok()?);
    let reason = status.canonical_reason().unwrap_or_default();
    let (status, id) = (status.as_u16(), request_id::new());
    let id = id.to_str().unwrap_or_default();
    tracing::debug!(event = "connection.request_refused", request_id = id, status, "a request is not valid HTTP/1.1");
    let response = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         x-content-type-options: nosniff\r\nx-request-id: {id}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Some(response.into_bytes())
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Nothing else was sent before, so it is sent as a whole or not at all.
        let written = match slices.first().and_then(|head| replacement(head)) {
            Some(response) => {
                let length = slices.iter().map(|slice| slice.len()).sum();
                Pin::new(&mut self.stream).poll_write(cx, &response).map_ok(|_| length)
            }
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        };
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
