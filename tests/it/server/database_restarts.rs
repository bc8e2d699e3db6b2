//! A PostgreSQL that crashes and comes back: waiting callers and refreshes in progress lose nothing.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, identity};
use crate::support::binary::Server;
use crate::support::caller::{Caller, asking};
use crate::support::cluster::Cluster;
use crate::support::database::Database;
use crate::support::eventually::eventually;

const HOUR: u64 = 3600;

/// An application on a PostgreSQL server of its own, and a provider that ends a grant when a refresh token is used twice.
struct Story {
    app: TestApp,
    provider: AuthorizationServer,
    cluster: Cluster,
}

impl Story {
    async fn begin() -> Self {
        let cluster = Cluster::start();
        let app = TestApp::start(Database::postgres_on(cluster.url()).await).await;
        let provider = AuthorizationServer::rotating(Duration::ZERO).await;
        app.register_as(provider.definition("acme")).await;
        Self { app, provider, cluster }
    }

    async fn expired(&self) {
        let pending = self.app.begin(&question()).await;
        self.app.come_back(&self.provider.consent(&pending.url)).await;
        self.app.advance(HOUR);
    }
}

fn question() -> Value {
    asking("alice", &["read"])
}

/// Asks until there is an answer; until then only "try again" will do.
async fn soon(app: &Caller) -> Value {
    let begun = Instant::now();
    loop {
        let answer = app.try_authenticate(&question()).await;
        match answer.status.as_u16() {
            200 => return answer.json(),
            503 => assert!(!answer.header("retry-after").is_empty()),
            _ => panic!("{answer:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "only ever told to try again: {answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The provider renews the grant while the database is down, which lasts that long.
async fn away_between_answer_and_commit(away: Duration) {
    let story = Story::begin().await;
    story.expired().await;
    story.provider.hold();
    let caller = Caller::clone(&story.app);
    let call = tokio::spawn(async move { caller.try_authenticate(&question()).await });
    story.provider.until_held(1).await;
    story.cluster.crash();
    story.provider.release();
    tokio::time::sleep(away).await;
    story.cluster.start_again();
    let answer = call.await.expect("no panic");
    assert!([200, 503].contains(&answer.status.as_u16()), "{answer:?}");
    let told = soon(&story.app).await;
    assert_eq!(told["status"], "completed", "{told}");
    assert_eq!(identity(told["token"].as_str().expect("a token")), (0, 1));
    assert_eq!((story.provider.reuses(), story.provider.dead_grants()), (0, 0), "what was renewed is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_answer_and_commit_costs_no_grant() {
    away_between_answer_and_commit(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_for_seconds_between_answer_and_commit_costs_no_grant() {
    away_between_answer_and_commit(Duration::from_secs(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_before_a_refresh_costs_no_grant() {
    let story = Story::begin().await;
    story.expired().await;
    story.cluster.crash();
    story.app.try_authenticate(&question()).await.expect_error(503, "database_unavailable");
    story.cluster.start_again();
    assert_eq!(soon(&story.app).await["status"], "completed");
    assert_eq!((story.provider.rotations(), story.provider.reuses()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_a_thousand_waits_ends_all_of_them_rightly() {
    const REQUESTS: usize = 20;
    const WAITERS: usize = 50;
    let story = Story::begin().await;
    let mut requests = Vec::new();
    for number in 0..REQUESTS {
        requests.push(story.app.begin(&asking(&format!("user-{number}"), &["read"])).await);
    }
    let waits = requests.iter().enumerate().flat_map(|(number, request)| {
        let waiter = Caller::clone(&story.app);
        let path = format!("/v2/auth/wait/{}?timeout=60", request.auth_id);
        (0..WAITERS).map(move |_| {
            let (waiter, path) = (waiter.clone(), path.clone());
            tokio::spawn(async move { (number, waiter.get(&path).await) })
        })
    });
    let waits: Vec<_> = waits.collect();
    // All of them have looked and sleep.
    tokio::time::sleep(Duration::from_secs(3)).await;
    story.app.look(&requests[REQUESTS - 1].auth_id).await;
    story.cluster.crash();
    tokio::time::sleep(Duration::from_secs(1)).await;
    story.cluster.start_again();
    // Three in four consent, the others say no.
    for (number, request) in requests.iter().enumerate() {
        let mut callback = story.provider.consent(&request.url);
        if number % 4 == 0 {
            let state = request.state();
            callback.query_pairs_mut().clear().append_pair("error", "access_denied").append_pair("state", &state);
        }
        let begun = Instant::now();
        while story.app.visit(&callback).await.status == 503 {
            assert!(begun.elapsed() < Duration::from_secs(20), "the callback never works again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    for (number, answer) in join_all(waits).await.into_iter().map(|wait| wait.expect("no panic")) {
        let told = answer.expect(200);
        if number % 4 == 0 {
            assert_eq!((&told["status"], &told["error"]), (&"not_found".into(), &"access_denied".into()), "{told}");
        } else {
            assert_eq!(told["status"], "completed", "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_started_before_their_database_wait_for_it_and_serve() {
    let cluster = Cluster::start();
    let database = Database::postgres_on(cluster.url()).await;
    cluster.crash();
    let servers = [Server::launch(&database.environment()), Server::launch(&database.environment())];
    eventually(Duration::from_secs(20), async || {
        servers.iter().all(|server| server.said_so_far().contains("database.awaited"))
    })
    .await;
    cluster.start_again();
    for server in servers {
        server.ready().await;
        let (status, said) = server.stop().await;
        assert!(status.success(), "{said}");
    }
}
