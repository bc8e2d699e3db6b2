//! Links: who makes one, what they hold, and that each is opened once.

use std::time::Duration;

use agent_auth::broker::jobs::sweep;
use serde_json::json;

use super::{LINKS, Person, at, connected, events, link, open};
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden, post_form};
use crate::support::caller::{acme, with};
use crate::support::database::PUBLIC_URL;

both_databases! {
    opening_another_link_ends_the_earlier_visit,
    a_link_is_opened_once_and_looking_at_it_uses_nothing_up,
    a_second_click_on_the_button_has_the_session_of_the_first,
    a_link_and_its_session_end_in_time,
    links_are_swept_when_they_and_their_sessions_have_ended,
    an_expired_key_ends_its_links_and_their_sessions,
    a_revoked_key_ends_its_links_and_their_sessions_at_once,
    a_person_who_leaves_has_no_session_any_more,
    another_site_cannot_open_a_link_in_a_browser,
    the_database_has_neither_the_link_nor_the_cookie,
    making_opening_and_leaving_are_recorded_with_the_user,
    the_faults_of_a_request_are_named,
    a_return_url_is_one_that_every_named_provider_has,
    a_link_reaches_no_more_than_the_key_that_made_it,
    a_caller_who_is_one_user_makes_no_link_for_another,
}

fn alice() -> serde_json::Value {
    json!({"user_id": "alice"})
}

async fn is_in(browser: &Browser) -> bool {
    match browser.open(&at("")).await.status.as_u16() {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

async fn a_link_is_opened_once_and_looking_at_it_uses_nothing_up(app: TestApp) {
    let maker = app.new_key(&["--role", "agent", "--kind", "service"]).await;
    let made = maker.post(LINKS, &alice()).await.expect(201);
    let url = made["url"].as_str().unwrap();
    let secret = url.strip_prefix(&format!("{PUBLIC_URL}/connections/")).unwrap();
    assert!(secret.len() >= 43 && made.as_object().unwrap().len() == 2, "{made}");
    let browser = Browser::new(&app);
    for _ in 0..3 {
        let page = browser.open(url).await.expect_html(200);
        assert!(page.contains("<strong dir=\"auto\">alice</strong>") && !page.contains("<script"), "{page}");
    }
    assert!(!is_in(&browser).await);
    let answer = open(&browser, url).await;
    let set = answer.header("set-cookie");
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure");
    assert!(pair.starts_with("__Host-agent-auth-person=") && !pair.contains(secret));
    assert!(is_in(&browser).await);
    let other = Browser::new(&app);
    let page = other.open(url).await.expect_html(404);
    assert!(page.contains("opened before"), "{page}");
    let random = "A".repeat(43);
    let answer = other.send(url, &[("browser", &random)]).await;
    answer.expect_html(404);
    assert!(!answer.headers.contains_key("set-cookie") && !is_in(&other).await);
    for unknown in ["/x", "/..", &format!("/{random}")] {
        other.open(&at(unknown)).await;
        assert!(!is_in(&other).await, "{unknown}");
    }
}

async fn a_second_click_on_the_button_has_the_session_of_the_first(app: TestApp) {
    let url = link(&app.service_key().await, &alice()).await;
    let browser = Browser::new(&app);
    let page = browser.open(&url).await.expect_html(200);
    let fields = [("browser", &*hidden(&page, "browser"))];
    let first = browser.send(&url, &fields).await;
    let second = browser.send(&url, &fields).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (303, 303));
    assert_eq!(first.header("set-cookie"), second.header("set-cookie"));
    assert!(is_in(&browser).await);
    assert_eq!(events(&app, "connect_link.used").await.len(), 1);
}

async fn a_link_and_its_session_end_in_time(app: TestApp) {
    let maker = app.service_key().await;
    let (short, usual) = (link(&maker, &with(alice(), json!({"expires_in": 60}))).await, link(&maker, &alice()).await);
    app.advance(61);
    Browser::new(&app).open(&short).await.expect_html(404);
    app.advance(3600 - 120);
    let browser = Browser::new(&app);
    assert_eq!(open(&browser, &usual).await.status.as_u16(), 303);
    app.advance(3600 - 60);
    assert!(is_in(&browser).await, "the session lasts longer than the link could be opened");
    app.advance(61);
    assert!(!is_in(&browser).await);
}

async fn links_are_swept_when_they_and_their_sessions_have_ended(app: TestApp) {
    let maker = app.service_key().await;
    let (opened, unopened) = (link(&maker, &alice()).await, link(&maker, &alice()).await);
    app.advance(3000);
    assert_eq!(open(&Browser::new(&app), &opened).await.status.as_u16(), 303);
    let left = async || {
        // The server may be doing it at the moment.
        while sweep::run_once(&app.app.broker).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(sweep::count(&app.app.broker).await.unwrap().connect_links, 0);
        app.database.row_counts().await["connect_links"]
    };
    assert_eq!(left().await, 2);
    app.advance(601);
    assert_eq!(left().await, 1, "without the link that nobody opened");
    Browser::new(&app).open(&unopened).await.expect_html(404);
    app.advance(3000);
    assert_eq!(left().await, 0, "the session has ended too");
}

async fn a_revoked_key_ends_its_links_and_their_sessions_at_once(app: TestApp) {
    let maker = app.new_key(&["--role", "agent", "--kind", "service"]).await;
    let key = events(&app, "api_key.created").await[0]["details"]["api_key_id"].as_str().unwrap().to_owned();
    let (person, unopened) = (Person::new(&app, &maker, &alice()).await, link(&maker, &alice()).await);
    assert!(is_in(&person).await);
    let operator = Browser::new(&app);
    let console = format!("{PUBLIC_URL}/console");
    operator.send(&format!("{console}/sign-in"), &[("key", &app.database.bootstrap_key)]).await;
    let token = hidden(&operator.open(&console).await.expect_html(200), "form_token");
    let answer = operator.send(&format!("{console}/keys/{key}/revoke"), &[("form_token", &token)]).await;
    assert_eq!(answer.header("location"), "/console/keys?done=key-revoked");
    assert!(!is_in(&person).await);
    Browser::new(&app).open(&unopened).await.expect_html(404);
}

async fn an_expired_key_ends_its_links_and_their_sessions(app: TestApp) {
    let maker = app.new_key(&["--role", "agent", "--kind", "service", "--expires-in-days", "1"]).await;
    let person = Person::new(&app, &maker, &alice()).await;
    let unopened = link(&maker, &with(alice(), json!({"expires_in": 86400}))).await;
    assert!(is_in(&person).await);
    app.advance(24 * 3600 - 600);
    let late = Person::new(&app, &maker, &alice()).await;
    assert!(is_in(&late).await);
    app.advance(601);
    assert!(!is_in(&late).await);
    Browser::new(&app).open(&unopened).await.expect_html(404);
}

async fn a_person_who_leaves_has_no_session_any_more(app: TestApp) {
    let person = Person::new(&app, &app.service_key().await, &alice()).await;
    let kept = person.cookies()["__Host-agent-auth-person"].clone();
    let answer = person.submit("/leave").await;
    answer.expect_html(200);
    assert!(answer.header("set-cookie").starts_with("__Host-agent-auth-person=; Path=/; Max-Age=0;"));
    let thief = Browser::new(&app);
    thief.plant("__Host-agent-auth-person", &kept);
    assert!(!is_in(&thief).await);
}

async fn another_site_cannot_open_a_link_in_a_browser(app: TestApp) {
    let url = link(&app.service_key().await, &alice()).await;
    let page = app.browser().get(&url[PUBLIC_URL.len()..]).await.expect_html(200);
    let fields = [("browser", &*hidden(&page, "browser"))];
    for caller in [
        app.browser(),
        app.browser().with("sec-fetch-site", "cross-site"),
        app.browser().with("sec-fetch-site", "same-site"),
        app.browser().with("origin", "https://evil.example"),
    ] {
        let answer = post_form(&caller, &url, &fields).await;
        answer.expect_html(403);
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    assert_eq!(post_form(&app.browser().with("origin", PUBLIC_URL), &url, &fields).await.status.as_u16(), 303);
}

async fn the_database_has_neither_the_link_nor_the_cookie(app: TestApp) {
    let maker = app.service_key().await;
    let unopened = link(&maker, &alice()).await;
    let person = Person::new(&app, &maker, &alice()).await;
    let token = hidden(&person.page("").await, "form_token");
    let stored = app.database.everything_at_rest().await;
    let secret = unopened.rsplit('/').next().unwrap().to_owned();
    for secret in [secret, person.cookies()["__Host-agent-auth-person"].clone(), token] {
        assert!(secret.len() >= 43 && !stored.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

async fn making_opening_and_leaving_are_recorded_with_the_user(app: TestApp) {
    app.register_as(acme()).await;
    let maker = app.service_key().await;
    let body = with(alice(), json!({"providers": ["acme"], "scopes": ["read"]}));
    Person::new(&app, &maker, &body).await.submit("/leave").await;
    let created = &events(&app, "connect_link.created").await[0];
    assert_eq!((&created["user_id"], &created["actor"]), (&json!("alice"), &json!("api_key")));
    assert_eq!((&created["scopes"], &created["details"]["providers"]), (&json!(["read"]), &json!("acme")));
    for name in ["connect_link.used", "connect_link.ended"] {
        let event = &events(&app, name).await[0];
        assert_eq!((&event["user_id"], &event["actor"]), (&json!("alice"), &json!("browser")));
        assert_eq!(event["actor_id"], created["details"]["link_id"], "{name}");
    }
}

async fn the_faults_of_a_request_are_named(app: TestApp) {
    app.register_as(acme()).await;
    let maker = app.service_key().await;
    for (body, loc, kind) in [
        (json!({}), "body.user_id", "missing"),
        (json!({"user_id": ""}), "body.user_id", "string_too_short"),
        (with(alice(), json!({"expires_in": 59})), "body.expires_in", "greater_than_equal"),
        (with(alice(), json!({"expires_in": 86401})), "body.expires_in", "less_than_equal"),
        (with(alice(), json!({"providers": []})), "body.providers", "too_short"),
        (with(alice(), json!({"scopes": ["read"]})), "body.scopes", "value_error"),
        (with(alice(), json!({"return_url": "https://app.example/back"})), "body.return_url", "value_error"),
    ] {
        maker.post(LINKS, &body).await.expect_fault(loc, kind);
    }
    maker.post(LINKS, &with(alice(), json!({"providers": ["nowhere"]}))).await.expect_error(404, "not_found");
    app.new_key(&["--role", "viewer", "--kind", "service"])
        .await
        .post(LINKS, &alice())
        .await
        .expect_error(403, "forbidden");
    assert_eq!(app.database.row_counts().await["connect_links"], 0);
}

async fn a_return_url_is_one_that_every_named_provider_has(app: TestApp) {
    let back = "https://app.example/back";
    app.register_as(with(acme(), json!({"return_urls": [back]}))).await;
    app.register_as(with(acme(), json!({"provider_id": "other"}))).await;
    let maker = app.service_key().await;
    let asked = |providers: &[&str], url: &str| with(alice(), json!({"providers": providers, "return_url": url}));
    maker.post(LINKS, &asked(&["acme"], back)).await.expect(201);
    for refused in [
        asked(&["acme", "other"], back),
        asked(&["acme"], "https://app.example/back/"),
        asked(&["acme"], "https://app.example/back?x=1"),
        asked(&["acme"], "https://evil.example/back"),
    ] {
        maker.post(LINKS, &refused).await.expect_fault("body.return_url", "value_error");
    }
}

async fn a_link_reaches_no_more_than_the_key_that_made_it(app: TestApp) {
    let (provider, _) = connected(&app).await;
    app.register_as(with(provider.definition("other"), json!({"name": "Other Inc."}))).await;
    let limited =
        async |options: &[&str]| app.new_key(&[&["--role", "agent", "--kind", "service"], options].concat()).await;
    let of_other = limited(&["--only-provider", "other"]).await;
    of_other.post(LINKS, &with(alice(), json!({"providers": ["acme"]}))).await.expect_error(403, "outside_key_limits");
    let person = Person::new(&app, &of_other, &alice()).await;
    let page = person.page("").await;
    assert!(page.contains("Connect Other Inc.") && !page.contains("acme") && !page.contains("Acme"), "{page}");
    person.submit("/connect/acme").await.expect_html(404);
    let of_bob = limited(&["--only-user", "bob"]).await;
    of_bob.post(LINKS, &alice()).await.expect_error(403, "outside_key_limits");
    of_bob.post(LINKS, &json!({"user_id": "bob"})).await.expect(201);
    // A link shows the connections for every agent.
    let of_agent = limited(&["--only-agent", "helper"]).await;
    of_agent.post(LINKS, &alice()).await.expect_error(403, "outside_key_limits");
}

async fn a_caller_who_is_one_user_makes_no_link_for_another(app: TestApp) {
    let personal = app.new_key(&["--role", "agent", "--kind", "personal", "--user", "alice"]).await;
    let acting = app.new_key(&["--role", "agent", "--kind", "service"]).await.acting_for("alice");
    for caller in [personal, acting] {
        caller.post(LINKS, &json!({})).await.expect(201);
        caller.post(LINKS, &alice()).await.expect(201);
        caller.post(LINKS, &json!({"user_id": "bob"})).await.expect_fault("body.user_id", "value_error");
    }
    // An administrator can see and end the connections of all users without a link too.
    app.post(LINKS, &json!({"user_id": "bob"})).await.expect(201);
}

async fn opening_another_link_ends_the_earlier_visit(app: TestApp) {
    let maker = app.service_key().await;
    let person = Person::new(&app, &maker, &json!({"user_id": "zoe"})).await;
    let earlier = person.cookies()["__Host-agent-auth-person"].clone();
    let answer = open(&person, &link(&maker, &json!({"user_id": "eve"})).await).await;
    assert_eq!(answer.header("location"), "/connections", "{}", answer.text());
    assert!(person.page("").await.contains("<strong>eve</strong>"));
    let thief = Browser::new(&app);
    thief.plant("__Host-agent-auth-person", &earlier);
    assert_ne!(thief.open(&at("")).await.status.as_u16(), 200);
    assert_eq!(events(&app, "connect_link.ended").await.len(), 1);
}
