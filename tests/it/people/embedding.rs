//! Pages inside those of an application, and what the application is told.

use agent_auth::config::Settings;
use serde_json::{Value, json};

use super::{Person, at, link, open, token_of};
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::asking;
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    only_the_pages_of_a_persons_connections_can_be_embedded_and_only_by_the_origins_of_the_setting,
    without_the_setting_nothing_is_embedded_and_nothing_is_sent,
    an_embedded_session_connects_in_a_window_of_its_own_and_tells_the_page_around_it,
    a_page_that_was_opened_tells_its_opener_who_was_connected,
    nobody_is_told_of_the_consent_of_somebody_else,
    the_script_comes_from_this_server,
}

const ORIGINS: &str = "https://app.example https://other.example:8443";

fn embeddable(settings: &mut Settings) {
    settings.consent = "confirm".into();
    settings.frame_ancestors = ORIGINS.replace(' ', ", ");
}

fn alice() -> Value {
    json!({"user_id": "alice"})
}

/// A browser that shows the pages inside another one.
fn embedded(app: &TestApp) -> Browser {
    Browser::sending(app, "sec-fetch-dest", "iframe")
}

/// The value of an attribute of the element that the script reads.
fn data(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!(" data-{name}=\"")).unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split('"').next().unwrap().replace("&#34;", "\"").replace("&#38;", "&")
}

fn message(page: &str) -> Value {
    assert_eq!(data(page, "origins"), ORIGINS);
    assert!(page.contains("<script src=\"/brand/message.js\" defer></script>"), "{page}");
    serde_json::from_str(&data(page, "message")).unwrap()
}

fn is_embeddable(answer: &Answer) -> bool {
    let policy = answer.header("content-security-policy");
    let by_policy = policy.ends_with(&format!("; frame-ancestors {ORIGINS}"));
    assert!(by_policy || policy.ends_with("; frame-ancestors 'none'"), "{policy}");
    assert_eq!(by_policy, !answer.headers.contains_key("x-frame-options"), "{:?}", answer.headers);
    by_policy
}

async fn only_the_pages_of_a_persons_connections_can_be_embedded_and_only_by_the_origins_of_the_setting(
    database: Database,
) {
    let app = TestApp::start_with(database, embeddable).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let browser = embedded(&app);
    let url = link(&app, &alice()).await;
    let of_link = browser.open(&url).await;
    open(&browser, &url).await;
    for answer in [of_link, browser.open(&at("")).await, browser.open(&url).await, browser.open(&at("/held/x")).await] {
        assert!(is_embeddable(&answer), "{}", answer.text());
        assert!(!answer.headers.contains_key("cross-origin-opener-policy"), "the opener is told");
        assert!(!answer.header("content-security-policy").contains("script-src 'unsafe"));
    }
    let consent = app.begin(&asking("alice", &["read"])).await;
    for path in ["/connect/unknown", "/", "/console/sign-in", "/host-api-key/acme"] {
        assert!(!is_embeddable(&browser.open(&format!("{PUBLIC_URL}{path}")).await), "{path}");
    }
    let page = browser.open(&consent.url).await;
    assert!(!is_embeddable(&page));
    assert!(!page.header("content-security-policy").contains("script-src"), "no script before a consent");
}

async fn without_the_setting_nothing_is_embedded_and_nothing_is_sent(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let browser = embedded(&app);
    let url = link(&app, &alice()).await;
    assert!(!is_embeddable(&browser.open(&url).await));
    let opened = open(&browser, &url).await;
    assert!(
        opened.header("set-cookie").ends_with("; HttpOnly; SameSite=Lax; Secure"),
        "{}",
        opened.header("set-cookie")
    );
    let consent = app.begin(&asking("alice", &["read"])).await;
    let page = browser.come_back(&provider.consent(&consent.url)).await;
    assert!(!page.text().contains("<script") && !page.text().contains("data-message"), "{}", page.text());
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
}

async fn an_embedded_session_connects_in_a_window_of_its_own_and_tells_the_page_around_it(database: Database) {
    let app = TestApp::start_with(database, embeddable).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let frame = embedded(&app);
    let opened = open(&frame, &link(&app, &alice()).await).await;
    let set = opened.header("set-cookie");
    assert!(set.ends_with("; HttpOnly; SameSite=None; Secure; Partitioned"), "{set}");
    let token = hidden(&frame.open(&at("")).await.expect_html(200), "form_token");
    let page = frame.send(&at("/connect/acme"), &[("form_token", &token)]).await.expect_html(200);
    let (_, rest) = page.split_once("<a class=\"button primary\" href=\"").unwrap();
    let (consent, attributes) = rest.split_once('"').unwrap();
    assert!(consent.starts_with(&format!("{PUBLIC_URL}/connect/")), "{consent}");
    assert!(attributes.starts_with(" target=\"_blank\" rel=\"noopener\">"), "{attributes}");
    let [status, next] = ["status", "next"].map(|name| format!("{PUBLIC_URL}{}", data(&page, name)));
    assert_eq!(frame.open(&status).await.expect(200), json!({"status": "pending"}));
    // A window of its own has none of the cookies of the embedded page.
    let window = Browser::new(&app);
    let done = window.come_back(&provider.consent(&window.go_on(consent).await)).await.expect_html(200);
    assert!(done.contains("<h1>Connected to Acme Inc.</h1>"), "{done}");
    assert_eq!(frame.open(&status).await.expect(200), json!({"status": "completed"}));
    let list = frame.open(&next).await;
    let said = message(&list.expect_html(200));
    let auth_id = next.split_once("auth_id=").unwrap().1;
    assert_eq!(
        said,
        json!({
            "type": "agent-auth:connected", "provider_id": "acme", "auth_id": auth_id,
            "token_id": token_of(&app, "alice").await,
        })
    );
    assert!(list.header("content-security-policy").contains("; script-src 'self'; connect-src 'self'; "));
    let left = frame.send(&at("/leave"), &[("form_token", &token)]).await;
    let set = left.header("set-cookie");
    assert!(set.contains("Max-Age=0; ") && set.ends_with("; Partitioned"), "{set}");
}

async fn a_page_that_was_opened_tells_its_opener_who_was_connected(database: Database) {
    let app = TestApp::start_with(database, embeddable).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    // The URL of a consent.
    let (browser, consent) = (Browser::new(&app), app.begin(&asking("alice", &["read"])).await);
    let page = browser.come_back(&provider.consent(&browser.go_on(&consent.url).await)).await;
    let said = message(&page.text());
    let expected = json!({"type": "agent-auth:connected", "provider_id": "acme", "auth_id": consent.auth_id});
    assert_eq!(said, expected);
    assert!(!page.headers.contains_key("cross-origin-opener-policy"));
    // A connect link.
    let person = Person::new(&app, &app, &json!({"user_id": "zoe"})).await;
    let consent = person.submit("/connect/acme").await.header("location").to_owned();
    let back = person.open(provider.consent(&person.go_on(&consent).await).as_str()).await;
    let said = message(&person.open(back.header("location")).await.expect_html(200));
    assert_eq!((&said["provider_id"], &said["token_id"]), (&json!("acme"), &json!(token_of(&app, "zoe").await)));
    // What was refused is no connection.
    let refused = app.begin(&asking("bob", &["read"])).await;
    let browser = Browser::new(&app);
    let page = browser.open(provider.deny(&browser.go_on(&refused.url).await).as_str()).await;
    assert!(!page.text().contains("data-message"), "{}", page.text());
}

async fn nobody_is_told_of_the_consent_of_somebody_else(database: Database) {
    let app = TestApp::start_with(database, embeddable).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let consent = app.begin(&asking("alice", &["read"])).await;
    let browser = Browser::new(&app);
    browser.come_back(&provider.consent(&browser.go_on(&consent.url).await)).await;
    let zoe = Person::new(&app, &app, &json!({"user_id": "zoe"})).await;
    zoe.open(&at(&format!("/requested/{}", consent.auth_id))).await.expect_html(404);
    for auth_id in [consent.auth_id.as_str(), "x", ""] {
        let page = zoe.page(&format!("?done=connected&auth_id={auth_id}")).await;
        assert!(!page.contains("data-message"), "{auth_id}: {page}");
    }
    let nobody = Browser::new(&app).open(&at(&format!("/requested/{}", consent.auth_id))).await;
    nobody.expect_html(401);
}

async fn the_script_comes_from_this_server(app: TestApp) {
    let answer = app.browser().get("/brand/message.js").await;
    assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
    assert!(answer.text().contains("postMessage") && !answer.text().contains("\"*\""));
}
