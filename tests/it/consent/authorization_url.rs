//! The authorization URL: every parameter of the authorization request, and those that a provider cannot override.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Pending, asking, with};
use crate::support::database::{Database, PUBLIC_URL};

both_databases! {
    it_asks_for_a_code_in_the_registered_clients_name,
    the_state_has_256_random_bits,
    the_state_and_the_id_for_waiting_tell_nothing_about_each_other,
    with_pkce_the_challenge_is_the_hash_of_the_verifier_sent_later,
    without_pkce_neither_challenge_nor_verifier_is_sent,
    a_plain_challenge_is_never_sent,
    the_redirect_uri_is_built_from_the_public_url_alone,
    a_public_url_with_a_path_or_a_slash_is_joined_cleanly,
    the_redirect_uri_at_the_exchange_is_byte_equal,
    the_providers_own_parameters_are_added,
    the_providers_own_parameters_cannot_override_the_protocols,
    a_query_of_the_authorization_address_is_kept,
    without_scopes_the_parameter_is_left_out,
    the_client_secret_is_not_in_it,
    a_listed_redirect_uri_may_be_asked_for,
    our_own_callback_addresses_may_be_asked_for,
    any_other_redirect_uri_is_refused,
    nothing_is_sent_to_the_provider_before_the_person_comes_back,
}

async fn begun(app: &TestApp, more: Value) -> (AuthorizationServer, Pending) {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), more)).await;
    let pending = app.begin(&asking("alice", &["read", "write"])).await;
    (provider, pending)
}

async fn it_asks_for_a_code_in_the_registered_clients_name(app: TestApp) {
    let (provider, pending) = begun(&app, json!({})).await;
    assert!(pending.url.starts_with(&provider.at("/authorize?")));
    for (name, value) in [("response_type", "code"), ("client_id", "acme-client"), ("scope", "read write")] {
        assert_eq!(pending.parameter(name).as_deref(), Some(value));
    }
}

async fn the_state_has_256_random_bits(app: TestApp) {
    let (_provider, first) = begun(&app, json!({})).await;
    let second = app.begin(&asking("alice", &["read"])).await;
    for pending in [&first, &second] {
        let state = pending.state();
        let bytes = URL_SAFE_NO_PAD.decode(&state).expect("needs no escaping in a URL");
        assert!(bytes.len() >= 32, "{state}");
    }
    assert_ne!(first.state(), second.state());
    assert_ne!(first.state()[..20], second.state()[..20]);
}

async fn the_state_and_the_id_for_waiting_tell_nothing_about_each_other(app: TestApp) {
    let (_provider, pending) = begun(&app, json!({})).await;
    let compact = |text: &str| text.replace('-', "");
    assert!(!compact(&pending.url).contains(&compact(&pending.auth_id)));
    assert!(pending.auth_id.len() >= 22, "128 bits: {}", pending.auth_id);
    assert_eq!(app.look(&pending.state()).await["status"], "not_found");
}

async fn with_pkce_the_challenge_is_the_hash_of_the_verifier_sent_later(app: TestApp) {
    let (provider, pending) = begun(&app, json!({"uses_pkce": true})).await;
    let challenge = pending.parameter("code_challenge").expect("a challenge");
    let method = pending.parameter("code_challenge_method");
    assert_eq!(method.as_deref(), Some("S256"));
    app.come_back(&provider.consent(&pending.url)).await;
    let exchange = provider.exchange();
    let verifier = exchange.value("code_verifier").expect("a verifier");
    assert!((43..=128).contains(&verifier.len()), "{verifier}");
    let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    assert!(verifier.chars().all(unreserved), "{verifier}");
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    assert_eq!(hash, challenge);
}

async fn without_pkce_neither_challenge_nor_verifier_is_sent(app: TestApp) {
    let (provider, pending) = begun(&app, json!({"uses_pkce": false})).await;
    assert_eq!(pending.parameter("code_challenge"), None);
    assert_eq!(pending.parameter("code_challenge_method"), None);
    app.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(provider.exchange().value("code_verifier"), None);
}

async fn a_plain_challenge_is_never_sent(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let plain = json!({"uses_pkce": true, "code_challenge_method": "plain"});
    let definition = with(provider.definition("acme"), plain);
    let created = app.post("/v2/auth/providers", &definition).await;
    if created.status.is_success() {
        let pending = app.begin(&asking("alice", &["read"])).await;
        let method = pending.parameter("code_challenge_method");
        assert_eq!(method.as_deref(), Some("S256"));
    } else {
        created.expect_fault_at("body.code_challenge_method");
    }
}

async fn the_redirect_uri_is_built_from_the_public_url_alone(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let misled = app
        .with("host", "evil.example")
        .with("x-forwarded-host", "evil.example")
        .with("x-forwarded-proto", "http")
        .with("forwarded", "host=evil.example;proto=http")
        .with("x-original-url", "https://evil.example/");
    let pending = misled.begin(&asking("alice", &["read"])).await;
    let expected = format!("{PUBLIC_URL}/host-oauth-callback/acme");
    assert_eq!(pending.parameter("redirect_uri"), Some(expected));
    assert!(!pending.url.contains("evil"));
}

async fn a_public_url_with_a_path_or_a_slash_is_joined_cleanly(database: Database) {
    let app = TestApp::start_with(database, |settings| {
        settings.public_url = Some("https://broker.example/auth/".to_owned());
    })
    .await;
    let (_provider, pending) = begun(&app, json!({})).await;
    assert_eq!(
        pending.parameter("redirect_uri").as_deref(),
        Some("https://broker.example/auth/host-oauth-callback/acme")
    );
}

async fn the_redirect_uri_at_the_exchange_is_byte_equal(app: TestApp) {
    let (provider, pending) = begun(&app, json!({})).await;
    app.come_back(&provider.consent(&pending.url)).await;
    let exchange = provider.exchange();
    assert_eq!(exchange.value("redirect_uri"), pending.parameter("redirect_uri").as_deref());
    assert_eq!(exchange.value("grant_type"), Some("authorization_code"));
    assert!(exchange.value("code").unwrap().starts_with("code-"));
    assert_eq!(exchange.method, "POST");
    assert_eq!(exchange.header("content-type"), "application/x-www-form-urlencoded");
}

async fn the_providers_own_parameters_are_added(app: TestApp) {
    let own = json!({"access_type": "offline", "prompt": "consent & more", "ü": "ä"});
    let (_provider, pending) = begun(&app, json!({"authorization_params": own})).await;
    assert_eq!(pending.parameter("access_type").as_deref(), Some("offline"));
    let prompt = pending.parameter("prompt");
    assert_eq!(prompt.as_deref(), Some("consent & more"));
    assert_eq!(pending.parameter("ü").as_deref(), Some("ä"));
}

async fn the_providers_own_parameters_cannot_override_the_protocols(app: TestApp) {
    for (name, evil) in [
        ("state", "evil"),
        ("redirect_uri", "https://evil.example/"),
        ("client_id", "evil"),
        ("code_challenge", "evil"),
        ("code_challenge_method", "plain"),
        ("response_type", "token"),
    ] {
        let provider = AuthorizationServer::start().await;
        let id = format!("with-{}", name.replace('_', "-"));
        let own = json!({"authorization_params": {name: evil, "prompt": "login"}});
        let definition = with(provider.definition(&id), own);
        let created = app.post("/v2/auth/providers", &definition).await;
        if !created.status.is_success() {
            created.expect_fault_at(&format!("body.authorization_params.{name}"));
            continue;
        }
        let question = with(asking("alice", &["read"]), json!({"provider": id}));
        let pending = app.begin(&question).await;
        // `parameter` panics when there are two of one name.
        assert_ne!(pending.parameter(name).as_deref(), Some(evil));
    }
}

async fn a_query_of_the_authorization_address_is_kept(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let url = provider.at("/authorize?tenant=a%26b&x=1");
    let definition = with(provider.definition("acme"), json!({"auth_url": url}));
    app.register_as(definition).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    assert_eq!(pending.parameter("tenant").as_deref(), Some("a&b"));
    assert_eq!(pending.parameter("x").as_deref(), Some("1"));
    assert_eq!(pending.parameter("scope").as_deref(), Some("read"));
    assert_eq!(pending.url.matches('?').count(), 1);
}

async fn without_scopes_the_parameter_is_left_out(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &[]);
    let pending = app.begin(&question).await;
    assert_eq!(pending.parameter("scope"), None);
    app.come_back(&provider.consent(&pending.url)).await;
    app.token(&question).await;
}

async fn the_client_secret_is_not_in_it(app: TestApp) {
    let (_provider, pending) = begun(&app, json!({})).await;
    assert!(!pending.url.contains("acme-client-secret"));
    assert_eq!(pending.parameter("client_secret"), None);
}

async fn a_listed_redirect_uri_may_be_asked_for(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let mine = "https://app.example/callback?from=acme";
    let listed = json!({"allowed_redirect_uris": ["https://app.example/other", mine]});
    app.register_as(with(provider.definition("acme"), listed)).await;
    let question = with(asking("alice", &["read"]), json!({"redirect_uri": mine}));
    let pending = app.begin(&question).await;
    assert_eq!(pending.parameter("redirect_uri").as_deref(), Some(mine));
}

async fn our_own_callback_addresses_may_be_asked_for(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for path in ["/host-oauth-callback/acme", "/v2/auth/callback/acme"] {
        let own = format!("{PUBLIC_URL}{path}");
        let question = json!({"redirect_uri": own, "force_new": true});
        let question = with(asking("alice", &["read"]), question);
        let pending = app.begin(&question).await;
        assert_eq!(pending.parameter("redirect_uri"), Some(own.clone()));
        let callback = provider.consent(&pending.url);
        assert!(callback.as_str().starts_with(&own));
        let answer = app.visit(&callback).await;
        assert!([200, 303].contains(&answer.status.as_u16()), "{answer:?}");
        assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
    }
}

async fn any_other_redirect_uri_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let listed = json!({"allowed_redirect_uris": ["https://app.example/callback"]});
    app.register_as(with(provider.definition("acme"), listed)).await;
    for other in [
        "https://evil.example/callback",
        "https://app.example/callback/",
        "https://app.example/callback?x=1",
        "https://app.example/callback#x",
        "https://app.example/call",
        "https://app.example:8443/callback",
        "http://app.example/callback",
        "https://app.example/CALLBACK",
        "https://app.example/x/../callback",
        "https://broker.example/host-oauth-callback/other",
        "https://broker.example.evil.example/host-oauth-callback/acme",
        "javascript:alert(1)",
        "",
    ] {
        let question = with(asking("alice", &["read"]), json!({"redirect_uri": other}));
        let answer = app.try_authenticate(&question).await;
        answer.expect_fault_at("body.redirect_uri");
    }
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn nothing_is_sent_to_the_provider_before_the_person_comes_back(app: TestApp) {
    let (provider, pending) = begun(&app, json!({})).await;
    Url::parse(&pending.url).expect("a URL");
    assert_eq!(provider.token_requests().len(), 0);
    assert_eq!(provider.count_elsewhere(), 0);
}
