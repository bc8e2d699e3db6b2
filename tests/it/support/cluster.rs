//! A private PostgreSQL server that a test may stop, crash and start again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::binary::free_port;

/// A server that ends with this value.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Cluster {
    pub fn start() -> Self {
        let folder = folder_of_server("it-pg.");
        let cluster = Self { folder, programs: programs(), port: free_port() };
        cluster
            .run("initdb", &["-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        cluster.start_again();
        cluster
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it as a crash would.
    pub fn crash(&self) {
        self.run("pg_ctl", &["-D", "data", "-m", "immediate", "-w", "stop"]);
    }

    /// Starts it and waits until it takes connections.
    pub fn start_again(&self) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={}",
            self.port,
            self.folder.path().display()
        );
        self.run("pg_ctl", &["-D", "data", "-l", "server.log", "-w", "-o", &options, "start"]);
    }

    /// Stops all of its processes where they are, as on a host that hangs, until the value is dropped. Connections stay open.
    pub fn freeze(&self) -> Frozen {
        let file = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).expect("it runs");
        let postmaster = file.lines().next().expect("a process id").to_owned();
        let mut frozen = Frozen(vec![postmaster.clone()]);
        // First the one that starts the others.
        frozen.signal("-STOP");
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &postmaster]).output().expect("ps");
        let children = String::from_utf8(children.stdout).expect("numbers");
        frozen.0.extend(children.split_whitespace().map(str::to_owned));
        frozen.signal("-STOP");
        frozen
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        // PostgreSQL refuses to run as root.
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "nobody", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // Into a file and not a pipe: the server inherits it, and a pipe would stay open for as long as it runs.
        let said = self.folder.path().join("said");
        let output = File::create(&said).expect("a file");
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("the same file")).stderr(output);
        let status = command.status().expect("it runs");
        let said = std::fs::read_to_string(said).unwrap_or_default();
        assert!(status.success(), "{command:?}: {said}");
    }
}

/// The processes of a server that is frozen.
pub struct Frozen(Vec<String>);

impl Frozen {
    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).args(&self.0).status().expect("kill").success());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.folder.path().join("data/postmaster.pid").exists() {
            self.crash();
        }
    }
}

/// A folder for a server that refuses to run as root, and runs as nobody instead. Short, for the path of a socket.
pub fn folder_of_server(prefix: &str) -> TempDir {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir_in("/tmp").expect("a temporary folder");
    if is_root() {
        let path = folder.path().display().to_string();
        assert!(Command::new("chown").args(["nobody", &path]).status().expect("chown").success());
    }
    folder
}

pub fn is_root() -> bool {
    let told = Command::new("id").arg("-u").output().expect("id");
    told.stdout.trim_ascii() == b"0"
}

/// The folder of PostgreSQL's server programs; Debian keeps them off the PATH.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let has_programs = |folder: &Path| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    folders
        .into_iter()
        .find(|folder| has_programs(folder))
        .expect("initdb of PostgreSQL: install Debian's `postgresql`")
}
