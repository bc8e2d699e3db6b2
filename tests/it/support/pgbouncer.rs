//! A PgBouncer of the test's own, in front of a PostgreSQL server.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tempfile::TempDir;
use url::Url;

use super::binary::free_port;
use super::cluster::{folder_of_server, is_root};

const PATIENCE: Duration = Duration::from_secs(20);
/// The user and the group `nobody`.
const NOBODY: u32 = 65534;

/// A PgBouncer that ends with this value.
pub struct PgBouncer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl PgBouncer {
    /// In front of the server of that database, in this mode, with the defaults of PgBouncer but for these settings.
    pub async fn start(mode: &str, database: &str, settings: &str) -> Self {
        let server = Url::parse(database).expect("a URL");
        let (host, server_port) = (server.host_str().expect("a host"), server.port().expect("a port"));
        let (folder, port) = (folder_of_server("it-pgbouncer."), free_port());
        let users = folder.path().join("users");
        std::fs::write(&users, format!("\"{}\" \"\"\n", server.username())).expect("a file");
        // Its clients are on this machine, and the database holds nothing but made-up data.
        let text = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n{settings}\n",
            users.display()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new(program());
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let bouncer = Self { child: command.spawn().expect("it runs"), port, _folder: folder };
        let begun = Instant::now();
        while bouncer.try_connect(database).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "PgBouncer does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bouncer
    }

    /// A client of the test's own, which sends no parameter that PgBouncer refuses.
    pub async fn connect(&self, database: &str) -> PgConnection {
        self.try_connect(database).await.expect("PgBouncer lets clients in")
    }

    async fn try_connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        PgConnectOptions::from_str(&self.url(database))?.extra_float_digits(None).connect().await
    }

    /// The same database by way of it.
    pub fn url(&self, database: &str) -> String {
        let mut url = Url::parse(database).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.port)).expect("a port");
        url.into()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps it off the PATH of most users.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut programs = folders.map(|folder| folder.join("pgbouncer"));
    programs.find(|program| Path::exists(program)).expect("pgbouncer is not installed: install Debian's `pgbouncer`")
}
