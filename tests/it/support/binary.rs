//! The real binary as a child process: start it, send requests, stop it, read what it prints.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::http::Method;
use reqwest::redirect::Policy;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// It refused: no success, one line apart from the log that says why, no chain of causes and no panic.
    #[track_caller]
    pub fn expect_refusal(&self) -> &str {
        assert!(!self.status.success(), "it should have refused: {self:?}");
        assert!(!self.stderr.contains("panicked"), "a panic: {self:?}");
        let is_log = |line: &&str| line.starts_with('{') && line.contains("\"level\"");
        let mut lines = self.stderr.lines().filter(|line| !line.trim().is_empty() && !is_log(line));
        let line = lines.next_back().unwrap_or_else(|| panic!("it says why: {self:?}"));
        assert_eq!(lines.count(), 0, "one line is enough: {self:?}");
        line
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_agent-auth");

fn command(arguments: &[&str], environment: &[(String, String)]) -> Command {
    command_of(BINARY, arguments, environment)
}

fn command_of(program: &str, arguments: &[&str], environment: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        // Any free port: another program may have the default one. A test that wants another address says so.
        .env("AGENT_AUTH_LISTEN", "127.0.0.1:0")
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the command to its end.
pub async fn run(arguments: &[&str], environment: &[(String, String)]) -> Finished {
    let described = arguments.join(" ");
    let mut command = command(arguments, environment);
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the binary starts");
        let stdout = collect(child.stdout.take().expect("piped"));
        let stderr = collect(child.stderr.take().expect("piped"));
        let status = wait_for(&mut child, &described);
        Finished { status, stdout: stdout.finish(), stderr: stderr.finish() }
    })
    .await
    .expect("the command is waited for")
}

fn wait_for(child: &mut Child, described: &str) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("can be killed");
            panic!("`agent-auth {described}` did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A command that runs.
pub struct Started {
    child: Child,
    pipes: [Collected; 2],
}

impl Started {
    pub fn begin(arguments: &[&str], environment: &[(String, String)]) -> Self {
        let mut child = command(arguments, environment).spawn().expect("the binary starts");
        let pipes = [collect(child.stdout.take().expect("piped")), collect(child.stderr.take().expect("piped"))];
        Self { child, pipes }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// SIGKILL: it has no moment for anything more. Returns what it has said.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("can be killed");
        self.child.wait().expect("a child of ours");
        self.pipes.map(Collected::finish).concat()
    }
}

/// Reads a pipe on a thread, so that the child never blocks on a full one.
struct Collected {
    text: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let text = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&text);
    let thread = std::thread::spawn(move || {
        let mut chunk = [0_u8; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut chunk) {
            into.lock().unwrap().extend_from_slice(&chunk[..length]);
        }
    });
    Collected { text, thread }
}

impl Collected {
    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }

    fn finish(self) -> String {
        self.thread.join().expect("the pipe is read");
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}

/// `agent-auth serve` on a port of its own.
pub struct Server {
    child: Child,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    pub port: u16,
    pub http: reqwest::Client,
}

impl Server {
    /// Starts it and waits until it answers.
    pub async fn start(environment: &[(String, String)]) -> Self {
        let server = Self::launch(environment);
        server.ready().await;
        server
    }

    /// Waits until it answers.
    pub async fn ready(&self) {
        let begun = Instant::now();
        while self.get("/readyz").await.is_none_or(|(status, _)| status != 200) {
            assert!(begun.elapsed() < PATIENCE, "it never got ready; it said: {}", self.said_so_far());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it and waits for nothing.
    pub fn launch(environment: &[(String, String)]) -> Self {
        Self::launch_by(environment, |environment| command(&["serve"], environment))
    }

    /// The same with a limit of open files.
    pub async fn start_with_files(environment: &[(String, String)], files: u32) -> Self {
        let server = Self::launch_by(environment, |environment| {
            let limited = format!("ulimit -n {files} && exec '{BINARY}' serve");
            command_of("sh", &["-c", &limited], environment)
        });
        server.ready().await;
        server
    }

    /// The same with a terminal for its output.
    pub async fn start_on_a_terminal(environment: &[(String, String)]) -> Self {
        let server = Self::launch_by(environment, |environment| {
            command_of("script", &["-q", "-f", "-c", &format!("exec '{BINARY}' serve"), "/dev/null"], environment)
        });
        server.ready().await;
        server
    }

    /// The same, where a file that cannot grow is an error of its write and does not end the process.
    #[cfg(target_os = "linux")]
    pub async fn start_without_file_signal(environment: &[(String, String)]) -> Self {
        let server = Self::launch_by(environment, |environment| {
            let ignoring = format!("trap '' XFSZ && exec '{BINARY}' serve");
            command_of("sh", &["-c", &ignoring], environment)
        });
        server.ready().await;
        server
    }

    /// Lets it write no file beyond this size; without one, any.
    #[cfg(target_os = "linux")]
    pub fn limit_file_size(&self, bytes: Option<u64>) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("a limit");
    }

    fn launch_by(environment: &[(String, String)], command: impl FnOnce(&[(String, String)]) -> Command) -> Self {
        let port = free_port();
        let mut environment = environment.to_vec();
        environment.push(("AGENT_AUTH_LISTEN".to_owned(), format!("127.0.0.1:{port}")));
        let mut child = command(&environment).spawn().expect("the binary starts");
        // A second installation in the same process fails, which is fine.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            stdout: child.stdout.take().map(collect),
            stderr: child.stderr.take().map(collect),
            child,
            port,
            http: reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client"),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        self.ask(self.http.get(self.url(path))).await
    }

    pub async fn get_with_key(&self, key: &str, path: &str) -> Option<(u16, String)> {
        self.ask(self.http.get(self.url(path)).header("x-api-key", key)).await
    }

    pub async fn try_post(&self, key: &str, path: &str, body: &Value) -> Option<(u16, String)> {
        self.try_send(Method::POST, key, path, body).await
    }

    pub async fn try_send(&self, method: Method, key: &str, path: &str, body: &Value) -> Option<(u16, String)> {
        let request = self
            .http
            .request(method, self.url(path))
            .header("x-api-key", key)
            .header("content-type", "application/json")
            .body(body.to_string());
        self.ask(request).await
    }

    pub async fn post(&self, key: &str, path: &str, body: &Value) -> Value {
        let (status, body) = self.try_post(key, path, body).await.expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Option<(u16, String)> {
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.text().await.ok()?))
    }

    pub fn said_so_far(&self) -> String {
        let pipes = [&self.stdout, &self.stderr];
        pipes.into_iter().flatten().map(Collected::so_far).collect()
    }

    /// Asks it to end, as an orchestrator does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal. (`drop` is SIGKILL.)
    pub fn signal(&self, name: &str) {
        let asked = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(asked.expect("sh").success(), "the signal was sent");
    }

    /// Waits for its end; gives the status and everything it ever printed.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        tokio::task::spawn_blocking(move || {
            let status = wait_for(&mut self.child, "serve");
            let pipes = [self.stdout.take(), self.stderr.take()];
            let said = pipes.into_iter().flatten().map(Collected::finish).collect();
            (status, said)
        })
        .await
        .expect("the server is waited for")
    }

    pub async fn stop(self) -> (ExitStatus, String) {
        self.terminate();
        self.ended().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Every word of a text that is long enough to be an API key.
pub fn words_like_keys(text: &str) -> Vec<String> {
    let in_key = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let words = text.split(|c: char| !in_key(c));
    words.filter(|word| word.len() >= 43).map(str::to_owned).collect()
}
