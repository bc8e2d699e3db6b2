//! Static API keys: one for the workspace or one for each person, how they are entered, and who gets them.

use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{Caller, Pending, asking, with};
use crate::support::database::PUBLIC_URL;

both_databases! {
    a_person_is_sent_to_a_page_of_ours_and_enters_a_key,
    a_key_is_good_for_whatever_scopes_are_asked_for,
    everybody_has_a_key_of_their_own,
    a_key_that_is_none_is_asked_for_again,
    spaces_around_a_key_are_not_part_of_it,
    a_link_works_once_and_pressing_twice_is_harmless,
    looking_at_the_page_uses_nothing_up,
    a_link_that_is_over_or_made_up_asks_for_nothing,
    a_link_for_consent_is_no_link_for_a_key,
    the_page_is_guarded_and_tells_nothing_it_should_not,
    an_application_can_bring_a_key_itself,
    a_key_of_the_workspace_is_given_to_all_without_a_page,
    a_new_key_of_the_workspace_takes_the_old_ones_place,
    a_key_that_was_reported_invalid_is_asked_for_anew,
    a_key_is_never_shown_by_the_provider,
    deleting_ends_it_here,
    a_key_never_comes_in_an_address,
    the_providers_answer_cannot_make_a_token_good_for_everything,
    a_replaced_key_reaches_the_agents_connected_to_the_old_one,
    a_reported_key_of_the_workspace_is_shown_to_the_operator,
    what_the_database_keeps_of_a_key_cannot_be_guessed_at,
}

const KEY: &str = "sk-live-4f9a8c1d";

async fn start(app: &TestApp) {
    let definition = json!({"provider_id": "acme", "name": "Acme <Weather>", "grant_type": "api_key"});
    app.register_as(definition).await;
}

async fn start_shared(app: &TestApp) {
    let definition = json!({"provider_id": "acme", "name": "Acme", "grant_type": "api_key", "client_secret": KEY});
    let provider = app.register_as(definition).await;
    assert_eq!((&provider["grant_type"], &provider["token_url"]), (&"api_key".into(), &"".into()));
}

/// What the form of the page sends.
async fn enter(caller: &Caller, pending: &Pending, key: &str) -> Answer {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("state", &pending.state())
        .append_pair("key", key)
        .finish();
    let path = Url::parse(&pending.url).unwrap().path().to_owned();
    let browser = caller.browser().with("content-type", "application/x-www-form-urlencoded");
    browser.send(axum::http::Method::POST, &path, form.into()).await
}

async fn connected(app: &TestApp, user: &str, key: &str) -> Pending {
    let pending = app.begin(&asking(user, &["read"])).await;
    let answer = enter(app, &pending, key).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    pending
}

async fn a_person_is_sent_to_a_page_of_ours_and_enters_a_key(app: TestApp) {
    start(&app).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    assert!(pending.url.starts_with(&format!("{PUBLIC_URL}/host-api-key/acme?state=")), "{}", pending.url);
    let page = app.visit(&Url::parse(&pending.url).unwrap()).await;
    let html = page.expect_html(200);
    assert!(html.contains("Acme &#60;Weather&#62;") && html.contains("type=\"password\""), "{html}");
    let done = enter(&app, &pending, KEY).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let clean = Url::parse(done.header("location")).unwrap();
    assert!(clean.query().is_none() && !clean.as_str().contains(&pending.state()));
    assert!(app.visit(&clean).await.expect_html(200).contains("Connected to"));
    let told = app.wait(&pending.auth_id).await;
    assert_eq!((&told["status"], &told["token"]), (&"completed".into(), &KEY.into()), "{told}");
    let answer = app.authenticate(&asking("alice", &["read"])).await;
    assert_eq!((&answer["token"], &answer["metadata"]["token_type"]), (&KEY.into(), &"api_key".into()), "{answer}");
    assert!(answer["metadata"]["expires_at"].is_null());
}

async fn a_key_is_good_for_whatever_scopes_are_asked_for(app: TestApp) {
    start(&app).await;
    connected(&app, "alice", KEY).await;
    for scopes in [&[][..], &["write"], &["read", "anything:else"]] {
        assert_eq!(app.token(&asking("alice", scopes)).await, KEY);
    }
}

async fn everybody_has_a_key_of_their_own(app: TestApp) {
    start(&app).await;
    connected(&app, "alice", "key-of-alice").await;
    app.begin(&asking("bob", &[])).await;
    connected(&app, "bob", "key-of-bob").await;
    assert_eq!(app.token(&asking("alice", &[])).await, "key-of-alice");
    assert_eq!(app.token(&asking("bob", &[])).await, "key-of-bob");
}

async fn a_key_that_is_none_is_asked_for_again(app: TestApp) {
    start(&app).await;
    let pending = app.begin(&asking("alice", &[])).await;
    for (none, said) in [
        ("", "Enter the key"),
        ("   ", "Enter the key"),
        ("two words", "not a key"),
        ("line\r\nX-Evil: 1", "not a key"),
        ("schlüssel", "not a key"),
        (&"k".repeat(8193), "too long for a key"),
    ] {
        let page = enter(&app, &pending, none).await;
        let html = page.expect_html(422);
        assert!(html.contains(said) && html.contains("role=\"alert\""), "{html}");
        assert!(none.trim().is_empty() || !html.contains(none), "the key is not sent back");
    }
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    assert_eq!(enter(&app, &pending, KEY).await.status, 303);
}

async fn spaces_around_a_key_are_not_part_of_it(app: TestApp) {
    start(&app).await;
    connected(&app, "alice", &format!("  {KEY}\n")).await;
    assert_eq!(app.token(&asking("alice", &[])).await, KEY);
}

async fn a_link_works_once_and_pressing_twice_is_harmless(app: TestApp) {
    start(&app).await;
    let pending = connected(&app, "alice", KEY).await;
    let again = enter(&app, &pending, KEY).await;
    assert_eq!(again.status, 303);
    assert!(again.header("location").ends_with("?again"));
    let other = enter(&app, &pending, "another-key").await;
    assert!(other.expect_html(400).contains("already used"));
    assert_eq!(app.token(&asking("alice", &[])).await, KEY);
    let reloaded = app.visit(&Url::parse(&pending.url).unwrap()).await;
    assert_eq!(reloaded.status, 303, "the page leads to its end");
}

async fn looking_at_the_page_uses_nothing_up(app: TestApp) {
    start(&app).await;
    let pending = app.begin(&asking("alice", &[])).await;
    for _ in 0..3 {
        app.visit(&Url::parse(&pending.url).unwrap()).await.expect_html(200);
    }
    assert_eq!(enter(&app, &pending, KEY).await.status, 303);
}

async fn a_link_that_is_over_or_made_up_asks_for_nothing(app: TestApp) {
    start(&app).await;
    let pending = app.begin(&asking("alice", &[])).await;
    for url in [
        format!("{PUBLIC_URL}/host-api-key/acme?state=made-up"),
        format!("{PUBLIC_URL}/host-api-key/acme"),
        format!("{PUBLIC_URL}/host-api-key/other?state={}", pending.state()),
        format!("{PUBLIC_URL}/host-api-key/..%2f?state={}", pending.state()),
    ] {
        let page = app.visit(&Url::parse(&url).unwrap()).await;
        assert!(!page.expect_html(400).contains("type=\"password\""), "{url}");
    }
    app.advance(86_400);
    assert!(!app.visit(&Url::parse(&pending.url).unwrap()).await.expect_html(400).contains("type=\"password\""));
    enter(&app, &pending, KEY).await.expect_html(400);
}

async fn a_link_for_consent_is_no_link_for_a_key(app: TestApp) {
    let provider = crate::support::authorization_server::AuthorizationServer::start().await;
    app.register(&provider).await;
    let consent = app.begin(&asking("alice", &["read"])).await;
    let forged =
        Pending { url: format!("{PUBLIC_URL}/host-api-key/acme?state={}", consent.state()), ..consent.clone() };
    app.visit(&Url::parse(&forged.url).unwrap()).await.expect_html(400);
    enter(&app, &forged, KEY).await.expect_html(400);
    app.come_back(&provider.consent(&consent.url)).await;
    assert_ne!(app.wait(&consent.auth_id).await["token"], KEY);
}

async fn the_page_is_guarded_and_tells_nothing_it_should_not(app: TestApp) {
    start(&app).await;
    let pending = app.begin(&asking("alice", &[])).await;
    let page = app.visit(&Url::parse(&pending.url).unwrap()).await;
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "no-referrer"));
    let policy = page.header("content-security-policy");
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert_eq!(page.header("x-frame-options"), "DENY");
    let html = page.expect_html(200);
    assert!(html.contains("alice") && !html.contains(&pending.auth_id), "{html}");
}

async fn an_application_can_bring_a_key_itself(app: TestApp) {
    start(&app).await;
    let pending = app.begin(&asking("alice", &[])).await;
    let body = json!({"code": KEY, "state": pending.state()});
    let stranger = app.service_key_in("other", "place").await;
    stranger.post("/v2/auth/callback/acme", &body).await.expect(404);
    app.post("/v2/auth/callback/acme", &body).await.expect(200);
    assert_eq!(app.token(&asking("alice", &[])).await, KEY);
}

async fn a_key_of_the_workspace_is_given_to_all_without_a_page(app: TestApp) {
    start_shared(&app).await;
    for user in ["alice", "bob"] {
        assert_eq!(app.token(&asking(user, &["read"])).await, KEY);
        assert_eq!(app.token(&asking(user, &["write"])).await, KEY);
    }
    assert_eq!(app.tokens().await.len(), 2, "one a person");
    let stranger = app.service_key_in("other", "place").await;
    stranger.try_authenticate(&asking("alice", &[])).await.expect_error(404, "not_found");
}

async fn a_new_key_of_the_workspace_takes_the_old_ones_place(app: TestApp) {
    start_shared(&app).await;
    app.token(&asking("alice", &[])).await;
    let before = app.tokens().await;
    app.patch("/v2/auth/providers/acme", &json!({"client_secret": "sk-live-new"})).await.expect(200);
    assert_eq!(app.token(&asking("alice", &[])).await, "sk-live-new");
    let after = app.tokens().await;
    assert_eq!((after.len(), &after[0]["id"]), (1, &before[0]["id"]), "agents connected to it stay connected");
    app.patch("/v2/auth/providers/acme", &json!({"name": "Renamed"})).await.expect(200);
    assert_eq!(app.token(&asking("alice", &[])).await, "sk-live-new");
}

async fn a_key_that_was_reported_invalid_is_asked_for_anew(app: TestApp) {
    start(&app).await;
    connected(&app, "alice", KEY).await;
    let token = app.tokens().await[0]["id"].clone();
    let path = format!("/v2/auth/tokens/{}/report-invalid", token.as_str().unwrap());
    app.post_text(&path, "").await.expect(200);
    let pending = app.begin(&asking("alice", &[])).await;
    enter(&app, &pending, "sk-live-new").await;
    assert_eq!(app.token(&asking("alice", &[])).await, "sk-live-new");
    assert_eq!(app.tokens().await.len(), 1);
}

async fn a_key_is_never_shown_by_the_provider(app: TestApp) {
    start_shared(&app).await;
    for answer in [app.get("/v2/auth/providers/acme").await, app.get("/v2/auth/providers").await] {
        assert!(!answer.expect(200).to_string().contains(KEY));
    }
}

async fn deleting_ends_it_here(app: TestApp) {
    start(&app).await;
    connected(&app, "alice", KEY).await;
    let answer = app.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    assert_eq!((&answer["upstream_revoked"], &answer["revocation_queued"]), (&json!(false), &json!(0)), "{answer}");
    app.begin(&asking("alice", &[])).await;
}

async fn a_key_never_comes_in_an_address(app: TestApp) {
    start(&app).await;
    let pending = app.begin(&asking("alice", &[])).await;
    let state = pending.state();
    for query in [format!("code=planted&state={state}"), format!("error=access_denied&state={state}")] {
        let url = Url::parse(&format!("{PUBLIC_URL}/host-oauth-callback/acme?{query}")).unwrap();
        app.visit(&url).await.expect_html(400);
    }
    let spaced = json!({"code": "two words", "state": state});
    let faults = app.post("/v2/auth/callback/acme", &spaced).await.expect(422);
    assert_eq!(faults["detail"][0]["loc"], json!(["body", "code"]));
    assert_eq!(enter(&app, &pending, KEY).await.status, 303);
    assert_eq!(app.token(&asking("alice", &[])).await, KEY);
}

async fn the_providers_answer_cannot_make_a_token_good_for_everything(app: TestApp) {
    let provider = crate::support::authorization_server::AuthorizationServer::start().await;
    app.register(&provider).await;
    let all = json!({"access_token": "t1", "scope": "*", "token_type": "api_key", "expires_in": 3600});
    provider.answer_token(crate::support::authorization_server::Reply::json(all));
    app.connect(&provider, &asking("alice", &["*"])).await;
    app.begin(&asking("alice", &["write"])).await;
}

async fn a_replaced_key_reaches_the_agents_connected_to_the_old_one(app: TestApp) {
    start_shared(&app).await;
    app.token(&asking("alice", &[])).await;
    let token = app.tokens().await[0]["id"].clone();
    app.connect_agent("helper", &token).await;
    app.patch("/v2/auth/providers/acme", &json!({"client_secret": "sk-live-new"})).await.expect(200);
    let helper = with(asking("alice", &[]), json!({"agent_id": "helper"}));
    assert_eq!(app.token(&helper).await, "sk-live-new");
}

async fn a_reported_key_of_the_workspace_is_shown_to_the_operator(app: TestApp) {
    start_shared(&app).await;
    app.token(&asking("alice", &[])).await;
    let token = app.tokens().await[0]["id"].clone();
    let path = format!("/v2/auth/tokens/{}/report-invalid", token.as_str().unwrap());
    app.post_text(&path, "").await.expect(200);
    assert_eq!(app.token(&asking("alice", &[])).await, KEY, "there is no other");
    assert_eq!(app.get("/v2/auth/providers/acme").await.expect(200)["client_error"], "reported_invalid");
    app.patch("/v2/auth/providers/acme", &json!({"client_secret": "sk-live-new"})).await.expect(200);
    assert!(app.get("/v2/auth/providers/acme").await.expect(200)["client_error"].is_null());
    assert_eq!(app.token(&asking("alice", &[])).await, "sk-live-new");
}

async fn what_the_database_keeps_of_a_key_cannot_be_guessed_at(app: TestApp) {
    start(&app).await;
    connected(&app, "alice", KEY).await;
    let at_rest = app.database.everything_at_rest().await;
    let digest = Sha256::digest(KEY);
    // PostgreSQL's rows come as text, with bytes in hexadecimal digits.
    for sought in [KEY.as_bytes().to_vec(), hex::encode(KEY).into(), digest.to_vec(), hex::encode(digest).into()] {
        assert!(!at_rest.windows(sought.len()).any(|bytes| bytes == sought), "{sought:?}");
    }
}
