//! What our pages say before a consent: who asks for what, for which user; also for static keys and device codes.

use agent_auth::broker::jobs::device_polls;
use serde_json::json;

use super::confirm::confirming;
use crate::support::authorization_server::{AuthorizationServer, DEVICE, Reply};
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::{asking, with};
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    a_person_enters_a_key_only_in_the_browser_that_went_on,
    a_person_sees_the_code_of_a_device,
    cancelling_a_device_ends_its_polls,
    the_page_is_guarded_and_escapes_what_others_wrote,
    the_page_says_who_asks_for_what,
    the_form_of_the_page_is_complete,
}

fn device_definition(server: &AuthorizationServer) -> serde_json::Value {
    let device = json!({"provider_id": "tv", "device_authorization_url": server.at(DEVICE)});
    with(server.definition("tv"), device)
}

fn device_codes(server: &AuthorizationServer) -> Reply {
    Reply::json(json!({
        "device_code": "the-device-code", "user_code": "WDJB-MJHT", "verification_uri": server.at("/activate"),
        "expires_in": 600, "interval": 5,
    }))
}

async fn a_person_enters_a_key_only_in_the_browser_that_went_on(database: Database) {
    let (app, _provider) = confirming(database).await;
    app.register_as(json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key"})).await;
    let asked = json!({"provider": "weather", "scopes": ["forecast"], "user_id": "alice", "agent_id": "planner"});
    let pending = app.begin(&asked).await;
    assert!(pending.url.starts_with(&format!("{PUBLIC_URL}/connect/")), "{}", pending.url);
    let person = Browser::new(&app);
    let key_page = person.go_on(&pending.url).await;
    let html = person.open(&key_page).await.expect_html(200);
    for said in ["Your key for Weather", "planner", "alice", "forecast"] {
        assert!(html.contains(said), "{said} is missing in {html}");
    }
    assert!(!html.contains("only to the agent"), "{html}");
    let state = hidden(&html, "state");
    let form = format!("{PUBLIC_URL}/host-api-key/weather");
    let fields = [("state", state.as_str()), ("key", "sk-live-1")];
    let other = Browser::new(&app);
    other.open(&key_page).await.expect_html(400);
    other.send(&form, &fields).await.expect_html(400);
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    assert_eq!(person.send(&form, &fields).await.status, 303);
    assert_eq!(app.token(&asked).await, "sk-live-1");
}

async fn a_person_sees_the_code_of_a_device(database: Database) {
    let (app, provider) = confirming(database).await;
    app.register_as(device_definition(&provider)).await;
    provider.answer(DEVICE, device_codes(&provider));
    let asked = json!({"provider": "tv", "scopes": ["read"], "user_id": "alice", "grant": "device"});
    let answer = app.authenticate(&asked).await;
    assert_eq!(
        (&answer["user_code"], &answer["verification_uri"]),
        (&"WDJB-MJHT".into(), &provider.at("/activate").into())
    );
    let url = answer["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{PUBLIC_URL}/connect/")), "{url}");
    let person = Browser::new(&app);
    let html = person.open(url).await.expect_html(200);
    assert!(html.contains("WDJB-MJHT") && html.contains("alice") && html.contains("read"), "{html}");
    assert_eq!(person.go_on(url).await, provider.at("/activate"));
    provider.answer_token(Reply::json(json!({"access_token": "of-a-device", "expires_in": 3600})));
    app.advance(5);
    device_polls::run_due(&app.app.broker).await.unwrap();
    let waited = app.wait(answer["auth_id"].as_str().unwrap()).await;
    assert_eq!(waited["token"], "of-a-device", "{waited}");
}

async fn cancelling_a_device_ends_its_polls(database: Database) {
    let (app, provider) = confirming(database).await;
    app.register_as(device_definition(&provider)).await;
    provider.answer(DEVICE, device_codes(&provider));
    let asked = json!({"provider": "tv", "scopes": ["read"], "user_id": "alice", "grant": "device"});
    let answer = app.authenticate(&asked).await;
    Browser::new(&app).press(answer["url"].as_str().unwrap(), "cancel").await.expect_html(400);
    assert_eq!(app.wait(answer["auth_id"].as_str().unwrap()).await["error"], "access_denied");
    app.advance(60);
    device_polls::run_due(&app.app.broker).await.unwrap();
    app.stop().await;
    assert_eq!(provider.token_requests().len(), 0);
}

async fn the_page_is_guarded_and_escapes_what_others_wrote(database: Database) {
    let (app, provider) = confirming(database).await;
    let evil = "<script>alert(1)</script>\u{202e}";
    app.register_as(with(provider.definition("evil"), json!({"name": evil}))).await;
    let asked = json!({"provider": "evil", "scopes": ["<img>"], "user_id": evil, "agent_id": evil});
    let pending = app.begin(&asked).await;
    let page = Browser::new(&app).open(&pending.url).await;
    let html = page.expect_html(200);
    for raw in ["<script", "<img", "\u{202e}"] {
        assert!(!html.contains(raw), "{raw} in {html}");
    }
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("referrer-policy"), "same-origin", "so that the form names its origin");
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self' https: http:"] {
        assert!(policy.contains(rule), "{policy}");
    }
}

async fn the_page_says_who_asks_for_what(database: Database) {
    let (app, _provider) = confirming(database).await;
    let asked = with(asking("alice@example.com", &["openid", "files:read"]), json!({"agent_id": "travel-agent"}));
    let pending = app.begin(&asked).await;
    let reference = pending.url.strip_prefix(&format!("{PUBLIC_URL}/connect/")).expect("our page");
    assert_eq!(reference.len(), 43, "256 random bits");
    assert!(!pending.url.contains(&pending.auth_id));
    let html = Browser::new(&app).open(&pending.url).await.expect_html(200);
    for said in [
        "Connect Acme Inc.?",
        "travel-agent",
        "alice@example.com",
        "Confirm who you are",
        "files:read",
        ">Continue</button>",
        ">Cancel</button>",
    ] {
        assert!(html.contains(said), "{said} is missing in {html}");
    }
}

async fn the_form_of_the_page_is_complete(database: Database) {
    let (app, _provider) = confirming(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let html = person.open(&pending.url).await.expect_html(200);
    let browser = hidden(&html, "browser");
    for fields in [
        &[][..],
        &[("decision", "continue")],
        &[("browser", &browser)],
        &[("browser", "short"), ("decision", "continue")],
        &[("browser", &browser), ("decision", "perhaps")],
    ] {
        person.send(&pending.url, fields).await.expect_html(400);
    }
    assert!(person.cookies().is_empty());
    person.go_on(&pending.url).await;
}
