//! A TCP connection between two programs that a test can make silent: nothing is forwarded, and nothing is closed.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

pub struct Wire {
    address: SocketAddr,
    silent: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// To the server of this URL.
    pub async fn to(url: &str) -> Self {
        let url = Url::parse(url).expect("a URL");
        let server = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (silent, heard) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server.clone(), heard.clone()));
            }
        });
        Self { address, silent, accepting }
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
        self.silent.send_replace(true);
    }

    /// New connections work again.
    pub fn restore(&self) {
        self.silent.send_replace(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, server: String, mut silent: watch::Receiver<bool>) {
    if !*silent.borrow_and_update() {
        let Ok(mut upstream) = TcpStream::connect(server).await else { return };
        tokio::select! {
            // Either side closed it.
            _ = copy_bidirectional(&mut client, &mut upstream) => return,
            _ = silent.wait_for(|silent| *silent) => {}
        }
        let _held = (client, upstream);
        return std::future::pending::<()>().await;
    }
    let _held = client;
    std::future::pending::<()>().await;
}
