//! A provider or a network that fails during a refresh: whether the grant is kept or a new consent is needed.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, TOKEN, identity};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::Database;
use crate::support::fault_proxy::{Fault, FaultProxy, PHASES, Phase};

both_databases! {
    with_grace_no_fault_costs_a_grant,
    without_grace_each_loss_is_told_as_consent_needed,
    a_fault_before_the_request_costs_a_strict_provider_nothing,
    after_lost_answers_the_provider_is_asked_again_though_nobody_asks,
    a_provider_that_refuses_connections_costs_no_grant,
    a_slow_network_costs_nothing,
    a_wait_in_seconds_is_respected_and_passed_on,
    a_wait_until_a_date_is_respected_and_passed_on,
    an_overloaded_provider_that_speaks_of_a_dead_grant_is_not_believed,
    a_firewall_in_front_of_the_provider_costs_no_grant,
    wrong_client_credentials_mark_the_provider_and_keep_its_grants,
    an_outage_is_probed_and_not_hammered,
}

const HOUR: u64 = 3600;

fn question() -> Value {
    asking("alice", &["read"])
}

/// A provider behind a proxy, and an application that gives it two seconds.
struct Story {
    app: TestApp,
    provider: AuthorizationServer,
    proxy: FaultProxy,
}

impl Story {
    async fn begin(database: Database, grace: Duration) -> Self {
        let app = TestApp::start_with(database, |settings| settings.provider_timeout_seconds = 2).await;
        let provider = AuthorizationServer::rotating(grace).await;
        let proxy = FaultProxy::before(provider.address()).await;
        app.register_as(with(provider.definition("acme"), json!({"token_url": proxy.at("/token")}))).await;
        Self { app, provider, proxy }
    }

    /// Alice consents; gives her token.
    async fn connect(&self) -> String {
        connect(&self.app, &self.provider).await
    }

    async fn ask(&self) -> Answer {
        self.app.try_authenticate(&question()).await
    }

    /// What she is told in the end, when nothing is wrong any more.
    async fn in_the_end(&self) -> Value {
        for _ in 0..5 {
            self.app.advance(60);
            let answer = self.ask().await;
            if is_settled(&answer) {
                return answer.json();
            }
        }
        panic!("only ever told to try again");
    }
}

async fn connect(app: &Caller, provider: &AuthorizationServer) -> String {
    let pending = app.begin(&question()).await;
    app.come_back(&provider.consent(&pending.url)).await;
    app.token(&question()).await
}

/// The answer is final, or it says when to try again.
#[track_caller]
fn is_settled(answer: &Answer) -> bool {
    match answer.status.as_u16() {
        200 => true,
        503 | 504 => {
            let seconds: u64 = answer.header("retry-after").parse().expect("it says when to come again");
            assert!(seconds <= 60, "{seconds}");
            assert!(answer.json()["detail"].is_string());
            false
        }
        _ => panic!("{answer:?}"),
    }
}

fn faults() -> impl Iterator<Item = (Phase, Fault)> {
    let kinds = [Fault::Cut, Fault::Reset, Fault::Stall];
    PHASES.into_iter().flat_map(move |phase| kinds.into_iter().map(move |fault| (phase, fault)))
}

async fn with_grace_no_fault_costs_a_grant(database: Database) {
    let story = Story::begin(database, Duration::from_mins(10)).await;
    let mut known = story.connect().await;
    let mut injected = 0;
    for (phase, fault) in faults() {
        // Once alone, and once so often that retries at once cannot help.
        let often = if matches!(fault, Fault::Stall) { &[1][..] } else { &[1, 3] };
        for &often in often {
            story.app.advance(HOUR);
            for _ in 0..often {
                story.proxy.spoil_next(phase, fault);
            }
            let answer = story.ask().await;
            let told = if is_settled(&answer) { answer.json() } else { story.in_the_end().await };
            assert_eq!(told["status"], "completed", "{phase:?} {fault:?}: {told}");
            let token = told["token"].as_str().expect("a token").to_owned();
            assert!(identity(&token).1 > identity(&known).1, "{phase:?} {fault:?}: an old token");
            assert!(story.provider.is_newest(&token), "{phase:?} {fault:?}");
            known = token;
            injected += often;
            story.proxy.relent();
        }
    }
    assert!(story.proxy.spoiled() > injected / 2, "{} of {injected}", story.proxy.spoiled());
    assert_eq!((story.provider.grants(), story.provider.dead_grants()), (1, 0), "0 grants lost");
}

async fn without_grace_each_loss_is_told_as_consent_needed(database: Database) {
    let story = Story::begin(database, Duration::ZERO).await;
    let mut losses = 0;
    for (phase, fault) in faults().filter(|(phase, _)| !matches!(phase, Phase::BeforeRequest)) {
        story.connect().await;
        let id = story.app.tokens().await[0]["id"].clone();
        story.app.advance(HOUR);
        story.proxy.spoil_next(phase, fault);
        let answer = story.ask().await;
        let told = if is_settled(&answer) { answer.json() } else { story.in_the_end().await };
        assert_eq!(told["status"], "pending", "{phase:?} {fault:?}: {told}");
        let named = story.app.authenticate(&with(question(), json!({"token_id": id}))).await;
        assert_eq!(named["status"], "token_expired", "{phase:?} {fault:?}: {named}");
        losses += 1;
        assert_eq!(story.provider.dead_grants(), losses, "the provider has really ended it");
    }
    assert_eq!(losses, 6);
    let token = story.connect().await;
    assert!(story.provider.is_newest(&token), "consent heals it");
}

async fn a_fault_before_the_request_costs_a_strict_provider_nothing(database: Database) {
    let story = Story::begin(database, Duration::ZERO).await;
    story.connect().await;
    for fault in [Fault::Cut, Fault::Reset, Fault::Stall] {
        story.app.advance(HOUR);
        story.proxy.spoil_next(Phase::BeforeRequest, fault);
        let answer = story.ask().await;
        let told = if is_settled(&answer) { answer.json() } else { story.in_the_end().await };
        assert_eq!(told["status"], "completed", "{fault:?}: {told}");
    }
    assert_eq!((story.provider.rotations(), story.provider.reuses(), story.provider.dead_grants()), (3, 0, 0));
}

async fn after_lost_answers_the_provider_is_asked_again_though_nobody_asks(database: Database) {
    let story = Story::begin(database, Duration::from_mins(10)).await;
    story.connect().await;
    story.app.advance(HOUR);
    // As often as a caller's own request is tried, so that the caller is told to come again, and does not.
    for _ in 0..3 {
        story.proxy.spoil_next(Phase::AfterRequest, Fault::Reset);
    }
    assert_eq!(story.ask().await.status, 503);
    let asked = story.provider.count(TOKEN);
    let renewed = async {
        while story.provider.count(TOKEN) == asked {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("the grace is used");
    let token = story.app.token(&question()).await;
    assert!(story.provider.is_newest(&token));
    assert_eq!(story.provider.dead_grants(), 0);
}

async fn a_provider_that_refuses_connections_costs_no_grant(database: Database) {
    let mut story = Story::begin(database, Duration::ZERO).await;
    let first = story.connect().await;
    story.proxy.refuse().await;
    story.app.advance(HOUR - 20);
    assert_eq!(story.app.token(&question()).await, first, "what still works is given");
    story.app.advance(20);
    for _ in 0..3 {
        assert!(!is_settled(&story.ask().await));
        story.app.advance(120);
    }
    story.proxy.relisten().await;
    assert_eq!(story.in_the_end().await["status"], "completed");
    assert_eq!((story.provider.rotations(), story.provider.reuses(), story.provider.dead_grants()), (1, 0, 0));
}

async fn a_slow_network_costs_nothing(database: Database) {
    let story = Story::begin(database, Duration::ZERO).await;
    story.connect().await;
    for phase in PHASES {
        story.app.advance(HOUR);
        story.proxy.spoil_next(phase, Fault::Late(Duration::from_millis(700)));
        story.app.token(&question()).await;
    }
    assert_eq!((story.provider.rotations(), story.provider.reuses()), (3, 0));
    assert_eq!(story.proxy.spoiled(), 3);
}

/// Alice's expired token, at a provider right behind the application.
async fn expired(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::rotating(Duration::ZERO).await;
    app.register_as(provider.definition("acme")).await;
    connect(app, &provider).await;
    app.advance(HOUR);
    provider
}

/// The provider asks for a pause of two minutes, and is not called before.
async fn respects_two_minutes(app: &TestApp, provider: &AuthorizationServer, retry_after: &str) {
    let asked = provider.count(TOKEN);
    let busy = Reply::json(json!({"error": "rate_limited"})).status(429).header("retry-after", retry_after);
    provider.answer_token(busy);
    for (advance, least, most) in [(0, 110, 121), (0, 110, 121), (60, 50, 61), (50, 1, 11)] {
        app.advance(advance);
        let answer = app.try_authenticate(&question()).await;
        answer.expect_error(503, "provider_unavailable");
        let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
        assert!((least..=most).contains(&seconds), "{seconds} s after {advance} s more");
    }
    assert_eq!(provider.count(TOKEN), asked + 1, "it is left alone");
    app.advance(11);
    app.token(&question()).await;
    assert_eq!(provider.count(TOKEN), asked + 2);
}

async fn a_wait_in_seconds_is_respected_and_passed_on(app: TestApp) {
    let provider = expired(&app).await;
    respects_two_minutes(&app, &provider, "120").await;
}

async fn a_wait_until_a_date_is_respected_and_passed_on(app: TestApp) {
    let provider = expired(&app).await;
    let date = (app.clock.now() + TimeDelta::seconds(120)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    respects_two_minutes(&app, &provider, &date).await;
}

/// The provider answers with this for a while; then all is well again, with the same refresh token.
async fn costs_no_grant(app: &TestApp, provider: &AuthorizationServer, wrong: Reply) -> Answer {
    app.advance(HOUR);
    for _ in 0..3 {
        provider.answer_token(wrong.clone());
    }
    let answer = app.try_authenticate(&question()).await;
    assert!([502, 503, 504].contains(&answer.status.as_u16()), "{answer:?}");
    for _ in 0..4 {
        app.advance(60);
        if app.try_authenticate(&question()).await.status == 200 {
            break;
        }
    }
    app.token(&question()).await;
    assert_eq!((provider.reuses(), provider.dead_grants()), (0, 0));
    answer
}

async fn an_overloaded_provider_that_speaks_of_a_dead_grant_is_not_believed(app: TestApp) {
    let provider = expired(&app).await;
    for status in [500, 502, 503, 504, 429] {
        let dead = Reply::json(json!({"error": "invalid_grant"})).status(status);
        costs_no_grant(&app, &provider, dead).await;
    }
}

async fn a_firewall_in_front_of_the_provider_costs_no_grant(app: TestApp) {
    let provider = expired(&app).await;
    let page = "<html><title>Attention Required! | Cloudflare</title><p>invalid_grant: password=hunter2</p></html>";
    for status in [200, 400, 401, 403, 404] {
        let answer = costs_no_grant(&app, &provider, Reply::text("text/html", page).status(status)).await;
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    }
}

async fn wrong_client_credentials_mark_the_provider_and_keep_its_grants(app: TestApp) {
    let provider = expired(&app).await;
    let marked = "SELECT count(*) FROM providers WHERE client_error = 'invalid_client' AND client_error_at IS NOT NULL";
    provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    let asked = provider.count(TOKEN);
    app.try_authenticate(&question()).await.expect_error(502, "provider_misconfigured");
    assert_eq!(provider.count(TOKEN), asked + 1, "asking again with the same secret helps nobody");
    assert_eq!(app.database.number(marked).await, 1);
    assert_eq!(app.tokens().await.len(), 1);
    // The owner corrects the secret: the next call tries at once.
    app.patch("/v2/auth/providers/acme", &json!({"client_secret": "the-right-one"})).await.expect(200);
    app.token(&question()).await;
    assert_eq!(app.database.number(marked).await, 0);
    assert_eq!((provider.reuses(), provider.dead_grants()), (0, 0));
}

async fn an_outage_is_probed_and_not_hammered(app: TestApp) {
    const MINUTES: usize = 10;
    let provider = expired(&app).await;
    for _ in 0..1000 {
        provider.answer_token(Reply::text("text/plain", "").status(500));
    }
    let before = provider.count(TOKEN);
    for _ in 0..MINUTES * 60 {
        assert_eq!(app.try_authenticate(&question()).await.status, 503);
        app.advance(1);
    }
    let asked = provider.count(TOKEN) - before;
    assert!(asked >= MINUTES, "it is probed: {asked}");
    assert!(asked <= MINUTES * 12, "it is not hammered: {asked} requests in {MINUTES} minutes");
}
