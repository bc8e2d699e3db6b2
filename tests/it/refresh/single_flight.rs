//! One refresh for any number of callers and replicas, however slow it is, even if callers disconnect.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, TOKEN, identity};
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    two_hundred_callers_make_one_refresh,
    two_hundred_callers_of_a_dead_grant_ask_once,
    a_caller_that_goes_away_does_not_stop_a_refresh,
    slow_refreshes_do_not_hold_up_other_users,
    a_token_good_for_a_while_is_given_at_once_and_refreshed_behind,
    many_callers_of_a_token_good_for_a_while_make_one_refresh,
    a_token_with_five_seconds_left_is_refreshed_first,
    tokens_that_live_shorter_than_the_leeway_do_not_loop,
    a_token_is_good_for_as_long_as_was_asked,
    asking_for_more_than_a_token_ever_lives_does_not_loop,
    a_clock_that_jumps_years_ahead_costs_no_grant,
}

const HOUR: u64 = 3600;

fn question() -> Value {
    asking("alice", &["read"])
}

/// A provider that ends the grant when a refresh token is used twice.
async fn strict(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::rotating(Duration::ZERO).await;
    app.register_as(provider.definition("acme")).await;
    provider
}

async fn connect(app: &Caller, provider: &AuthorizationServer, user: &str) -> String {
    let pending = app.begin(&asking(user, &["read"])).await;
    app.come_back(&provider.consent(&pending.url)).await;
    app.token(&asking(user, &["read"])).await
}

/// Alice's token, an hour old and expired.
async fn expired(app: &TestApp) -> AuthorizationServer {
    let provider = strict(app).await;
    connect(app, &provider, "alice").await;
    app.advance(HOUR);
    provider
}

/// So many calls at once, shared among the replicas.
async fn tokens(replicas: &[&Caller], callers: usize) -> Vec<String> {
    let calls = replicas.iter().cycle().take(callers).map(|replica| {
        let caller = Caller::clone(replica);
        tokio::spawn(async move { caller.token(&question()).await })
    });
    join_all(calls).await.into_iter().map(|token| token.expect("no panic")).collect()
}

/// One refresh was made, and every caller got its token.
#[track_caller]
fn is_single(provider: &AuthorizationServer, tokens: &[String]) {
    assert!(tokens.iter().all(|token| *token == tokens[0]), "different tokens: {tokens:?}");
    assert_eq!(identity(&tokens[0]), (0, 1), "the token of the first refresh");
    assert_eq!((provider.rotations(), provider.reuses(), provider.dead_grants()), (1, 0, 0));
}

async fn two_hundred_callers_make_one_refresh(app: TestApp) {
    let provider = expired(&app).await;
    provider.hold();
    let callers: [&Caller; 1] = [&app];
    let (tokens, ()) = tokio::join!(tokens(&callers, 200), async {
        provider.until_held(1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        provider.release();
    });
    assert_eq!(tokens.len(), 200);
    is_single(&provider, &tokens);
}

async fn two_hundred_callers_of_a_dead_grant_ask_once(app: TestApp) {
    let provider = expired(&app).await;
    let asked_before = provider.count(TOKEN);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400).after(Duration::from_millis(300)));
    let calls = (0..200).map(|_| {
        let caller = Caller::clone(&app);
        tokio::spawn(async move { caller.begin(&question()).await })
    });
    for pending in join_all(calls).await {
        assert!(pending.expect("no panic").url.starts_with(&provider.at("/authorize")));
    }
    let id = app.tokens().await[0]["id"].clone();
    let named = with(question(), json!({"token_id": id}));
    assert_eq!(app.authenticate(&named).await["status"], "token_expired");
    app.advance(100 * HOUR);
    app.begin(&question()).await;
    assert_eq!(provider.count(TOKEN), asked_before + 1, "a dead grant is asked for once");
}

async fn a_caller_that_goes_away_does_not_stop_a_refresh(app: TestApp) {
    let provider = expired(&app).await;
    provider.hold();
    let caller = Caller::clone(&app);
    let call = tokio::spawn(async move { caller.token(&question()).await });
    provider.until_held(1).await;
    call.abort();
    assert!(call.await.expect_err("it was aborted").is_cancelled());
    provider.release();
    is_single(&provider, &[app.token(&question()).await]);
}

async fn slow_refreshes_do_not_hold_up_other_users(app: TestApp) {
    let provider = strict(&app).await;
    let users: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    for user in &users {
        connect(&app, &provider, user).await;
    }
    app.advance(HOUR);
    let bobs = connect(&app, &provider, "bob").await;
    provider.hold();
    let slow = users.iter().map(|user| {
        let (caller, question) = (Caller::clone(&app), asking(user, &["read"]));
        tokio::spawn(async move { caller.token(&question).await })
    });
    let slow: Vec<_> = slow.collect();
    provider.until_held(20).await;
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(app.token(&asking("bob", &["read"])).await, bobs);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(provider.rotations(), 20, "all are still held");
    provider.release();
    for token in join_all(slow).await {
        assert_eq!(identity(&token.expect("no panic")).1, 1);
    }
}

async fn becomes(app: &Caller, serial: usize) -> String {
    let begun = Instant::now();
    loop {
        let token = app.token(&question()).await;
        if identity(&token).1 == serial {
            return token;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "never refreshed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_token_good_for_a_while_is_given_at_once_and_refreshed_behind(app: TestApp) {
    let provider = strict(&app).await;
    let first = connect(&app, &provider, "alice").await;
    app.advance(HOUR - 45);
    provider.hold();
    assert_eq!(app.token(&question()).await, first);
    provider.until_held(1).await;
    assert_eq!(app.token(&question()).await, first, "nobody waits for the refresh");
    provider.release();
    is_single(&provider, &[becomes(&app, 1).await]);
}

async fn many_callers_of_a_token_good_for_a_while_make_one_refresh(app: TestApp) {
    let provider = strict(&app).await;
    let first = connect(&app, &provider, "alice").await;
    app.advance(HOUR - 45);
    provider.hold();
    let callers: [&Caller; 1] = [&app];
    let given = tokens(&callers, 100).await;
    assert!(given.iter().all(|token| *token == first));
    provider.until_held(1).await;
    provider.release();
    is_single(&provider, &[becomes(&app, 1).await]);
}

async fn a_token_with_five_seconds_left_is_refreshed_first(app: TestApp) {
    let provider = strict(&app).await;
    connect(&app, &provider, "alice").await;
    app.advance(HOUR - 5);
    is_single(&provider, &[app.token(&question()).await]);
}

async fn tokens_that_live_shorter_than_the_leeway_do_not_loop(app: TestApp) {
    let provider = strict(&app).await;
    provider.expires_in(40);
    let first = connect(&app, &provider, "alice").await;
    for _ in 0..10 {
        assert_eq!(app.token(&question()).await, first);
    }
    assert_eq!(provider.rotations(), 0);
    for serial in 1..=3 {
        app.advance(40);
        let token = app.token(&question()).await;
        assert_eq!(identity(&token).1, serial);
        assert_eq!(app.token(&question()).await, token);
    }
    assert_eq!(provider.rotations(), 3);
}

async fn a_token_is_good_for_as_long_as_was_asked(app: TestApp) {
    let provider = strict(&app).await;
    let first = connect(&app, &provider, "alice").await;
    let half_an_hour = with(question(), json!({"min_ttl": HOUR / 2}));
    assert_eq!(app.token(&half_an_hour).await, first);
    app.advance(HOUR / 2 + 60);
    assert_eq!(app.token(&question()).await, first, "good enough for whoever asks for nothing");
    let second = app.token(&half_an_hour).await;
    assert_eq!(identity(&second).1, 1);
    assert_eq!(app.token(&half_an_hour).await, second);
    assert_eq!(provider.rotations(), 1);
}

async fn asking_for_more_than_a_token_ever_lives_does_not_loop(app: TestApp) {
    let provider = strict(&app).await;
    connect(&app, &provider, "alice").await;
    let a_day = with(question(), json!({"min_ttl": 24 * HOUR}));
    for _ in 0..10 {
        app.token(&a_day).await;
    }
    assert!(provider.rotations() <= 1, "{}", provider.rotations());
}

async fn a_clock_that_jumps_years_ahead_costs_no_grant(app: TestApp) {
    let provider = strict(&app).await;
    connect(&app, &provider, "alice").await;
    for serial in 1..=3 {
        app.advance(3 * 365 * 24 * HOUR);
        assert_eq!(identity(&app.token(&question()).await).1, serial);
    }
    assert_eq!((provider.reuses(), provider.dead_grants()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_three_replicas_there_is_one_refresh() {
    let here = TestApp::start(Database::postgres().await).await;
    let (there, yonder) = (here.replica().await, here.replica().await);
    let provider = expired(&here).await;
    provider.hold();
    let replicas: [&Caller; 3] = [&here, &there, &yonder];
    let (tokens, ()) = tokio::join!(tokens(&replicas, 200), async {
        provider.until_held(1).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        provider.release();
    });
    is_single(&provider, &tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_slower_than_any_lock_is_not_doubled() {
    let patient = |settings: &mut agent_auth::config::Settings| settings.provider_timeout_seconds = 20;
    let here = TestApp::start_with(Database::postgres().await, patient).await;
    let there = here.replica().await;
    let provider = expired(&here).await;
    provider.hold();
    let replicas: [&Caller; 2] = [&here, &there];
    let (tokens, ()) = tokio::join!(tokens(&replicas, 40), async {
        provider.until_held(1).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(provider.rotations(), 1, "no second refresh while the first one takes its time");
        provider.release();
    });
    is_single(&provider, &tokens);
    // Nothing stale is written afterwards either.
    tokio::time::sleep(Duration::from_secs(1)).await;
    is_single(&provider, &[there.token(&question()).await]);
}

/// Two real servers on one database and a key for both.
async fn two_servers(database: &Database) -> (Server, Server) {
    let environment = database.environment();
    let first = Server::start(&environment).await;
    (first, Server::start(&environment).await)
}

async fn authenticate(server: &Server, key: &str) -> Value {
    server.post(key, "/v2/auth/authenticate", &question()).await
}

/// Comes back from the provider to this server. Returns nothing: the caller asks for the token.
async fn come_back(server: &Server, callback: &url::Url) {
    let path = callback.as_str().strip_prefix(PUBLIC_URL).expect("our callback");
    let (status, page) = server.get(path).await.expect("an answer");
    assert_eq!(status, 303, "{page}");
}

fn url_of(pending: &Value) -> String {
    pending["url"].as_str().unwrap_or_else(|| panic!("no url: {pending}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_holder_is_overtaken_and_does_no_harm_when_it_thaws() {
    let database = Database::postgres().await;
    let (frozen, other) = two_servers(&database).await;
    let key = database.bootstrap_key.clone();
    let provider = AuthorizationServer::rotating(Duration::from_mins(1)).await;
    let definition = provider.definition("acme");
    other.post(&key, "/v2/auth/providers", &definition).await;
    provider.expires_in(1);
    come_back(&other, &provider.consent(&url_of(&authenticate(&other, &key).await))).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;

    provider.expires_in(HOUR);
    provider.hold();
    let ask = async { authenticate(&frozen, &key).await };
    let meanwhile = async {
        provider.until_held(1).await;
        frozen.signal("STOP");
        provider.release();
        let begun = Instant::now();
        let overtaken = authenticate(&other, &key).await;
        let took = begun.elapsed();
        frozen.signal("CONT");
        (overtaken, took)
    };
    let (late, (overtaken, took)) = tokio::join!(ask, meanwhile);
    assert_eq!(overtaken["status"], "completed", "{overtaken}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let token = overtaken["token"].as_str().expect("a token");
    assert!(provider.is_newest(token), "{overtaken}");
    assert_eq!(late["token"], token, "the thawed one gives what is there now");
    for server in [&frozen, &other] {
        assert_eq!(authenticate(server, &key).await["token"], token, "the late write was discarded");
    }
    assert_eq!(provider.dead_grants(), 0);
}

/// One replica is frozen while it refreshes and is answered `late`; the other overtakes it and is answered `other`.
/// Returns the answer of the other replica, that of the thawed one, and what callers get afterwards.
async fn overtaken(late: Reply, other: Reply) -> [Value; 3] {
    let database = Database::postgres().await;
    let (frozen, overtaking) = two_servers(&database).await;
    let key = database.bootstrap_key.clone();
    let provider = AuthorizationServer::start().await;
    overtaking.post(&key, "/v2/auth/providers", &provider.definition("acme")).await;
    let pending = authenticate(&overtaking, &key).await;
    provider.answer_token(Reply::json(json!({"access_token": "first", "refresh_token": "r", "expires_in": 1})));
    come_back(&overtaking, &provider.consent(&url_of(&pending))).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;

    provider.answer_token(late.after(Duration::from_millis(500)));
    provider.answer_token(other);
    let ask = async { authenticate(&frozen, &key).await };
    let meanwhile = async {
        while provider.refreshes().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        frozen.signal("STOP");
        let told = authenticate(&overtaking, &key).await;
        frozen.signal("CONT");
        told
    };
    let (late, overtaken) = tokio::join!(ask, meanwhile);
    let afterwards = authenticate(&overtaking, &key).await;
    assert_eq!(authenticate(&frozen, &key).await["token"], afterwards["token"], "both say the same");
    assert_eq!(provider.refreshes().len(), 2);
    [overtaken, late, afterwards]
}

fn renewed() -> Reply {
    Reply::json(json!({"access_token": "second", "refresh_token": "r-2", "expires_in": HOUR}))
}

fn dead() -> Reply {
    Reply::json(json!({"error": "invalid_grant"})).status(400)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_revives_a_grant_that_was_thought_dead() {
    let [overtaken, late, afterwards] = overtaken(renewed(), dead()).await;
    assert_eq!(overtaken["status"], "pending", "as far as the other one knew: {overtaken}");
    assert_eq!(late["token"], "second");
    assert_eq!(afterwards["token"], "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_refusal_does_not_end_a_grant_that_was_renewed_meanwhile() {
    for told in overtaken(dead(), renewed()).await {
        assert_eq!(told["token"], "second", "{told}");
    }
}
