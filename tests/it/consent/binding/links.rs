//! `connection_required` and `token_expired` lead a person to a page, and nothing is begun until they act there.

use serde_json::{Value, json};
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden, post_form};
use crate::support::caller::{asking, with};
use crate::support::database::PUBLIC_URL;

both_databases! {
    a_person_connects_what_an_agent_only_checked_for,
    an_agent_without_a_fitting_connection_is_given_a_way_on,
    a_token_that_expired_is_revived_by_the_consent,
    looking_at_a_link_begins_nothing,
    only_the_browser_that_went_on_completes_it,
    a_link_that_is_too_old_or_changed_asks_for_nothing,
    a_form_from_another_site_begins_nothing,
    cancelling_begins_nothing,
    a_provider_that_needs_no_person_says_so,
    scopes_without_end_have_no_link,
    a_link_names_nobody_in_the_clear,
}

fn url_of(answer: &Value) -> String {
    let url = answer["url"].as_str().unwrap_or_else(|| panic!("no url: {answer}")).to_owned();
    assert!(url.starts_with(&format!("{PUBLIC_URL}/connect/link/")), "{url}");
    url
}

async fn checked(app: &TestApp, asked: &Value) -> String {
    let answer = app.authenticate(&with(asked.clone(), json!({"check_only": true}))).await;
    assert_eq!(answer["status"], "connection_required", "{answer}");
    assert!(answer["auth_id"].is_null(), "nothing was begun: {answer}");
    url_of(&answer)
}

async fn a_person_connects_what_an_agent_only_checked_for(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let asked = asking("alice", &["openid", "read"]);
    let url = checked(&app, &asked).await;
    assert_eq!(app.database.authorization_requests().await, 0);
    let person = Browser::new(&app);
    let html = person.open(&url).await.expect_html(200);
    for said in ["Connect Acme Inc.?", "no access to Acme Inc.", "alice", "Confirm who you are", "read"] {
        assert!(html.contains(said), "{said} is missing in {html}");
    }
    let at_provider = person.go_on(&url).await;
    assert!(at_provider.starts_with(&provider.at("/authorize?")), "{at_provider}");
    person.come_back(&provider.consent(&at_provider)).await;
    app.token(&asked).await;
}

async fn an_agent_without_a_fitting_connection_is_given_a_way_on(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("admin", &["read"])).await;
    app.connect_agent("helper", &app.tokens().await[0]["id"]).await;
    let asked = with(asking("bob", &["read"]), json!({"agent_id": "helper"}));
    let before = app.database.authorization_requests().await;
    let answer = app.authenticate(&asked).await;
    assert_eq!(answer["status"], "connection_required", "{answer}");
    let url = url_of(&answer);
    assert_eq!(app.database.authorization_requests().await, before);
    let person = Browser::new(&app);
    let at_provider = person.go_on(&url).await;
    person.come_back(&provider.consent(&at_provider)).await;
    app.token(&asked).await;
}

async fn a_token_that_expired_is_revived_by_the_consent(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let asked = asking("admin", &["read"]);
    provider.answer_token_for_account("account-1");
    app.connect(&provider, &asked).await;
    let id = app.tokens().await[0]["id"].clone();
    let label = json!({"provider_account_label": "ada@example.com"});
    app.patch(&format!("/v2/auth/tokens/{}/metadata", id.as_str().unwrap()), &label).await.expect(200);
    app.connect_agent("helper", &id).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.advance(4000);
    // An agent that is connected to the token of the user, not one of its own.
    let named = with(asked, json!({"token_id": id, "agent_id": "helper"}));
    let before = app.database.authorization_requests().await;
    let answer = app.authenticate(&named).await;
    assert_eq!(answer["status"], "token_expired", "{answer}");
    assert_eq!(app.database.authorization_requests().await, before);
    let url = url_of(&answer);
    let person = Browser::new(&app);
    let html = person.open(&url).await.expect_html(200);
    assert!(html.contains("Connect Acme Inc. again?") && html.contains("ada@example.com"), "{html}");
    let at_provider = person.go_on(&url).await;
    let hint = Url::parse(&at_provider).unwrap();
    let hint = hint.query_pairs().find(|(name, _)| name == "login_hint").map(|(_, value)| value.into_owned());
    assert_eq!(hint.as_deref(), Some("ada@example.com"));
    provider.answer_token_for_account("account-1");
    person.come_back(&provider.consent(&at_provider)).await;
    let revived = app.authenticate(&named).await;
    assert_eq!((&revived["status"], &revived["metadata"]["token_id"]), (&"completed".into(), &id), "{revived}");
}

async fn looking_at_a_link_begins_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let url = checked(&app, &asking("alice", &["read"])).await;
    for _ in 0..3 {
        let page = Browser::new(&app).open(&url).await;
        page.expect_html(200);
        assert_eq!(page.header("set-cookie"), "");
    }
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn only_the_browser_that_went_on_completes_it(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let url = checked(&app, &asking("mallory", &["read"])).await;
    let mallory = Browser::new(&app);
    let at_provider = mallory.go_on(&url).await;
    // Also with `direct`: the page is there anyway.
    Browser::new(&app).open(provider.consent(&at_provider).as_str()).await.expect_html(400);
    assert_eq!(provider.token_requests().len(), 0);
}

async fn a_link_that_is_too_old_or_changed_asks_for_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let url = checked(&app, &asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let value = hidden(&person.open(&url).await.expect_html(200), "browser");
    let fields = [("browser", value.as_str()), ("decision", "continue")];
    let mut changed = url.clone();
    let last = if changed.ends_with('A') { 'B' } else { 'A' };
    changed.pop();
    changed.pop();
    changed.extend([last, last]);
    for url in [&changed, &format!("{PUBLIC_URL}/connect/link/made-up")] {
        person.open(url).await.expect_html(400);
        person.send(url, &fields).await.expect_html(400);
    }
    app.advance(24 * 3600 + 1);
    person.open(&url).await.expect_html(400);
    person.send(&url, &fields).await.expect_html(400);
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn a_form_from_another_site_begins_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let url = checked(&app, &asking("mallory", &["read"])).await;
    let value = hidden(&Browser::new(&app).open(&url).await.expect_html(200), "browser");
    let fields = [("browser", value.as_str()), ("decision", "continue")];
    let sent = app.anonymous().with("sec-fetch-site", "cross-site");
    post_form(&sent, &url, &fields).await.expect_html(403);
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn cancelling_begins_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let url = checked(&app, &asking("alice", &["read"])).await;
    let answer = Browser::new(&app).press(&url, "cancel").await;
    assert!(answer.expect_html(200).contains("Access was not granted"), "{}", answer.text());
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn a_provider_that_needs_no_person_says_so(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let machine = json!({"grant_type": "client_credentials"});
    app.register_as(with(provider.definition("acme"), machine)).await;
    let url = checked(&app, &asking("alice", &["read"])).await;
    let html = Browser::new(&app).open(&url).await.expect_html(200);
    assert!(html.contains("No consent is needed for Acme Inc."), "{html}");
    assert!(!html.contains("<form"), "{html}");
}

async fn scopes_without_end_have_no_link(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let scopes: Vec<String> = (0..200).map(|number| format!("a-very-long-scope-of-a-provider-{number}")).collect();
    let asked = json!({"provider": "acme", "scopes": scopes, "user_id": "alice", "check_only": true});
    let answer = app.authenticate(&asked).await;
    assert_eq!(answer["status"], "connection_required");
    assert!(answer["url"].is_null(), "no browser takes such a URL");
}

async fn a_link_names_nobody_in_the_clear(app: TestApp) {
    use base64::Engine as _;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let user = "a-user-whom-nobody-should-read";
    let url = checked(&app, &asking(user, &["read"])).await;
    let sealed = url.rsplit('/').next().unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(sealed).unwrap();
    assert!(!url.contains(user) && !bytes.windows(user.len()).any(|window| window == user.as_bytes()));
}
