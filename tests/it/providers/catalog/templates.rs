//! Templates of the catalogue over HTTP, the operator's own file, and providers recognised without a template.
//! Covers precedence between body and template, and how mistakes are named.

use serde_json::{Value, json};

use super::flows::start;
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::binary::run;
use crate::support::both_databases;
use crate::support::caller::{acme, with, without};
use crate::support::database::Database;

both_databases! {
    a_template_says_what_the_body_does_not,
    the_body_counts_more_than_the_template,
    a_missing_placeholder_is_asked_for_by_name,
    a_value_that_would_lead_elsewhere_is_refused,
    an_unknown_template_tells_the_near_names_and_nothing_else,
    values_without_a_template_are_refused,
    without_a_template_the_published_fields_stay_required,
    an_operators_file_adds_and_overrides,
    an_operators_address_is_guarded_like_any_other,
    a_broken_file_is_refused_at_start_in_one_line,
    a_known_token_endpoint_brings_its_habits_along,
    a_known_type_brings_its_habits_along_but_no_address,
    what_the_body_says_counts_more_than_habits,
    swapped_endpoints_are_told,
    placeholders_left_in_a_url_are_told,
    plain_http_is_told,
    the_further_fields_are_kept_shown_and_changed,
    the_further_fields_are_checked,
    a_template_can_be_taken_over_later,
}

async fn create(app: &TestApp, body: &Value) -> Answer {
    app.post("/v2/auth/providers", body).await
}

fn of_template(template: &str) -> Value {
    json!({"provider_id": "acme", "client_id": "c", "client_secret": "s", "template": template})
}

fn at(token_url: &str) -> Value {
    with(acme(), json!({"token_url": token_url, "client_secret": "s"}))
}

async fn a_template_says_what_the_body_does_not(app: TestApp) {
    let made = create(&app, &of_template("figma")).await.expect(200);
    for (field, value) in [
        ("template", json!("figma")),
        ("name", json!("Figma")),
        ("token_url", json!("https://api.figma.com/v1/oauth/token")),
        ("refresh_url", json!("https://api.figma.com/v1/oauth/refresh")),
        ("scope_separator", json!(",")),
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("uses_pkce", json!(false)),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(app.get("/v2/auth/providers/acme").await.expect(200)["refresh_url"], made["refresh_url"]);
}

async fn the_body_counts_more_than_the_template(app: TestApp) {
    let own = json!({
        "name": "Ours",
        "token_url": "https://proxy.example/token",
        "uses_pkce": false,
        "token_endpoint_auth_method": "client_secret_basic",
        "authorization_params": {"prompt": "select_account"},
        "scope_separator": " ",
    });
    let made = create(&app, &with(of_template("google"), own.clone())).await.expect(200);
    for field in ["name", "token_url", "uses_pkce", "token_endpoint_auth_method", "scope_separator"] {
        assert_eq!(made[field], own[field], "{field}");
    }
    assert_eq!(made["authorization_params"], json!({"access_type": "offline", "prompt": "select_account"}));
    assert_eq!(made["auth_url"], "https://accounts.google.com/o/oauth2/v2/auth");
}

async fn a_missing_placeholder_is_asked_for_by_name(app: TestApp) {
    let answer = create(&app, &of_template("microsoft")).await;
    answer.expect_fault("body.template_params.tenant", "missing");
    let filled = with(of_template("microsoft"), json!({"template_params": {"tenant": "common"}}));
    let made = create(&app, &filled).await.expect(200);
    assert_eq!(made["token_url"], "https://login.microsoftonline.com/common/oauth2/v2.0/token");
    assert_eq!(made["provider_type"], "microsoft");
}

async fn a_value_that_would_lead_elsewhere_is_refused(app: TestApp) {
    for value in ["evil.example/", "x@evil.example", "a b", "../x", "x?y", "x#y"] {
        let body = with(of_template("shopify"), json!({"template_params": {"shop": value}}));
        create(&app, &body).await.expect_fault("body.template_params.shop", "string_pattern_mismatch");
    }
    let superfluous = with(of_template("github"), json!({"template_params": {"shop": "x"}}));
    create(&app, &superfluous).await.expect_fault("body.template_params.[key]", "extra_forbidden");
}

async fn an_unknown_template_tells_the_near_names_and_nothing_else(app: TestApp) {
    let answer = create(&app, &of_template("githbu")).await;
    answer.expect_fault("body.template", "value_error");
    assert!(answer.text().contains("github") && !answer.text().contains("githbu"), "{}", answer.text());
}

async fn values_without_a_template_are_refused(app: TestApp) {
    let body = with(acme(), json!({"template_params": {"tenant": "x"}}));
    create(&app, &body).await.expect_fault("body.template", "missing");
}

async fn without_a_template_the_published_fields_stay_required(app: TestApp) {
    for field in ["name", "auth_url", "token_url"] {
        create(&app, &without(acme(), field)).await.expect_fault(&format!("body.{field}"), "missing");
    }
    create(&app, &without(of_template("github"), "client_id")).await.expect_fault("body.client_id", "missing");
}

const OWN: &str = r#"
[intranet]
display_name = "Intranet"
auth_url = "https://sso.{domain}/authorize"
token_url = "https://sso.{domain}/token"
pkce = true
default_scopes = ["profile"]
params = { domain = "the domain" }
console = "https://sso.acme.example/apps"
steps = ["Enter {redirect_uri}"]

[github]
display_name = "GitHub of ours"
"#;

async fn app_with(database: Database, catalogue: &str) -> TestApp {
    let file = database.folder.path().join("own.toml");
    std::fs::write(&file, catalogue).unwrap();
    TestApp::start_with(database, |settings| settings.catalog_file = Some(file)).await
}

async fn an_operators_file_adds_and_overrides(database: Database) {
    let app = app_with(database, OWN).await;
    let body = with(of_template("intranet"), json!({"template_params": {"domain": "acme.example"}}));
    let made = create(&app, &body).await.expect(200);
    assert_eq!((&made["token_url"], &made["uses_pkce"]), (&json!("https://sso.acme.example/token"), &json!(true)));
    let pending = app.begin(&json!({"provider": "acme", "scopes": [], "user_id": "alice"})).await;
    assert_eq!(pending.parameter("scope").as_deref(), Some("profile"));
    let github = create(&app, &with(of_template("github"), json!({"provider_id": "github"}))).await.expect(200);
    assert_eq!(github["name"], "GitHub of ours");
    assert_eq!(github["token_url"], "https://github.com/login/oauth/access_token", "the rest is as it was");
}

async fn an_operators_address_is_guarded_like_any_other(database: Database) {
    let file = database.folder.path().join("own.toml");
    std::fs::write(&file, "[figma]\nrefresh_url = \"http://127.0.0.1:1/refresh\"\n").unwrap();
    let app = TestApp::start_with(database, |settings| {
        settings.catalog_file = Some(file);
        settings.allow_private_upstreams = "false".into();
    });
    create(&app.await, &of_template("figma")).await.expect_fault_at("body.refresh_url");
}

async fn a_broken_file_is_refused_at_start_in_one_line(database: Database) {
    let file = database.folder.path().join("own.toml");
    let mut environment = database.environment();
    environment.push(("AGENT_AUTH_CATALOG_FILE".into(), file.display().to_string()));
    for (text, named) in [("[github\n", "line 1"), ("[github]\npcke = true\n", "pcke"), ("[acme]\n", "[acme]")] {
        std::fs::write(&file, text).unwrap();
        for arguments in [&["serve"][..], &["provider", "catalog"]] {
            let refused = run(arguments, &environment).await;
            let line = refused.expect_refusal();
            assert!(line.contains("AGENT_AUTH_CATALOG_FILE") && line.contains(named), "{line}");
        }
    }
}

async fn a_known_token_endpoint_brings_its_habits_along(app: TestApp) {
    for (number, (token_url, field, value)) in [
        ("https://api.figma.com/v1/oauth/token", "refresh_url", json!("https://api.figma.com/v1/oauth/refresh")),
        ("https://api.figma.com/v1/oauth/token", "scope_separator", json!(",")),
        ("https://api.notion.com/v1/oauth/token", "token_format", json!("json")),
        ("https://api.notion.com/v1/oauth/token", "token_endpoint_auth_method", json!("client_secret_basic")),
        ("https://api.linear.app/oauth/token", "scope_separator", json!(",")),
        ("https://slack.com/api/oauth.v2.access", "scope_separator", json!(",")),
        ("https://auth.atlassian.com/oauth/token", "always_scopes", json!(["offline_access"])),
        ("https://api.dropboxapi.com/oauth2/token", "authorization_params", json!({"token_access_type": "offline"})),
        ("https://www.reddit.com/api/v1/access_token", "authorization_params", json!({"duration": "permanent"})),
        ("https://unknown.example/token", "scope_separator", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let body = with(at(token_url), json!({"provider_id": format!("p{number}")}));
        let made = create(&app, &body).await.expect(200);
        assert_eq!(made[field], value, "{token_url}: {field}");
        // The published fields are as they were asked for.
        for field in ["uses_pkce", "provider_type", "name", "auth_url", "token_url", "revocation_url", "template"] {
            let said =
                body.get(field).cloned().unwrap_or(if field == "uses_pkce" { json!(false) } else { Value::Null });
            assert_eq!(made[field], said, "{token_url}: {field}");
        }
    }
}

async fn a_known_type_brings_its_habits_along_but_no_address(app: TestApp) {
    let made = create(&app, &with(at("https://proxy.example/token"), json!({"provider_type": "x"}))).await.expect(200);
    assert_eq!(made["always_scopes"], json!(["offline.access"]));
    assert_eq!(made["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!((&made["revocation_url"], &made["refresh_url"]), (&Value::Null, &Value::Null));
}

async fn what_the_body_says_counts_more_than_habits(app: TestApp) {
    let own = json!({
        "token_endpoint_auth_method": "client_secret_post",
        "token_format": "form",
        "authorization_params": {"owner": "workspace"},
    });
    let made = create(&app, &with(at("https://api.notion.com/v1/oauth/token"), own.clone())).await.expect(200);
    for field in ["token_endpoint_auth_method", "token_format", "authorization_params"] {
        assert_eq!(made[field], own[field], "{field}");
    }
}

async fn swapped_endpoints_are_told(app: TestApp) {
    let swapped =
        json!({"auth_url": "https://a.example/oauth/token", "token_url": "https://a.example/oauth/authorize"});
    let answer = create(&app, &with(acme(), swapped.clone())).await;
    answer.expect_fault("body.auth_url", "value_error");
    assert!(answer.text().contains("swapped"), "{}", answer.text());
    create(&app, &acme()).await.expect(200);
    let answer = app.patch("/v2/auth/providers/acme", &swapped).await;
    answer.expect_fault("body.auth_url", "value_error");
}

async fn placeholders_left_in_a_url_are_told(app: TestApp) {
    for url in [
        "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
        "https://{shop}.myshopify.com/token",
        "https://login.example/<tenant>/token",
        "https://YOUR_DOMAIN.example/token",
    ] {
        let answer = create(&app, &at(url)).await;
        answer.expect_fault("body.token_url", "value_error");
        assert!(answer.text().contains("placeholder"), "{}", answer.text());
    }
}

async fn plain_http_is_told(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.allow_private_upstreams = "false".into()).await;
    let answer = create(&app, &at("http://accounts.example/token")).await;
    answer.expect_fault("body.token_url", "url_scheme");
    assert!(answer.text().contains("https://"), "{}", answer.text());
}

fn further() -> Value {
    json!({
        "refresh_url": "https://acme.example/refresh",
        "scope_separator": ",",
        "default_scopes": ["read"],
        "always_scopes": ["offline"],
        "resource": "https://api.acme.example/mcp",
        "omit_resource": true,
        "token_params": {"audience": "x"},
        "token_format": "json",
    })
}

async fn the_further_fields_are_kept_shown_and_changed(app: TestApp) {
    let made = create(&app, &with(acme(), further())).await.expect(200);
    let shown = app.get("/v2/auth/providers/acme").await.expect(200);
    for (field, value) in further().as_object().unwrap() {
        assert_eq!((&made[field], &shown[field]), (value, value), "{field}");
    }
    let change = json!({"scope_separator": " ", "always_scopes": [], "token_format": "form", "omit_resource": false});
    let changed = app.patch("/v2/auth/providers/acme", &change).await.expect(200);
    for (field, value) in with(further(), change).as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
}

async fn the_further_fields_are_checked(app: TestApp) {
    create(&app, &acme()).await.expect(200);
    for (field, value) in [
        ("refresh_url", json!("javascript:alert(1)")),
        ("scope_separator", json!("")),
        ("scope_separator", json!("and")),
        ("default_scopes", json!(["a b"])),
        ("always_scopes", json!("a")),
        ("resource", json!("no uri")),
        ("resource", json!("https://a.example/#f")),
        ("omit_resource", json!("yes")),
        ("token_params", json!({"a": 1})),
        ("token_format", json!("xml")),
        ("template", json!(7)),
    ] {
        let change = json!({field: value});
        create(&app, &with(acme(), change.clone())).await.expect_fault_at(&format!("body.{field}"));
        app.patch("/v2/auth/providers/acme", &change).await.expect_fault_at(&format!("body.{field}"));
    }
}

async fn a_template_can_be_taken_over_later(database: Database) {
    let (app, server) = start(database).await;
    create(&app, &with(acme(), json!({"resource": "https://api.acme.example"}))).await.expect(200);
    let change = json!({"template": "figma", "name": "Ours"});
    let changed = app.patch("/v2/auth/providers/acme", &change).await.expect(200);
    assert_eq!(changed["token_url"], server.at("/v1/oauth/token"));
    assert_eq!(changed["refresh_url"], server.at("/v1/oauth/refresh"));
    assert_eq!((&changed["name"], &changed["template"]), (&json!("Ours"), &json!("figma")));
    assert_eq!(changed["resource"], "https://api.acme.example", "what no template says stays");
    let slack = app.patch("/v2/auth/providers/acme", &json!({"template": "slack"})).await.expect(200);
    assert_eq!((&slack["provider_type"], &slack["refresh_url"]), (&json!("slack"), &Value::Null));
    let stored = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!(stored["provider_type"], "slack");
    let unfilled = app.patch("/v2/auth/providers/acme", &json!({"template": "microsoft"})).await;
    unfilled.expect_fault("body.template_params.tenant", "missing");
    assert_eq!(app.get("/v2/auth/providers/acme").await.expect(200), stored, "nothing of it was changed");
}
