//! Serving: the accept loop, its limits, and the graceful stop.
//! Owns: sockets. Plain hyper HTTP/1, because `axum::serve` has no header time-out and uses more memory per connection.
//! Must not know: routes.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, header::CONNECTION},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    address::Peer,
    checks::HEAD_MAX,
    repoll::Repoll,
    socket::{ClientStream, UNSENT_MAX},
    unread::Unread,
};

/// How long a client may take to send the head of its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 4096;
const HEADERS_MAX: usize = 64;
/// The pause after a failed accept, doubled each time up to the longest: without file descriptors, trying again at once
/// would only use CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long, and how much, is read of a client whose request was not read to its end: a connection that is closed with
/// unread data is reset, and the client would not see why.
const DRAIN_FOR: Duration = Duration::from_secs(2);
const DRAIN_BYTES: u64 = 1024 * 1024;

/// Binds the first address that `listen` names.
///
/// # Errors
/// No such address can be bound, e.g. because the port is in use.
pub async fn bind(listen: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no such address");
    for address in tokio::net::lookup_host(listen).await? {
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind_to(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit it.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_MAX)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until `stop` is cancelled; then accepts no more and lets each connection finish its request. From `leaving` on, a
/// connection is closed after its next response, so that few are open when the server stops.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    leaving: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { break };
        let (router, places, leaving, stop) = (router.clone(), Arc::clone(&places), Arc::clone(&leaving), stop.clone());
        connections.spawn(async move {
            serve_connection(stream, peer, router, places, leaving, stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection, when there is a place for it. `None` only if there is never one again.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let mut pause = ACCEPT_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, place)),
            Err(error) => {
                tracing::warn!(event = "connection.accept_failed", %error, "could not accept a connection; will retry");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    places: Arc<Semaphore>,
    leaving: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    // Responses are small and sent at once; waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_headers(HEADERS_MAX).max_buf_size(HEAD_MAX);
    let (router, peer) = (TowerToHyperService::new(router), Peer(peer.ip()));
    let unread = Unread::default();
    let current = unread.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (places, leaving, unread) = (Arc::clone(&places), leaving.load(Ordering::Relaxed), current.clone());
        let response = router.call(unread.track(request));
        async move {
            let mut response = response.await?;
            let is_reusable = unread.finish(response.status()).await;
            // Others wait for a place: this client may not keep its own for its next request.
            if leaving || !is_reusable || places.available_permits() == 0 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = Repoll::new(server.serve_connection(TokioIo::new(ClientStream::new(stream)), service));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            std::pin::Pin::new(connection.get_mut()).graceful_shutdown();
            (&mut connection).await
        }
    };
    let was_refused = ended.as_ref().is_err_and(hyper::Error::is_parse);
    if let Err(error) = ended {
        tracing::debug!(event = "connection.ended_early", %error, "a connection ended early");
    }
    if was_refused || unread.is_lost() {
        // Boxed: a waiting connection should not carry the state of this.
        Box::pin(drain(connection.into_inner().into_parts().io.into_inner())).await;
    }
}

async fn drain(stream: ClientStream) {
    let (mut rest, mut nowhere) = (stream.take(DRAIN_BYTES), tokio::io::sink());
    let _ = tokio::time::timeout(DRAIN_FOR, tokio::io::copy(&mut rest, &mut nowhere)).await;
}
