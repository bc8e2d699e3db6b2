//! Hand-outs of tokens: each is one event, whatever the mode, over several replicas, at a stop and after a crash.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_auth::broker::audit;
use agent_auth::model::actor::Act;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{break_audit, mend_audit, names, of_name, organization, recorded, verified};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking};
use crate::support::database::{Database, PUBLIC_URL};
use crate::support::eventually::eventually;

both_databases! {
    ten_thousand_hand_outs_over_two_replicas_are_ten_thousand_events,
    each_event_of_a_batch_says_whose_token_it_was,
    in_strict_an_event_is_there_before_the_answer,
    with_off_only_hand_outs_are_not_recorded,
    a_server_writes_hand_outs_by_itself,
    a_stop_writes_what_was_handed_out,
    a_kill_costs_nothing_in_strict,
    a_kill_in_batched_leaves_a_whole_chain,
    hand_outs_stop_when_too_many_wait_to_be_written,
}

const SOON: Duration = Duration::from_secs(15);
const CALLERS: usize = 20;

fn question() -> Value {
    asking("alice", &["read"])
}

async fn connected(database: Database, mode: &str) -> TestApp {
    let app = TestApp::start_with(database, |settings| mode.clone_into(&mut settings.audit_handouts)).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    app
}

async fn number_of_handouts(database: &Database) -> i64 {
    database.number("SELECT count(*) FROM audit_events WHERE event = 'token.handed_out'").await
}

async fn ten_thousand_hand_outs_over_two_replicas_are_ten_thousand_events(app: TestApp) {
    const EACH: usize = 500;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &question()).await;
    app.app.broker.handouts.write().await.unwrap();
    let before = number_of_handouts(&app.database).await;
    let there = app.replica().await;
    let callers = (0..CALLERS).map(|number| {
        let caller = Caller::clone(if number % 2 == 0 { &app } else { &there });
        tokio::spawn(async move {
            for _ in 0..EACH {
                caller.token(&question()).await;
            }
        })
    });
    // Acts of both replicas come in between.
    let acts = async {
        for number in 0..30 {
            let replica = if number % 2 == 0 { &app } else { &there };
            // On SQLite a batch of the other replica can keep it waiting for too long: then it is to be repeated.
            while replica.try_authenticate(&asking("bob", &["read"])).await.status == 503 {}
        }
    };
    let (callers, ()) = tokio::join!(join_all(callers), acts);
    for ended in callers {
        ended.unwrap();
    }
    for replica in [&app, &there] {
        replica.app.broker.handouts.write().await.unwrap();
    }
    let handed_out = number_of_handouts(&app.database).await - before;
    assert_eq!(usize::try_from(handed_out).unwrap(), CALLERS * EACH);
    let verified = verified(&app).await;
    assert_eq!(verified.broken, None);
    let rows = app.database.number("SELECT count(*) FROM audit_events").await;
    assert_eq!((verified.events, verified.last.sequence), (rows, rows), "numbered without a gap");
}

async fn each_event_of_a_batch_says_whose_token_it_was(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let cases = [("alice", vec!["read"]), ("bob", vec!["read", "write"]), ("carol", vec!["write"])];
    for (user, scopes) in &cases {
        app.connect(&provider, &asking(user, scopes)).await;
    }
    // On PostgreSQL, a small batch has an array for each column. A large one has arrays only for the columns that differ.
    for (number, users) in [(12, 3), (60, 3), (60, 1)] {
        let before = of_name(&recorded(&app).await, "token.handed_out").len();
        let in_turns: Vec<_> = cases[..users].iter().cycle().take(number).collect();
        for (user, scopes) in &in_turns {
            app.token(&asking(user, scopes)).await;
        }
        let handed_out = of_name(&recorded(&app).await, "token.handed_out").split_off(before);
        let said = handed_out.iter().map(|event| (event["user_id"].clone(), event["scopes"].clone()));
        let expected = in_turns.iter().map(|(user, scopes)| (json!(user), json!(scopes)));
        assert_eq!(said.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let requests: BTreeSet<_> = handed_out.iter().map(|event| event["request_id"].as_str().unwrap()).collect();
        assert_eq!(requests.len(), number, "each in a request of its own");
    }
    assert_eq!(verified(&app).await.broken, None);
}

async fn in_strict_an_event_is_there_before_the_answer(database: Database) {
    let app = connected(database, "strict").await;
    let before = number_of_handouts(&app.database).await;
    for number in 1..=5 {
        app.token(&question()).await;
        assert_eq!(number_of_handouts(&app.database).await, before + number);
    }
    let callers = (0..50).map(|_| {
        let caller = Caller::clone(&app);
        tokio::spawn(async move { caller.token(&question()).await })
    });
    join_all(callers).await.into_iter().for_each(|token| drop(token.unwrap()));
    assert_eq!(number_of_handouts(&app.database).await, before + 55);
    assert_eq!(verified(&app).await.broken, None);
}

async fn with_off_only_hand_outs_are_not_recorded(database: Database) {
    let app = connected(database, "off").await;
    app.token(&question()).await;
    let events = recorded(&app).await;
    assert_eq!(of_name(&events, "token.handed_out"), Vec::<Value>::new());
    assert_eq!(of_name(&events, "consent.completed").len(), 1);
}

async fn a_server_writes_hand_outs_by_itself(database: Database) {
    let app = connected(database, "batched").await;
    eventually(SOON, async || number_of_handouts(&app.database).await == 1).await;
}

async fn a_stop_writes_what_was_handed_out(database: Database) {
    let app = connected(database, "batched").await;
    app.token(&question()).await;
    app.stop().await;
    assert_eq!(number_of_handouts(&app.database).await, 2);
}

/// A server in this mode that has handed out a token so many times, and was then killed.
async fn killed_after(database: &Database, mode: &str, times: usize) {
    let provider = AuthorizationServer::start().await;
    let mut environment = database.environment();
    environment.push(("AGENT_AUTH_AUDIT_HANDOUTS".to_owned(), mode.to_owned()));
    let server = Server::start(&environment).await;
    let key = database.bootstrap_key.clone();
    server.post(&key, "/v2/auth/providers", &provider.definition("acme")).await;
    let pending = server.post(&key, "/v2/auth/authenticate", &question()).await;
    let callback = provider.consent(pending["url"].as_str().unwrap());
    let path = callback.as_str().strip_prefix(PUBLIC_URL).unwrap().to_owned();
    assert_eq!(server.get(&path).await.expect("an answer").0, 303);
    for _ in 0..times {
        let answer = server.post(&key, "/v2/auth/authenticate", &question()).await;
        assert_eq!(answer["status"], "completed");
    }
    server.signal("KILL");
    drop(server.ended().await);
}

async fn a_kill_costs_nothing_in_strict(database: Database) {
    killed_after(&database, "strict", 30).await;
    assert_eq!(number_of_handouts(&database).await, 30);
    let app = TestApp::start(database).await;
    assert_eq!(verified(&app).await.broken, None);
    let events = recorded(&app).await;
    assert_eq!(names(&events, events.len() - 1), ["server.started"]);
    let organization = organization(&app).await;
    assert_eq!(audit::organizations(&app.app.broker).await.unwrap(), [organization]);
    assert_eq!(events[events.len() - 2]["details"], json!({}));
}

async fn a_kill_in_batched_leaves_a_whole_chain(database: Database) {
    killed_after(&database, "batched", 300).await;
    assert!(number_of_handouts(&database).await <= 300);
    let app = TestApp::start(database).await;
    assert_eq!(verified(&app).await.broken, None);
    app.token(&question()).await;
    recorded(&app).await;
    assert_eq!(verified(&app).await.broken, None);
}

async fn hand_outs_stop_when_too_many_wait_to_be_written(database: Database) {
    const MOST: usize = 20_000;
    let app = connected(database, "batched").await;
    recorded(&app).await;
    let before = number_of_handouts(&app.database).await;
    let (broker, now) = (&app.app.broker, app.clock.now());
    let tenant = broker.home_tenant().await.unwrap();
    let id = app.tokens().await[0]["id"].as_str().unwrap().parse().unwrap();
    let token = broker.store().token(&tenant, id).await.unwrap().unwrap();
    break_audit(&app.database).await;
    for _ in 0..MOST {
        broker.handouts.record(&token, "", &Act::service(), now).await.unwrap();
    }
    app.try_authenticate(&question()).await.expect_error(503, "audit_unavailable");
    mend_audit(&app.database).await;
    app.token(&question()).await;
    broker.handouts.write().await.unwrap();
    let handed_out = number_of_handouts(&app.database).await - before;
    assert_eq!(usize::try_from(handed_out).unwrap(), MOST + 1);
    assert_eq!(verified(&app).await.broken, None);
}
