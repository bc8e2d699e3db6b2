//! The yardstick of waiting: the least that can hold a long poll. A bare hyper loop; it checks no key and reads no row.
//! Owns: slots to wait for, and waking those who wait for one.
//! Must not know: the library.

use std::{convert::Infallible, io::Write, net::Ipv4Addr, sync::Arc};

use http_body_util::Full;
use hyper::{Method, Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Notify};

/// What makes this program the yardstick of waiting.
pub const ARGUMENT: &str = "bare-long-poll";
const ANSWER: &[u8] = br#"{"status":"completed","token":"granted"}"#;

/// Serves for ever, and tells its address on the first line of standard output. `GET /SLOT` waits, `POST /SLOT` wakes.
pub async fn serve(slots: usize) -> anyhow::Result<()> {
    let slots: Arc<Vec<Notify>> = Arc::new((0..slots).map(|_| Notify::new()).collect());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let slots = Arc::clone(&slots);
        let service = service_fn(move |request| answer(Arc::clone(&slots), request));
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await });
    }
}

async fn answer(slots: Arc<Vec<Notify>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let slot = request.uri().path().trim_start_matches('/').parse().ok().and_then(|slot: usize| slots.get(slot));
    match (slot, request.method() == Method::POST) {
        (Some(slot), true) => slot.notify_waiters(),
        (Some(slot), false) => slot.notified().await,
        (None, _) => {}
    }
    Ok(Response::new(Full::new(Bytes::from_static(ANSWER))))
}
