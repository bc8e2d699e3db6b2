//! The addresses of providers: which URLs are accepted, and where the server never connects.
//! Private, loopback and special addresses are tried in all their spellings.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::run;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};
use crate::support::database::Database;
use crate::support::trap::Trap;

both_databases! {
    an_address_with_a_dangerous_scheme_is_refused,
    an_address_that_only_a_browser_would_understand_is_refused,
    a_public_url_that_only_a_browser_would_understand_is_refused,
    an_address_that_is_no_url_is_refused,
    an_address_with_credentials_or_a_fragment_is_refused,
    plain_http_to_the_open_internet_is_refused,
    an_authorization_address_may_have_a_query,
    by_default_loopback_is_never_reached_in_any_spelling,
    by_default_private_and_special_addresses_are_refused,
    a_private_address_can_be_allowed_by_range,
    a_private_address_can_be_allowed_by_host,
    an_allowance_for_one_range_does_not_open_another,
    a_name_that_leads_to_loopback_is_refused,
    an_address_changed_later_is_guarded_too,
}

async fn refuses_everywhere(app: &TestApp, wrong: &str) {
    for field in ["auth_url", "token_url"] {
        let body = with(acme(), json!({field: wrong}));
        let answer = app.post("/v2/auth/providers", &body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
    let body = with(acme(), json!({"allowed_redirect_uris": [wrong]}));
    let answer = app.post("/v2/auth/providers", &body).await;
    answer.expect_fault_at("body.allowed_redirect_uris.0");
    let stored = app.get("/v2/auth/providers").await.expect(200);
    assert_eq!(stored, json!([]));
}

async fn an_address_with_a_dangerous_scheme_is_refused(app: TestApp) {
    for wrong in [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "javascript://acme.example/%0aalert(1)",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox(1)",
        "ftp://acme.example/",
        "ws://acme.example/",
        "blob:https://acme.example/1",
    ] {
        refuses_everywhere(&app, wrong).await;
    }
}

const REPAIRED_BY_BROWSERS: [&str; 9] = [
    " https://acme.example/",
    "https://acme.example/ ",
    "https:acme.example/",
    "https:/acme.example/",
    "https:///acme.example/",
    "https:\\\\acme.example/",
    "https:/\\acme.example/",
    "https://acme.example\\@evil.example/",
    "https://acme.example/a b",
];

async fn an_address_that_only_a_browser_would_understand_is_refused(app: TestApp) {
    for wrong in REPAIRED_BY_BROWSERS {
        refuses_everywhere(&app, wrong).await;
        for field in ["userinfo_url", "revocation_url", "refresh_url", "device_authorization_url", "resource"] {
            let answer = app.post("/v2/auth/providers", &with(acme(), json!({field: wrong}))).await;
            answer.expect_fault_at(&format!("body.{field}"));
        }
        let body = json!({"provider_id": "tools", "name": "Tools", "mcp_server_url": wrong});
        app.post("/v2/auth/providers/mcp-discover", &body).await.expect_fault_at("body.mcp_server_url");
    }
}

async fn a_public_url_that_only_a_browser_would_understand_is_refused(database: Database) {
    for wrong in REPAIRED_BY_BROWSERS {
        let mut environment = database.environment();
        environment.push(("AGENT_AUTH_PUBLIC_URL".to_owned(), wrong.to_owned()));
        let refused = run(&["serve"], &environment).await;
        assert!(refused.expect_refusal().contains("PUBLIC_URL"), "{wrong}: {refused:?}");
        let arguments = ["provider", "add", "acme", "--client-id", "c", "--auth-url", wrong, "--token-url", wrong];
        let refused = run(&arguments, &database.environment()).await;
        assert!(!refused.status.success(), "{wrong}: {refused:?}");
    }
}

async fn an_address_that_is_no_url_is_refused(app: TestApp) {
    for wrong in [
        "",
        "acme.example/authorize",
        "//acme.example/authorize",
        "/authorize",
        "https://",
        "https:// acme.example/",
        "https://[::1",
    ] {
        refuses_everywhere(&app, wrong).await;
    }
}

async fn an_address_with_credentials_or_a_fragment_is_refused(app: TestApp) {
    for wrong in ["https://user:password@acme.example/", "https://user@acme.example/", "https://acme.example/#fragment"]
    {
        refuses_everywhere(&app, wrong).await;
    }
}

async fn plain_http_to_the_open_internet_is_refused(database: Database) {
    let app = TestApp::start_with(database, |settings| {
        "127.0.0.1".clone_into(&mut settings.allow_private_upstreams);
    })
    .await;
    for field in ["auth_url", "token_url"] {
        let body = with(acme(), json!({field: "http://acme.example/"}));
        let answer = app.post("/v2/auth/providers", &body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
}

async fn an_authorization_address_may_have_a_query(app: TestApp) {
    let url = "https://acme.example/authorize?tenant=7&x=a%20b";
    let created = app.register_as(with(acme(), json!({"auth_url": url}))).await;
    assert_eq!(created["auth_url"], url);
}

async fn guarded(database: Database, allowed: &str) -> TestApp {
    TestApp::start_with(database, |settings| {
        allowed.clone_into(&mut settings.allow_private_upstreams);
    })
    .await
}

fn acme_at(token_url: &str) -> Value {
    json!({
        "provider_id": "acme",
        "name": "Acme Inc.",
        "client_id": "acme-client",
        "client_secret": "acme-client-secret-3f9a",
        "auth_url": "https://acme.example/authorize",
        "token_url": token_url,
    })
}

/// Refused when it is registered, or else at the latest when a code would be sent there.
async fn is_refused(app: &TestApp, token_url: &str) {
    let begun = Instant::now();
    let created = app.post("/v2/auth/providers", &acme_at(token_url)).await;
    if created.status.is_success() {
        let pending = app.begin(&asking("alice", &["read"])).await;
        let callback = format!("{}?code=a-code&state={}", pending.parameter("redirect_uri").unwrap(), pending.state());
        let page = app.visit(&callback.parse().unwrap()).await;
        let status = page.status.as_u16();
        assert!(status >= 400 && status != 500, "{token_url}: {page:?}");
        let answer = app.look(&pending.auth_id).await;
        assert_eq!(answer["status"], "not_found", "{token_url}: {answer}");
        app.delete("/v2/auth/providers/acme").await.expect(200);
    } else {
        created.expect_fault_at("body.token_url");
    }
    // A refusal needs no time; an attempt to connect into the void does.
    assert!(begun.elapsed() < Duration::from_millis(2500), "{token_url}");
}

async fn by_default_loopback_is_never_reached_in_any_spelling(database: Database) {
    let app = guarded(database, "false").await;
    let trap = Trap::set().await;
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.255.255.254",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[::1]",
        "[::]",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "127%2e0.0.1",
        "localhost",
        "LocalHost",
        "localhost.",
        "sub.localhost",
    ] {
        for scheme in ["http", "https"] {
            is_refused(&app, &format!("{scheme}://{host}:{}/token", trap.port)).await;
        }
    }
    assert_eq!(trap.connections(), 0, "somebody connected");
}

async fn by_default_private_and_special_addresses_are_refused(database: Database) {
    let app = guarded(database, "false").await;
    for host in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[fc00::1]",
        "[fe80::1]",
        "[ff02::1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::10.0.0.1]",
    ] {
        is_refused(&app, &format!("https://{host}/token")).await;
    }
}

async fn connects(app: &TestApp, provider: &AuthorizationServer, definition: Value) {
    app.register_as(definition).await;
    app.connect(provider, &asking("alice", &["read"])).await;
}

async fn a_private_address_can_be_allowed_by_range(database: Database) {
    let app = guarded(database, "10.0.0.0/8,127.0.0.0/8").await;
    let provider = AuthorizationServer::start().await;
    connects(&app, &provider, provider.definition("acme")).await;
}

async fn a_private_address_can_be_allowed_by_host(database: Database) {
    let app = guarded(database, "127.0.0.1").await;
    let provider = AuthorizationServer::start().await;
    connects(&app, &provider, provider.definition("acme")).await;
}

async fn an_allowance_for_one_range_does_not_open_another(database: Database) {
    let app = guarded(database, "10.0.0.0/8,internal.example").await;
    let trap = Trap::set().await;
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        is_refused(&app, &format!("http://{host}:{}/token", trap.port)).await;
    }
    assert_eq!(trap.connections(), 0);
}

async fn a_name_that_leads_to_loopback_is_refused(database: Database) {
    // The allowed name resolves to an address; another name for that address stays refused.
    let app = guarded(database, "localhost").await;
    let trap = Trap::set().await;
    is_refused(&app, &format!("http://127.0.0.1:{}/token", trap.port)).await;
    assert_eq!(trap.connections(), 0);
    let provider = AuthorizationServer::start().await;
    let by_name = provider.at("/token").replace("127.0.0.1", "localhost");
    let definition =
        with(provider.definition("acme"), json!({"token_url": by_name, "auth_url": "https://acme.example/authorize"}));
    app.register_as(definition).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let url = pending.url.replace("https://acme.example/", &provider.at("/"));
    app.come_back(&provider.consent(&url)).await;
    assert_eq!(provider.exchanges().len(), 1);
}

async fn an_address_changed_later_is_guarded_too(database: Database) {
    let app = guarded(database, "false").await;
    let trap = Trap::set().await;
    app.register_as(acme_at("https://acme.example/token")).await;
    let inside = format!("https://127.0.0.1:{}/token", trap.port);
    let patched = app.patch("/v2/auth/providers/acme", &json!({"token_url": inside})).await;
    if patched.status.is_success() {
        let pending = app.begin(&asking("alice", &["read"])).await;
        let query = format!("code=a-code&state={}", pending.state());
        app.get(&format!("/host-oauth-callback/acme?{query}")).await;
        assert_eq!(app.look(&pending.auth_id).await["status"], "not_found");
    } else {
        patched.expect_fault_at("body.token_url");
    }
    assert_eq!(trap.connections(), 0);
}
