//! `verify`: there is no token before the application has said which user consented.

use futures_util::future::join_all;
use serde_json::{Value, json};
use url::Url;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET, DEVICE, Reply};
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::{Caller, Pending, asking, with};
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    the_application_confirms_before_any_token_request,
    another_user_ends_the_request_and_nothing_is_exchanged,
    only_the_right_reference_and_workspace_confirm,
    a_consent_that_nobody_confirms_expires,
    a_reload_brings_the_same_reference,
    twelve_simultaneous_confirmations_make_one_exchange,
    a_second_code_does_not_replace_the_first,
    the_code_is_kept_sealed,
    a_provider_without_a_return_url_says_what_is_missing,
    a_device_cannot_be_confirmed_and_is_refused,
    an_application_that_receives_the_redirect_names_the_user,
    a_static_key_waits_for_the_application_too,
    no_issuer_makes_a_static_key_skip_the_confirmation,
    a_code_that_the_provider_refuses_is_told_to_the_application,
    a_viewer_confirms_nothing,
    a_response_of_another_issuer_is_never_kept,
}

const RETURN: &str = "https://app.example/connected?tab=1";

async fn verifying(database: Database) -> (TestApp, AuthorizationServer) {
    let app = TestApp::start_with(database, |settings| settings.consent = "verify".into()).await;
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"return_urls": [RETURN]}))).await;
    (app, provider)
}

/// The browser consents and is sent to the application; gives the reference it brings.
async fn consented(app: &TestApp, provider: &AuthorizationServer, pending: &Pending) -> String {
    let person = Browser::new(app);
    let at_provider = person.go_on(&pending.url).await;
    reference_in(&person.open(provider.consent(&at_provider).as_str()).await, &pending.auth_id)
}

/// The reference in a redirect to the application.
#[track_caller]
fn reference_in(redirect: &Answer, auth_id: &str) -> String {
    assert_eq!(redirect.status, 303, "{}", redirect.text());
    let location = redirect.header("location");
    assert!(location.starts_with(RETURN), "{location}");
    let url = Url::parse(location).unwrap();
    let value = |name: &str| url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned());
    assert_eq!(value("auth_id").as_deref(), Some(auth_id));
    value("reference").expect("a reference")
}

async fn confirm(caller: &Caller, auth_id: &str, user: &str, reference: &str) -> Answer {
    let path = format!("/v2/auth/authorizations/{auth_id}/confirm");
    caller.post(&path, &json!({"user_id": user, "reference": reference})).await
}

async fn the_application_confirms_before_any_token_request(database: Database) {
    let (app, provider) = verifying(database).await;
    let asked = asking("alice", &["read"]);
    let pending = app.begin(&asked).await;
    let reference = consented(&app, &provider, &pending).await;
    assert_eq!(provider.token_requests().len(), 0, "no token request yet");
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    assert_eq!(app.authenticate(&asked).await["status"], "pending");

    let (waited, confirmed) =
        tokio::join!(app.wait(&pending.auth_id), confirm(&app, &pending.auth_id, "alice", &reference));
    let confirmed = confirmed.expect(200);
    assert_eq!((&confirmed["status"], &confirmed["auth_id"]), (&"completed".into(), &pending.auth_id.clone().into()));
    assert_eq!(waited["status"], "completed");
    assert_eq!(app.token(&asked).await, waited["token"].as_str().unwrap());
    assert_eq!(confirm(&app, &pending.auth_id, "alice", &reference).await.expect(200)["status"], "completed");
    assert_eq!(provider.exchanges().len(), 1, "once");
    let other = confirm(&app, &pending.auth_id, "bob", &reference).await.expect_error(403, "forbidden");
    assert!(other["detail"].as_str().unwrap().contains("Nothing was changed"), "{other}");
    assert_eq!(app.wait(&pending.auth_id).await["token"], waited["token"], "its token stays");
}

async fn another_user_ends_the_request_and_nothing_is_exchanged(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("mallory", &["read"])).await;
    let reference = consented(&app, &provider, &pending).await;
    let other = confirm(&app, &pending.auth_id, "alice", &reference).await.expect_error(403, "forbidden");
    assert!(other["detail"].as_str().unwrap().contains("The code was deleted"), "{other}");
    let waited = app.wait(&pending.auth_id).await;
    assert_eq!((&waited["status"], &waited["error"]), (&"not_found".into(), &"user_mismatch".into()), "{waited}");
    confirm(&app, &pending.auth_id, "mallory", &reference).await.expect_error(403, "forbidden");
    // Not even with the right name afterwards.
    let late = confirm(&app, &pending.auth_id, "mallory", &reference).await;
    assert!(late.status.is_client_error() || late.status.is_server_error(), "{late:?}");
    assert_ne!(app.look(&pending.auth_id).await["status"], "completed");
    assert_eq!(provider.token_requests().len(), 0);
}

async fn only_the_right_reference_and_workspace_confirm(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    confirm(&app, &pending.auth_id, "alice", "too-early").await.expect_error(404, "not_found");
    let reference = consented(&app, &provider, &pending).await;
    for wrong in ["wrong", &reference[1..], &pending.auth_id] {
        confirm(&app, &pending.auth_id, "alice", wrong).await.expect_error(404, "not_found");
    }
    let other = app.service_key_in("other", "ws").await;
    confirm(&other, &pending.auth_id, "alice", &reference).await.expect_error(404, "not_found");
    confirm(&app, "not-an-id", "alice", &reference).await.expect_error(404, "not_found");
    let path = format!("/v2/auth/authorizations/{}/confirm", pending.auth_id);
    app.post(&path, &json!({"reference": reference})).await.expect_fault("body.user_id", "missing");
    app.post(&path, &json!({"user_id": "alice"})).await.expect_fault("body.reference", "missing");
    assert_eq!(provider.token_requests().len(), 0);
    confirm(&app, &pending.auth_id, "alice", &reference).await.expect(200);
}

async fn a_consent_that_nobody_confirms_expires(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let reference = consented(&app, &provider, &pending).await;
    app.advance(601);
    assert_eq!(app.look(&pending.auth_id).await["status"], "not_found");
    let late = confirm(&app, &pending.auth_id, "alice", &reference).await;
    late.expect_error(404, "not_found");
    assert_eq!(provider.token_requests().len(), 0);
}

async fn a_reload_brings_the_same_reference(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    let callback = provider.consent(&at_provider);
    let first = reference_in(&person.open(callback.as_str()).await, &pending.auth_id);
    let again = reference_in(&person.open(callback.as_str()).await, &pending.auth_id);
    assert_eq!(first, again);
    Browser::new(&app).open(callback.as_str()).await.expect_html(400);
    confirm(&app, &pending.auth_id, "alice", &first).await.expect(200);
    let done = person.open(callback.as_str()).await;
    assert_eq!(done.header("location"), format!("{RETURN}&auth_id={}", pending.auth_id));
    assert_eq!(provider.exchanges().len(), 1);
}

async fn twelve_simultaneous_confirmations_make_one_exchange(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let reference = consented(&app, &provider, &pending).await;
    let all = join_all((0..12).map(|_| confirm(&app, &pending.auth_id, "alice", &reference))).await;
    for answer in all {
        answer.expect(200);
    }
    assert_eq!(provider.exchanges().len(), 1);
}

async fn a_second_code_does_not_replace_the_first(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    let first = provider.consent(&at_provider);
    let reference = reference_in(&person.open(first.as_str()).await, &pending.auth_id);
    person.open(provider.consent(&at_provider).as_str()).await.expect_html(400);
    person.open(provider.deny(&at_provider).as_str()).await.expect_html(400);
    person.open(&pending.url).await.expect_html(400);
    confirm(&app, &pending.auth_id, "alice", &reference).await.expect(200);
    let code = first.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    assert_eq!(provider.exchange().value("code"), Some(code.as_str()));
}

async fn the_code_is_kept_sealed(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    let callback = provider.consent(&at_provider);
    let reference = reference_in(&person.open(callback.as_str()).await, &pending.auth_id);
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let stored = app.database.everything_at_rest().await;
    for secret in [&code, &reference] {
        assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is stored");
    }
    let kept = "SELECT count(*) FROM authorization_requests WHERE code IS NOT NULL";
    assert_eq!(app.database.number(kept).await, 1);
    confirm(&app, &pending.auth_id, "alice", &reference).await.expect(200);
    assert_eq!(app.database.number(kept).await, 0, "and deleted once it is spent");
}

async fn a_provider_without_a_return_url_says_what_is_missing(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.consent = "verify".into()).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.try_authenticate(&asking("alice", &["read"])).await.expect_fault("body.return_url", "value_error");
    app.patch("/v2/auth/providers/acme", &json!({"return_urls": [RETURN]})).await.expect(200);
    app.begin(&asking("alice", &["read"])).await;
}

async fn a_device_cannot_be_confirmed_and_is_refused(database: Database) {
    let (app, provider) = verifying(database).await;
    let device = json!({"device_authorization_url": provider.at(DEVICE), "client_secret": CLIENT_SECRET});
    app.patch("/v2/auth/providers/acme", &device).await.expect(200);
    let asked = with(asking("alice", &["read"]), json!({"grant": "device"}));
    app.try_authenticate(&asked).await.expect_fault("body.grant", "value_error");
    assert_eq!(provider.requests(DEVICE).len(), 0);
}

const APPLICATION: &str = "https://app.example/callback";

async fn an_application_that_receives_the_redirect_names_the_user(database: Database) {
    let (app, provider) = verifying(database).await;
    let listed = json!({"allowed_redirect_uris": [APPLICATION], "return_urls": []});
    app.patch("/v2/auth/providers/acme", &listed).await.expect(200);
    let received = async |user: &str| -> (Pending, serde_json::Map<String, Value>) {
        let asked = with(asking(user, &["read"]), json!({"redirect_uri": APPLICATION}));
        let pending = app.begin(&asked).await;
        let callback = provider.consent(&Browser::new(&app).go_on(&pending.url).await);
        let pairs = callback.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into()));
        (pending, pairs.collect())
    };
    let path = "/v2/auth/callback/acme";
    let (pending, pairs) = received("alice").await;
    app.post(path, &pairs.clone().into()).await.expect_fault("body.user_id", "value_error");
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    let done = app.post(path, &with(pairs.into(), json!({"user_id": "alice"}))).await.expect(200);
    assert_eq!(done["status"], "completed");

    let (pending, pairs) = received("mallory").await;
    let other = app.post(path, &with(pairs.clone().into(), json!({"user_id": "alice"}))).await;
    other.expect_error(403, "forbidden");
    assert_eq!(app.look(&pending.auth_id).await["error"], "user_mismatch");
    let late = app.post(path, &with(pairs.into(), json!({"user_id": "mallory"}))).await;
    assert!(!late.status.is_success(), "{late:?}");
    assert_eq!(provider.exchanges().len(), 1);
}

async fn a_static_key_waits_for_the_application_too(database: Database) {
    let (app, _provider) = verifying(database).await;
    let definition =
        json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key", "return_urls": [RETURN]});
    app.register_as(definition).await;
    let asked = json!({"provider": "weather", "scopes": [], "user_id": "alice"});
    let pending = app.begin(&asked).await;
    let person = Browser::new(&app);
    let key_page = person.go_on(&pending.url).await;
    let page = person.open(&key_page).await;
    let state = hidden(&page.expect_html(200), "state");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("form-action 'self' https://app.example;"), "{policy}");
    let form = format!("{PUBLIC_URL}/host-api-key/weather");
    let sent = person.send(&form, &[("state", &state), ("key", "sk-live-1")]).await;
    let reference = reference_in(&sent, &pending.auth_id);
    assert_eq!(app.authenticate(&asked).await["status"], "pending");
    confirm(&app, &pending.auth_id, "alice", &reference).await.expect(200);
    assert_eq!(app.token(&asked).await, "sk-live-1");
}

async fn a_code_that_the_provider_refuses_is_told_to_the_application(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let reference = consented(&app, &provider, &pending).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    confirm(&app, &pending.auth_id, "alice", &reference).await.expect_error(502, "provider_error");
    assert_eq!(app.look(&pending.auth_id).await["error"], "invalid_grant");
}

async fn a_viewer_confirms_nothing(database: Database) {
    let (app, provider) = verifying(database).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let reference = consented(&app, &provider, &pending).await;
    let viewer = app.new_key(&["--role", "viewer"]).await;
    confirm(&viewer, &pending.auth_id, "alice", &reference).await.expect_error(403, "forbidden");
    let agent = app.new_key(&["--role", "agent"]).await;
    confirm(&agent, &pending.auth_id, "alice", &reference).await.expect(200);
}

async fn a_response_of_another_issuer_is_never_kept(database: Database) {
    let (app, provider) = verifying(database).await;
    let changed = app
        .database
        .tamper(&format!(
            "UPDATE providers SET options = '{{\"issuer\": \"{}\", \"return_urls\": [\"{RETURN}\"]}}'",
            provider.at("")
        ))
        .await;
    assert_eq!(changed, 1);
    let pending = app.begin(&asking("alice", &["read"])).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    let mut callback = provider.consent(&at_provider);
    callback.query_pairs_mut().append_pair("iss", "https://evil.example");
    let answer = person.open(callback.as_str()).await;
    assert!(answer.status.is_client_error() || answer.status.is_server_error(), "{answer:?}");
    assert_eq!(app.look(&pending.auth_id).await["error"], "issuer_mismatch");
    assert_eq!(provider.token_requests().len(), 0);
}

async fn no_issuer_makes_a_static_key_skip_the_confirmation(database: Database) {
    let (app, _provider) = verifying(database).await;
    let definition =
        json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key", "return_urls": [RETURN]});
    app.register_as(definition).await;
    let options = format!(
        "{{\"grant_type\": \"api_key\", \"issuer\": \"https://a.example\", \"iss_required\": true, \"return_urls\": [\"{RETURN}\"]}}"
    );
    let changed = format!("UPDATE providers SET options = '{options}' WHERE provider_id = 'weather'");
    assert_eq!(app.database.tamper(&changed).await, 1);
    let asked = json!({"provider": "weather", "scopes": [], "user_id": "alice"});
    let pending = app.begin(&asked).await;
    let person = Browser::new(&app);
    let key_page = person.go_on(&pending.url).await;
    let state = hidden(&person.open(&key_page).await.expect_html(200), "state");
    let form = format!("{PUBLIC_URL}/host-api-key/weather");
    let sent = person.send(&form, &[("state", &state), ("key", "sk-live-1")]).await;
    reference_in(&sent, &pending.auth_id);
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    assert_eq!(app.authenticate(&asked).await["status"], "pending");
}
