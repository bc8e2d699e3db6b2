//! `agent-auth provider`: `add`, `list`, `remove`, `catalog` and `check`.
//! A command does what a request would do, and its output tells the operator the next step.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, TOKEN};
use crate::support::binary::{Finished, run};
use crate::support::both_databases;
use crate::support::caller::asking;

both_databases! {
    an_added_provider_works,
    adding_prints_the_redirect_uri_to_register_there,
    a_bad_definition_is_refused_by_name,
    adding_the_same_id_again_is_refused,
    a_removed_provider_is_gone,
    every_command_takes_another_workspace,
    the_secret_is_neither_printed_nor_listed,
    an_issuer_says_where_the_endpoints_are,
    a_client_that_gets_tokens_for_itself_is_added_and_checked,
    a_static_key_needs_a_name_and_nothing_else,
    the_catalogue_is_shown_as_a_table,
    an_entry_tells_where_to_go_and_what_to_enter,
    a_name_alone_is_enough_for_a_provider_of_the_catalogue,
    another_id_takes_a_template,
    what_the_entry_needs_is_asked_for_by_name,
    flags_count_more_than_the_entry,
    an_unknown_name_tells_the_near_ones,
    what_is_missing_is_named_as_the_argument_that_gives_it,
    an_empty_secret_file_is_refused,
    a_provider_in_order_passes_the_check,
    a_wrong_client_secret_is_found,
    wrong_addresses_are_found,
    a_refused_address_is_found,
    a_redirect_uri_that_is_not_registered_is_found,
    what_cannot_be_told_is_not_called_wrong,
    checking_tells_no_secret,
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

async fn add(app: &TestApp, provider: &AuthorizationServer, more: &[&str]) -> Finished {
    let (file, authorize, token) = (secret_file(app), provider.at("/authorize"), provider.at("/token"));
    let mut arguments = vec!["add", "acme", "--name", "Acme Inc.", "--client-id", "acme-client"];
    arguments.extend(["--client-secret-file", &file, "--auth-url", &authorize, "--token-url", &token]);
    arguments.extend(more);
    command(app, &arguments).await
}

async fn an_added_provider_works(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let added = add(&app, &provider, &["--pkce", "--param", "access_type=offline"]).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(stored["uses_pkce"], true);
    assert_eq!(stored["authorization_params"], json!({"access_type": "offline"}));
    app.connect(&provider, &asking("alice", &["read"])).await;
    assert_eq!(provider.exchange().value("client_secret"), Some(SECRET));
}

async fn every_command_takes_another_workspace(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let there = ["--organization", "org-a", "--workspace", "space-1"];
    let added = add(&app, &provider, &there).await;
    assert!(added.status.success(), "{added:?}");
    let key = app.service_key_in("org-a", "space-1").await;
    assert_eq!(key.get("/v2/auth/providers/acme").await.expect(200)["organization_id"], "org-a");
    app.get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
    let run = async |arguments: &[&str]| command(&app, &[arguments, &there].concat()).await;
    assert!(run(&["list"]).await.stdout.starts_with("acme\t"));
    assert_eq!(command(&app, &["list"]).await.stdout, "");
    assert!(run(&["check", "acme"]).await.stdout.contains("token"), "it is found and checked");
    assert!(!command(&app, &["remove", "acme"]).await.status.success(), "not from here");
    assert!(run(&["remove", "acme"]).await.status.success());
    key.get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
}

async fn adding_prints_the_redirect_uri_to_register_there(app: TestApp) {
    let added = add(&app, &AuthorizationServer::start().await, &[]).await;
    let said = format!("{}{}", added.stdout, added.stderr);
    assert!(said.contains("https://broker.example/host-oauth-callback/acme"), "{said}");
}

async fn a_bad_definition_is_refused_by_name(app: TestApp) {
    let provider = AuthorizationServer::start().await;
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
    let provider = AuthorizationServer::start().await;
    assert!(add(&app, &provider, &[]).await.status.success());
    let refused = add(&app, &provider, &[]).await;
    assert!(refused.expect_refusal().contains("acme"), "{refused:?}");
}

async fn a_removed_provider_is_gone(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    add(&app, &provider, &[]).await;
    let removed = command(&app, &["remove", "acme"]).await;
    assert!(removed.status.success(), "{removed:?}");
    app.get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
    let again = command(&app, &["remove", "acme"]).await;
    assert!(again.expect_refusal().contains("acme"), "{again:?}");
}

async fn the_secret_is_neither_printed_nor_listed(app: TestApp) {
    let added = add(&app, &AuthorizationServer::start().await, &[]).await;
    let listed = command(&app, &["list"]).await;
    assert!(listed.status.success() && listed.stdout.contains("acme"), "{listed:?}");
    for said in [added.stdout, added.stderr, listed.stdout, listed.stderr] {
        assert!(!said.contains(SECRET), "{said}");
    }
}

async fn an_issuer_says_where_the_endpoints_are(app: TestApp) {
    let server = AuthorizationServer::silent().await;
    let issuer = server.at("");
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": server.at("/authorize"),
        "token_endpoint": server.at("/token"),
        "device_authorization_endpoint": server.at("/device"),
        "code_challenge_methods_supported": ["S256"],
    });
    server.answer("/.well-known/oauth-authorization-server", Reply::json(metadata));
    let added = command(&app, &["add", "acme", "--issuer", &issuer, "--client-id", "c"]).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!((&stored["issuer"], &stored["token_url"]), (&issuer.into(), &server.at("/token").into()));
    assert_eq!(stored["device_authorization_url"], server.at("/device"));
    let refused = command(&app, &["add", "other", "--issuer", &server.at("/nobody"), "--client-id", "c"]).await;
    assert!(refused.expect_refusal().contains("issuer"), "{refused:?}");
}

async fn a_client_that_gets_tokens_for_itself_is_added_and_checked(app: TestApp) {
    let server = AuthorizationServer::silent().await;
    let (file, token) = (secret_file(&app), server.at("/token"));
    let arguments = ["add", "acme", "--grant-type", "client_credentials", "--client-id", "c", "--token-url", &token];
    let refused = command(&app, &arguments).await;
    assert!(
        refused.expect_refusal().contains("--client-secret-file is required with client_credentials"),
        "{refused:?}"
    );
    let added = command(&app, &[&arguments[..], &["--client-secret-file", &file]].concat()).await;
    assert!(added.status.success() && !added.stdout.contains("redirect URI"), "{added:?}");
    server.answer_token(Reply::json(json!({"access_token": "t1", "expires_in": 60})));
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.status.success() && checked.stdout.contains("gives this client a token"), "{checked:?}");
    server.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
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

async fn add_by_name(app: &TestApp, more: &[&str]) -> Finished {
    let file = secret_file(app);
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
    assert!(shown.stdout.lines().count() > 200);
    let found = command(&app, &["catalog", "--search", "accounting"]).await;
    assert!(found.stdout.contains("\nxero ") && !found.stdout.contains("\ngithub "), "{}", found.stdout);
    assert!(
        found.stderr.contains("NAME") && !found.stdout.contains("CATEGORY"),
        "headings go to standard error: {found:?}"
    );
    let listed = command(&app, &["catalog", "--search", "accounting", "--json"]).await;
    let entries = listed.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let entries: Vec<Value> = entries.collect();
    assert_eq!(entries.len(), found.stdout.lines().count(), "{listed:?}");
    assert!(entries.iter().any(|entry| entry["name"] == "xero" && entry["params"].is_object()), "{listed:?}");
    let product = command(&app, &["catalog", "--search", "zoho-desk"]).await;
    assert!(product.stdout.contains("zoho ") && product.stdout.lines().count() < 6, "{}", product.stdout);
    let nothing = command(&app, &["catalog", "--search", "githbu"]).await;
    assert!(nothing.expect_refusal().contains("Did you mean github"));
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
    // An alias means the entry; one that nobody has confirmed says so; a page for developers may be unknown.
    let jira = command(&app, &["catalog", "jira"]).await;
    assert!(jira.stdout.contains("Atlassian") && jira.stdout.contains("/host-oauth-callback/jira"), "{}", jira.stdout);
    let unconfirmed = command(&app, &["catalog", "brevo"]).await;
    for part in ["found in one place only", "page for developers", "https://broker.example/host-oauth-callback/brevo"] {
        assert!(unconfirmed.stdout.contains(part), "{part}: {}", unconfirmed.stdout);
    }
    assert!(!jira.stdout.contains("found in one place only"));
}

async fn a_name_alone_is_enough_for_a_provider_of_the_catalogue(app: TestApp) {
    let added = add_by_name(&app, &["github"]).await;
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
    let added = add_by_name(&app, &["work", "--template", "notion"]).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/work").await.expect(200);
    assert_eq!((&stored["template"], &stored["token_format"]), (&json!("notion"), &json!("json")));
    assert_eq!(stored["token_endpoint_auth_method"], "client_secret_basic");
}

async fn what_the_entry_needs_is_asked_for_by_name(app: TestApp) {
    let refused = add_by_name(&app, &["microsoft"]).await;
    assert!(refused.expect_refusal().contains("--set tenant=VALUE"), "{refused:?}");
    let unfit = add_by_name(&app, &["microsoft", "--set", "tenant=a/b"]).await;
    assert!(unfit.expect_refusal().contains("tenant"), "{unfit:?}");
    let superfluous = add_by_name(&app, &["github", "--set", "tenant=common"]).await;
    assert!(superfluous.expect_refusal().contains("tenant"), "{superfluous:?}");
    assert!(add_by_name(&app, &["microsoft", "--set", "tenant=common"]).await.status.success());
}

async fn flags_count_more_than_the_entry(app: TestApp) {
    let more = ["--pkce=false", "--name", "Ours", "--always-scope", "extra", "--token-param", "a=b"];
    let added = add_by_name(&app, &[&["google"], &more[..]].concat()).await;
    assert!(added.status.success(), "{added:?}");
    let stored = app.get("/v2/auth/providers/google").await.expect(200);
    assert_eq!((&stored["uses_pkce"], &stored["name"]), (&json!(false), &json!("Ours")));
    assert_eq!((&stored["always_scopes"], &stored["token_params"]), (&json!(["extra"]), &json!({"a": "b"})));
    assert_eq!(stored["authorization_params"]["access_type"], "offline");
}

async fn an_unknown_name_tells_the_near_ones(app: TestApp) {
    let without_client = command(&app, &["add", "gitlabb"]).await;
    assert!(without_client.expect_refusal().contains("gitlab"), "{without_client:?}");
    let refused = add_by_name(&app, &["gitlabb"]).await;
    let line = refused.expect_refusal();
    assert!(line.contains("gitlab") && line.contains("--auth-url"), "{line}");
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), json!([]));
}

async fn what_is_missing_is_named_as_the_argument_that_gives_it(app: TestApp) {
    let arguments = ["add", "acme", "--auth-url", "https://acme.example/authorize"];
    let refused = command(&app, &arguments).await;
    let text = &refused.stderr;
    assert!(text.contains("--token-url is required") && text.contains("--client-id is required"), "{text}");
    assert!(!text.contains("token_url") && !text.contains("client_id"), "{text}");
}

async fn an_empty_secret_file_is_refused(app: TestApp) {
    let file = app.database.folder.path().join("empty");
    std::fs::write(&file, "\n").unwrap();
    let file = file.display().to_string();
    let refused = command(&app, &["add", "github", "--client-id", "id", "--client-secret-file", &file]).await;
    assert!(refused.expect_refusal().contains("no client secret"), "{refused:?}");
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), json!([]));
}

/// Registers a server that has everything; what it answers to a made-up code is open.
async fn server(app: &TestApp, answer: Reply) -> AuthorizationServer {
    let server = AuthorizationServer::silent().await;
    let body = json!({
        "provider_id": "acme", "name": "Acme", "client_id": "the-client", "client_secret": SECRET,
        "auth_url": server.at("/authorize"), "token_url": server.at("/token"),
        "revocation_url": server.at("/revoke"), "userinfo_url": server.at("/me"),
    });
    app.register_as(body).await;
    server.answer("/authorize", Reply::text("text/html", "<p>Sign in</p>").status(302).header("location", "/login"));
    server.answer_token(answer);
    server.answer_revocation(Reply::json(json!({})));
    server.answer("/me", Reply::json(json!({"error": "invalid_token"})).status(401));
    server
}

fn error(status: u16, code: &str) -> Reply {
    Reply::json(json!({"error": code})).status(status)
}

#[track_caller]
fn line<'f>(checked: &'f Finished, of: &str) -> &'f str {
    checked.stdout.lines().find(|line| line.contains(&format!("{of}:"))).unwrap_or_else(|| panic!("{checked:?}"))
}

async fn a_provider_in_order_passes_the_check(app: TestApp) {
    let server = server(&app, error(400, "invalid_grant")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.status.success(), "{checked:?}");
    for of in ["authorization endpoint", "token endpoint", "revocation endpoint", "userinfo endpoint"] {
        assert!(line(&checked, of).starts_with("right"), "{checked:?}");
    }
    assert!(line(&checked, "redirect URI").contains("https://broker.example/host-oauth-callback/acme"));
    let tried = server.take_requests(TOKEN);
    assert_eq!(tried[0].value("grant_type").unwrap(), "authorization_code");
    assert_eq!(tried[0].value("client_secret").unwrap(), SECRET);
}

async fn a_wrong_client_secret_is_found(app: TestApp) {
    let _server = server(&app, error(401, "invalid_client")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(checked.expect_refusal().contains("1 of 4"), "{checked:?}");
    let token = line(&checked, "token endpoint");
    assert!(token.starts_with("wrong") && token.contains("client_secret"), "{token}");
    assert!(line(&checked, "authorization endpoint").starts_with("right"));
}

async fn wrong_addresses_are_found(app: TestApp) {
    let server = AuthorizationServer::silent().await;
    let provider = json!({
        "provider_id": "acme", "name": "Acme", "client_id": "c", "client_secret": SECRET,
        "auth_url": server.at("/nowhere"), "token_url": server.at("/neither"), "revocation_url": server.at("/nor"),
    });
    app.register_as(provider).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.expect_refusal().contains("3 of 3"), "{checked:?}");
    for (of, field) in [("authorization", "auth_url"), ("token", "token_url"), ("revocation", "revocation_url")] {
        let line = line(&checked, &format!("{of} endpoint"));
        assert!(line.starts_with("wrong") && line.contains(field), "{line}");
    }
    drop(server);
    assert!(line(&command(&app, &["check", "acme"]).await, "token endpoint").contains("no connection"));
    assert!(command(&app, &["check", "nobody"]).await.expect_refusal().contains("nobody"));
}

async fn a_refused_address_is_found(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let mut environment = app.database.environment();
    environment.retain(|(name, _)| name != "AGENT_AUTH_ALLOW_PRIVATE_UPSTREAMS");
    let checked = run(&["provider", "check", "acme"], &environment).await;
    assert!(checked.expect_refusal().contains("2 of 2"), "{checked:?}");
    assert!(line(&checked, "token endpoint").contains("ALLOW_PRIVATE_UPSTREAMS"), "{checked:?}");
    assert!(provider.token_requests().is_empty());
}

async fn a_redirect_uri_that_is_not_registered_is_found(app: TestApp) {
    let _server = server(&app, error(200, "redirect_uri_mismatch")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.expect_refusal().contains("1 of 4"), "{checked:?}");
    assert!(line(&checked, "token endpoint").contains("not registered"), "{checked:?}");
}

async fn what_cannot_be_told_is_not_called_wrong(app: TestApp) {
    let _server = server(&app, error(400, "invalid_request")).await;
    let checked = command(&app, &["check", "acme"]).await;
    assert!(checked.status.success(), "{checked:?}");
    assert!(line(&checked, "token endpoint").starts_with("unclear"), "{checked:?}");
}

async fn checking_tells_no_secret(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.patch("/v2/auth/providers/acme", &json!({"client_secret": SECRET})).await.expect(200);
    let checked = command(&app, &["check", "acme"]).await;
    assert!(!format!("{checked:?}").contains(SECRET) && !checked.stdout.contains("state="), "{checked:?}");
}
