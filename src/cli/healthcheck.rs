//! `agent-auth healthcheck`: checks whether the server of these settings is ready.
//! Owns: one request to it, and the exit code.
//! Must not know: what makes a server ready.

use std::{io, time::Duration};

use anyhow::{Context, anyhow, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{config::Settings, server::not_an_address, terminal::print};

const DEADLINE: Duration = Duration::from_secs(5);

pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    // A server that listens on every address also listens on loopback.
    let address = settings.listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let status = timeout(DEADLINE, status(&address)).await.with_context(|| format!("{address} does not respond"))??;
    if status.starts_with("HTTP/1.1 200 ") { print("ready") } else { bail!("{address} is not ready: {status}") }
}

async fn status(address: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => not_an_address(address),
        _ => anyhow!("nothing listens on {address}: {error}; is the server running with this --listen?"),
    })?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
