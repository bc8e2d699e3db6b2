//! Signing in: which keys may, what the browser gets, and how a session ends.

use agent_auth::broker::audit::record_refusals;
use serde_json::json;
use uuid::Uuid;

use super::{Operator, PAGES, as_demo, at, events};
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden, post_form};
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    a_key_is_exchanged_for_a_cookie_that_no_script_and_no_other_host_gets,
    nobody_sees_a_page_without_a_session,
    an_agents_key_and_an_unknown_one_do_not_sign_in,
    failed_sign_ins_are_throttled_and_audited,
    another_site_cannot_sign_a_browser_in,
    a_session_ends_with_its_sign_out,
    a_session_ends_after_twelve_hours,
    a_revoked_key_ends_its_sessions_at_once,
    an_expired_key_ends_its_sessions,
    the_database_does_not_have_the_cookie,
    signing_in_and_out_is_recorded_with_the_key,
    signing_in_again_ends_the_earlier_session,
    in_the_demo_the_page_says_where_its_key_is,
    a_second_replica_knows_the_session,
    the_console_can_be_switched_off,
    over_plain_http_on_loopback_the_cookie_is_an_ordinary_one,
}

const SIGN_IN: &str = "/console/sign-in";

/// The value of the session's cookie.
fn cookie(browser: &Browser) -> String {
    let cookies = browser.cookies();
    cookies.get("__Host-agent-auth-console").cloned().unwrap_or_default()
}

async fn is_signed_in(browser: &Browser) -> bool {
    let answer = browser.open(&at("")).await;
    match answer.status.as_u16() {
        200 => true,
        303 => {
            assert_eq!(answer.header("location"), SIGN_IN);
            false
        }
        other => panic!("{other}: {}", answer.text()),
    }
}

async fn a_key_is_exchanged_for_a_cookie_that_no_script_and_no_other_host_gets(app: TestApp) {
    let browser = Browser::new(&app);
    let page = browser.open(&at("/sign-in")).await.expect_html(200);
    assert!(page.contains("type=\"password\"") && !page.contains(&app.database.bootstrap_key));
    let answer = browser.send(&at("/sign-in"), &[("key", &app.database.bootstrap_key)]).await;
    let set = answer.header("set-cookie");
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure");
    let value = pair.strip_prefix("__Host-agent-auth-console=").unwrap();
    assert!(value.len() >= 43 && !value.contains(&app.database.bootstrap_key));
    assert!(is_signed_in(&browser).await);
    let other = Operator::admin(&app).await;
    assert_ne!(cookie(&browser), cookie(&other), "each session has its own");
    // Those who are signed in need no form.
    assert_eq!(browser.open(&at("/sign-in")).await.header("location"), "/console");
}

async fn nobody_sees_a_page_without_a_session(app: TestApp) {
    let page = app.browser().get(SIGN_IN).await.expect_html(200);
    assert!(page.contains("agent-auth api-key create") && !page.contains("demo"), "{page}");
    let id = Uuid::now_v7();
    let more = [
        format!("/connections/{id}"),
        format!("/connections/{id}/revoke"),
        "/audit/export".to_owned(),
        "/events/stream".to_owned(),
    ];
    let made_up = Browser::new(&app);
    made_up.plant("__Host-agent-auth-console", "dGhpcy1pcy1ub3QtYS1zZXNzaW9uLW9mLW91cnMtMTIzNDU2Nzg");
    let plain = Browser::new(&app);
    plain.plant("agent-auth-console", &cookie(&*Operator::admin(&app).await));
    for browser in [Browser::new(&app), made_up, plain] {
        for path in PAGES.map(str::to_owned).iter().chain(&more) {
            let answer = browser.open(&at(path)).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (303, SIGN_IN), "{path}");
        }
        for path in ["/keys", "/sign-out", "/connections/x/revoke", "/providers/acme/delete"] {
            let answer = browser.send(&at(path), &[("name", "x"), ("role", "admin")]).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (303, SIGN_IN), "{path}");
        }
    }
    // An API key in a header is no session: pages are for browsers.
    assert_eq!(app.get("/console").await.status.as_u16(), 303);
}

async fn an_agents_key_and_an_unknown_one_do_not_sign_in(app: TestApp) {
    let agent = app.new_key(&["--role", "agent"]).await.key();
    let browser = Browser::new(&app);
    for (key, status, said) in [
        (&*agent, 403, "an agent&#39;s key"),
        ("aauth_not-a-key-of-this-server", 401, "not a valid API key"),
        ("", 401, "not a valid API key"),
        ("<script>alert(1)</script>", 401, "not a valid API key"),
    ] {
        let answer = browser.send(&at("/sign-in"), &[("key", key)]).await;
        let page = answer.expect_html(status);
        assert!(page.contains(said) && page.contains("role=\"alert\""), "{page}");
        assert!(key.is_empty() || !page.contains(key), "it repeats no key");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    assert!(!is_signed_in(&browser).await);
    let viewer = app.new_key(&["--role", "viewer"]).await.key();
    assert!(is_signed_in(&*Operator::new(&app, &viewer).await).await);
}

async fn failed_sign_ins_are_throttled_and_audited(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.failed_keys_per_minute = 3).await;
    let guesser = app.browser().at_address("192.0.2.7").with("sec-fetch-site", "same-origin");
    let url = at("/sign-in");
    for _ in 0..3 {
        post_form(&guesser, &url, &[("key", "aauth_a-guess")]).await.expect_html(401);
    }
    let answer = post_form(&guesser, &url, &[("key", "aauth_a-guess")]).await;
    answer.expect_html(429);
    assert!(!answer.header("retry-after").is_empty());
    // A valid key is never slowed by others behind the same address.
    let valid = post_form(&guesser, &url, &[("key", &app.database.bootstrap_key)]).await;
    assert_eq!(valid.status.as_u16(), 303);
    let agent = app.new_key(&["--role", "agent"]).await.key();
    post_form(&guesser, &url, &[("key", &agent)]).await.expect_html(403);
    record_refusals(&app.app.broker).await.unwrap();
    let refused = &events(&app, "api_key.refused").await[0];
    assert_eq!((&refused["address"], &refused["details"]["count"]), (&json!("192.0.2.7"), &json!("4")));
    let denied = &events(&app, "access.denied").await[0];
    assert_eq!(denied["details"]["request"], "POST /console/sign-in");
    assert_eq!((&denied["actor"], &denied["details"]["outside"]), (&json!("console_user"), &json!("role")));
}

async fn another_site_cannot_sign_a_browser_in(app: TestApp) {
    let fields = [("key", &*app.database.bootstrap_key)];
    let browser = app.browser();
    for caller in [
        browser.clone(),
        browser.with("sec-fetch-site", "cross-site").with("origin", "https://evil.example"),
        browser.with("sec-fetch-site", "same-site"),
        browser.with("origin", "https://evil.example"),
        browser.with("origin", "null"),
    ] {
        let answer = post_form(&caller, &at("/sign-in"), &fields).await;
        answer.expect_html(403);
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let own = browser.with("origin", PUBLIC_URL);
    assert_eq!(
        post_form(&own, &at("/sign-in"), &fields).await.status.as_u16(),
        303,
        "a browser without Sec-Fetch-Site"
    );
}

async fn a_session_ends_with_its_sign_out(app: TestApp) {
    let (operator, other) = (Operator::admin(&app).await, Operator::admin(&app).await);
    let value = cookie(&operator);
    let answer = operator.submit("/sign-out", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, SIGN_IN));
    assert!(answer.header("set-cookie").starts_with("__Host-agent-auth-console=; Path=/; Max-Age=0;"));
    // Also for somebody who has kept the cookie.
    let thief = Browser::new(&app);
    thief.plant("__Host-agent-auth-console", &value);
    assert!(!is_signed_in(&thief).await && is_signed_in(&other).await);
}

async fn a_session_ends_after_twelve_hours(app: TestApp) {
    let operator = Operator::admin(&app).await;
    app.advance(12 * 3600 - 60);
    assert!(is_signed_in(&operator).await);
    app.advance(61);
    assert!(!is_signed_in(&operator).await);
    // The next sign-in deletes what has expired.
    Operator::admin(&app).await;
    assert_eq!(app.database.row_counts().await["console_sessions"], 1);
}

async fn a_revoked_key_ends_its_sessions_at_once(app: TestApp) {
    let key = app.new_key(&["--role", "admin"]).await.key();
    let (operator, admin) = (Operator::new(&app, &key).await, Operator::admin(&app).await);
    let page = operator.page("/keys").await;
    let (before, _) = page.split_once("<span class=\"tag\">yours</span>").unwrap();
    assert!(before.contains("made by a test"));
    let (_, rest) = page.split_once("<span class=\"tag\">yours</span>").unwrap();
    let (_, rest) = rest.split_once("/console/keys/").unwrap();
    let id = rest.split('/').next().unwrap();
    let token = hidden(&operator.page("").await, "form_token");
    let said = admin.done(&format!("/keys/{id}/revoke"), &[]).await;
    assert!(said.contains("The API key was revoked."), "{said}");
    assert!(!is_signed_in(&operator).await);
    let answer = operator.send(&at("/keys"), &[("form_token", &token), ("name", "x"), ("role", "admin")]).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, SIGN_IN));
    assert!(is_signed_in(&admin).await);
}

async fn an_expired_key_ends_its_sessions(app: TestApp) {
    let key = app.new_key(&["--role", "viewer", "--expires-in-days", "1"]).await.key();
    app.advance(24 * 3600 - 600);
    let operator = Operator::new(&app, &key).await;
    assert!(is_signed_in(&operator).await);
    app.advance(601);
    assert!(!is_signed_in(&operator).await);
}

async fn the_database_does_not_have_the_cookie(app: TestApp) {
    let operator = Operator::admin(&app).await;
    let token = hidden(&operator.page("").await, "form_token");
    let stored = app.database.everything_at_rest().await;
    for secret in [cookie(&operator), token] {
        let is_stored = stored.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!is_stored && secret.len() >= 43, "only the cookie's digest is stored");
    }
}

async fn signing_in_and_out_is_recorded_with_the_key(app: TestApp) {
    let operator = Operator::admin(&app).await;
    operator.submit("/sign-out", &[]).await;
    let (signed_in, signed_out) = (events(&app, "console.signed_in").await, events(&app, "console.signed_out").await);
    assert_eq!((signed_in.len(), signed_out.len()), (1, 1));
    for event in [&signed_in[0], &signed_out[0]] {
        assert_eq!((&event["actor"], &event["result"]), (&json!("console_user"), &json!("ok")));
        assert_eq!(event["actor_id"], event["details"]["api_key_id"]);
        assert_eq!(event["details"]["api_key_name"], "bootstrap");
    }
}

async fn signing_in_again_ends_the_earlier_session(app: TestApp) {
    let (operator, other) = (Operator::admin(&app).await, Operator::admin(&app).await);
    let earlier = cookie(&operator);
    let wrong = operator.send(&at("/sign-in"), &[("key", "aauth_wrong")]).await;
    assert_eq!(wrong.status.as_u16(), 401);
    assert!(is_signed_in(&operator).await, "a wrong key ends nothing");
    let key = app.new_key(&["--role", "viewer"]).await.key();
    let answer = operator.send(&at("/sign-in"), &[("key", &key)]).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    assert!(is_signed_in(&operator).await && is_signed_in(&other).await && cookie(&operator) != earlier);
    let thief = Browser::new(&app);
    thief.plant("__Host-agent-auth-console", &earlier);
    assert!(!is_signed_in(&thief).await);
    let ended = events(&app, "console.signed_out").await;
    assert_eq!((ended.len(), &ended[0]["details"]["api_key_name"]), (1, &json!("bootstrap")), "{ended:?}");
}

async fn in_the_demo_the_page_says_where_its_key_is(database: Database) {
    let hint = "agent-auth api-key create";
    let page = as_demo(database).await.browser().get(SIGN_IN).await.expect_html(200);
    assert!(
        page.contains("that <code>agent-auth demo</code> printed when it started") && !page.contains(hint),
        "{page}"
    );
}

async fn a_second_replica_knows_the_session(app: TestApp) {
    let operator = Operator::admin(&app).await;
    if !app.app.broker.is_shared() {
        // With SQLite there is one server.
        return;
    }
    let replica = app.replica().await;
    let browser = Browser::new(&replica);
    browser.plant("__Host-agent-auth-console", &cookie(&operator));
    assert!(is_signed_in(&browser).await);
    operator.submit("/sign-out", &[]).await;
    assert!(!is_signed_in(&browser).await);
}

async fn the_console_can_be_switched_off(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.console = "off".into()).await;
    for path in PAGES.iter().copied().chain(["/sign-in"]) {
        app.browser().get(&format!("/console{path}")).await.expect_error(404, "not_found");
    }
    let start = app.browser().get("/").await.expect_html(200);
    assert!(!start.contains("/console") && start.contains("href=\"/docs\""), "{start}");
}

async fn over_plain_http_on_loopback_the_cookie_is_an_ordinary_one(database: Database) {
    let url = "http://127.0.0.1:8080";
    let app = TestApp::start_with(database, |settings| settings.public_url = Some(url.into())).await;
    let browser = Browser::new(&app);
    let answer = browser.send(&format!("{url}/console/sign-in"), &[("key", &app.database.bootstrap_key)]).await;
    let set = answer.header("set-cookie");
    assert!(set.starts_with("agent-auth-console=") && !set.contains("Secure"), "{set}");
    browser.open(&format!("{url}/console")).await.expect_html(200);
}
