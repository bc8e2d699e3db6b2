//! Several replicas on one PostgreSQL database: what one learns from another, and how soon.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET, Reply};
use crate::support::binary::Server;
use crate::support::caller::{Caller, asking};
use crate::support::database::Database;
use crate::support::eventually::eventually;

/// As soon as another replica must have heard of a change.
const SOON: Duration = Duration::from_secs(5);

async fn two_replicas() -> (TestApp, TestApp, AuthorizationServer) {
    let here = TestApp::start(Database::postgres().await).await;
    let there = here.replica().await;
    let provider = AuthorizationServer::start().await;
    here.register(&provider).await;
    (here, there, provider)
}

fn waiting(app: &TestApp, auth_id: &str) -> tokio::task::JoinHandle<(Value, Instant)> {
    let (waiter, auth_id) = (Caller::clone(app), auth_id.to_owned());
    tokio::spawn(async move { (waiter.wait(&auth_id).await, Instant::now()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_on_one_replica_wakes_a_waiter_on_another() {
    let (here, there, provider) = two_replicas().await;
    let pending = here.begin(&asking("alice", &["read"])).await;
    let waiter = waiting(&there, &pending.auth_id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    here.come_back(&provider.consent(&pending.url)).await;
    let come_back = Instant::now();
    let (answer, told) = waiter.await.unwrap();
    assert_eq!(answer["status"], "completed");
    assert!(told.saturating_duration_since(come_back) < Duration::from_secs(2));
    let token = there.token(&asking("alice", &["read"])).await;
    assert_eq!(answer["token"], token.as_str());
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "the median is a measurement to read")]
async fn thirty_wakes_over_two_replicas_are_quick() {
    let (here, there, provider) = two_replicas().await;
    let mut took = Vec::new();
    for number in 0..30 {
        let user = format!("user-{number}");
        let pending = here.begin(&asking(&user, &["read"])).await;
        let waiter = waiting(&there, &pending.auth_id);
        tokio::time::sleep(Duration::from_millis(60)).await;
        let callback = provider.consent(&pending.url);
        let answer = here.visit(&callback).await;
        let answered = Instant::now();
        assert_eq!(answer.status.as_u16(), 303);
        let (answer, told) = waiter.await.unwrap();
        assert_eq!(answer["status"], "completed");
        took.push(told.saturating_duration_since(answered));
    }
    took.sort();
    eprintln!(
        "from the callback's answer to the waiter's on another replica: median {:?}, slowest {:?}",
        took[15], took[29]
    );
    assert!(took[29] < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_on_one_replica_ends_the_wait_on_another() {
    let (here, there, provider) = two_replicas().await;
    let pending = here.begin(&asking("alice", &["read"])).await;
    let waiter = waiting(&there, &pending.auth_id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    here.visit(&provider.deny(&pending.url)).await;
    let (answer, _) = waiter.await.unwrap();
    assert_eq!(answer["error"], "access_denied");
}

/// Takes a minute: so long an exchange may run.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_learns_of_an_exchange_that_died_with_its_replica() {
    let database = Database::postgres().await;
    let (here, there) = (Server::start(&database.environment()).await, Server::start(&database.environment()).await);
    let (provider, key) = (AuthorizationServer::start().await, &database.bootstrap_key);
    here.post(key, "/v2/auth/providers", &provider.definition("acme")).await;
    let pending = here.post(key, "/v2/auth/authenticate", &asking("alice", &["read"])).await;
    let path = format!("/v2/auth/wait/{}?timeout=200", pending["auth_id"].as_str().expect("an id"));
    let killed = async {
        let callback = provider.consent(pending["url"].as_str().expect("a url"));
        provider.hold();
        let visit = here.get(&callback[url::Position::BeforePath..]);
        let killed = async {
            provider.until_held(1).await;
            here.signal("KILL");
        };
        assert!(tokio::join!(visit, killed).0.is_none(), "it died before it answered");
        provider.release();
    };
    let (waited, ()) = tokio::join!(there.get_with_key(key, &path), killed);
    let (status, told) = waited.expect("an answer");
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["status"], &told["error"]), (&"not_found".into(), &"server_error".into()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_survive_the_loss_of_every_database_connection() {
    let (here, there, provider) = two_replicas().await;
    let pending = here.begin(&asking("alice", &["read"])).await;
    let waiter = waiting(&there, &pending.auth_id);
    tokio::time::sleep(Duration::from_millis(300)).await;
    here.database
        .number(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    let mut tries = 0;
    while here.get("/v2/auth/providers").await.status != 200 {
        tries += 1;
        assert!(tries < 20, "the replica never recovers");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let callback = provider.consent(&pending.url);
    while here.visit(&callback).await.status != 303 {
        tries += 1;
        assert!(tries < 20, "the callback never works again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (answer, _) = waiter.await.unwrap();
    assert_eq!(answer["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_begun_here_may_come_back_there() {
    let (here, there, provider) = two_replicas().await;
    let pending = here.begin(&asking("alice", &["read"])).await;
    there.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(here.look(&pending.auth_id).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_callbacks_on_two_replicas_make_one_exchange() {
    let (here, there, provider) = two_replicas().await;
    let pending = here.begin(&asking("alice", &["read"])).await;
    let answer = json!({"access_token": "only-one", "expires_in": 3600});
    provider.answer_token(Reply::json(answer).after(Duration::from_millis(300)));
    let callback = provider.consent(&pending.url);
    let visits = (0..12).map(|number| {
        let replica = if number % 2 == 0 { &here } else { &there };
        let (browser, callback): (_, Url) = (Caller::clone(replica), callback.clone());
        tokio::spawn(async move { browser.visit(&callback).await })
    });
    for answer in join_all(visits).await {
        assert_eq!(answer.unwrap().status.as_u16(), 303);
    }
    assert_eq!(provider.token_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_over_two_replicas_make_one_refresh() {
    let (here, there, provider) = two_replicas().await;
    let question = asking("alice", &["read"]);
    here.connect(&provider, &question).await;
    here.advance(3600);
    let answer = json!({"access_token": "second", "refresh_token": "r", "expires_in": 3600});
    provider.answer_token(Reply::json(answer).after(Duration::from_millis(500)));
    let callers = (0..20).map(|number| {
        let replica = if number % 2 == 0 { &here } else { &there };
        let (caller, question) = (Caller::clone(replica), question.clone());
        tokio::spawn(async move { caller.token(&question).await })
    });
    for token in join_all(callers).await {
        assert_eq!(token.unwrap(), "second");
    }
    assert_eq!(provider.refreshes().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_changed_or_deleted_here_is_soon_so_there() {
    let (here, there, _provider) = two_replicas().await;
    let moved = AuthorizationServer::start().await;
    there.begin(&asking("alice", &["read"])).await;
    let patch = json!({"auth_url": moved.at("/authorize"), "client_secret": CLIENT_SECRET});
    here.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    eventually(SOON, async || {
        let pending = there.begin(&asking("alice", &["read"])).await;
        pending.url.starts_with(&moved.at("/"))
    })
    .await;
    here.delete("/v2/auth/providers/acme").await.expect(200);
    eventually(SOON, async || there.try_authenticate(&asking("alice", &["read"])).await.status == 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_started_at_once_on_an_empty_database_agree() {
    let database = Database::postgres().await;
    let starts = (0..4).map(|_| async {
        let clock = agent_auth::clock::Clock::system();
        agent_auth::server::start(database.settings(), clock).await
    });
    for started in join_all(starts).await {
        assert!(started.is_ok(), "{:?}", started.err());
    }
    assert_eq!(database.row_counts().await["api_keys"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_servers_started_at_once_on_an_empty_database_create_one_first_key() {
    let database = Database::postgres().await;
    let mut environment = database.environment();
    environment.retain(|(name, _)| name != "AGENT_AUTH_BOOTSTRAP_API_KEY");
    let servers: Vec<_> = (0..4).map(|_| Server::launch(&environment)).collect();
    for server in &servers {
        server.ready().await;
    }
    assert_eq!(database.row_counts().await["api_keys"], 1);
    let files = std::fs::read_dir(database.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|file| file.display().to_string().contains("first-admin-key")).collect();
    assert_eq!(files.len(), 1, "one key in one file: {files:?}");
    let key = std::fs::read_to_string(&files[0]).unwrap();
    let (status, _) = servers[0].get_with_key(key.trim(), "/v2/auth/providers").await.unwrap();
    assert_eq!(status, 200);
}
