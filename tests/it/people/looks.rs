//! How the pages look that people see: whose they are, and in which language.

use std::io::Write;

use agent_auth::clock::Clock;
use agent_auth::config::Settings;
use agent_auth::server;
use serde_json::json;
use url::Url;

use super::{at, link, open};
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::browser::Browser;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::Database;

both_databases! {
    every_page_names_whose_it_is_and_links_to_help,
    the_logo_comes_from_this_server_and_can_do_nothing,
    without_a_logo_there_is_none,
    a_logo_that_cannot_be_used_is_refused_at_start,
    pages_are_in_the_language_that_the_browser_prefers,
    what_is_wrong_with_a_key_is_said_in_the_language_of_its_page,
    a_form_that_is_refused_is_answered_in_the_language_of_the_person,
    answers_of_the_api_stay_english,
}

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";

fn logo(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

/// A server whose consents begin at a page, as they do by default.
async fn start(database: Database, change: impl FnOnce(&mut Settings)) -> TestApp {
    TestApp::start_with(database, |settings| {
        settings.consent = "confirm".into();
        change(settings);
    })
    .await
}

/// One page of each kind, in the language that is preferred.
async fn every_page(app: &TestApp, accepted: &str) -> Vec<(&'static str, Answer)> {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.register_as(json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key"})).await;
    let browser = Browser::sending(app, "accept-language", accepted);
    let asked = app.begin(&asking("alice", &["read"])).await;
    let connect = browser.open(&asked.url).await;
    let back = provider.consent(&browser.go_on(&asked.url).await);
    let connected = browser.come_back(&back).await;
    let invalid = browser.open("https://auth.example/connect/unknown").await;
    let key = browser.open(&browser.go_on(&key_request(app).await).await).await;
    let url = link(app, &json!({"user_id": "alice"})).await;
    let of_link = browser.open(&url).await;
    open(&browser, &url).await;
    let held = format!("/held/{}", super::token_of(app, "alice").await);
    vec![
        ("connect", connect),
        ("connected", connected),
        ("invalid", invalid),
        ("key", key),
        ("link", of_link),
        ("connections", browser.open(&at("")).await),
        ("connection", browser.open(&at(&held)).await),
        ("revoke", browser.open(&at(&format!("{held}/revoke"))).await),
        ("not opened", browser.open(&url).await),
        ("signed out", Browser::sending(app, "accept-language", accepted).open(&at("")).await),
    ]
}

/// The page before that of a static key.
async fn key_request(app: &TestApp) -> String {
    app.begin(&with(asking("alice", &[]), json!({"provider": "weather"}))).await.url
}

async fn every_page_names_whose_it_is_and_links_to_help(database: Database) {
    let app = start(database, |settings| {
        settings.brand_name = Some("Example & Co".into());
        settings.brand_color = Some("#b00020".into());
        settings.support_url = Some("mailto:help@example.com".into());
        settings.privacy_url = Some("https://example.com/privacy".into());
    })
    .await;
    for (kind, answer) in every_page(&app, "en").await {
        let page = answer.text();
        assert!(page.contains(" - Example &#38; Co</title>"), "{kind}: {page}");
        assert!(page.contains("<span dir=\"auto\">Example &#38; Co</span>"), "{kind}: {page}");
        assert!(page.contains("href=\"mailto:help@example.com\"") && page.contains(">Help</a>"), "{kind}: {page}");
        assert!(page.contains("href=\"https://example.com/privacy\"") && page.contains(">Privacy</a>"), "{kind}");
        assert!(page.contains("--fill:#b00020") && !page.contains(" style="), "{kind}: {page}");
        assert!(!answer.header("content-security-policy").contains("img-src"), "{kind}");
        assert!(!page.contains("agent-auth"), "{kind}: {page}");
    }
}

async fn the_logo_comes_from_this_server_and_can_do_nothing(database: Database) {
    let file = logo(SVG.as_bytes());
    let app = start(database, |settings| {
        settings.brand_name = Some("Example".into());
        settings.brand_logo = Some(file.path().to_owned());
    })
    .await;
    // It was read at start.
    drop(file);
    let answer = app.browser().get("/brand/logo").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, SVG));
    assert_eq!((answer.header("content-type"), answer.header("x-content-type-options")), ("image/svg+xml", "nosniff"));
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; ") && policy.contains("; sandbox;"), "{policy}");
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    for (kind, answer) in every_page(&app, "en").await {
        assert!(answer.text().contains("<img src=\"/brand/logo\" alt=\"\">"), "{kind}: {}", answer.text());
        assert!(answer.header("content-security-policy").contains("; img-src 'self'; "), "{kind}");
    }
}

async fn without_a_logo_there_is_none(app: TestApp) {
    assert_eq!(app.browser().get("/brand/logo").await.status.as_u16(), 404);
}

async fn a_logo_that_cannot_be_used_is_refused_at_start(database: Database) {
    let file = logo(b"GIF89a");
    let mut settings = database.settings();
    settings.brand_name = Some("Example".into());
    settings.brand_logo = Some(file.path().to_owned());
    let refused = server::start(settings, Clock::system()).await.err().unwrap().to_string();
    assert!(refused.starts_with("AGENT_AUTH_BRAND_LOGO: ") && refused.contains("save it as one of them"), "{refused}");
}

async fn pages_are_in_the_language_that_the_browser_prefers(database: Database) {
    let app = start(database, |_| ()).await;
    let german = [
        ("connect", "Acme Inc. verbinden?"),
        ("connected", "Mit Acme Inc. verbunden"),
        ("invalid", "Dieser Link ist nicht mehr gültig"),
        ("key", "Ihr Schlüssel für Weather"),
        ("link", "Ihre Verbindungen"),
        ("connections", "Ihre Verbindungen"),
        ("connection", "Acme Inc."),
        ("revoke", "Verbindung zu Acme Inc. beenden?"),
        ("not opened", "Dieser Link lässt sich nicht öffnen"),
        ("signed out", "Öffnen Sie zuerst Ihren Link"),
    ];
    for ((kind, answer), (of, heading)) in every_page(&app, "fr, de-AT;q=0.8, en;q=0.5").await.iter().zip(german) {
        assert_eq!(*kind, of);
        let page = answer.text();
        assert!(page.contains("<html lang=\"de\" dir=\"ltr\">"), "{kind}: {page}");
        assert!(
            page.contains(&format!(">{heading}</h1>")) || page.contains(&format!("<bdi>{heading}</bdi></h1>")),
            "{kind}: {page}"
        );
        assert_eq!((answer.header("content-language"), answer.header("vary")), ("de", "accept-language"), "{kind}");
        for english in ["Continue", "Cancel", "You ", "your ", "Connections", "Revoke"] {
            assert!(!page.contains(english), "{kind}: {english} in {page}");
        }
    }
}

async fn what_is_wrong_with_a_key_is_said_in_the_language_of_its_page(database: Database) {
    let app = start(database, |_| ()).await;
    app.register_as(json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key"})).await;
    let browser = Browser::sending(&app, "accept-language", "de");
    let url = Url::parse(&browser.go_on(&key_request(&app).await).await).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    for (key, problem) in [("", "Geben Sie den Schlüssel ein."), ("a b", "Das ist kein Schlüssel: ")] {
        let answer = browser.send(url.as_str(), &[("state", &state), ("key", key)]).await;
        assert!(answer.expect_html(422).contains(problem), "{}", answer.text());
    }
}

async fn a_form_that_is_refused_is_answered_in_the_language_of_the_person(app: TestApp) {
    let browser = Browser::sending(&app, "accept-language", "de");
    open(&browser, &link(&app, &json!({"user_id": "alice"})).await).await;
    let answer = browser.send(&at("/leave"), &[("form_token", "another")]).await;
    assert!(answer.expect_html(403).contains("Öffnen Sie die Seite erneut"), "{}", answer.text());
    let page = browser.open(&at("/held/0190f3c8-0000-7000-8000-000000000000")).await.expect_html(404);
    assert!(page.contains("Diese Verbindung oder diesen Anbieter gibt es hier nicht."), "{page}");
}

async fn answers_of_the_api_stay_english(app: TestApp) {
    let caller: Caller = app.with("accept-language", "de");
    let answer = caller.get("/v2/auth/providers/unknown").await;
    assert!(answer.text().contains("There is no provider"), "{}", answer.text());
    assert_eq!(answer.headers.get("content-language"), None);
}
