//! Single sign-on: who is signed in through the identity provider, as whom, and for how long.

mod attacks;
mod unavailable;

use std::time::Duration;

use agent_auth::broker::jobs::sweep;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{PAGES, at, events};
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden};
use crate::support::database::{Database, PUBLIC_URL};
use crate::support::identity_provider::{CLIENT_ID, CLIENT_SECRET, SigningKey, TOKEN, WithIdentityProvider, parameter};

both_databases! {
    the_button_is_there_only_if_an_identity_provider_is_configured,
    a_person_of_an_admin_group_signs_in_and_acts_as_themselves,
    the_authorization_request_is_bound_to_the_browser_and_to_its_verifier,
    a_person_of_a_viewer_group_changes_nothing,
    a_person_in_no_mapped_group_is_refused_and_only_counted,
    the_groups_may_be_in_another_claim,
    a_session_ends_with_its_sign_out,
    a_session_ends_after_twelve_hours,
    a_group_that_is_taken_out_of_the_settings_ends_its_sessions,
    the_database_has_neither_the_cookie_nor_the_client_secret,
    people_act_in_the_workspace_that_the_settings_name,
    signing_in_and_out_is_recorded_with_the_person,
    an_eddsa_signature_is_accepted,
}

const SIGN_IN: &str = "/console/sign-in";
const CONSOLE_COOKIE: &str = "__Host-agent-auth-console";
const SIGN_IN_COOKIE: &str = "__Host-agent-auth-sign-in";

#[track_caller]
fn is_in(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/console"), "{}", answer.text());
}

async fn is_signed_in(browser: &Browser) -> bool {
    browser.open(&at("")).await.status.as_u16() == 200
}

/// Sends a form as the session's own pages do.
async fn submit(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = hidden(&browser.open(&at("")).await.expect_html(200), "form_token");
    browser.send(&at(path), &[&[("form_token", &*token)][..], fields].concat()).await
}

async fn the_button_is_there_only_if_an_identity_provider_is_configured(database: Database) {
    let with_it = WithIdentityProvider::start_with(database, |_| ()).await;
    let page = Browser::new(&with_it).open(&at("/sign-in")).await.expect_html(200);
    assert!(page.contains("href=\"/console/sign-in/openid\"") && page.contains("type=\"password\""), "{page}");
    assert_eq!(with_it.asked("/.well-known/openid-configuration"), 0, "a page asks nobody");
    let without = TestApp::start(Database::sqlite()).await;
    let browser = Browser::new(&without);
    assert!(!browser.open(&at("/sign-in")).await.expect_html(200).contains("openid"));
    for path in ["/sign-in/openid", "/sign-in/openid/callback?code=x&state=y"] {
        browser.open(&at(path)).await.expect_html(404);
    }
}

async fn a_person_of_an_admin_group_signs_in_and_acts_as_themselves(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    let answer = app.sign_in(&browser, json!({})).await;
    is_in(&answer);
    let set: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap()).collect();
    assert!(set[0].starts_with("__Host-agent-auth-console="), "{set:?}");
    assert!(set[0].ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"), "{set:?}");
    assert_eq!(set[1], "__Host-agent-auth-sign-in=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    for path in PAGES {
        let page = browser.open(&at(path)).await.expect_html(200);
        assert!(page.contains("Ada Lovelace") && page.contains("admin"), "{path}: {page}");
    }
    let made = submit(&browser, "/keys", &[("name", "by ada"), ("role", "viewer"), ("kind", "service")]).await;
    assert!(made.expect_html(200).contains("aauth_"));
    let event = &events(&app, "api_key.created").await[0];
    assert_eq!((&event["actor"], &event["actor_id"]), (&json!("console_user"), &json!("openid:ada-7")));
}

async fn the_authorization_request_is_bound_to_the_browser_and_to_its_verifier(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    let begun = app.begin(&browser).await;
    assert!(begun.as_str().starts_with(&app.provider.at("/authorize?tenant=one&")), "{begun}");
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("scope", "openid profile email"),
        ("redirect_uri", &format!("{PUBLIC_URL}/console/sign-in/openid/callback")),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(parameter(&begun, name), value);
    }
    let cookie = browser.cookies()[SIGN_IN_COOKIE].clone();
    assert!(cookie.len() == 43 && !begun.as_str().contains(&cookie));
    is_in(&app.come_back(&browser, &begun, &app.key.sign(&app.claims(&begun))).await);
    let requests = app.provider.all_requests();
    let exchange = requests.iter().find(|request| request.path == TOKEN).unwrap();
    assert_eq!(exchange.basic(), Some((CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned())));
    assert_eq!(exchange.value("redirect_uri"), Some(&*parameter(&begun, "redirect_uri")));
    let verifier = exchange.value("code_verifier").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)), parameter(&begun, "code_challenge"));
    let other = app.begin(&Browser::new(&app)).await;
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(parameter(&begun, name), parameter(&other, name), "{name}");
    }
}

async fn a_person_of_a_viewer_group_changes_nothing(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({"groups": ["support"]})).await);
    let page = browser.open(&at("/keys")).await.expect_html(200);
    assert!(page.contains("viewer") && !page.contains("name=\"role\""), "{page}");
    browser.open(&at("/audit")).await.expect_html(403);
    submit(&browser, "/keys", &[("name", "x"), ("role", "admin")]).await.expect_html(403);
}

async fn a_person_in_no_mapped_group_is_refused_and_only_counted(app: WithIdentityProvider) {
    for groups in [json!(["staff", "PLATFORM"]), json!([]), json!(null), json!({"platform": true})] {
        let browser = Browser::new(&app);
        let answer = app.sign_in(&browser, json!({"groups": groups})).await;
        let page = answer.expect_html(403);
        assert!(page.contains("none of your groups may sign in here"), "{page}");
        assert!(!page.contains("platform") && !page.contains("support"), "it names no group");
        assert!(!browser.cookies().contains_key(CONSOLE_COOKIE) && !is_signed_in(&browser).await);
    }
    agent_auth::broker::audit::record_refusals(&app.app.broker).await.unwrap();
    let denied = &events(&app, "access.denied").await[0];
    assert_eq!((&denied["actor_id"], &denied["details"]["outside"]), (&json!("openid:ada-7"), &json!("groups")));
    assert_eq!(denied["details"]["count"], "4");
    assert_eq!(app.database.row_counts().await["console_people"], 0);
}

async fn the_groups_may_be_in_another_claim(database: Database) {
    let claim = |settings: &mut agent_auth::config::Settings| {
        settings.console_oidc_groups_claim = "realm_access.roles".into();
        settings.console_oidc_scopes = "openid roles".into();
    };
    let app = WithIdentityProvider::start_with(database, claim).await;
    assert_eq!(parameter(&app.begin(&Browser::new(&app)).await, "scope"), "openid roles");
    let browser = Browser::new(&app);
    app.sign_in(&browser, json!({})).await.expect_html(403);
    is_in(&app.sign_in(&browser, json!({"realm_access": {"roles": ["on-call"]}})).await);
}

async fn a_session_ends_with_its_sign_out(app: WithIdentityProvider) {
    let (browser, other) = (Browser::new(&app), Browser::new(&app));
    is_in(&app.sign_in(&browser, json!({})).await);
    is_in(&app.sign_in(&other, json!({})).await);
    let kept = browser.cookies()[CONSOLE_COOKIE].clone();
    let answer = submit(&browser, "/sign-out", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, SIGN_IN));
    let thief = Browser::new(&app);
    thief.plant(CONSOLE_COOKIE, &kept);
    assert!(!is_signed_in(&thief).await && is_signed_in(&other).await);
}

async fn a_session_ends_after_twelve_hours(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({})).await);
    app.advance(12 * 3600 - 60);
    assert!(is_signed_in(&browser).await);
    app.advance(61);
    assert!(!is_signed_in(&browser).await);
    is_in(&app.sign_in(&browser, json!({})).await);
    // The server sweeps by itself, too: then this waits for the next turn.
    while sweep::run_once(&app.app.broker).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.database.row_counts().await["console_people"], 1, "nothing is kept of who does not come back");
}

async fn a_group_that_is_taken_out_of_the_settings_ends_its_sessions(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({"groups": ["on-call", "support"]})).await);
    let role_at = async |change: &dyn Fn(&mut agent_auth::config::Settings)| {
        let replica = app.replica_with(|settings| change(settings)).await;
        let there = Browser::new(&replica);
        there.plant(CONSOLE_COOKIE, &browser.cookies()[CONSOLE_COOKIE]);
        let answer = there.open(&at("")).await;
        let page = answer.text();
        (answer.status.as_u16(), page.contains(">admin<"), page.contains(">viewer<"))
    };
    assert_eq!(role_at(&|_| ()).await, (200, true, false));
    assert_eq!(role_at(&|settings| settings.console_oidc_admin_groups = "platform".into()).await, (200, false, true));
    let none = |settings: &mut agent_auth::config::Settings| {
        settings.console_oidc_admin_groups = "platform".into();
        settings.console_oidc_viewer_groups = String::new();
    };
    assert_eq!(role_at(&none).await, (303, false, false));
    let elsewhere = |settings: &mut agent_auth::config::Settings| {
        settings.console_oidc_issuer = Some("https://other.example".into());
    };
    assert_eq!(role_at(&elsewhere).await, (303, false, false));
    assert_eq!(role_at(&|settings| settings.console_oidc_issuer = None).await, (303, false, false));
}

async fn the_database_has_neither_the_cookie_nor_the_client_secret(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({"name": "Ada\u{0}\nLovelace"})).await);
    let stored = app.database.everything_at_rest().await;
    let has = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has(&browser.cookies()[CONSOLE_COOKIE]) && !has(CLIENT_SECRET) && has("AdaLovelace"));
    let settings = browser.open(&at("/settings")).await.expect_html(200);
    assert!(settings.contains("console_oidc_client_secret") && !settings.contains(CLIENT_SECRET));
}

async fn people_act_in_the_workspace_that_the_settings_name(database: Database) {
    let named = |settings: &mut agent_auth::config::Settings| {
        settings.console_oidc_organization = Some("acme".into());
        settings.console_oidc_workspace = Some("production".into());
    };
    let app = WithIdentityProvider::start_with(database, named).await;
    let key = app.service_key_in("acme", "production").await;
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({})).await);
    let page = browser.open(&at("/keys")).await.expect_html(200);
    assert!(page.contains("production") && page.contains("made by a test") && !page.contains("bootstrap"), "{page}");
    browser.open(&at("/settings")).await.expect_html(403);
    let events = key.get("/v2/audit?event=console.signed_in").await.expect(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
}

async fn signing_in_and_out_is_recorded_with_the_person(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({"email_verified": true})).await);
    submit(&browser, "/sign-out", &[]).await;
    is_in(&app.sign_in(&browser, json!({"email_verified": false})).await);
    let (signed_in, signed_out) = (events(&app, "console.signed_in").await, events(&app, "console.signed_out").await);
    assert_eq!((signed_in.len(), signed_out.len()), (2, 1));
    for event in [&signed_in[1], &signed_out[0]] {
        assert_eq!((&event["actor"], &event["actor_id"]), (&json!("console_user"), &json!("openid:ada-7")));
        let details = &event["details"];
        assert_eq!((&details["subject"], &details["issuer"]), (&json!("ada-7"), &json!(app.provider.at(""))));
        assert_eq!((&details["name"], &details["email"]), (&json!("Ada Lovelace"), &json!("ada@example.com")));
    }
    assert_eq!(signed_in[0]["details"].get("email"), None, "nobody verified it");
    is_in(&app.sign_in(&browser, json!({})).await);
    assert_eq!(events(&app, "console.signed_out").await.len(), 2, "the session before has ended");
}

async fn an_eddsa_signature_is_accepted(app: WithIdentityProvider) {
    let key = SigningKey::ed_dsa("second");
    let both = json!({"keys": [app.key.published(), key.published()]});
    app.provider.show("/jwks", crate::support::authorization_server::Reply::json(both));
    let browser = Browser::new(&app);
    let begun = app.begin(&browser).await;
    is_in(&app.come_back(&browser, &begun, &key.sign(&app.claims(&begun))).await);
}
