//! The forms of the console: what each does, and which are refused.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Operator, at, connected, events, newest_token};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::browser::{hidden, post_form};
use crate::support::caller::{asking, with};

both_databases! {
    a_form_without_the_token_of_its_session_changes_nothing,
    a_form_of_another_site_changes_nothing,
    a_viewer_sees_and_cannot_change,
    a_connection_is_refreshed_at_once,
    a_failed_refresh_keeps_the_grant_and_says_so,
    a_token_without_a_refresh_token_cannot_be_refreshed_and_is_kept,
    a_connection_is_labelled_and_made_the_default,
    a_connection_is_revoked_after_a_confirmation,
    many_connections_are_revoked_after_one_confirmation,
    what_could_not_be_revoked_is_named,
    one_form_revokes_no_more_than_a_hundred,
    a_provider_is_added_from_the_catalogue_checked_and_deleted,
    a_wrong_form_for_a_provider_is_shown_again_without_the_secret,
    a_key_is_created_shown_once_and_revoked,
    a_wrong_form_for_a_key_says_what_is_wrong,
    a_key_is_never_less_strict_than_the_one_that_makes_it,
}

/// Every form that changes something, with the fields that it takes.
fn forms<'t>(token: &'t str, key: &str) -> Vec<(String, Vec<(&'static str, &'t str)>)> {
    vec![
        (format!("/connections/{token}"), vec![("action", "refresh")]),
        (format!("/connections/{token}"), vec![("action", "default")]),
        (format!("/connections/{token}"), vec![("action", "label"), ("label", "Mine")]),
        (format!("/connections/{token}/revoke"), vec![]),
        ("/connections/revoke".to_owned(), vec![("token", token)]),
        ("/providers/acme".to_owned(), vec![]),
        ("/providers/acme/edit".to_owned(), vec![("name", "Renamed")]),
        ("/providers/acme/try".to_owned(), vec![("user", "x"), ("scopes", "read")]),
        ("/tried".to_owned(), vec![("auth_id", token), ("reference", "x")]),
        ("/providers/acme/delete".to_owned(), vec![]),
        ("/add-provider".to_owned(), vec![("template", "github"), ("provider_id", "github"), ("client_id", "x")]),
        ("/add-mcp".to_owned(), vec![("url", "https://mcp.example/mcp")]),
        ("/keys".to_owned(), vec![("name", "x"), ("role", "admin")]),
        (format!("/keys/{key}/revoke"), vec![]),
        ("/audit/verify".to_owned(), vec![]),
    ]
}

/// What the forms could have changed.
async fn everything(app: &TestApp) -> Value {
    let counts = app.database.row_counts().await;
    let tables =
        ["tokens", "providers", "api_keys", "revocations", "authorization_requests"].map(|table| counts[table]);
    json!([app.get("/v2/auth/providers").await.expect(200), app.get("/v2/admin/tokens").await.expect(200), tables])
}

async fn key_id(app: &TestApp) -> String {
    events(app, "api_key.created").await[0]["details"]["api_key_id"].as_str().unwrap().to_owned()
}

async fn a_form_without_the_token_of_its_session_changes_nothing(app: TestApp) {
    let provider = connected(&app).await;
    let (operator, other) = (Operator::admin(&app).await, Operator::admin(&app).await);
    let of_other = hidden(&other.page("").await, "form_token");
    let (token, key) = (newest_token(&app).await, key_id(&app).await);
    let before = everything(&app).await;
    for (path, fields) in forms(&token, &key).into_iter().chain([("/sign-out".to_owned(), vec![])]) {
        for wrong in [None, Some(""), Some("x"), Some(&*of_other)] {
            let fields = [wrong.map(|wrong| ("form_token", wrong)).as_slice(), &fields].concat();
            operator.send(&at(&path), &fields).await.expect_html(403);
        }
    }
    assert_eq!(everything(&app).await, before);
    assert!(provider.refreshes().is_empty() && provider.revocations().is_empty());
    operator.page("").await;
}

async fn a_form_of_another_site_changes_nothing(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    let form_token = hidden(&operator.page("").await, "form_token");
    let (token, key) = (newest_token(&app).await, key_id(&app).await);
    let before = everything(&app).await;
    let cookies = operator.cookies();
    let cookie: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let browser = app.browser().with("cookie", &cookie.join("; "));
    for (path, fields) in forms(&token, &key) {
        // Even with the right token.
        let fields = [&[("form_token", &*form_token)][..], &fields].concat();
        for caller in [
            browser.clone(),
            browser.with("sec-fetch-site", "cross-site"),
            browser.with("sec-fetch-site", "same-site"),
            browser.with("origin", "https://evil.example"),
        ] {
            post_form(&caller, &at(&path), &fields).await.expect_html(403);
        }
    }
    assert_eq!(everything(&app).await, before);
}

async fn a_viewer_sees_and_cannot_change(app: TestApp) {
    let provider = connected(&app).await;
    let key = app.new_key(&["--role", "viewer"]).await.key();
    let viewer = Operator::new(&app, &key).await;
    let (token, key) = (newest_token(&app).await, key_id(&app).await);
    let before = everything(&app).await;
    for (path, fields) in forms(&token, &key) {
        let page = viewer.submit(&path, &fields).await.expect_html(403);
        assert!(page.contains("role admin"), "{page}");
    }
    assert_eq!(everything(&app).await, before);
    assert!(provider.refreshes().is_empty() && provider.revocations().is_empty());
    for path in ["", "/connections", "/requests", "/providers", "/providers/acme", "/keys", "/settings"] {
        let page = viewer.page(path).await;
        let forms = page.matches("<form").count() - page.matches("<form class=\"filters\" method=\"get\"").count();
        assert_eq!(forms, 1, "{path}: only the one that signs out: {page}");
    }
    for path in [format!("/connections/{token}"), format!("/connections/revoke?token={token}")] {
        let page = viewer.page(&path).await;
        assert!(page.contains("alice") && page.matches("<form").count() == 1, "{page}");
    }
    for path in ["/audit", "/audit/export", "/add-provider", "/providers/acme/delete"] {
        viewer.open(&at(path)).await.expect_html(403);
    }
}

async fn a_connection_is_refreshed_at_once(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let token = newest_token(&app).await;
    let page = operator.done(&format!("/connections/{token}"), &[("action", "refresh")]).await;
    assert!(page.contains("The token was refreshed.") && page.contains("Last refreshed"), "{page}");
    assert_eq!(provider.refreshes().len(), 1);
    let event = &events(&app, "token.refreshed").await[0];
    assert_eq!((&event["actor"], &event["token_id"]), (&json!("console_user"), &json!(token)));
}

async fn a_failed_refresh_keeps_the_grant_and_says_so(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let token = newest_token(&app).await;
    let path = format!("/connections/{token}");
    provider.answer_token(Reply::text("text/plain", "").status(503).header("retry-after", "7"));
    let page = operator.done(&path, &[("action", "refresh")]).await;
    assert!(page.contains("The grant is kept") && page.contains("The last refresh failed"), "{page}");
    let overview = operator.page("").await;
    assert!(overview.contains("alice at acme: Failing"), "{overview}");
    app.advance(60);
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    let page = operator.done(&path, &[("action", "refresh")]).await;
    assert!(page.contains("The person has to consent again") && page.contains("Needs consent"), "{page}");
    let page = operator.done(&path, &[("action", "refresh")]).await;
    assert!(page.contains("The person has to consent again"), "{page}");
}

async fn a_token_without_a_refresh_token_cannot_be_refreshed_and_is_kept(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    provider.answer_token(Reply::json(json!({"access_token": "a", "expires_in": 3600})));
    app.connect(&provider, &asking("alice", &["read"])).await;
    let operator = Operator::admin(&app).await;
    let path = format!("/connections/{}", newest_token(&app).await);
    assert!(!operator.page(&path).await.contains("Refresh now"));
    let page = operator.submit(&path, &[("action", "refresh")]).await.expect_html(409);
    assert!(page.contains("cannot be refreshed"), "{page}");
    assert_eq!(app.get("/v2/admin/tokens").await.expect(200)["data"][0]["state"], "active");
}

async fn a_connection_is_labelled_and_made_the_default(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    let path = format!("/connections/{}", newest_token(&app).await);
    let page = operator.done(&path, &[("action", "label"), ("label", "  Ada's account ")]).await;
    assert!(page.contains("Saved.") && page.contains("value=\"Ada&#39;s account\""), "{page}");
    let token = async || app.get("/v2/admin/tokens").await.expect(200)["data"][0].clone();
    assert_eq!(token().await["provider_account_label"], "Ada's account");
    operator.done(&path, &[("action", "label"), ("label", "")]).await;
    assert_eq!(token().await["provider_account_label"], Value::Null);
    operator.submit(&path, &[("action", "label"), ("label", &"x".repeat(257))]).await.expect_html(422);
    operator.submit(&path, &[("action", "other")]).await.expect_html(400);
    operator.done(&path, &[("action", "default")]).await;
    assert_eq!(token().await["is_default"], true);
    let unknown = format!("/connections/{}", Uuid::now_v7());
    operator.submit(&unknown, &[("action", "default")]).await.expect_html(404);
    assert_eq!(events(&app, "token.changed").await[0]["actor"], "console_user");
}

async fn a_connection_is_revoked_after_a_confirmation(app: TestApp) {
    let provider = connected(&app).await;
    let operator = Operator::admin(&app).await;
    let path = format!("/connections/{}", newest_token(&app).await);
    assert!(operator.page(&path).await.contains(&format!("href=\"/console{path}/revoke\"")));
    let question = operator.page(&format!("{path}/revoke")).await;
    assert!(question.contains("alice") && question.contains("acme"), "it says what would end: {question}");
    assert_eq!(provider.revocations().len(), 0, "a look ends nothing");
    let page = operator.done(&format!("{path}/revoke"), &[]).await;
    assert!(
        page.contains("its grant is revoked at the provider") && page.contains("Nobody is connected yet"),
        "{page}"
    );
    assert!(!provider.revocations().is_empty());
    let page = operator.done(&format!("{path}/revoke"), &[]).await;
    assert!(page.contains("It was gone already."), "{page}");
    assert_eq!(events(&app, "token.deleted").await[0]["actor"], "console_user");
}

/// The ids of all tokens, newest first.
async fn all_tokens(app: &TestApp) -> Vec<String> {
    let tokens = app.get("/v2/admin/tokens").await.expect(200);
    tokens["data"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect()
}

async fn many_connections_are_revoked_after_one_confirmation(app: TestApp) {
    let provider = connected(&app).await;
    for user in ["bob", "carol"] {
        app.connect(&provider, &asking(user, &["read"])).await;
    }
    let operator = Operator::admin(&app).await;
    let [carol, bob, alice] = all_tokens(&app).await.try_into().unwrap();
    let list = operator.page("/connections").await;
    assert_eq!(list.matches("type=\"checkbox\"").count(), 3);
    assert!(list.contains("Choose bob at acme"), "each box has a name: {list}");
    let question = operator.page(&format!("/connections/revoke?token={alice}&token={bob}&token={bob}")).await;
    assert!(question.contains(">alice<") && question.contains(">bob<") && !question.contains("carol"), "{question}");
    assert!(question.contains("2 tokens are deleted") && question.contains(">Revoke 2<"), "{question}");
    assert_eq!(provider.revocations().len(), 0, "a look ends nothing");
    let gone = Uuid::now_v7().to_string();
    let fields = [("token", &*alice), ("token", &bob), ("token", &gone), ("token", "no id")];
    let page = operator.submit("/connections/revoke", &fields).await.expect_html(200);
    assert!(page.contains("<strong>2</strong> deleted and revoked at the provider"), "{page}");
    assert!(page.contains("<strong>2</strong> gone already"), "{page}");
    assert_eq!(all_tokens(&app).await, [carol]);
    assert!(provider.revocations().len() >= 2);
    let deleted = events(&app, "token.deleted").await;
    assert!(deleted.len() == 2 && deleted.iter().all(|event| event["actor"] == "console_user"), "{deleted:?}");
    let question = operator.page(&format!("/connections/revoke?token={alice}&token=x")).await;
    assert!(question.contains("2 of those that were chosen are gone") && question.contains("nothing to revoke"));
    let answer = operator.open(&at("/connections/revoke")).await;
    assert_eq!(answer.header("location"), "/console/connections?done=none-chosen");
    assert!(operator.page("/connections?done=none-chosen").await.contains("Nothing was chosen."));
}

async fn what_could_not_be_revoked_is_named(app: TestApp) {
    let provider = connected(&app).await;
    app.register_as(with(provider.definition("other"), json!({"name": "Other Inc."}))).await;
    app.connect(&provider, &with(asking("bob", &["read"]), json!({"provider": "other"}))).await;
    let operator = Operator::admin(&app).await;
    let tokens = all_tokens(&app).await;
    // `other` has no revocation endpoint.
    let fields: Vec<_> = tokens.iter().map(|token| ("token", token.as_str())).collect();
    let page = operator.submit("/connections/revoke", &fields).await.expect_html(200);
    assert!(page.contains("<strong>1</strong> deleted and revoked at the provider"), "{page}");
    assert!(page.contains("<strong>1</strong> deleted, and not revocable") && page.contains("bob at other"), "{page}");
    assert!(all_tokens(&app).await.is_empty());
}

async fn one_form_revokes_no_more_than_a_hundred(app: TestApp) {
    connected(&app).await;
    let operator = Operator::admin(&app).await;
    let token = newest_token(&app).await;
    let others: Vec<String> = (0..100).map(|_| Uuid::now_v7().to_string()).collect();
    let fields: Vec<_> = others.iter().chain([&token]).map(|id| ("token", id.as_str())).collect();
    let page = operator.submit("/connections/revoke", &fields).await.expect_html(400);
    assert!(page.contains("at most 100"), "{page}");
    assert!(all_tokens(&app).await.contains(&token));
    let page = operator.submit("/connections/revoke", &fields[1..]).await.expect_html(200);
    assert!(page.contains("<strong>99</strong> gone already"), "{page}");
    assert!(all_tokens(&app).await.is_empty());
}

async fn a_provider_is_added_from_the_catalogue_checked_and_deleted(app: TestApp) {
    let operator = Operator::admin(&app).await;
    let found = operator.page("/add-provider?search=accounting").await;
    assert!(found.contains("Xero") && !found.contains(">GitHub "), "{found}");
    let form = operator.page("/add-provider?template=github").await;
    assert!(form.contains("https://github.com/settings/developers"), "the steps: {form}");
    assert!(form.contains("value=\"https://broker.example/host-oauth-callback/github\" readonly"), "{form}");
    let fields = [
        ("template", "github"),
        ("provider_id", "github"),
        ("client_id", "Iv1.abc"),
        ("client_secret", "github-secret-77"),
        ("scopes", "repo, read:user"),
    ];
    let page = operator.done("/add-provider", &fields).await;
    assert!(page.contains("The provider was added.") && page.contains("Iv1.abc"), "{page}");
    assert!(page.contains("https://broker.example/host-oauth-callback/github"), "{page}");
    assert!(!page.contains("github-secret-77"));
    let record = app.get("/v2/auth/providers/github").await.expect(200);
    assert_eq!((&record["template"], &record["default_scopes"]), (&json!("github"), &json!(["repo", "read:user"])));
    assert_eq!(events(&app, "provider.created").await[0]["actor"], "console_user");
    // The same id again.
    let again = operator.submit("/add-provider", &fields).await.expect_html(409);
    assert!(again.contains("role=\"alert\"") && !again.contains("github-secret-77"), "{again}");

    let provider = connected(&app).await;
    let checked = operator.submit("/providers/acme", &[]).await.expect_html(200);
    assert!(checked.contains("Checked just now") && checked.contains("token"), "{checked}");
    let question = operator.page("/providers/acme/delete").await;
    assert!(question.contains("1 connection<"), "it says what goes with it: {question}");
    let page = operator.done("/providers/acme/delete", &[]).await;
    assert!(page.contains("The provider was deleted with its tokens"), "{page}");
    assert!(!provider.revocations().is_empty());
    app.get("/v2/auth/providers/acme").await.expect_error(404, "not_found");
    operator.open(&at("/providers/acme")).await.expect_html(404);
}

async fn a_wrong_form_for_a_provider_is_shown_again_without_the_secret(app: TestApp) {
    let operator = Operator::admin(&app).await;
    let fields = [
        ("template", "microsoft"),
        ("provider_id", "no such id!"),
        ("client_id", "my-client"),
        ("client_secret", "secret-77"),
        ("param_tenant", "a/b"),
    ];
    let page = operator.submit("/add-provider", &fields).await.expect_html(422);
    assert!(page.contains("provider_id") && page.contains("value=\"my-client\""), "{page}");
    assert!(page.contains("value=\"no such id!\"") && page.contains("value=\"a/b\"") && !page.contains("secret-77"));
    operator.submit("/add-provider", &[("template", "nowhere")]).await.expect_html(404);
    assert!(app.get("/v2/auth/providers").await.expect(200).as_array().unwrap().is_empty());
}

async fn a_key_is_created_shown_once_and_revoked(app: TestApp) {
    let operator = Operator::admin(&app).await;
    let fields = [
        ("name", "support-bot"),
        ("role", "agent"),
        ("days", "30"),
        ("only_providers", "acme, github"),
        ("only_users", "alice"),
    ];
    let page = operator.submit("/keys", &fields).await.expect_html(200);
    let key = page.split_once("value=\"aauth_").unwrap().1.split('"').next().unwrap();
    let key = SecretString::from(format!("aauth_{key}"));
    let bot = app.with_key(key.expose_secret());
    bot.acting_for("alice").get("/v2/auth/tokens").await.expect(200);
    bot.acting_for("bob").get("/v2/auth/tokens").await.expect_error(403, "outside_key_limits");
    bot.delete("/v2/auth/tokens?provider_id=acme").await.expect_error(403, "forbidden");

    let list = operator.page("/keys").await;
    assert!(!list.contains(key.expose_secret()), "it was shown once");
    assert!(list.contains("support-bot") && list.contains("only the providers acme, github"), "{list}");
    let created = &events(&app, "api_key.created").await[0];
    assert_eq!(
        (&created["actor"], &created["details"]["api_key_name"]),
        (&json!("console_user"), &json!("support-bot"))
    );
    let id = created["details"]["api_key_id"].as_str().unwrap();
    assert!(operator.page(&format!("/keys/{id}/revoke")).await.contains("support-bot"));
    operator.done(&format!("/keys/{id}/revoke"), &[]).await;
    assert_eq!(events(&app, "api_key.revoked").await[0]["actor"], "console_user");
    let page = operator.done(&format!("/keys/{id}/revoke"), &[]).await;
    assert!(page.contains("It was gone already."), "{page}");
    assert!(operator.page("/keys").await.contains(">Revoked<"));
    operator.open(&at("/keys/no-id/revoke")).await.expect_html(404);
}

async fn a_wrong_form_for_a_key_says_what_is_wrong(app: TestApp) {
    let operator = Operator::admin(&app).await;
    let right = [("name", "x"), ("role", "agent")];
    for (field, value) in [
        ("name", ""),
        ("role", "owner"),
        ("days", "0"),
        ("days", "soon"),
        ("only_providers", "../x"),
        ("user", "bob\u{7}"),
    ] {
        let fields = [&right[..], &[("only_users", "alice")]].concat();
        let mut fields: Vec<_> = fields.into_iter().filter(|(name, _)| *name != field).collect();
        fields.push((field, value));
        let page = operator.submit("/keys", &fields).await.expect_html(422);
        assert!(page.contains(field), "{field}: {page}");
    }
    let outside = [&right[..], &[("user", "bob"), ("only_users", "alice")]].concat();
    assert!(operator.submit("/keys", &outside).await.expect_html(422).contains("outside its limits"));
    assert_eq!(app.database.row_counts().await["api_keys"], 1);
}

async fn a_key_is_never_less_strict_than_the_one_that_makes_it(app: TestApp) {
    let strict = app.new_key(&["--role", "admin", "--consent", "verify"]).await.key();
    let operator = Operator::new(&app, &strict).await;
    operator.submit("/keys", &[("name", "made"), ("role", "admin")]).await.expect_html(200);
    let page = operator.page("/keys").await;
    assert_eq!(page.matches("consent verify").count(), 2, "{page}");
    let limited = app.new_key(&["--role", "admin", "--only-user", "alice"]).await.key();
    let limited = Operator::new(&app, &limited).await;
    limited.submit("/keys", &[("name", "made"), ("role", "admin")]).await.expect_html(403);
    limited.open(&at("/keys")).await.expect_html(403);
}
