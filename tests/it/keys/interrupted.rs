//! A reseal that is killed again and again, while servers answer requests: nobody notices, and nothing is lost.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agent_auth::broker::jobs::reseal;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{done, new_list, replica};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::{Database, encryption_key};

both_databases! {
    what_is_refreshed_during_a_reseal_is_not_overwritten,
    a_reseal_that_is_killed_under_load_fails_no_request_and_loses_nothing,
}

const PATIENCE: Duration = Duration::from_mins(1);

/// How often it is killed, and how many tokens there are.
fn size() -> (usize, usize) {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    (number("RESEAL_KILLS", 4), number("RESEAL_TOKENS", 300))
}

fn weather(user: &str) -> Value {
    json!({"provider": "weather", "scopes": [], "user_id": user})
}

/// Callers that ask for tokens until they are stopped, and count what fails.
struct Load {
    stopped: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    callers: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(server: &Arc<Server>, key: &str, users: usize) -> Self {
        let (stopped, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let callers = (0..4).map(|caller| {
            let (server, key) = (Arc::clone(server), key.to_owned());
            let (stopped, asked) = (Arc::clone(&stopped), Arc::clone(&asked));
            tokio::spawn(async move {
                let mut failures = Vec::new();
                for number in (caller..).step_by(4) {
                    if stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    // Most tokens are there already; every tenth is a new one.
                    let user =
                        if number % 10 == 0 { format!("new-{number}") } else { format!("user-{}", number % users) };
                    let answer = server.try_post(&key, "/v2/auth/authenticate", &weather(&user)).await;
                    let token =
                        answer.as_ref().is_some_and(|(status, body)| *status == 200 && body.contains("the-key"));
                    if !token {
                        failures.push(format!("{user}: {answer:?}"));
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                failures
            })
        });
        Self { callers: callers.collect(), stopped, asked }
    }

    async fn stop(self) -> usize {
        self.stopped.store(true, Ordering::SeqCst);
        for caller in self.callers {
            let failures = caller.await.expect("a caller");
            assert!(failures.is_empty(), "{} requests failed: {:?}", failures.len(), failures.first());
        }
        self.asked.load(Ordering::SeqCst)
    }
}

fn start_reseal(database: &Database, list: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_agent-auth"))
        .args(["keys", "reseal"])
        .env_clear()
        .envs(database.environment_with_keys(list))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

/// How many access tokens the old key has sealed; looked up often, so in one statement.
async fn old_tokens(database: &Database) -> i64 {
    let head = if database.postgres.is_some() { "'\\x056669727374'::bytea" } else { "X'056669727374'" };
    database.number(&format!("SELECT count(*) FROM tokens WHERE substr(access_token, 2, 6) = {head}")).await
}

/// The provider accepts a refresh token once: if an older value came back into a row, the next refresh would fail.
async fn what_is_refreshed_during_a_reseal_is_not_overwritten(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let users: Vec<Value> = (0..6).map(|number| asking(&format!("user-{number}"), &["read"])).collect();
    for user in &users {
        app.connect(&provider, user).await;
    }
    app.stop().await;
    let (old, new) = (&app.database.encryption_keys, encryption_key("second"));
    // Each reseals what the other has just resealed, so that rows are written all the time.
    let replicas = [replica(&app, &format!("{old},{new}")).await, replica(&app, &format!("{new},{old}")).await];
    let is_over = AtomicBool::new(false);
    let reseals = replicas.iter().map(|replica| async {
        let mut resealed = 0;
        while !is_over.load(Ordering::SeqCst) {
            resealed += reseal::run(replica.app.broker.store(), |_| ()).await.expect("reseals").resealed;
        }
        resealed
    });
    let refreshes = async {
        for _ in 0..8 {
            app.advance(3600);
            let asked = users.iter().enumerate().map(|(number, user)| replicas[number % 2].token(user));
            let tokens = join_all(asked).await;
            let again = join_all(users.iter().map(|user| replicas[0].token(user))).await;
            assert_eq!(tokens, again, "the token of the last refresh is the one that is stored");
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let (resealed, ()) = tokio::join!(join_all(reseals), refreshes);
    assert!(resealed.iter().sum::<u64>() > 0, "{resealed:?}");
}

async fn a_reseal_that_is_killed_under_load_fails_no_request_and_loses_nothing(database: Database) {
    let (kills, users) = size();
    let server = Server::start(&database.environment()).await;
    let definition =
        json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key", "client_secret": "the-key"});
    server.post(&database.bootstrap_key, "/v2/auth/providers", &definition).await;
    for number in 0..users {
        let answer =
            server.post(&database.bootstrap_key, "/v2/auth/authenticate", &weather(&format!("user-{number}"))).await;
        assert_eq!(answer["token"], "the-key");
    }
    assert!(server.stop().await.0.success());
    let promoted = format!("{},{}", encryption_key("second"), database.encryption_keys);
    let server = Arc::new(Server::start(&database.environment_with_keys(&promoted)).await);
    let load = Load::start(&server, &database.bootstrap_key, users);

    let mut left = old_tokens(&database).await;
    assert!(left >= i64::try_from(users).unwrap());
    let mut killed_in_the_middle = 0;
    for _ in 0..kills {
        let mut child = start_reseal(&database, &promoted);
        let begun = Instant::now();
        // Killed as soon as it has resealed something.
        let now = loop {
            let now = old_tokens(&database).await;
            if now < left || child.try_wait().expect("a child of ours").is_some() {
                break now;
            }
            assert!(begun.elapsed() < PATIENCE, "it reseals nothing");
        };
        child.kill().expect("SIGKILL");
        child.wait().expect("it ends");
        killed_in_the_middle += usize::from(0 < now && now < left);
        left = now;
    }
    let said = done(&database, &promoted, &["reseal"]).await;
    assert!(said.contains("Every stored secret is sealed with key second"), "{said}");
    let asked = load.stop().await;
    assert!(asked > 0 && killed_in_the_middle > 0, "{asked} requests, {killed_in_the_middle} killed in the middle");
    assert_eq!(database.sealed_with("first").await, [].into());

    let alone = new_list(&database, &promoted, &["retire", "first"]).await;
    Arc::into_inner(server).expect("nobody else has it").stop().await;
    let server = Server::start(&database.environment_with_keys(&alone)).await;
    for number in 0..users {
        let answer =
            server.post(&database.bootstrap_key, "/v2/auth/authenticate", &weather(&format!("user-{number}"))).await;
        assert_eq!(answer["token"], "the-key", "user-{number}");
    }
    if std::env::var_os("RESEAL_KILLS").is_some() {
        use std::io::Write as _;
        let summary =
            format!("{kills} kills, {killed_in_the_middle} in the middle, {asked} requests, {users} tokens\n");
        std::io::stderr().write_all(summary.as_bytes()).expect("stderr");
    }
}
