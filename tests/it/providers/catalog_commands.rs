//! `agent-auth provider catalog`, `add` with the catalogue, and `check`.
//! Owns what an operator is told on the way to a provider that works.
//! Must not know the catalogue's entries one by one; those are `catalog_flows`.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::binary::{Finished, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::fake_provider::FakeProvider;
use crate::support::scripted::Scripted;
use crate::support::twin::Twin;

both_databases! {
    the_catalogue_is_shown_as_a_table,
    an_entry_tells_where_to_go_and_what_to_enter,
    a_name_alone_is_enough_for_a_provider_of_the_catalogue,
    another_id_takes_a_template,
    what_the_entry_needs_is_asked_for_by_name,
    flags_count_more_than_the_entry,
    an_unknown_name_tells_the_near_ones,
    a_provider_in_order_passes_the_check,
    a_wrong_client_secret_is_found,
    wrong_addresses_are_found,
    a_refused_address_is_found,
    a_redirect_uri_that_is_not_registered_is_found,
    what_cannot_be_told_is_not_called_wrong,
    checking_tells_no_secret,
}

const SECRET: &str = "secret-from-a-file-77aa";

async fn command(app: &TestApp, arguments: &[&str]) -> Finished {
    let mut all = vec!["provider"];
    all.extend(arguments);
    run(&all, &app.database.environment()).await
}

async fn add(app: &TestApp, more: &[&str]) -> Finished {
    let file = app.database.folder.path().join("client-secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let file = file.display().to_string();
    let mut arguments = vec!["add", "--client-id", "the-client", "--client-secret-file", &file];
    arguments.extend(more);
    command(app, &arguments).await
}

async fn the_catalogue_is_shown_as_a_table(app: TestApp) {
    let shown = command(&app, &["catalog"]).await;
    assert!(shown.status.success(), "{shown:?}");
    let line = |name: &str| shown.stdout.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    assert!(line("github").contains("GitHub"));
    assert!(line("microsoft").contains("tenant"), "what has to be set is said");
    assert!(shown.stdout.lines().count() > 30);
}

async fn an_entry_tells_where_to_go_and_what_to_enter(app: TestApp) {
    let shown = command(&app, &["catalog", "github"]).await;
    for part in [
        "https://github.com/settings/developers",
        "https://broker.example/host-oauth-callback/github",
        "agent-auth provider add github",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let microsoft = command(&app, &["catalog", "microsoft"]).await;
    assert!(microsoft.stdout.contains("--set tenant=VALUE"), "{}", microsoft.stdout);
    assert!(command(&app, &["catalog", "githbu"]).await.expect_refusal().contains("github"));
}

async fn a_name_alone_is_enough_for_a_provider_of_the_catalogue(app: TestApp) {
    let added = add(&app, &["github"]).await;
    assert!(added.status.success(), "{added:?}");
    for part in ["https://broker.example/host-oauth-callback/github", "https://github.com/settings/developers"] {
        assert!(added.stdout.contains(part), "{part}: {}", added.stdout);
    }
    let stored = app.get("/v2/auth/providers/github").await.expect(200);
    assert_eq!(stored["token_url"], "https://github.com/login/oauth/access_token");
    assert_eq!((&stored["template"], &stored["uses_pkce"]), (&json!("github"), &json!(true)));
    assert!(!format!("{added:?}").contains(SECRET));
}

async fn another_id_takes_a_template(app: TestApp) {
    let added = add(&app, &["work", "--template", "notion"]).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/work").await.expect(200);
    assert_eq!((&stored["template"], &stored["token_format"]), (&json!("notion"), &json!("json")));
    assert_eq!(stored["token_endpoint_auth_method"], "client_secret_basic");
}

async fn what_the_entry_needs_is_asked_for_by_name(app: TestApp) {
    let refused = add(&app, &["microsoft"]).await;
    assert!(refused.expect_refusal().contains("--set tenant=VALUE"), "{refused:?}");
    let unfit = add(&app, &["microsoft", "--set", "tenant=a/b"]).await;
    assert!(unfit.expect_refusal().contains("tenant"), "{unfit:?}");
    let superfluous = add(&app, &["github", "--set", "tenant=common"]).await;
    assert!(superfluous.expect_refusal().contains("tenant"), "{superfluous:?}");
    assert!(add(&app, &["microsoft", "--set", "tenant=common"]).await.status.success());
}

async fn flags_count_more_than_the_entry(app: TestApp) {
    let more = ["--pkce=false", "--name", "Ours", "--always-scope", "extra", "--token-param", "a=b"];
    let added = add(&app, &[&["google"], &more[..]].concat()).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/google").await.expect(200);
    assert_eq!((&stored["uses_pkce"], &stored["name"]), (&json!(false), &json!("Ours")));
    assert_eq!((&stored["always_scopes"], &stored["token_params"]), (&json!(["extra"]), &json!({"a": "b"})));
    assert_eq!(stored["authorization_params"]["access_type"], "offline");
}

async fn an_unknown_name_tells_the_near_ones(app: TestApp) {
    let refused = add(&app, &["gitlabb"]).await;
    let line = refused.expect_refusal();
    assert!(line.contains("gitlab") && line.contains("--auth-url"), "{line}");
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), json!([]));
}

/// Registers a twin that has everything; what it answers to a made-up code is open.
async fn twin(app: &TestApp, answer: Scripted) -> Twin {
    let twin = Twin::start().await;
    let body = json!({
        "provider_id": "acme", "name": "Acme", "client_id": "the-client", "client_secret": SECRET,
        "auth_url": twin.at("/authorize"), "token_url": twin.at("/token"),
        "revocation_url": twin.at("/revoke"), "userinfo_url": twin.at("/me"),
    });
    app.register_as(body).await;
    twin.answer("/authorize", Scripted::text("text/html", "<p>Sign in</p>").status(302).header("location", "/login"));
    twin.answer("/token", answer);
    twin.answer("/revoke", Scripted::json(json!({})));
    twin.answer("/me", Scripted::json(json!({"error": "invalid_token"})).status(401));
    twin
}

fn error(status: u16, code: &str) -> Scripted {
    Scripted::json(json!({"error": code})).status(status)
}

#[track_caller]
fn line<'f>(checked: &'f Finished, of: &str) -> &'f str {
    checked.stdout.lines().find(|line| line.contains(&format!("{of}:"))).unwrap_or_else(|| panic!("{checked:?}"))
}

async fn a_provider_in_order_passes_the_check(app: TestApp) {
    let twin = twin(&app, error(400, "invalid_grant")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.status.success(), "{checked:?}");
    for of in ["authorization endpoint", "token endpoint", "revocation endpoint", "userinfo endpoint"] {
        assert!(line(&checked, of).starts_with("right"), "{checked:?}");
    }
    assert!(line(&checked, "redirect URI").contains("https://broker.example/host-oauth-callback/acme"));
    let tried = twin.asked("/token");
    assert_eq!(tried[0].value("grant_type").unwrap(), "authorization_code");
    assert_eq!(tried[0].value("client_secret").unwrap(), SECRET);
}

async fn a_wrong_client_secret_is_found(app: TestApp) {
    let _twin = twin(&app, error(401, "invalid_client")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(checked.expect_refusal().contains("1 of 4"), "{checked:?}");
    let token = line(&checked, "token endpoint");
    assert!(token.starts_with("wrong") && token.contains("client_secret"), "{token}");
    assert!(line(&checked, "authorization endpoint").starts_with("right"));
}

async fn wrong_addresses_are_found(app: TestApp) {
    let twin = Twin::start().await;
    let provider = json!({
        "provider_id": "acme", "name": "Acme", "client_id": "c", "client_secret": SECRET,
        "auth_url": twin.at("/nowhere"), "token_url": twin.at("/neither"), "revocation_url": twin.at("/nor"),
    });
    app.register_as(provider).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.expect_refusal().contains("3 of 3"), "{checked:?}");
    for (of, field) in [("authorization", "auth_url"), ("token", "token_url"), ("revocation", "revocation_url")] {
        let line = line(&checked, &format!("{of} endpoint"));
        assert!(line.starts_with("wrong") && line.contains(field), "{line}");
    }
    drop(twin);
    assert!(line(&command(&app, &["check", "acme"]).await, "token endpoint").contains("no connection"));
    assert!(command(&app, &["check", "nobody"]).await.expect_refusal().contains("nobody"));
}

async fn a_refused_address_is_found(app: TestApp) {
    let provider = FakeProvider::start().await;
    app.register(&provider).await;
    let mut environment = app.database.environment();
    environment.retain(|(name, _)| name != "AGENT_AUTH_ALLOW_PRIVATE_UPSTREAMS");
    let checked = run(&["provider", "check", "acme"], &environment).await;
    assert!(checked.expect_refusal().contains("2 of 2"), "{checked:?}");
    assert!(line(&checked, "token endpoint").contains("ALLOW_PRIVATE_UPSTREAMS"), "{checked:?}");
    assert!(provider.token_requests().is_empty());
}

async fn a_redirect_uri_that_is_not_registered_is_found(app: TestApp) {
    let _twin = twin(&app, error(200, "redirect_uri_mismatch")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.expect_refusal().contains("1 of 4"), "{checked:?}");
    assert!(line(&checked, "token endpoint").contains("not registered"), "{checked:?}");
}

async fn what_cannot_be_told_is_not_called_wrong(app: TestApp) {
    let _twin = twin(&app, error(400, "invalid_request")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.status.success(), "{checked:?}");
    assert!(line(&checked, "token endpoint").starts_with("unclear"), "{checked:?}");
}

async fn checking_tells_no_secret(app: TestApp) {
    let provider = FakeProvider::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.patch("/v2/auth/providers/acme", &json!({"client_secret": SECRET})).await.expect(200);
    let checked = command(&app, &["check", "acme"]).await;
    assert!(!format!("{checked:?}").contains(SECRET) && !checked.stdout.contains("state="), "{checked:?}");
}
