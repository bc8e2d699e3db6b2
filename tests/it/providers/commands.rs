//! Providers registered, listed and removed on the command line.
//! Owns that a command does what a request would do.
//! Must not know the requests' own rules; those are `providers` and `validation`.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::binary::{Finished, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::fake_provider::FakeProvider;
use crate::support::scripted::Scripted;
use crate::support::twin::Twin;

both_databases! {
    an_added_provider_works,
    adding_prints_the_redirect_uri_to_register_there,
    a_bad_definition_is_refused_by_name,
    adding_the_same_id_again_is_refused,
    a_removed_provider_is_gone,
    the_secret_is_neither_printed_nor_listed,
    an_issuer_says_where_the_endpoints_are,
    a_client_that_gets_tokens_for_itself_is_added_and_checked,
    a_static_key_needs_a_name_and_nothing_else,
}

const SECRET: &str = "secret-from-a-file-81c2";

async fn command(app: &TestApp, arguments: &[&str]) -> Finished {
    let mut all = vec!["provider"];
    all.extend(arguments);
    run(&all, &app.database.environment()).await
}

fn secret_file(app: &TestApp) -> String {
    let file = app.database.folder.path().join("client-secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    file.display().to_string()
}

async fn add(app: &TestApp, provider: &FakeProvider, more: &[&str]) -> Finished {
    let (file, authorize, token) = (secret_file(app), provider.at("/authorize"), provider.at("/token"));
    let mut arguments = vec!["add", "acme", "--name", "Acme Inc.", "--client-id", "acme-client"];
    arguments.extend(["--client-secret-file", &file, "--auth-url", &authorize, "--token-url", &token]);
    arguments.extend(more);
    command(app, &arguments).await
}

async fn an_added_provider_works(app: TestApp) {
    let provider = FakeProvider::start().await;
    let added = add(&app, &provider, &["--pkce", "--param", "access_type=offline"]).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(stored["uses_pkce"], true);
    assert_eq!(stored["authorization_params"], json!({"access_type": "offline"}));
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(provider.exchange().value("client_secret"), Some(SECRET));
}

async fn adding_prints_the_redirect_uri_to_register_there(app: TestApp) {
    let added = add(&app, &FakeProvider::start().await, &[]).await;
    let said = format!("{}{}", added.stdout, added.stderr);
    assert!(said.contains("https://broker.example/host-oauth-callback/acme"), "{said}");
}

async fn a_bad_definition_is_refused_by_name(app: TestApp) {
    let provider = FakeProvider::start().await;
    for (flag, value, named) in
        [("--type", "myspace", "type"), ("--auth-method", "magic", "auth"), ("--param", "no-equals-sign", "param")]
    {
        let refused = add(&app, &provider, &[flag, value]).await;
        assert!(!refused.status.success(), "{flag} {value}");
        assert!(refused.stderr.contains(named), "{refused:?}");
    }
    let arguments = ["add", "acme", "--client-id", "c", "--auth-url", "javascript:alert(1)"];
    let refused = command(&app, &[&arguments[..], &["--token-url", "https://acme.example/"]].concat()).await;
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("auth_url") || refused.stderr.contains("auth-url"), "{refused:?}");
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), json!([]));
}

async fn adding_the_same_id_again_is_refused(app: TestApp) {
    let provider = FakeProvider::start().await;
    assert!(add(&app, &provider, &[]).await.status.success());
    let refused = add(&app, &provider, &[]).await;
    assert!(refused.expect_refusal().contains("acme"), "{refused:?}");
}

async fn a_removed_provider_is_gone(app: TestApp) {
    let provider = FakeProvider::start().await;
    add(&app, &provider, &[]).await;
    let removed = command(&app, &["remove", "acme"]).await;
    assert!(removed.status.success(), "{removed:?}");
    app.get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
    let again = command(&app, &["remove", "acme"]).await;
    assert!(again.expect_refusal().contains("acme"), "{again:?}");
}

async fn the_secret_is_neither_printed_nor_listed(app: TestApp) {
    let added = add(&app, &FakeProvider::start().await, &[]).await;
    let listed = command(&app, &["list"]).await;
    assert!(listed.status.success() && listed.stdout.contains("acme"), "{listed:?}");
    for said in [added.stdout, added.stderr, listed.stdout, listed.stderr] {
        assert!(!said.contains(SECRET), "{said}");
    }
}

async fn an_issuer_says_where_the_endpoints_are(app: TestApp) {
    let server = Twin::start().await;
    let issuer = server.at("");
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": server.at("/authorize"),
        "token_endpoint": server.at("/token"),
        "device_authorization_endpoint": server.at("/device"),
        "code_challenge_methods_supported": ["S256"],
    });
    server.answer("/.well-known/oauth-authorization-server", Scripted::json(metadata));
    let added = command(&app, &["add", "acme", "--issuer", &issuer, "--client-id", "c"]).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!((&stored["issuer"], &stored["token_url"]), (&issuer.into(), &server.at("/token").into()));
    assert_eq!(stored["device_authorization_url"], server.at("/device"));
    let refused = command(&app, &["add", "other", "--issuer", &server.at("/nobody"), "--client-id", "c"]).await;
    assert!(refused.expect_refusal().contains("issuer"), "{refused:?}");
}

async fn a_client_that_gets_tokens_for_itself_is_added_and_checked(app: TestApp) {
    let server = Twin::start().await;
    let (file, token) = (secret_file(&app), server.at("/token"));
    let arguments = ["add", "acme", "--grant-type", "client_credentials", "--client-id", "c", "--token-url", &token];
    let refused = command(&app, &arguments).await;
    assert!(refused.expect_refusal().contains("client_secret"), "{refused:?}");
    let added = command(&app, &[&arguments[..], &["--client-secret-file", &file]].concat()).await;
    assert!(added.status.success() && !added.stdout.contains("redirect URI"), "{added:?}");
    server.answer("/token", Scripted::json(json!({"access_token": "t1", "expires_in": 60})));
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.status.success() && checked.stdout.contains("gives this client a token"), "{checked:?}");
    server.answer("/token", Scripted::json(json!({"error": "invalid_client"})).status(401));
    let checked = command(&app, &["check", "acme"]).await;
    assert!(!checked.status.success() && checked.stdout.contains("invalid_client"), "{checked:?}");
}

async fn a_static_key_needs_a_name_and_nothing_else(app: TestApp) {
    let added = command(&app, &["add", "weather", "--grant-type", "api_key"]).await;
    assert!(added.status.success(), "{added:?}");
    let asked = json!({"provider": "weather", "scopes": [], "user_id": "alice"});
    assert!(app.begin(&asked).await.url.contains("/host-api-key/weather?state="));
    let checked = command(&app, &["check", "weather"]).await;
    assert!(checked.status.success() && checked.stdout.contains("static key"), "{checked:?}");
    let listed = command(&app, &["list"]).await;
    assert!(listed.stdout.contains("weather\tweather\ta static key"), "{listed:?}");
}
