//! Refreshes that no agent asked for: which tokens get one, and how gently a provider is asked.

use std::time::{Duration, Instant};

use agent_auth::broker::jobs::{keep_alive, usage};
use agent_auth::config::Settings;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    a_token_used_lately_is_refreshed_before_an_agent_asks,
    a_fresh_token_is_left_alone,
    a_token_nobody_uses_is_left_alone,
    a_token_is_kept_for_a_day_after_its_last_use,
    it_can_be_switched_off,
    an_idle_grant_is_used_once_in_a_while_if_the_settings_say_so,
    a_refresh_token_about_to_end_is_renewed,
    a_refresh_token_that_cannot_be_prolonged_is_not_tried_for_ever,
    what_cannot_be_refreshed_is_left_alone,
    a_dead_grant_is_left_alone,
    a_provider_that_asked_for_patience_gets_it,
    a_provider_that_is_down_is_asked_once,
    a_wrong_client_is_not_tried_with_every_token,
    a_token_of_a_very_short_life_does_not_loop,
    one_provider_is_asked_five_times_a_second_at_the_most,
    a_slow_provider_does_not_hold_up_another,
    an_agent_that_asks_meanwhile_makes_no_second_refresh,
    a_server_does_it_by_itself_until_it_stops,
}

/// How long a test waits for what happens in the background.
const SOON: Duration = Duration::from_secs(15);

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn question() -> Value {
    asking("alice", &["read"])
}

fn an_hour() -> Value {
    json!({"access_token": "first", "refresh_token": "refresh-1", "expires_in": HOUR})
}

/// Alice's token, as this token response gave it. It counts as used, since it was handed out.
async fn connected(app: &TestApp, answer: Value) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider.answer_token(Reply::json(answer));
    app.connect(&provider, &question()).await;
    usage::write(&app.app.broker).await.unwrap();
    provider
}

/// Tokens of so many users, all used and all due in an hour.
async fn users(app: &TestApp, provider: &AuthorizationServer, provider_id: &str, count: usize) {
    for number in 0..count {
        let user = with(asking(&format!("user-{number}"), &["read"]), json!({"provider": provider_id}));
        app.connect(provider, &user).await;
    }
    usage::write(&app.app.broker).await.unwrap();
}

/// Runs the job now. The server runs it as well; when it is doing so already, this waits for the next turn.
async fn keep(app: &TestApp) {
    let begun = Instant::now();
    while keep_alive::run_once(&app.app.broker).await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(30), "somebody holds the job for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn idle_after(days: i64) -> impl FnOnce(&mut Settings) {
    move |settings| settings.keep_alive_idle_days = days
}

async fn a_token_used_lately_is_refreshed_before_an_agent_asks(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR - 30);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 1);
    assert_eq!(provider.refreshes()[0].value("refresh_token"), Some("refresh-1"));
    let token = app.token(&question()).await;
    assert!(token.starts_with("access-"), "{token}");
    assert_eq!(provider.refreshes().len(), 1, "the agent found it fresh");
}

async fn a_fresh_token_is_left_alone(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR / 2);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 0);
}

async fn a_token_nobody_uses_is_left_alone(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&question()).await;
    app.come_back(&provider.consent(&pending.url)).await;
    usage::write(&app.app.broker).await.unwrap();
    for _ in 0..3 {
        app.advance(HOUR - 30);
        keep(&app).await;
    }
    assert_eq!(provider.refreshes().len(), 0, "nobody ever asked for it");
}

async fn a_token_is_kept_for_a_day_after_its_last_use(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    let mut kept = 0;
    for _ in 0..23 {
        app.advance(HOUR);
        keep(&app).await;
        kept += 1;
        assert_eq!(provider.refreshes().len(), kept);
    }
    for _ in 0..4 {
        app.advance(HOUR);
        keep(&app).await;
    }
    assert!(provider.refreshes().len() <= kept + 1, "it is not used any more");
    app.token(&question()).await;
    usage::write(&app.app.broker).await.unwrap();
    let before = provider.refreshes().len();
    app.advance(HOUR);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), before + 1, "it is used again");
}

async fn it_can_be_switched_off(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.keep_alive_used_within_hours = 0).await;
    let provider = connected(&app, an_hour()).await;
    app.advance(HOUR - 30);
    keep(&app).await;
    app.advance(100 * DAY);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 0);
}

async fn an_idle_grant_is_used_once_in_a_while_if_the_settings_say_so(database: Database) {
    let app = TestApp::start_with(database, idle_after(30)).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&question()).await;
    app.come_back(&provider.consent(&pending.url)).await;
    for times in 1..=3 {
        app.advance(29 * DAY);
        keep(&app).await;
        assert_eq!(provider.refreshes().len(), times - 1);
        app.advance(DAY);
        keep(&app).await;
        keep(&app).await;
        assert_eq!(provider.refreshes().len(), times);
    }
    assert_eq!(provider.exchanges().len(), 1);
}

async fn a_refresh_token_about_to_end_is_renewed(database: Database) {
    let app = TestApp::start_with(database, idle_after(365)).await;
    let ten_days = with(an_hour(), json!({"refresh_token_expires_in": 10 * DAY}));
    let provider = connected(&app, ten_days.clone()).await;
    for times in 1..=3 {
        app.advance(6 * DAY);
        keep(&app).await;
        assert_eq!(provider.refreshes().len(), times - 1);
        provider.answer_token(Reply::json(ten_days.clone()));
        app.advance(2 * DAY);
        keep(&app).await;
        assert_eq!(provider.refreshes().len(), times);
    }
    app.token(&question()).await;
}

async fn a_refresh_token_that_cannot_be_prolonged_is_not_tried_for_ever(database: Database) {
    let app = TestApp::start_with(database, idle_after(365)).await;
    let provider = connected(&app, with(an_hour(), json!({"refresh_token_expires_in": 10 * DAY}))).await;
    app.advance(7 * DAY);
    for _ in 0..(3 * 24) {
        app.advance(HOUR);
        keep(&app).await;
    }
    let tries = provider.refreshes().len();
    assert!((1..=6).contains(&tries), "{tries} tries");
    for _ in 0..4 {
        app.advance(DAY);
        keep(&app).await;
    }
    assert_eq!(provider.refreshes().len(), tries, "what has ended is not tried");
}

async fn what_cannot_be_refreshed_is_left_alone(database: Database) {
    let app = TestApp::start_with(database, idle_after(1)).await;
    let provider = connected(&app, json!({"access_token": "first", "expires_in": HOUR})).await;
    app.advance(HOUR - 30);
    keep(&app).await;
    app.advance(3 * DAY);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 0);
}

async fn a_dead_grant_is_left_alone(database: Database) {
    let app = TestApp::start_with(database, idle_after(1)).await;
    let provider = connected(&app, an_hour()).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.advance(HOUR);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 1, "it finds out");
    app.advance(HOUR);
    keep(&app).await;
    app.advance(3 * DAY);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 1, "and lets it be");
    app.begin(&question()).await;
}

async fn a_provider_that_asked_for_patience_gets_it(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    let later = Reply::json(json!({"error": "slow_down"})).status(429).header("retry-after", "3600");
    provider.answer_token(later);
    app.advance(HOUR);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 1);
    app.advance(HOUR - 60);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 1);
    app.advance(120);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 2);
    app.token(&question()).await;
}

async fn a_provider_that_is_down_is_asked_once(app: TestApp) {
    let (down, up) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register_as(down.definition("down")).await;
    app.register_as(up.definition("up")).await;
    users(&app, &down, "down", 4).await;
    users(&app, &up, "up", 4).await;
    let maintenance = Reply::text("text/html", "<h1>Back soon</h1>").status(503).header("retry-after", "60");
    for _ in 0..100 {
        down.answer_token(maintenance.clone());
    }
    app.advance(HOUR);
    keep(&app).await;
    assert_eq!(up.refreshes().len(), 4);
    let asked = down.refreshes().len();
    assert!((1..=2).contains(&asked), "once a run, not once a token: {asked}");
    let living = "SELECT count(*) FROM tokens WHERE state = 'active'";
    assert_eq!(app.database.number(living).await, 8, "and no grant is lost");
}

async fn a_wrong_client_is_not_tried_with_every_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    users(&app, &provider, "acme", 3).await;
    for _ in 0..100 {
        provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    }
    app.advance(HOUR);
    for _ in 0..5 {
        keep(&app).await;
        app.advance(30);
    }
    assert_eq!(provider.refreshes().len(), 1);
    app.advance(300);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 2, "it may have been corrected");
}

async fn a_token_of_a_very_short_life_does_not_loop(app: TestApp) {
    let short = json!({"access_token": "first", "refresh_token": "refresh-1", "expires_in": 30});
    let provider = connected(&app, short.clone()).await;
    for _ in 0..20 {
        provider.answer_token(Reply::json(short.clone()));
        app.advance(30);
        keep(&app).await;
    }
    let refreshes = provider.refreshes().len();
    assert!((1..=2).contains(&refreshes), "{refreshes} refreshes in ten minutes");
}

/// Never six requests within a second, with some tolerance for a busy machine.
fn is_gentle(provider: &AuthorizationServer) {
    let mut times: Vec<Instant> = provider.refreshes().iter().map(|request| request.at).collect();
    times.sort();
    for six in times.windows(6) {
        let within = six[5] - six[0];
        assert!(within > Duration::from_millis(800), "six requests within {within:?}");
    }
}

async fn one_provider_is_asked_five_times_a_second_at_the_most(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    users(&app, &provider, "acme", 12).await;
    app.advance(HOUR);
    keep(&app).await;
    assert_eq!(provider.refreshes().len(), 12);
    is_gentle(&provider);
}

async fn a_slow_provider_does_not_hold_up_another(app: TestApp) {
    let (slow, quick) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register_as(slow.definition("slow")).await;
    app.register_as(quick.definition("quick")).await;
    users(&app, &slow, "slow", 2).await;
    users(&app, &quick, "quick", 2).await;
    let answer = json!({"access_token": "late", "refresh_token": "r", "expires_in": HOUR});
    slow.answer_token(Reply::json(answer).after(Duration::from_secs(6)));
    let begun = Instant::now();
    app.advance(HOUR);
    keep(&app).await;
    assert_eq!((slow.refreshes().len(), quick.refreshes().len()), (2, 2));
    assert!(begun.elapsed() >= Duration::from_secs(5), "the slow one was waited for");
    for refresh in quick.refreshes() {
        assert!(refresh.at - begun < Duration::from_secs(3), "{:?}", refresh.at - begun);
    }
}

async fn an_agent_that_asks_meanwhile_makes_no_second_refresh(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    let answer = json!({"access_token": "second", "refresh_token": "refresh-2", "expires_in": HOUR});
    provider.answer_token(Reply::json(answer).after(Duration::from_secs(1)));
    app.advance(HOUR);
    let asking_for_it = question();
    let ask = async {
        eventually(SOON, async || !provider.refreshes().is_empty()).await;
        app.token(&asking_for_it).await
    };
    let ((), token) = tokio::join!(keep(&app), ask);
    assert_eq!(token, "second");
    assert_eq!(provider.refreshes().len(), 1);
}

async fn a_server_does_it_by_itself_until_it_stops(app: TestApp) {
    let provider = connected(&app, an_hour()).await;
    app.stop().await;
    app.advance(HOUR);
    let server = app.replica().await;
    eventually(SOON, async || provider.refreshes().len() == 1).await;
    tokio::time::timeout(Duration::from_secs(5), server.stop()).await.expect("it stops at once");
    assert!(server.app.broker.tasks.is_empty(), "nothing runs on");
    app.advance(HOUR);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(provider.refreshes().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_refresh_each_token_once_and_stay_gentle() {
    let here = TestApp::start(Database::postgres().await).await;
    let there = here.replica().await;
    let provider = AuthorizationServer::start().await;
    here.register(&provider).await;
    users(&here, &provider, "acme", 12).await;
    here.advance(HOUR);
    tokio::join!(keep(&here), keep(&there), keep(&here), keep(&there));
    let refreshes = provider.refreshes();
    let mut sent: Vec<_> = refreshes.iter().map(|request| request.value("refresh_token").unwrap()).collect();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!((sent.len(), refreshes.len()), (12, 12));
    is_gentle(&provider);
}
