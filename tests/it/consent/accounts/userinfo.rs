//! Accounts that only the userinfo endpoint identifies: their labels, and that a failing endpoint costs no consent.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET, Reply, USERINFO};
use crate::support::binary::free_port;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    the_endpoint_is_asked_with_the_access_token_and_fills_the_label,
    an_api_that_names_people_by_id_and_login_will_do,
    the_same_account_again_keeps_its_id_and_its_connections,
    another_account_stands_beside_the_first,
    a_label_set_by_hand_survives_a_new_consent,
    a_token_response_that_names_the_account_is_enough,
    without_an_endpoint_nobody_is_asked,
    an_endpoint_that_fails_costs_no_consent,
    an_endpoint_that_hangs_costs_a_consent_a_few_seconds,
    a_redirect_is_not_followed,
    odd_names_are_no_accounts_or_cut,
    an_unknown_account_that_becomes_known_keeps_its_token,
    a_known_account_that_is_not_told_again_keeps_its_token,
    an_unknown_account_is_not_guessed_among_several,
    a_second_account_asked_for_stands_beside_an_unknown_one,
    another_account_without_being_asked_for_stands_beside_too,
    a_consent_without_a_refresh_token_keeps_the_one_of_the_account,
    the_address_is_checked_shown_and_changed,
    an_endpoint_of_another_provider_never_gets_the_token,
}

struct Stage {
    provider: AuthorizationServer,
    alice: Caller,
}

async fn staged(app: &TestApp) -> Stage {
    let provider = AuthorizationServer::start().await;
    let definition = with(provider.definition("acme"), json!({"userinfo_url": provider.at(USERINFO)}));
    app.register_as(definition).await;
    let alice = app.service_key().await.acting_for("alice");
    Stage { provider, alice }
}

fn person(sub: &str) -> Value {
    json!({"sub": sub, "email": format!("{sub}@example.com")})
}

fn forced() -> Value {
    with(asking("alice", &["read"]), json!({"force_new": true}))
}

impl Stage {
    /// Alice asks like that and consents as `sub`; gives the access token.
    async fn consent_as(&self, sub: &str, question: &Value) -> String {
        self.provider.answer_userinfo(Reply::json(person(sub)));
        self.alice.connect(&self.provider, question).await
    }

    async fn labels(&self) -> Vec<Value> {
        let mut labels: Vec<_> =
            self.alice.tokens().await.iter().map(|token| token["provider_account_label"].clone()).collect();
        labels.sort_by_key(ToString::to_string);
        labels
    }
}

async fn the_endpoint_is_asked_with_the_access_token_and_fills_the_label(app: TestApp) {
    let stage = staged(&app).await;
    let token = stage.consent_as("work", &asking("alice", &["read"])).await;
    assert_eq!(stage.labels().await, ["work@example.com"]);
    let asked = stage.provider.requests(USERINFO);
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].header("authorization")), ("GET", &*format!("Bearer {token}")));
    assert!(asked[0].header("user-agent").starts_with("agent-auth/"), "{asked:?}");
}

async fn an_api_that_names_people_by_id_and_login_will_do(app: TestApp) {
    let stage = staged(&app).await;
    for (id, login) in [(583_231, "octocat"), (583_231, "renamed"), (7, "monalisa")] {
        stage
            .provider
            .answer_userinfo(Reply::json(json!({"id": id, "login": login, "email": null, "site_admin": false})));
        stage.alice.connect(&stage.provider, &forced()).await;
    }
    assert_eq!(stage.labels().await, ["monalisa", "octocat"]);
}

async fn the_same_account_again_keeps_its_id_and_its_connections(app: TestApp) {
    let stage = staged(&app).await;
    let old = stage.consent_as("work", &forced()).await;
    let before = stage.alice.tokens().await;
    stage.alice.connect_agent("helper", &before[0]["id"]).await;
    let new = stage.consent_as("work", &forced()).await;
    assert_ne!(old, new);
    let after = stage.alice.tokens().await;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0]["id"], before[0]["id"]);
    let connected = with(asking("alice", &["read"]), json!({"agent_id": "helper"}));
    assert_eq!(stage.alice.token(&connected).await, new);
}

async fn another_account_stands_beside_the_first(app: TestApp) {
    let stage = staged(&app).await;
    let work = stage.consent_as("work", &forced()).await;
    let home = stage.consent_as("home", &forced()).await;
    assert_eq!(stage.labels().await, ["home@example.com", "work@example.com"]);
    for token in stage.alice.tokens().await {
        let expected = if token["provider_account_label"] == "home@example.com" { &home } else { &work };
        let picked = with(asking("alice", &["read"]), json!({"token_id": token["id"]}));
        assert_eq!(stage.alice.token(&picked).await, *expected);
    }
}

async fn a_label_set_by_hand_survives_a_new_consent(app: TestApp) {
    let stage = staged(&app).await;
    stage.consent_as("work", &forced()).await;
    let id = stage.alice.tokens().await[0]["id"].as_str().unwrap().to_owned();
    let label = json!({"provider_account_label": "the one for invoices"});
    stage.alice.patch(&format!("/v2/auth/tokens/{id}/metadata"), &label).await.expect(200);
    stage.consent_as("work", &forced()).await;
    assert_eq!(stage.labels().await, ["the one for invoices"]);
}

async fn a_token_response_that_names_the_account_is_enough(app: TestApp) {
    let stage = staged(&app).await;
    stage.provider.answer_token_for_account("work");
    stage.alice.connect(&stage.provider, &forced()).await;
    assert_eq!(stage.provider.count(USERINFO), 0);
}

async fn without_an_endpoint_nobody_is_asked(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(provider.count_elsewhere(), 0);
}

/// A consent while the endpoint behaves like that: it ends well, and the account stays unknown.
async fn goes_on(stage: &Stage, answer: Reply) {
    stage.provider.answer_userinfo(answer);
    let (asked, tokens) = (stage.provider.count(USERINFO), stage.alice.tokens().await.len());
    let token = stage.alice.connect(&stage.provider, &forced()).await;
    assert_eq!(stage.provider.count(USERINFO), asked + 1, "asked once and not again");
    assert_eq!(stage.alice.tokens().await.len(), tokens + 1);
    assert_eq!(stage.alice.token(&asking("alice", &["read"])).await, token);
}

async fn an_endpoint_that_fails_costs_no_consent(app: TestApp) {
    let stage = staged(&app).await;
    for answer in [
        Reply::json(person("work")).status(500),
        Reply::json(person("work")).status(401),
        Reply::json(person("work")).status(429).header("retry-after", "60"),
        Reply::text("text/html", "<h1>Sign in</h1>"),
        Reply::text("application/json", ""),
        Reply::json(json!([{"sub": "work"}])),
        Reply::json(json!({"email": "a@b.c"})),
        Reply::flood(1024 * 1024),
    ] {
        goes_on(&stage, answer).await;
    }
    assert!(stage.labels().await.iter().all(Value::is_null));
    let nobody =
        json!({"userinfo_url": format!("http://127.0.0.1:{}/userinfo", free_port()), "client_secret": CLIENT_SECRET});
    app.patch("/v2/auth/providers/acme", &nobody).await.expect(200);
    stage.alice.connect(&stage.provider, &forced()).await;
}

async fn an_endpoint_that_hangs_costs_a_consent_a_few_seconds(app: TestApp) {
    let stage = staged(&app).await;
    for slow in [Reply::json(person("work")).after(Duration::from_mins(1)), Reply::drip()] {
        let begun = Instant::now();
        goes_on(&stage, slow).await;
        let took = begun.elapsed().as_secs_f64();
        assert!((2.5..7.0).contains(&took), "{took}");
    }
}

async fn a_redirect_is_not_followed(app: TestApp) {
    let stage = staged(&app).await;
    let elsewhere = AuthorizationServer::start().await;
    for status in [301, 302, 307, 308] {
        let answer = Reply::json(person("work")).status(status).header("location", &elsewhere.at(USERINFO));
        goes_on(&stage, answer).await;
    }
    assert_eq!(elsewhere.count(USERINFO), 0);
}

async fn odd_names_are_no_accounts_or_cut(app: TestApp) {
    let stage = staged(&app).await;
    for odd in [json!("a\0b"), json!("x".repeat(600)), json!(""), json!(null), json!({"id": 1}), json!(true)] {
        goes_on(&stage, Reply::json(json!({"sub": odd, "email": "a@b.c"}))).await;
    }
    let tokens = stage.alice.tokens().await.len();
    stage.provider.answer_userinfo(Reply::json(json!({"sub": "long", "email": format!("a\0\n{}", "b".repeat(1000))})));
    stage.alice.connect(&stage.provider, &forced()).await;
    assert_eq!(stage.alice.tokens().await.len(), tokens + 1);
    let labels = stage.labels().await;
    let label = labels.iter().find_map(Value::as_str).expect("one label");
    assert_eq!(label, format!("a{}", "b".repeat(199)));
}

/// Alice has a token, of whose account nothing is known; gives its id.
async fn unknown_account(stage: &Stage) -> Value {
    stage.provider.answer_userinfo(Reply::text("text/plain", "").status(503));
    stage.alice.connect(&stage.provider, &asking("alice", &["read"])).await;
    let tokens = stage.alice.tokens().await;
    assert_eq!((tokens.len(), &tokens[0]["provider_account_label"]), (1, &Value::Null));
    tokens[0]["id"].clone()
}

fn wider() -> Value {
    asking("alice", &["read", "write"])
}

async fn an_unknown_account_that_becomes_known_keeps_its_token(app: TestApp) {
    let stage = staged(&app).await;
    let id = unknown_account(&stage).await;
    stage.alice.connect_agent("helper", &id).await;
    let token = stage.consent_as("work", &wider()).await;
    let tokens = stage.alice.tokens().await;
    assert_eq!(tokens.len(), 1, "not doubled");
    assert_eq!((&tokens[0]["id"], &tokens[0]["is_default"]), (&id, &json!(true)));
    assert_eq!(stage.labels().await, ["work@example.com"]);
    let connected = with(wider(), json!({"agent_id": "helper"}));
    assert_eq!(stage.alice.token(&connected).await, token);
    stage.consent_as("work", &forced()).await;
    assert_eq!(stage.alice.tokens().await[0]["id"], id, "from now on it is known");
    stage.consent_as("home", &forced()).await;
    assert_eq!(stage.alice.tokens().await.len(), 2);
}

async fn a_known_account_that_is_not_told_again_keeps_its_token(app: TestApp) {
    let stage = staged(&app).await;
    stage.consent_as("work", &asking("alice", &["read"])).await;
    let id = stage.alice.tokens().await[0]["id"].clone();
    stage.provider.answer_userinfo(Reply::text("text/plain", "").status(503));
    let token = stage.alice.connect(&stage.provider, &wider()).await;
    let tokens = stage.alice.tokens().await;
    assert_eq!((tokens.len(), &tokens[0]["id"]), (1, &id));
    assert_eq!(stage.labels().await, ["work@example.com"]);
    assert_eq!(stage.alice.token(&wider()).await, token);
    stage.consent_as("work", &forced()).await;
    assert_eq!(stage.alice.tokens().await.len(), 1, "it is still that account's");
}

async fn an_unknown_account_is_not_guessed_among_several(app: TestApp) {
    let stage = staged(&app).await;
    let work = stage.consent_as("work", &forced()).await;
    let home = stage.consent_as("home", &forced()).await;
    let before = stage.alice.tokens().await;
    stage.provider.answer_userinfo(Reply::text("text/plain", "").status(503));
    stage.alice.connect(&stage.provider, &wider()).await;
    assert_eq!(stage.alice.tokens().await.len(), 3);
    for token in before {
        let expected = if token["provider_account_label"] == "home@example.com" { &home } else { &work };
        let picked = with(asking("alice", &["read"]), json!({"token_id": token["id"]}));
        assert_eq!(stage.alice.token(&picked).await, *expected);
    }
}

async fn a_second_account_asked_for_stands_beside_an_unknown_one(app: TestApp) {
    let stage = staged(&app).await;
    unknown_account(&stage).await;
    stage.consent_as("home", &forced()).await;
    assert_eq!(stage.labels().await, [json!("home@example.com"), Value::Null]);
}

async fn another_account_without_being_asked_for_stands_beside_too(app: TestApp) {
    let stage = staged(&app).await;
    stage.consent_as("work", &asking("alice", &["read"])).await;
    stage.consent_as("home", &wider()).await;
    assert_eq!(stage.labels().await, ["home@example.com", "work@example.com"]);
}

async fn a_consent_without_a_refresh_token_keeps_the_one_of_the_account(app: TestApp) {
    let stage = staged(&app).await;
    let first = json!({"access_token": "first", "refresh_token": "refresh-1", "expires_in": 3600,
                       "refresh_token_expires_in": 864_000});
    let second = json!({"access_token": "second", "expires_in": 3600});
    let mut expiries = Vec::new();
    for answer in [first, second] {
        stage.provider.answer_token(Reply::json(answer));
        stage.consent_as("work", &forced()).await;
        let id = stage.alice.tokens().await[0]["id"].as_str().unwrap().to_owned();
        let state = stage.alice.get(&format!("/v2/auth/tokens/{id}")).await.expect(200);
        expiries.push(state["refresh_token_expires_at"].as_str().expect("it is known").to_owned());
        app.advance(60);
    }
    assert_eq!(expiries[0], expiries[1], "the old refresh token does not live longer");
    app.advance(3600);
    stage.alice.token(&asking("alice", &["read"])).await;
    assert_eq!(stage.provider.refreshes()[0].value("refresh_token"), Some("refresh-1"));
}

async fn the_address_is_checked_shown_and_changed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    for wrong in ["no url", "ftp://a.example/me", "http://public.example/me", "https://u:p@a.example/me"] {
        let definition = with(provider.definition("acme"), json!({"userinfo_url": wrong}));
        app.post("/v2/auth/providers", &definition).await.expect_fault_at("body.userinfo_url");
    }
    let created = app.register(&provider).await;
    assert_eq!(created["userinfo_url"], Value::Null);
    let wrong = json!({"userinfo_url": 7});
    app.patch("/v2/auth/providers/acme", &wrong).await.expect_fault("body.userinfo_url", "string_type");
    let url = "https://a.example/me";
    let change = json!({"userinfo_url": url, "client_secret": CLIENT_SECRET});
    let changed = app.patch("/v2/auth/providers/acme", &change).await.expect(200);
    assert_eq!(changed["userinfo_url"], url);
    app.patch("/v2/auth/providers/acme", &json!({"userinfo_url": null, "name": "Other"})).await.expect(200);
    assert_eq!(app.get("/v2/auth/providers/acme").await.expect(200)["userinfo_url"], url);
}

async fn an_endpoint_of_another_provider_never_gets_the_token(app: TestApp) {
    let stage = staged(&app).await;
    let pending = stage.alice.begin(&asking("alice", &["read"])).await;
    let callback = stage.provider.consent(&pending.url);
    let moved = json!({"token_url": "http://127.0.0.1:9/token", "client_secret": CLIENT_SECRET});
    app.patch("/v2/auth/providers/acme", &moved).await.expect(200);
    stage.alice.come_back(&callback).await;
    assert_eq!(stage.alice.look(&pending.auth_id).await["status"], "completed");
    assert_eq!(stage.provider.count(USERINFO), 0);
}
