//! The pages of a session: what a person sees, connects, reconnects and ends.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::{Person, at, connected, events, token_of};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, USERINFO};
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::{Database, PUBLIC_URL};
use crate::support::eventually::eventually;

both_databases! {
    a_person_connects_an_account_and_comes_back_to_the_list,
    a_link_sends_the_person_to_its_return_url_and_asks_for_its_scopes,
    what_needs_no_person_is_not_offered,
    a_server_with_direct_consents_still_says_first_who_asks_for_what,
    a_person_reconnects_what_has_ended_and_it_is_the_same_connection,
    who_approves_with_another_account_reads_what_is_still_ended,
    who_cancels_or_is_denied_is_led_back_to_the_connections,
    a_person_ends_a_connection_here_and_at_the_provider,
    a_connection_says_which_agents_use_it_and_when,
    a_connection_that_was_used_a_moment_ago_is_nowhere_said_to_be_unused,
    names_of_others_are_shown_as_text,
    every_page_forbids_scripts_frames_and_other_hosts,
}

async fn a_person_connects_an_account_and_comes_back_to_the_list(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let person = Person::new(&app, &app.service_key().await, &json!({"user_id": "zoe"})).await;
    let page = person.page("").await;
    assert!(page.contains("You are not connected to anything here."), "{page}");
    let answer = person.submit("/connect/acme").await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let consent = answer.header("location").to_owned();
    assert!(consent.contains("/connect/"), "the page that says who asks for what: {consent}");
    let back = provider.consent(&person.go_on(&consent).await);
    let answer = person.open(back.as_str()).await;
    let (address, query) = answer.header("location").split_once('?').unwrap();
    assert_eq!((address, query.starts_with("done=connected&auth_id=")), (&*at(""), true), "{query}");
    let page = person.open(answer.header("location")).await.expect_html(200);
    assert!(page.contains(">Connected</span>") && page.contains("Connect another account"), "{page}");
    let begun = &events(&app, "consent.begun").await[0];
    assert_eq!((&begun["user_id"], &begun["actor"]), (&json!("zoe"), &json!("browser")));
    app.token(&asking("zoe", &[])).await;
}

async fn a_link_sends_the_person_to_its_return_url_and_asks_for_its_scopes(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let back = "https://app.example/back";
    app.register_as(with(provider.definition("acme"), json!({"return_urls": [back]}))).await;
    let body = json!({"user_id": "zoe", "providers": ["acme"], "scopes": ["files:read"], "return_url": back});
    let person = Person::new(&app, &app.service_key().await, &body).await;
    let consent = person.submit("/connect/acme").await.header("location").to_owned();
    assert!(person.open(&consent).await.expect_html(200).contains("files:read"));
    let callback = provider.consent(&person.go_on(&consent).await);
    let answer = person.open(callback.as_str()).await;
    assert!(answer.header("location").starts_with(&format!("{back}?auth_id=")), "{}", answer.header("location"));
    app.token(&asking("zoe", &["files:read"])).await;
}

async fn what_needs_no_person_is_not_offered(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let machine = json!({"provider_id": "machine", "name": "Machine", "grant_type": "client_credentials"});
    app.register_as(with(provider.definition("machine"), machine)).await;
    let person = Person::new(&app, &app.service_key().await, &json!({"user_id": "zoe"})).await;
    let page = person.page("").await;
    assert!(page.contains("There is nothing to connect.") && !page.contains("Machine"), "{page}");
    person.submit("/connect/machine").await.expect_html(404);
    assert!(provider.token_requests().is_empty());
}

async fn a_server_with_direct_consents_still_says_first_who_asks_for_what(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.consent = "direct".into()).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let person = Person::new(&app, &app.service_key().await, &json!({"user_id": "zoe"})).await;
    let answer = person.submit("/connect/acme").await;
    assert!(answer.header("location").starts_with(&format!("{PUBLIC_URL}/connect/")), "{}", answer.header("location"));
}

async fn a_person_reconnects_what_has_ended_and_it_is_the_same_connection(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let asked = with(asking("zoe", &["read"]), json!({"agent_id": "helper", "ls_user_id": "zoe-ls"}));
    app.connect(&provider, &asked).await;
    let id = token_of(&app, "zoe").await;
    let (maker, whose) = (app.service_key().await, json!({"user_id": "zoe"}));
    let page = Person::new(&app, &maker, &whose).await.page("").await;
    assert!(page.contains(">Connected</span>") && !page.contains(">Reconnect</button>"), "nothing to renew: {page}");
    end(&app, &provider, &asked).await;
    let person = Person::new(&app, &maker, &whose).await;
    let page = person.page("").await;
    assert!(page.contains(">Ended</span>") && page.contains(">Reconnect</button>"), "{page}");
    assert!(person.page(&format!("/held/{id}")).await.contains("until you reconnect it"));
    let consent = person.submit(&format!("/held/{id}/reconnect")).await.header("location").to_owned();
    let answer = person.open(provider.consent(&person.go_on(&consent).await).as_str()).await;
    let page = person.open(answer.header("location")).await.expect_html(200);
    assert!(page.contains(">Connected</span>") && !page.contains(">Ended</span>"), "{page}");
    assert_eq!(token_of(&app, "zoe").await, id);
    assert_eq!(token_of(&app, "zoe-ls").await, id, "what the application called the user is kept");
    app.token(&asked).await;
}

async fn who_approves_with_another_account_reads_what_is_still_ended(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"userinfo_url": provider.at(USERINFO)}))).await;
    let account = |sub: &str| {
        provider.answer_userinfo(Reply::json(json!({"sub": sub, "email": format!("zoe@{sub}.example")})));
    };
    let asked = asking("zoe", &["read"]);
    account("work");
    app.connect(&provider, &asked).await;
    let id = token_of(&app, "zoe").await;
    end(&app, &provider, &asked).await;
    let maker = app.service_key().await;
    let person = Person::new(&app, &maker, &json!({"user_id": "zoe"})).await;
    let reconnect = format!("/held/{id}/reconnect");
    let consent = person.submit(&reconnect).await.header("location").to_owned();
    let url = person.go_on(&consent).await;
    assert!(url.contains("login_hint=zoe%40work.example"), "the provider is asked for that account: {url}");
    account("home");
    let answer = person.open(provider.consent(&url).as_str()).await;
    let back = answer.header("location").to_owned();
    let page = person.open(&back).await.expect_html(200);
    let said = "You approved as zoe@home.example. The connection of zoe@work.example is still ended.";
    assert!(page.contains(said) && page.contains(">Ended</span>"), "{page}");
    let german = person.open_in("de", &back).await.expect_html(200);
    assert!(german.contains("Die Verbindung von zoe@work.example ist weiterhin beendet."), "{german}");

    // Nothing of it is said to somebody else who has the address.
    let other = Person::new(&app, &maker, &json!({"user_id": "eve"})).await;
    let page = other.open(&back).await.expect_html(200);
    assert!(page.contains("You came back from the provider.") && !page.contains("zoe@"), "{page}");

    account("work");
    let consent = person.submit(&reconnect).await.header("location").to_owned();
    let answer = person.open(provider.consent(&person.go_on(&consent).await).as_str()).await;
    for address in [answer.header("location"), &back] {
        let page = person.open(address).await.expect_html(200);
        assert!(page.contains("You came back from the provider.") && !page.contains(">Ended</span>"), "{page}");
    }
}

async fn who_cancels_or_is_denied_is_led_back_to_the_connections(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let maker = app.service_key().await;
    let person = Person::new(&app, &maker, &json!({"user_id": "zoe"})).await;
    let back = r#"<a href="/connections">Back to your connections</a>"#;
    let begin = async || person.submit("/connect/acme").await.header("location").to_owned();

    let page = person.press(&begin().await, "cancel").await.expect_html(400);
    assert!(page.contains("Access was not granted") && page.contains(back), "{page}");
    assert!(!page.contains("answered") && !page.contains("access_denied"), "the provider was not asked: {page}");

    let url = Url::parse(&person.go_on(&begin().await).await).unwrap();
    let (_, state) = url.query_pairs().find(|(name, _)| name == "state").unwrap();
    let denied = format!("{PUBLIC_URL}/host-oauth-callback/acme?error=access_denied&state={state}");
    let german = person.open_in("de", &denied).await.expect_html(400);
    assert!(german.contains("Zurück zu Ihren Verbindungen") && german.contains("access_denied"), "{german}");

    // What another user began is no part of this visit.
    let eve = Person::new(&app, &maker, &json!({"user_id": "eve"})).await;
    let of_eve = eve.submit("/connect/acme").await.header("location").to_owned();
    let page = person.press(&of_eve, "cancel").await.expect_html(400);
    assert!(page.contains("Access was not granted") && !page.contains("/connections"), "{page}");

    // Nor is there a way back after its end.
    let consent = begin().await;
    person.submit("/leave").await.expect_html(200);
    let page = person.press(&consent, "cancel").await.expect_html(400);
    assert!(page.contains("Access was not granted") && !page.contains("/connections"), "{page}");
}

/// The provider ends the grant, and an agent finds out.
async fn end(app: &TestApp, provider: &AuthorizationServer, asked: &Value) {
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.advance(30 * 24 * 3600);
    let answer = app.authenticate(asked).await;
    assert_eq!(answer["status"], "pending", "{answer}");
}

async fn a_person_ends_a_connection_here_and_at_the_provider(app: TestApp) {
    let (provider, maker) = connected(&app).await;
    let id = token_of(&app, "alice").await;
    let person = Person::new(&app, &maker, &json!({"user_id": "alice"})).await;
    let page = person.page(&format!("/held/{id}/revoke")).await;
    assert!(page.contains("Revoke the connection to"), "{page}");
    assert!(provider.revocations().is_empty(), "looking ends nothing");
    let answer = person.submit(&format!("/held/{id}/revoke")).await;
    assert_eq!(answer.header("location"), "/connections?done=revoked");
    let page = person.page("?done=revoked").await;
    assert!(page.contains("ended, here and at the provider") && page.contains("You are not connected"), "{page}");
    assert!(!provider.revocations().is_empty());
    let deleted = &events(&app, "token.deleted").await[0];
    assert_eq!((&deleted["user_id"], &deleted["actor"]), (&json!("alice"), &json!("browser")));
    assert_eq!(deleted["actor_id"], events(&app, "connect_link.used").await[0]["details"]["link_id"]);
    assert_eq!(person.submit(&format!("/held/{id}/revoke")).await.header("location"), "/connections?done=gone");
}

async fn a_connection_says_which_agents_use_it_and_when(app: TestApp) {
    let (_provider, maker) = connected(&app).await;
    let id = token_of(&app, "alice").await;
    let alice = maker.acting_for("alice");
    alice.connect_agent("may-use-it", &json!(id)).await;
    alice.connect_agent("has-used-it", &json!(id)).await;
    app.token(&with(asking("alice", &["read"]), json!({"agent_id": "has-used-it"}))).await;
    let person = Person::new(&app, &maker, &json!({"user_id": "alice"})).await;
    let path = format!("/held/{id}");
    // Hand-outs are written down within a second.
    eventually(Duration::from_secs(30), async || {
        let page = person.page(&path).await;
        page.lines().any(|line| line.contains("has-used-it") && line.contains("last used <time"))
    })
    .await;
    let page = person.page(&path).await;
    let unused = page.lines().find(|line| line.contains("may-use-it")).unwrap();
    assert!(unused.contains("no use is recorded"), "{unused}");
    assert!(
        page.contains("<code dir=\"auto\">read</code>")
            || page.contains("<code class=\"quiet\" dir=\"auto\">read</code>")
    );
}

async fn a_connection_that_was_used_a_moment_ago_is_nowhere_said_to_be_unused(app: TestApp) {
    let (_provider, maker) = connected(&app).await;
    let id = token_of(&app, "alice").await;
    let alice = maker.acting_for("alice");
    alice.connect_agent("helper", &json!(id)).await;
    alice.token(&with(asking("alice", &["read"]), json!({"agent_id": "helper"}))).await;
    let person = Person::new(&app, &maker, &json!({"user_id": "alice"})).await;
    let (list, one) = (String::new(), format!("/held/{id}"));
    let says = async |path: &str, said: &str| {
        let page = person.page(path).await;
        let used =
            page.lines().find(|line| line.contains("Last used</dt>") || line.contains("data-label=\"Last used\""));
        let used = used.unwrap_or_else(|| panic!("{path}: {page}"));
        assert!(used.contains(said) && !used.contains("Never"), "{path}: {used}");
    };
    // Nothing of it is stored yet with the token.
    says(&list, "just now").await;
    says(&one, "just now").await;
    agent_auth::broker::jobs::usage::write(&app.app.broker).await.unwrap();
    app.advance(300);
    says(&one, "5 minutes ago").await;
    // A use so soon after another one is not stored with the token; the audit log has it.
    alice.token(&with(asking("alice", &["read"]), json!({"agent_id": "helper"}))).await;
    app.app.broker.handouts.write().await.unwrap();
    says(&one, "just now").await;
    assert!(person.page(&format!("{one}/revoke")).await.contains("just now"));
}

async fn names_of_others_are_shown_as_text(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let evil = "<img src=x onerror=alert(1)>";
    app.register_as(with(provider.definition("acme"), json!({"name": evil}))).await;
    let asked = with(asking(evil, &["read<b>"]), json!({"agent_id": evil}));
    app.connect(&provider, &asked).await;
    let tokens = app.get("/v2/admin/tokens").await.expect(200);
    let id = tokens["data"][0]["id"].as_str().unwrap().to_owned();
    let person = Person::new(&app, &app.service_key().await, &json!({"user_id": evil})).await;
    for path in ["", "?done=<b>", &format!("/held/{id}"), &format!("/held/{id}/revoke")] {
        let page = person.page(&path.replace('<', "%3C").replace('>', "%3E")).await;
        assert!(page.contains("&#60;img") && !page.contains("<img") && !page.contains("<b>"), "{path}: {page}");
    }
}

async fn every_page_forbids_scripts_frames_and_other_hosts(app: TestApp) {
    let (_provider, maker) = connected(&app).await;
    let id = token_of(&app, "alice").await;
    let person = Person::new(&app, &maker, &json!({"user_id": "alice"})).await;
    let unopened = super::link(&maker, &json!({"user_id": "alice"})).await;
    for url in [at(""), at(&format!("/held/{id}")), at(&format!("/held/{id}/revoke")), at("/unknown"), unopened] {
        let answer = person.open(&url).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.ends_with("form-action 'self'; frame-ancestors 'none'"), "{policy}");
        assert_eq!((answer.header("cache-control"), answer.header("x-frame-options")), ("no-store", "DENY"));
        let page = answer.text();
        assert!(
            page.contains("<html lang=\"en\" dir=\"ltr\">")
                && page.matches("<h1").count() == 1
                && page.contains("<main")
        );
        for forbidden in ["<script", " style=", " onclick", "src=", "http-equiv"] {
            assert!(!page.contains(forbidden), "{forbidden}: {page}");
        }
    }
}
