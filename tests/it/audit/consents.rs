//! What a person does on our pages, what an application confirms, and what is refused there, in the audit log.

use futures_util::future::join_all;
use serde_json::{Value, json};
use url::Url;

use super::{break_audit, mend_audit, names, recorded, verified};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::{asking, with};
use crate::support::database::Database;

both_databases! {
    a_state_at_another_providers_callback_is_recorded,
    a_consent_that_comes_back_in_another_browser_is_recorded,
    who_goes_on_from_our_page_is_recorded_once,
    who_cancels_on_our_page_is_recorded,
    a_consent_that_a_link_begins_is_recorded,
    a_confirmation_by_the_application_is_recorded,
    another_user_than_the_one_it_is_for_is_recorded,
    a_step_that_cannot_be_recorded_is_not_taken,
}

const RETURN: &str = "https://app.example/connected";

async fn with_consent(database: Database, mode: &str) -> (TestApp, AuthorizationServer) {
    let app = TestApp::start_with(database, |settings| mode.clone_into(&mut settings.consent)).await;
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"return_urls": [RETURN]}))).await;
    (app, provider)
}

/// The event, who did it, and why it was refused.
fn steps(events: &[Value], before: usize) -> Vec<(&str, &str, Option<&str>)> {
    events[before..]
        .iter()
        .map(|event| (event["event"].as_str().unwrap(), event["actor"].as_str().unwrap(), event["error"].as_str()))
        .collect()
}

async fn a_state_at_another_providers_callback_is_recorded(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    for id in ["acme", "other"] {
        app.register_as(provider.definition(id)).await;
    }
    let pending = app.begin(&asking("alice", &["read"])).await;
    let before = recorded(&app).await.len();
    let state = pending.state();
    for query in [format!("code=stolen&state={state}"), format!("error=access_denied&state={state}")] {
        app.browser().get(&format!("/host-oauth-callback/other?{query}")).await.expect_html(400);
    }
    let stolen = json!({"code": "stolen", "state": state});
    app.post("/v2/auth/callback/other", &stolen).await.expect_error(400, "invalid_state");
    let events = recorded(&app).await;
    let replayed = |actor| ("consent.replayed", actor, Some("wrong_provider"));
    let mut steps = steps(&events, before);
    steps.sort_unstable();
    assert_eq!(steps, [replayed("api_key"), replayed("browser")]);
    for event in &events[before..] {
        let count = if event["actor"] == "browser" { "2" } else { "1" };
        assert_eq!(event["details"], json!({"count": count}), "{event}");
        assert_eq!((&event["auth_id"], &event["provider_id"]), (&json!(pending.auth_id), &json!("acme")), "{event}");
        assert_eq!((&event["user_id"], &event["result"]), (&json!("alice"), &json!("refused")));
        assert!(!event.to_string().contains(&state) && !event.to_string().contains("stolen"), "{event}");
    }
    app.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(provider.exchanges().len(), 1, "the right one still works");
}

async fn a_consent_that_comes_back_in_another_browser_is_recorded(database: Database) {
    let (app, provider) = with_consent(database, "confirm").await;
    let pending = app.begin(&asking("mallory", &["read"])).await;
    let at_provider = Browser::new(&app).go_on(&pending.url).await;
    let before = recorded(&app).await.len();
    Browser::new(&app).open(provider.consent(&at_provider).as_str()).await.expect_html(400);
    let events = recorded(&app).await;
    assert_eq!(steps(&events, before), [("consent.replayed", "browser", Some("other_browser"))]);
    assert_eq!(provider.token_requests().len(), 0);
}

async fn who_goes_on_from_our_page_is_recorded_once(database: Database) {
    let (app, provider) = with_consent(database, "confirm").await;
    let before = recorded(&app).await.len();
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let page = person.open(&pending.url).await;
    let fields = [("browser", hidden(&page.expect_html(200), "browser")), ("decision", "continue".to_owned())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let clicks = join_all((0..8).map(|_| person.send(&pending.url, &fields))).await;
    assert!(clicks.iter().all(|click| click.status == 303));
    person.come_back(&provider.consent(clicks[0].header("location"))).await;
    let events = recorded(&app).await;
    let expected = [
        ("consent.begun", "api_key", None),
        ("consent.continued", "browser", None),
        ("consent.returned", "browser", None),
        ("consent.completed", "browser", None),
    ];
    assert_eq!(steps(&events, before), expected);
    assert_eq!(events[before + 1]["auth_id"], pending.auth_id.as_str());
    assert_eq!(verified(&app).await.broken, None);
}

async fn who_cancels_on_our_page_is_recorded(database: Database) {
    let (app, _provider) = with_consent(database, "confirm").await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let before = recorded(&app).await.len();
    Browser::new(&app).press(&pending.url, "cancel").await.expect_html(400);
    let events = recorded(&app).await;
    assert_eq!(steps(&events, before), [("consent.refused", "browser", Some("access_denied"))]);
    assert_eq!(events[before]["auth_id"], pending.auth_id.as_str());
}

async fn a_consent_that_a_link_begins_is_recorded(database: Database) {
    let (app, provider) = with_consent(database, "confirm").await;
    let before = recorded(&app).await.len();
    let missing = app.authenticate(&with(asking("alice", &["read"]), json!({"check_only": true}))).await;
    assert_eq!(missing["status"], "connection_required");
    let link = missing["url"].as_str().unwrap();
    Browser::new(&app).press(link, "cancel").await;
    assert_eq!(names(&recorded(&app).await, before), Vec::<&str>::new(), "nothing was begun");
    let person = Browser::new(&app);
    let at_provider = person.go_on(link).await;
    person.come_back(&provider.consent(&at_provider)).await;
    let events = recorded(&app).await;
    let expected = ["consent.begun", "consent.returned", "consent.completed"].map(|name| (name, "browser", None));
    assert_eq!(steps(&events, before), expected);
    assert_eq!(events[before]["user_id"], "alice");
}

/// The browser consents and is sent to the application; gives the reference it brings.
async fn reference_of(app: &TestApp, provider: &AuthorizationServer, url: &str) -> String {
    let person = Browser::new(app);
    let at_provider = person.go_on(url).await;
    let callback = provider.consent(&at_provider);
    for _ in 0..2 {
        assert_eq!(person.open(callback.as_str()).await.status, 303, "a reload is the same");
    }
    let sent = Url::parse(person.open(callback.as_str()).await.header("location")).unwrap();
    let reference = sent.query_pairs().find(|(name, _)| name == "reference").map(|(_, value)| value.into_owned());
    reference.expect("a reference")
}

async fn a_confirmation_by_the_application_is_recorded(database: Database) {
    let (app, provider) = with_consent(database, "verify").await;
    let before = recorded(&app).await.len();
    let pending = app.begin(&asking("alice", &["read"])).await;
    let reference = reference_of(&app, &provider, &pending.url).await;
    let path = format!("/v2/auth/authorizations/{}/confirm", pending.auth_id);
    for _ in 0..2 {
        app.post(&path, &json!({"user_id": "alice", "reference": reference})).await.expect(200);
    }
    let events = recorded(&app).await;
    let expected = [
        ("consent.begun", "api_key", None),
        ("consent.continued", "browser", None),
        ("consent.returned", "browser", None),
        ("consent.confirmed", "api_key", None),
        ("consent.completed", "api_key", None),
    ];
    assert_eq!(steps(&events, before), expected);
    let text = json!(events).to_string();
    assert!(!text.contains(&reference), "{text}");
}

async fn another_user_than_the_one_it_is_for_is_recorded(database: Database) {
    let (app, provider) = with_consent(database, "verify").await;
    let pending = app.begin(&asking("mallory", &["read"])).await;
    let reference = reference_of(&app, &provider, &pending.url).await;
    let before = recorded(&app).await.len();
    let path = format!("/v2/auth/authorizations/{}/confirm", pending.auth_id);
    app.post(&path, &json!({"user_id": "alice", "reference": reference})).await.expect_error(403, "forbidden");
    let events = recorded(&app).await;
    assert_eq!(steps(&events, before), [("consent.refused", "api_key", Some("user_mismatch"))]);
}

async fn a_step_that_cannot_be_recorded_is_not_taken(database: Database) {
    let (app, provider) = with_consent(database, "verify").await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let bound = "SELECT count(*) FROM authorization_requests WHERE browser_hash IS NOT NULL";
    let kept = "SELECT count(*) FROM authorization_requests WHERE code IS NOT NULL";
    break_audit(&app.database).await;
    person.press(&pending.url, "continue").await.expect_html(503);
    person.press(&pending.url, "cancel").await.expect_html(503);
    assert_eq!(app.database.number(bound).await, 0);
    mend_audit(&app.database).await;
    let at_provider = person.go_on(&pending.url).await;
    let callback = provider.consent(&at_provider);
    break_audit(&app.database).await;
    person.open(callback.as_str()).await.expect_html(503);
    assert_eq!(app.database.number(kept).await, 0);
    mend_audit(&app.database).await;
    assert_eq!(person.open(callback.as_str()).await.status, 303, "nothing is used up");
    assert_eq!(app.database.number(kept).await, 1);
}
