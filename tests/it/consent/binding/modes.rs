//! Which mode counts: the strictest of the server's, the provider's and the API key's.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary;
use crate::support::both_databases;
use crate::support::browser::Browser;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    the_default_is_to_confirm,
    a_provider_can_only_be_stricter_than_the_server,
    a_key_can_only_be_stricter_than_the_server,
    an_unknown_mode_is_refused_at_start_and_in_bodies,
    the_first_line_says_the_mode_and_direct_says_what_is_open,
    a_request_begun_before_a_change_keeps_its_mode,
}

async fn is_our_page(caller: &Caller) -> bool {
    let pending = caller.begin(&with(asking("alice", &["read"]), json!({"force_new": true}))).await;
    pending.url.starts_with(&format!("{PUBLIC_URL}/connect/"))
}

async fn the_default_is_to_confirm(database: Database) {
    let default = agent_auth::config::Settings::default().consent;
    let app = TestApp::start_with(database, |settings| settings.consent = default).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    assert!(is_our_page(&app).await);
}

async fn a_provider_can_only_be_stricter_than_the_server(database: Database) {
    let app = TestApp::start(database).await;
    let provider = AuthorizationServer::start().await;
    let created = app.register_as(with(provider.definition("acme"), json!({"consent": "confirm"}))).await;
    assert_eq!((&created["consent"], &created["return_urls"]), (&"confirm".into(), &json!([])));
    assert!(is_our_page(&app).await);
    let person = Browser::new(&app);
    let pending = app.begin(&asking("alice", &["read"])).await;
    let at_provider = person.go_on(&pending.url).await;
    Browser::new(&app).open(provider.consent(&at_provider).as_str()).await.expect_html(400);
    person.come_back(&provider.consent(&at_provider)).await;

    app.patch("/v2/auth/providers/acme", &json!({"consent": "direct"})).await.expect(200);
    assert!(!is_our_page(&app.service_key().await).await, "as the server says");
    let strict = TestApp::start_with(Database::sqlite(), |settings| settings.consent = "confirm".into()).await;
    strict.register_as(with(provider.definition("acme"), json!({"consent": "direct"}))).await;
    assert!(is_our_page(&strict).await, "a provider loosens nothing");
}

async fn a_key_can_only_be_stricter_than_the_server(database: Database) {
    let app = TestApp::start(database).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let user = ["--role", "agent", "--kind", "personal", "--user", "alice"];
    let strict = app.new_key(&[&user[..], &["--consent", "confirm"]].concat()).await;
    assert!(is_our_page(&strict).await);
    assert!(!is_our_page(&app).await, "other keys are not affected");
    let verify = app.new_key(&[&user[..], &["--consent", "verify"]].concat()).await;
    verify.try_authenticate(&asking("alice", &["read"])).await.expect_fault("body.return_url", "value_error");
    app.patch("/v2/auth/providers/acme", &json!({"consent": "confirm"})).await.expect(200);
    let loose = app.new_key(&[&user[..], &["--consent", "direct"]].concat()).await;
    assert!(is_our_page(&loose).await, "a key loosens nothing");
}

async fn an_unknown_mode_is_refused_at_start_and_in_bodies(database: Database) {
    let mut environment = database.environment();
    environment.retain(|(name, _)| name != "AGENT_AUTH_CONSENT");
    environment.push(("AGENT_AUTH_CONSENT".to_owned(), "ask".to_owned()));
    let refused = binary::run(&["serve"], &environment).await;
    assert_eq!(refused.expect_refusal(), "agent-auth: AGENT_AUTH_CONSENT: expected `direct`, `confirm` or `verify`");
    let app = TestApp::start(database).await;
    let provider = AuthorizationServer::start().await;
    let wrong = with(provider.definition("acme"), json!({"consent": "ask", "return_urls": ["http://app.example/x"]}));
    let faults = app.post("/v2/auth/providers", &wrong).await.faults();
    let expected = [("body.consent", "literal_error"), ("body.return_urls.0", "url_scheme")];
    assert_eq!(faults, expected.map(|(at, kind)| (at.to_owned(), kind.to_owned())));
}

async fn the_first_line_says_the_mode_and_direct_says_what_is_open(database: Database) {
    for (mode, is_open) in [("direct", true), ("confirm", false), ("verify", false)] {
        let mut environment = database.environment();
        environment.retain(|(name, _)| name != "AGENT_AUTH_CONSENT");
        environment.push(("AGENT_AUTH_CONSENT".to_owned(), mode.to_owned()));
        let (_, said) = binary::Server::start(&environment).await.stop().await;
        let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let event = |name: &str| lines.iter().find(|line| line.to_string().contains(&format!("\"{name}\"")));
        let listening = event("server.listening").unwrap_or_else(|| panic!("{said}")).to_string();
        assert!(listening.contains(&format!("\"consent\":\"{mode}\"")), "{listening}");
        assert_eq!(event("consent.not_bound").is_some(), is_open, "{mode}: {said}");
    }
}

async fn a_request_begun_before_a_change_keeps_its_mode(database: Database) {
    let app = TestApp::start(database).await;
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"consent": "confirm"}))).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let at_provider = Browser::new(&app).go_on(&pending.url).await;
    app.patch("/v2/auth/providers/acme", &json!({"consent": "direct"})).await.expect(200);
    Browser::new(&app).open(provider.consent(&at_provider).as_str()).await.expect_html(400);
    assert_eq!(provider.token_requests().len(), 0);
}
