//! A TCP connection between two programs that a test can make silent (nothing is forwarded, and nothing is closed) or cut:
//! all connections, or only those that listen to a PostgreSQL server.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

pub struct Wire {
    address: SocketAddr,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Silent,
    ListenersSilent,
    ListenersCut,
    /// What comes after half of a message with this text.
    SilentAmid(&'static str),
}

impl Wire {
    /// To the server of this URL.
    pub async fn to(url: &str) -> Self {
        let url = Url::parse(url).expect("a URL");
        let server = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, current) = watch::channel(State::Open);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server.clone(), current.clone()));
            }
        });
        Self { address, state, accepting }
    }

    /// The same URL, over this wire.
    pub fn url(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.into()
    }

    /// From now on nothing comes through. Connections that are open stay open and silent for ever, and so do new ones.
    pub fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    /// The same for connections on which the client has sent LISTEN, or will.
    pub fn silence_listeners(&self) {
        self.state.send_replace(State::ListenersSilent);
    }

    /// Such connections are closed.
    pub fn cut_listeners(&self) {
        self.state.send_replace(State::ListenersCut);
    }

    /// The next connection on which the client sends this text becomes silent in the middle of that message.
    pub fn silence_amid(&self, text: &'static str) {
        self.state.send_replace(State::SilentAmid(text));
    }

    /// New connections work again.
    pub fn restore(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, server: String, mut state: watch::Receiver<State>) {
    let now = *state.borrow_and_update();
    if now == State::Silent {
        return keep_silent(client).await;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    if forward(&mut client, &mut upstream, &mut state).await.is_ok_and(|ended| ended == Ended::Silent) {
        keep_silent((client, upstream)).await;
    }
}

async fn keep_silent<T>(held: T) {
    std::future::pending::<()>().await;
    drop(held);
}

#[derive(PartialEq, Eq)]
enum Ended {
    /// By either side, or by the test.
    Closed,
    Silent,
}

/// Forwards until the connection is closed, or the test wants something else.
async fn forward(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    state: &mut watch::Receiver<State>,
) -> io::Result<Ended> {
    let (mut sent, mut returned) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut listens = false;
    loop {
        let (from_client, length) = tokio::select! {
            length = client.read(&mut sent) => (true, length?),
            length = upstream.read(&mut returned) => (false, length?),
            changed = state.changed() => match changed {
                Ok(()) => (false, usize::MAX),
                Err(_) => return Ok(Ended::Closed),
            },
        };
        if length == 0 {
            return Ok(Ended::Closed);
        }
        let message = match (from_client, length) {
            (_, usize::MAX) => &[][..],
            (true, length) => &sent[..length],
            (false, length) => &returned[..length],
        };
        listens |= from_client && contains(message, "LISTEN ");
        let now = *state.borrow_and_update();
        match now {
            State::Silent => return Ok(Ended::Silent),
            State::ListenersSilent if listens => return Ok(Ended::Silent),
            State::ListenersCut if listens => return Ok(Ended::Closed),
            State::SilentAmid(text) if from_client && contains(message, text) => {
                upstream.write_all(&message[..message.len() / 2]).await?;
                return Ok(Ended::Silent);
            }
            _ if from_client => upstream.write_all(message).await?,
            _ => client.write_all(message).await?,
        }
    }
}

fn contains(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|bytes| bytes == text.as_bytes())
}
