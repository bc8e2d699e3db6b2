//! A TCP proxy that breaks single connections on the way to a server, in a chosen phase of the request.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// How far a spoiled connection gets.
#[derive(Debug, Clone, Copy)]
pub enum Phase {
    /// Not a byte of the request reaches the server.
    BeforeRequest,
    /// The server has answered, but not a byte of the answer comes back.
    AfterRequest,
    /// So many bytes of the answer come back.
    InAnswer(usize),
}

/// What happens then.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The connection ends in good order, as if all were said.
    Cut,
    /// The connection is reset.
    Reset,
    /// Silence, on an open connection.
    Stall,
    /// Everything comes through, so much later.
    Late(Duration),
}

pub const PHASES: [Phase; 3] = [Phase::BeforeRequest, Phase::AfterRequest, Phase::InAnswer(60)];

#[derive(Default)]
struct Plan {
    faults: Mutex<VecDeque<(Phase, Fault)>>,
    spoiled: AtomicUsize,
}

/// One connection carries one request: the server behind it answers `connection: close`.
pub struct FaultProxy {
    address: SocketAddr,
    server: SocketAddr,
    plan: Arc<Plan>,
    accepting: Option<JoinHandle<()>>,
}

impl FaultProxy {
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let plan = Arc::new(Plan::default());
        let accepting = Some(tokio::spawn(accept(listener, server, Arc::clone(&plan))));
        Self { address, server, plan, accepting }
    }

    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next connection is spoiled like that.
    pub fn spoil_next(&self, phase: Phase, fault: Fault) {
        self.plan.faults.lock().unwrap().push_back((phase, fault));
    }

    /// Connections yet to come are not spoiled after all.
    pub fn relent(&self) {
        self.plan.faults.lock().unwrap().clear();
    }

    /// How many connections were spoiled.
    pub fn spoiled(&self) -> usize {
        self.plan.spoiled.load(Ordering::SeqCst)
    }

    /// From now on connections are refused, and those that are open end.
    pub async fn refuse(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            drop(accepting.await);
        }
    }

    /// Connections are accepted again.
    pub async fn relisten(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is still ours");
        self.accepting = Some(tokio::spawn(accept(listener, self.server, Arc::clone(&self.plan))));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, plan: Arc<Plan>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let fault = plan.faults.lock().unwrap().pop_front();
        if fault.is_some() {
            plan.spoiled.fetch_add(1, Ordering::SeqCst);
        }
        connections.spawn(async move {
            // A connection that either side gives up has simply ended.
            drop(pass(client, server, fault).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, fault: Option<(Phase, Fault)>) -> io::Result<()> {
    match fault {
        Some((Phase::BeforeRequest, Fault::Late(wait))) => tokio::time::sleep(wait).await,
        Some((Phase::BeforeRequest, fault)) => return end(client, fault).await,
        _ => {}
    }
    let request = read_request(&mut client).await?;
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&request).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    let sent_first = match fault {
        Some((Phase::InAnswer(bytes), _)) => bytes.min(answer.len()),
        Some((Phase::AfterRequest, _)) => 0,
        _ => answer.len(),
    };
    client.write_all(&answer[..sent_first]).await?;
    match fault {
        Some((Phase::AfterRequest | Phase::InAnswer(_), Fault::Late(wait))) => {
            tokio::time::sleep(wait).await;
            client.write_all(&answer[sent_first..]).await
        }
        Some((Phase::AfterRequest | Phase::InAnswer(_), fault)) => {
            // What was sent shall arrive before a reset does.
            tokio::time::sleep(Duration::from_millis(20)).await;
            end(client, fault).await
        }
        _ => Ok(()),
    }
}

async fn end(mut client: TcpStream, fault: Fault) -> io::Result<()> {
    match fault {
        Fault::Reset => SockRef::from(&client).set_linger(Some(Duration::ZERO)),
        Fault::Cut => client.shutdown().await,
        Fault::Stall | Fault::Late(_) => {
            // Until the client has had enough.
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.map(drop)
        }
    }
}

async fn read_request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if client.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(request)
}

fn is_whole(request: &[u8]) -> bool {
    let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
    request.len() >= head + 4 + length
}
