//! Revocation requests to providers: RFC 7009, the providers that differ from it, and what each answer means.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{asking, with, without};

both_databases! {
    the_refresh_token_is_revoked_first_and_then_the_access_token,
    without_a_refresh_token_the_access_token_is_revoked,
    a_client_that_authenticates_in_the_header_does_so_here_too,
    a_public_client_names_itself,
    a_token_that_the_provider_does_not_know_counts_as_revoked,
    a_provider_that_takes_refresh_tokens_only_has_revoked_the_grant,
    a_provider_that_takes_access_tokens_only_has_revoked_the_grant,
    a_provider_that_takes_neither_has_revoked_nothing_and_is_left_alone,
    a_page_is_no_revocation,
    github_is_asked_to_delete_the_authorization,
    slack_is_asked_with_the_token_itself,
    what_slack_says_is_in_the_body,
    dropbox_is_asked_with_the_token_itself_and_no_body,
    facebook_is_asked_to_delete_the_permissions,
    zendesk_is_asked_to_delete_the_token_it_is_asked_with,
    shopify_is_asked_with_the_token_in_its_own_header,
    notion_is_asked_in_json_by_the_client,
    that_path_is_served_by_the_book_where_the_token_endpoint_takes_forms,
    stripe_is_asked_to_let_go_of_the_account,
    an_account_that_stripe_is_not_connected_to_is_let_go_already,
    stripe_is_not_asked_without_an_account,
    another_persons_token_of_the_same_account_is_spared,
    a_token_got_since_the_deletion_is_spared,
    a_dead_access_token_without_a_refresh_token_is_a_dead_grant,
    where_only_a_live_access_token_is_taken_one_is_asked_for_first,
    a_grant_that_cannot_be_renewed_any_more_counts_as_revoked,
}

const GITHUB: &str = "/applications/acme-client/grant";
const SLACK: &str = "/api/auth.revoke";
const DROPBOX: &str = "/2/auth/token/revoke";
const FACEBOOK: &str = "/v22.0/me/permissions";
const ZENDESK: &str = "/api/v2/oauth/tokens/current.json";
const SHOPIFY: &str = "/admin/api_permissions/current.json";
const NOTION: &str = "/v1/oauth/revoke";
const STRIPE: &str = "/oauth/deauthorize";

fn grant() -> Value {
    json!({"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 3600})
}

/// A token of `acme`, whose grants are revoked at `path`.
async fn granted(app: &TestApp, path: &str, client: Value, grant: Value) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    provider.revoke_at(path);
    let definition = with(provider.definition("acme"), json!({"revocation_url": provider.at(path)}));
    app.register_as(with(definition, client)).await;
    provider.answer_token(Reply::json(grant));
    app.connect(&provider, &asking("alice", &["read"])).await;
    provider
}

/// Deletes the token and says what was said about the provider: revoked there, and how many are queued.
async fn delete(app: &TestApp) -> (bool, u64) {
    let answer = app.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    assert!(app.tokens().await.is_empty(), "deleted here, whatever the provider says");
    (answer["upstream_revoked"].as_bool().unwrap(), answer["revocation_queued"].as_u64().unwrap())
}

const REVOKED: (bool, u64) = (true, 0);
const QUEUED: (bool, u64) = (false, 1);
const IMPOSSIBLE: (bool, u64) = (false, 0);

fn error(status: u16, code: &str) -> Reply {
    Reply::json(json!({"error": code})).status(status)
}

async fn the_refresh_token_is_revoked_first_and_then_the_access_token(app: TestApp) {
    let provider = granted(&app, "/revoke", json!({}), grant()).await;
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revocations();
    assert_eq!(provider.revoked("token"), ["refresh-1", "access-1"]);
    assert_eq!(provider.revoked("token_type_hint"), ["refresh_token", "access_token"]);
    for request in requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/revoke"));
        assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
        assert_eq!(request.value("client_id").unwrap(), "acme-client");
        assert_eq!(request.value("client_secret").unwrap(), "acme-client-secret-3f9a");
        assert_eq!(request.header("authorization"), "");
    }
    assert!(provider.refreshes().is_empty());
}

async fn without_a_refresh_token_the_access_token_is_revoked(app: TestApp) {
    let provider = granted(&app, "/revoke", json!({}), without(grant(), "refresh_token")).await;
    assert_eq!(delete(&app).await, REVOKED);
    assert_eq!(provider.revoked("token"), ["access-1"]);
}

async fn a_client_that_authenticates_in_the_header_does_so_here_too(app: TestApp) {
    let client = json!({"token_endpoint_auth_method": "client_secret_basic", "client_secret": "s3cret: &+/€"});
    let provider = granted(&app, "/revoke", client, grant()).await;
    assert_eq!(delete(&app).await, REVOKED);
    for request in provider.revoked_times(2).await {
        assert_eq!(request.raw_basic().unwrap(), "acme-client:s3cret%3A+%26%2B%2F%E2%82%AC");
        assert_eq!((request.value("client_id"), request.value("client_secret")), (None, None));
    }
}

async fn a_public_client_names_itself(app: TestApp) {
    let client = json!({"token_endpoint_auth_method": "none", "client_secret": null});
    let provider = granted(&app, "/revoke", client, grant()).await;
    assert_eq!(delete(&app).await, REVOKED);
    for request in provider.revoked_times(2).await {
        assert_eq!(request.value("client_id").unwrap(), "acme-client");
        assert_eq!((request.value("client_secret"), request.header("authorization")), (None, ""));
    }
}

async fn a_token_that_the_provider_does_not_know_counts_as_revoked(app: TestApp) {
    let provider = granted(&app, "/revoke", json!({}), grant()).await;
    provider.answer_revocation(error(400, "invalid_token"));
    provider.answer_revocation(error(400, "invalid_grant"));
    assert_eq!(delete(&app).await, REVOKED);
    provider.revoked_times(2).await;
}

async fn a_provider_that_takes_refresh_tokens_only_has_revoked_the_grant(app: TestApp) {
    for refused in
        [error(400, "unsupported_token_type"), error(400, "invalid_request"), Reply::json(json!({})).status(400)]
    {
        let provider = granted(&app, "/revoke", json!({}), grant()).await;
        provider.answer_revocation(Reply::json(json!({})));
        provider.answer_revocation(refused);
        assert_eq!(delete(&app).await, REVOKED);
        assert_eq!(provider.revoked("token"), ["refresh-1", "access-1"]);
        app.delete("/v2/auth/providers/acme").await.expect(200);
    }
}

async fn a_provider_that_takes_access_tokens_only_has_revoked_the_grant(app: TestApp) {
    let provider = granted(&app, "/revoke", json!({}), grant()).await;
    provider.answer_revocation(error(400, "unsupported_token_type"));
    assert_eq!(delete(&app).await, REVOKED);
    assert_eq!(provider.revoked("token"), ["refresh-1", "access-1"]);
}

async fn a_provider_that_takes_neither_has_revoked_nothing_and_is_left_alone(app: TestApp) {
    let provider = granted(&app, "/revoke", json!({}), grant()).await;
    provider.answer_revocation(error(400, "unsupported_token_type"));
    provider.answer_revocation(error(400, "unsupported_token_type"));
    assert_eq!(delete(&app).await, IMPOSSIBLE);
    assert_eq!(app.database.row_counts().await["revocations"], 0);
}

async fn a_page_is_no_revocation(app: TestApp) {
    let provider = granted(&app, "/revoke", json!({}), grant()).await;
    provider.answer_revocation(Reply::text("text/html", "\n<!doctype html><title>Sign in</title>"));
    assert_eq!(delete(&app).await, QUEUED);
}

async fn github_is_asked_to_delete_the_authorization(app: TestApp) {
    let provider = granted(&app, GITHUB, json!({}), without(grant(), "refresh_token")).await;
    provider.answer_revocation(Reply::text("", "").status(204));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("DELETE", GITHUB));
    assert_eq!(requests[0].raw_basic().unwrap(), "acme-client:acme-client-secret-3f9a");
    assert_eq!(requests[0].header("content-type"), "application/json");
    assert_eq!(serde_json::from_slice::<Value>(&requests[0].body).unwrap(), json!({"access_token": "access-1"}));
}

async fn slack_is_asked_with_the_token_itself(app: TestApp) {
    let provider = granted(&app, SLACK, json!({}), grant()).await;
    provider.answer_revocation(Reply::json(json!({"ok": true, "revoked": true})));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", SLACK));
    assert_eq!(requests[0].header("authorization"), "Bearer access-1");
    assert!(requests[0].body.is_empty());
}

async fn what_slack_says_is_in_the_body(app: TestApp) {
    for (code, outcome) in [
        ("token_revoked", REVOKED),
        ("account_inactive", REVOKED),
        ("invalid_auth", REVOKED),
        ("team_added_to_org", QUEUED),
        ("fatal_error", QUEUED),
    ] {
        let provider = granted(&app, SLACK, json!({}), without(grant(), "refresh_token")).await;
        provider.answer_revocation(Reply::json(json!({"ok": false, "error": code})));
        assert_eq!(delete(&app).await, outcome, "{code}");
        app.delete("/v2/auth/providers/acme").await.expect(200);
    }
}

async fn dropbox_is_asked_with_the_token_itself_and_no_body(app: TestApp) {
    let provider = granted(&app, DROPBOX, json!({}), grant()).await;
    provider.answer_revocation(Reply::text("application/json", "null"));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", DROPBOX));
    assert_eq!(requests[0].header("authorization"), "Bearer access-1");
    assert_eq!((requests[0].header("content-type"), requests[0].body.len()), ("", 0));
}

async fn facebook_is_asked_to_delete_the_permissions(app: TestApp) {
    let provider = granted(&app, FACEBOOK, json!({}), without(grant(), "refresh_token")).await;
    provider.answer_revocation(Reply::json(json!({"success": true})));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("DELETE", FACEBOOK));
    assert_eq!(requests[0].header("authorization"), "Bearer access-1");
}

async fn zendesk_is_asked_to_delete_the_token_it_is_asked_with(app: TestApp) {
    let provider = granted(&app, ZENDESK, json!({}), grant()).await;
    provider.answer_revocation(Reply::text("", "").status(204));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("DELETE", ZENDESK));
    assert_eq!(requests[0].header("authorization"), "Bearer access-1");
}

async fn shopify_is_asked_with_the_token_in_its_own_header(app: TestApp) {
    let provider = granted(&app, SHOPIFY, json!({}), grant()).await;
    provider.answer_revocation(Reply::json(json!({})));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("DELETE", SHOPIFY));
    assert_eq!(requests[0].header("x-shopify-access-token"), "access-1");
    assert_eq!((requests[0].header("authorization"), requests[0].body.len()), ("", 0));
}

fn in_json() -> Value {
    json!({"token_format": "json", "token_endpoint_auth_method": "client_secret_basic"})
}

async fn notion_is_asked_in_json_by_the_client(app: TestApp) {
    let provider = granted(&app, NOTION, in_json(), grant()).await;
    provider.answer_revocation(Reply::json(json!({"request_id": "5b8f0d0a"})));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", NOTION));
    assert_eq!(requests[0].raw_basic().unwrap(), "acme-client:acme-client-secret-3f9a");
    assert_eq!(requests[0].header("content-type"), "application/json");
    assert!(!requests[0].header("notion-version").is_empty());
    assert_eq!(serde_json::from_slice::<Value>(&requests[0].body).unwrap(), json!({"token": "access-1"}));
}

async fn that_path_is_served_by_the_book_where_the_token_endpoint_takes_forms(app: TestApp) {
    let provider = granted(&app, NOTION, json!({}), grant()).await;
    assert_eq!(delete(&app).await, REVOKED);
    assert_eq!(provider.revoked("token"), ["refresh-1", "access-1"]);
}

fn grant_of_account() -> Value {
    with(grant(), json!({"stripe_user_id": "acct_1"}))
}

async fn stripe_is_asked_to_let_go_of_the_account(app: TestApp) {
    let provider = granted(&app, STRIPE, json!({}), grant_of_account()).await;
    app.advance(3 * 3600);
    provider.answer_revocation(Reply::json(json!({"stripe_user_id": "acct_1"})));
    assert_eq!(delete(&app).await, REVOKED);
    let requests = provider.revoked_times(1).await;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", STRIPE));
    assert_eq!(requests[0].header("authorization"), "Bearer acme-client-secret-3f9a");
    assert_eq!(requests[0].header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(requests[0].body, "client_id=acme-client&stripe_user_id=acct_1", "no token goes there");
    assert!(provider.refreshes().is_empty());
}

async fn an_account_that_stripe_is_not_connected_to_is_let_go_already(app: TestApp) {
    let gone = "This application is not connected to stripe account acct_1, or that account does not exist.";
    for (description, outcome) in [(gone, REVOKED), ("No such application: 'acme-client'", QUEUED)] {
        let provider = granted(&app, STRIPE, json!({}), grant_of_account()).await;
        let refused = json!({"error": "invalid_client", "error_description": description});
        provider.answer_revocation(Reply::json(refused).status(401));
        assert_eq!(delete(&app).await, outcome, "{description}");
        app.delete("/v2/auth/providers/acme").await.expect(200);
    }
}

async fn stripe_is_not_asked_without_an_account(app: TestApp) {
    let provider = granted(&app, STRIPE, json!({}), grant()).await;
    assert_eq!(delete(&app).await, IMPOSSIBLE);
    assert!(provider.revocations().is_empty());
}

async fn another_persons_token_of_the_same_account_is_spared(app: TestApp) {
    for (path, asked_at, outcome) in [
        (STRIPE, None, IMPOSSIBLE),
        (FACEBOOK, None, IMPOSSIBLE),
        (GITHUB, Some("/applications/acme-client/token"), REVOKED),
        ("/revoke", Some("/revoke"), REVOKED),
    ] {
        let provider = granted(&app, path, json!({}), grant_of_account()).await;
        provider.answer_token(Reply::json(grant_of_account()));
        app.connect(&provider, &with(asking("bob", &["read"]), json!({"ls_user_id": "bob"}))).await;
        provider.revoke_at(asked_at.unwrap_or(path));
        for _ in 0..2 {
            provider.answer_revocation(Reply::json(json!({})));
        }
        assert_eq!(delete(&app).await, outcome, "{path}");
        let asked: Vec<String> = provider.revocations().into_iter().map(|request| request.path).collect();
        assert!(asked.iter().all(|at| Some(at.as_str()) == asked_at), "{path}: {asked:?}");
        assert_eq!(asked.is_empty(), asked_at.is_none(), "{path}");
        app.delete("/v2/auth/providers/acme").await.expect(200);
    }
}

async fn a_token_got_since_the_deletion_is_spared(app: TestApp) {
    let provider = granted(&app, STRIPE, json!({}), grant_of_account()).await;
    provider.answer_revocation(Reply::json(json!({})).status(503));
    assert_eq!(delete(&app).await, QUEUED);
    provider.answer_token(Reply::json(grant_of_account()));
    app.connect(&provider, &asking("alice", &["read"])).await;
    app.advance(120);
    agent_auth::broker::tokens::revoke::run_due(&app.app.broker).await.unwrap();
    assert_eq!(provider.revocations().len(), 1, "only the first attempt");
    app.advance(86_400);
    agent_auth::broker::tokens::revoke::run_due(&app.app.broker).await.unwrap();
    assert_eq!(provider.revocations().len(), 1, "and it is over");
}

async fn a_dead_access_token_without_a_refresh_token_is_a_dead_grant(app: TestApp) {
    let notion = |status, code| Reply::json(json!({"object": "error", "code": code})).status(status);
    let facebook = |code: u16| Reply::json(json!({"error": {"type": "OAuthException", "code": code}})).status(400);
    for (path, answer, outcome) in [
        (GITHUB, error(404, "Not Found"), REVOKED),
        (GITHUB, error(422, "Validation failed"), REVOKED),
        (GITHUB, error(401, "Bad credentials"), QUEUED),
        (DROPBOX, Reply::json(json!({"error": {".tag": "invalid_access_token"}})).status(401), REVOKED),
        (FACEBOOK, facebook(190), REVOKED),
        (FACEBOOK, facebook(2), QUEUED),
        (ZENDESK, error(401, "invalid_token"), REVOKED),
        (ZENDESK, error(403, "Forbidden"), QUEUED),
        (SHOPIFY, Reply::json(json!({"errors": "[API] Invalid API key or access token"})).status(401), REVOKED),
        (NOTION, notion(400, "invalid_grant"), REVOKED),
        (NOTION, notion(401, "invalid_client"), QUEUED),
        (NOTION, notion(200, "invalid_request"), QUEUED),
    ] {
        let client = if path == NOTION { in_json() } else { json!({}) };
        let provider = granted(&app, path, client, without(grant(), "refresh_token")).await;
        provider.answer_revocation(answer);
        assert_eq!(delete(&app).await, outcome, "{path}");
        app.delete("/v2/auth/providers/acme").await.expect(200);
    }
}

async fn where_only_a_live_access_token_is_taken_one_is_asked_for_first(app: TestApp) {
    let notion = json!({"object": "error", "status": 400, "code": "invalid_grant"});
    for (path, expired) in [
        (GITHUB, error(404, "Not Found")),
        (SLACK, Reply::json(json!({"ok": false, "error": "token_expired"}))),
        (DROPBOX, Reply::json(json!({"error": {".tag": "expired_access_token"}})).status(401)),
        (ZENDESK, error(401, "invalid_token")),
        (SHOPIFY, Reply::json(json!({"errors": "Unauthorized"})).status(401)),
        (NOTION, Reply::json(notion).status(400)),
    ] {
        let client = if path == NOTION { in_json() } else { json!({}) };
        let provider = granted(&app, path, client, grant()).await;
        app.advance(3 * 3600);
        provider.answer_revocation(expired);
        let renewed = json!({"access_token": "access-2", "refresh_token": "refresh-2", "expires_in": 3600});
        provider.answer_token(Reply::json(renewed));
        assert_eq!(delete(&app).await, REVOKED, "{path}");
        assert_eq!(provider.refreshes()[0].value("refresh_token"), Some("refresh-1"));
        let content_type = if path == NOTION { "application/json" } else { "application/x-www-form-urlencoded" };
        assert_eq!(provider.refreshes()[0].header("content-type"), content_type, "{path}");
        let last = provider.revoked_times(2).await.remove(1);
        let headers = ["authorization", "x-shopify-access-token"].map(|name| last.header(name)).concat();
        let told = format!("{headers}{}", String::from_utf8_lossy(&last.body));
        assert!(told.contains("access-2"), "{path}: {told}");
        app.delete("/v2/auth/providers/acme").await.expect(200);
    }
}

async fn a_grant_that_cannot_be_renewed_any_more_counts_as_revoked(app: TestApp) {
    let provider = granted(&app, DROPBOX, json!({}), grant()).await;
    provider.answer_revocation(error(401, "expired_access_token"));
    provider.answer_token(error(400, "invalid_grant"));
    assert_eq!(delete(&app).await, REVOKED);
    provider.revoked_times(1).await;
}
