//! What is measured, each as a process of its own: the release server and the yardstick.
//! Owns: starting them, knowing when they are ready, how much memory they hold, and ending them.
//! Must not know: what is measured.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    bare,
    client::{self, Answer, Sent},
    seed, waiters, yardstick,
};

/// The administrator's key of every replica. It guards nothing but made-up tokens on this machine.
pub const API_KEY: &str = "an-api-key-that-only-the-benchmark-uses";
const START_WITHIN: Duration = Duration::from_secs(10);

/// A process that ends with this value.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing stays behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// This program again, as the yardstick, which tells its address on its first line.
    pub fn start_yardstick(database_url: &str) -> anyhow::Result<Self> {
        Self::start_this([yardstick::ARGUMENT, database_url])
    }

    /// The same as the yardstick of waiting, with room for so many waiters.
    pub fn start_bare_long_poll(waiters: usize) -> anyhow::Result<Self> {
        Self::start_this([bare::ARGUMENT, &waiters::slots(waiters).to_string()])
    }

    fn start_this(arguments: [&str; 2]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the yardstick")?;
        let mut line = String::new();
        let told = child.stdout.take().context("piped")?;
        BufReader::new(told).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the yardstick told no address but `{line}`"))?;
        Ok(Self { child, address })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB, with those pages of the program that are in memory.
    pub fn memory_kib(&self) -> anyhow::Result<u64> {
        self.status_kib("VmRSS:")
    }

    /// What of it is no file's, in KiB: the pages of a program can be read again, and processes share them.
    pub fn own_memory_kib(&self) -> anyhow::Result<u64> {
        self.status_kib("RssAnon:")
    }

    fn status_kib(&self, field: &'static str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context(field)?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

/// One release server on PostgreSQL, with its defaults but for the consent.
pub struct Replica {
    pub process: Process,
}

impl Replica {
    pub async fn start(database_url: &str, keys: &SecretString) -> anyhow::Result<Self> {
        Self::start_with(database_url, keys, &[]).await
    }

    /// With these settings besides.
    pub async fn start_with(
        database_url: &str,
        keys: &SecretString,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let child = Command::new(env!("CARGO_BIN_EXE_agent-auth"))
            .arg("serve")
            .env_clear()
            .env("AGENT_AUTH_LISTEN", address.to_string())
            .env("AGENT_AUTH_DATABASE_URL", database_url)
            .env("AGENT_AUTH_ENCRYPTION_KEYS", keys.expose_secret())
            .env("AGENT_AUTH_BOOTSTRAP_API_KEY", API_KEY)
            .env("AGENT_AUTH_ALLOW_PRIVATE_UPSTREAMS", Ipv4Addr::LOCALHOST.to_string())
            // No person is there who could press a button.
            .env("AGENT_AUTH_CONSENT", "direct")
            .envs(settings.iter().map(|(name, value)| (format!("AGENT_AUTH_{name}"), value)))
            // It logs as it does by default, and that costs what it costs; nobody reads it here.
            .stderr(Stdio::null())
            .spawn()
            .context("starting the server")?;
        let replica = Self { process: Process { child, address } };
        let ready = async {
            while !replica.get("/readyz").await.is_ok_and(|answer| answer.status == 200) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START_WITHIN, ready).await.context("the server did not become ready")?;
        Ok(replica)
    }

    pub async fn get(&self, target: &str) -> anyhow::Result<Answer> {
        client::send(self.process.address, API_KEY, "GET", target, "").await?.answer().await
    }

    /// Asks for a token of that user.
    pub async fn authenticate(&self, user: &str) -> anyhow::Result<Value> {
        let body = json!({ "provider": seed::PROVIDER, "scopes": [seed::SCOPE], "user_id": user }).to_string();
        let target = "/v2/auth/authenticate";
        client::send(self.process.address, API_KEY, "POST", target, &body).await?.answer().await?.json()
    }

    /// Begins to wait for a consent.
    pub async fn wait(&self, auth_id: &str, seconds: u64) -> anyhow::Result<Sent> {
        let target = format!("/v2/auth/wait/{auth_id}?timeout={seconds}");
        client::send(self.process.address, API_KEY, "GET", &target, "").await
    }
}

/// Free a moment ago: the server that gets it has no way to tell which it would have chosen.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
