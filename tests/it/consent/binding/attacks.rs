//! The published attacks, replayed: cross-user session fixation, cross-tenant confusion, injected codes, forged callbacks.

use serde_json::{Value, json};
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::{Pending, asking, with};
use crate::support::database::Database;

both_databases! {
    five_hundred_cross_browser_attempts_give_no_token_with_confirm,
    five_hundred_cross_browser_attempts_give_no_token_with_verify,
    what_another_browser_brought_completes_nothing_with_an_api_key_either,
    a_code_of_another_request_is_not_injected,
    a_forged_callback_connects_nobody_to_the_attackers_account,
    a_victim_who_goes_on_from_an_attackers_link_is_not_confirmed,
}

const RETURN: &str = "https://app.example/connected";
const ATTEMPTS: usize = 500;

async fn start(database: Database, mode: &str) -> (TestApp, AuthorizationServer) {
    let mode = mode.to_owned();
    let app = TestApp::start_with(database, |settings| settings.consent = mode).await;
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"return_urls": [RETURN]}))).await;
    (app, provider)
}

/// Mallory begins consents and goes on in her own browser; Alice's browser, which has a consent of its own open, approves
/// and comes back.
async fn cross_browser_attempts(app: &TestApp, provider: &AuthorizationServer) {
    let (mallory, alice) = (Browser::new(app), Browser::new(app));
    let alices: Pending = app.begin(&asking("alice", &["read"])).await;
    alice.go_on(&alices.url).await;
    for attempt in 0..ATTEMPTS {
        let pending = app.begin(&asking("mallory", &["read"])).await;
        let at_provider = mallory.go_on(&pending.url).await;
        let stranger = Browser::new(app);
        let victim = if attempt % 2 == 0 { &alice } else { &stranger };
        let callback = provider.consent(&at_provider);
        let page = victim.open(callback.as_str()).await;
        assert!(page.expect_html(400).contains("another browser"), "attempt {attempt}: {}", page.text());
        // Nor does a link that was used already lead her to the provider.
        victim.open(&pending.url).await.expect_html(400);
    }
    assert_eq!(provider.token_requests().len(), 0, "no code was exchanged");
    assert_eq!(app.database.number("SELECT count(*) FROM tokens").await, 0, "0 tokens");
}

async fn five_hundred_cross_browser_attempts_give_no_token_with_confirm(database: Database) {
    let (app, provider) = start(database, "confirm").await;
    cross_browser_attempts(&app, &provider).await;
}

async fn five_hundred_cross_browser_attempts_give_no_token_with_verify(database: Database) {
    let (app, provider) = start(database, "verify").await;
    cross_browser_attempts(&app, &provider).await;
}

async fn what_another_browser_brought_completes_nothing_with_an_api_key_either(database: Database) {
    let (app, provider) = start(database, "confirm").await;
    for consent in ["confirm", "verify"] {
        app.patch("/v2/auth/providers/acme", &json!({"consent": consent})).await.expect(200);
        let pending = app.begin(&asking("mallory", &["read"])).await;
        let callback = provider.consent(&Browser::new(&app).go_on(&pending.url).await);
        Browser::new(&app).open(callback.as_str()).await.expect_html(400);
        // It is in the history of Alice's browser, and in the logs of proxies.
        let pairs = callback.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into()));
        let pairs = Value::Object(pairs.chain([("user_id".to_owned(), "mallory".into())]).collect());
        app.post("/v2/auth/callback/acme", &pairs).await.expect_error(400, "invalid_state");
        assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    }
    assert_eq!(provider.token_requests().len(), 0);
}

async fn a_code_of_another_request_is_not_injected(database: Database) {
    let (app, provider) = start(database, "confirm").await;
    let (alices, mallorys) =
        (app.begin(&asking("alice", &["read"])).await, app.begin(&asking("mallory", &["read"])).await);
    let (alice, mallory) = (Browser::new(&app), Browser::new(&app));
    let alice_at_provider = alice.go_on(&alices.url).await;
    let mallory_at_provider = mallory.go_on(&mallorys.url).await;
    let stolen = provider.consent(&alice_at_provider);
    let code = stolen.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let state = Url::parse(&mallory_at_provider).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();

    // Mallory injects the stolen code into her own request: the provider would refuse it, as its challenge is of another
    // verifier. What we send is Mallory's verifier.
    let mut injected = stolen.clone();
    injected.query_pairs_mut().clear().extend_pairs([("code", &code), ("state", &state)]);
    mallory.open(injected.as_str()).await;
    let exchange = provider.exchange();
    let challenge = |url: &str| {
        let url = Url::parse(url).unwrap();
        url.query_pairs().find(|(name, _)| name == "code_challenge").map(|(_, value)| value.into_owned()).unwrap()
    };
    let sent = {
        use base64::Engine as _;
        use sha2::Digest as _;
        let verifier = exchange.value("code_verifier").expect("a verifier");
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(verifier))
    };
    assert_ne!(sent, challenge(&alice_at_provider), "the provider refuses the code");
    assert_eq!(sent, challenge(&mallory_at_provider));
    // Nor does Mallory's browser bring it to Alice's request.
    mallory.open(stolen.as_str()).await.expect_html(400);
    assert_eq!(provider.exchanges().len(), 1);
}

async fn a_forged_callback_connects_nobody_to_the_attackers_account(database: Database) {
    let (app, provider) = start(database, "confirm").await;
    // Mallory stops her own flow at the callback, and has Alice's browser open it instead.
    let pending = app.begin(&asking("mallory", &["read"])).await;
    let mallory = Browser::new(&app);
    let callback = provider.consent(&mallory.go_on(&pending.url).await);
    Browser::new(&app).open(callback.as_str()).await.expect_html(400);
    // Or makes up a state.
    let mut forged = callback.clone();
    forged.query_pairs_mut().clear().extend_pairs([("code", "mallorys"), ("state", "made-up")]);
    Browser::new(&app).open(forged.as_str()).await.expect_html(400);
    assert_eq!(provider.token_requests().len(), 0);
}

async fn a_victim_who_goes_on_from_an_attackers_link_is_not_confirmed(database: Database) {
    let (app, provider) = start(database, "verify").await;
    for attempt in 0..20 {
        let pending = app.begin(&asking("mallory", &["read"])).await;
        let alice = Browser::new(&app);
        let html = alice.open(&pending.url).await.expect_html(200);
        assert!(html.contains("<strong dir=\"auto\">mallory</strong>"), "the page says whose it is: {html}");
        let value = hidden(&html, "browser");
        let sent = alice.send(&pending.url, &[("browser", &value), ("decision", "continue")]).await;
        let returned = alice.open(provider.consent(sent.header("location")).as_str()).await;
        let location = Url::parse(returned.header("location")).unwrap();
        let reference = location.query_pairs().find(|(name, _)| name == "reference").unwrap().1.into_owned();
        let path = format!("/v2/auth/authorizations/{}/confirm", pending.auth_id);
        // The application sees Alice's session.
        let confirmed = app.post(&path, &json!({"user_id": "alice", "reference": reference})).await;
        confirmed.expect_error(403, "forbidden");
        assert_eq!(provider.token_requests().len(), 0, "attempt {attempt}");
    }
    assert_eq!(app.database.number("SELECT count(*) FROM tokens").await, 0);
}
