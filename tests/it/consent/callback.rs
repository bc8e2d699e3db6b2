//! The callback with an authorization code: once, twice, many times at once, or with parameters missing.

use std::sync::Arc;
use std::time::Duration;

use agent_auth::model::actor::Act;
use agent_auth::model::grant::Grant;
use agent_auth::model::key_limits::Reach;
use axum::body::Body;
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::json;
use url::{Position, Url};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, CLIENT_SECRET, Reply};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::database::PUBLIC_URL;

both_databases! {
    consent_stores_the_token,
    after_success_the_browser_stands_on_an_address_without_code_and_state,
    reloading_the_last_page_changes_nothing,
    the_same_callback_again_is_a_success_without_a_second_exchange,
    the_same_callback_while_the_first_is_under_way_is_a_success_too,
    another_code_for_a_used_state_is_refused,
    twelve_simultaneous_callbacks_make_one_exchange,
    a_head_request_consumes_nothing,
    a_prefetch_consumes_nothing,
    a_browser_that_leaves_during_the_exchange_does_not_lose_the_token,
    a_caller_that_leaves_while_waiting_does_not_lose_the_token,
    nine_minutes_at_the_provider_are_not_too_long,
    what_else_the_provider_sends_along_is_ignored,
    the_published_callback_address_does_the_same,
    an_application_may_hand_in_the_code_itself,
    handing_in_the_same_code_twice_makes_one_exchange,
    handing_in_a_code_that_the_provider_refuses_is_told,
    handing_in_an_unknown_state_is_refused,
    the_setup_address_acts_as_the_callback,
    the_setup_address_greets_an_update,
    an_installation_id_alone_is_worth_nothing,
    changing_the_provider_meanwhile_does_not_change_the_begun_request,
    a_grant_whose_keeping_was_not_confirmed_is_written_again_without_harm,
}

async fn consent_stores_the_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let pending = app.begin(&question).await;
    let callback = provider.consent(&pending.url);
    assert!(callback.as_str().starts_with(&format!("{PUBLIC_URL}/host-oauth-callback/acme?")));
    app.come_back(&callback).await;
    let answer = app.look(&pending.auth_id).await;
    assert_eq!(answer["status"], "completed");
    assert_eq!(answer["token"], app.token(&question).await.as_str());
    assert_eq!(provider.exchanges().len(), 1);
}

async fn after_success_the_browser_stands_on_an_address_without_code_and_state(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let answer = app.visit(&provider.consent(&pending.url)).await;
    assert_eq!(answer.status.as_u16(), 303);
    assert_eq!(answer.header("location"), format!("{PUBLIC_URL}/host-oauth-callback/acme/{}", pending.auth_id));
}

async fn reloading_the_last_page_changes_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    app.come_back(&provider.consent(&pending.url)).await;
    let page = format!("{PUBLIC_URL}/host-oauth-callback/acme/{}", pending.auth_id);
    for _ in 0..3 {
        let page = app.visit(&Url::parse(&page).unwrap()).await;
        page.expect_html(200);
    }
    assert_eq!(provider.exchanges().len(), 1);
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
}

async fn the_same_callback_again_is_a_success_without_a_second_exchange(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let pending = app.begin(&question).await;
    let callback = provider.consent(&pending.url);
    app.come_back(&callback).await;
    let token = app.token(&question).await;
    app.come_back(&callback).await;
    assert_eq!(provider.exchanges().len(), 1);
    assert_eq!(app.token(&question).await, token);
}

async fn the_same_callback_while_the_first_is_under_way_is_a_success_too(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let slowly = json!({"access_token": "slowly", "expires_in": 3600});
    provider.answer_token(Reply::json(slowly).after(Duration::from_millis(800)));
    let callback = provider.consent(&pending.url);
    let second = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        app.come_back(&callback).await
    };
    tokio::join!(app.come_back(&callback), second);
    assert_eq!(provider.exchanges().len(), 1);
}

async fn another_code_for_a_used_state_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let pending = app.begin(&question).await;
    app.come_back(&provider.consent(&pending.url)).await;
    let token = app.token(&question).await;
    let injected = provider.consent(&pending.url);
    app.visit(&injected).await.expect_html(400);
    assert_eq!(provider.exchanges().len(), 1);
    assert_eq!(app.token(&question).await, token);
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
}

async fn twelve_simultaneous_callbacks_make_one_exchange(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let answer = json!({"access_token": "only-one", "expires_in": 3600});
    provider.answer_token(Reply::json(answer).after(Duration::from_millis(300)));
    let callback = provider.consent(&pending.url);
    let app = Arc::new(app);
    let callbacks = (0..12).map(|_| {
        let (app, callback) = (Arc::clone(&app), callback.clone());
        tokio::spawn(async move { app.visit(&callback).await })
    });
    for answer in join_all(callbacks).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status.as_u16(), 303, "{answer:?}");
    }
    assert_eq!(provider.token_requests().len(), 1);
    let answer = app.look(&pending.auth_id).await;
    assert_eq!(answer["token"], "only-one");
}

async fn a_head_request_consumes_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let callback = provider.consent(&pending.url);
    let path = &callback[Position::BeforePath..];
    let answer = app.anonymous().send(Method::HEAD, path, Body::empty()).await;
    assert_eq!(answer.status.as_u16(), 204);
    assert_eq!(provider.token_requests().len(), 0);
    app.come_back(&callback).await;
}

async fn a_prefetch_consumes_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let callback = provider.consent(&pending.url);
    let path = &callback[Position::BeforePath..];
    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ] {
        let answer = app.anonymous().with(name, value).get(path).await;
        assert_eq!(answer.status.as_u16(), 204, "{name}: {value}");
    }
    assert_eq!(provider.token_requests().len(), 0);
    app.come_back(&callback).await;
}

async fn a_browser_that_leaves_during_the_exchange_does_not_lose_the_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let pending = app.begin(&question).await;
    let answer = json!({"access_token": "not-lost", "expires_in": 3600});
    provider.answer_token(Reply::json(answer).after(Duration::from_millis(500)));
    let callback = provider.consent(&pending.url);
    let browser = {
        let browser: Caller = app.anonymous().clone();
        tokio::spawn(async move { browser.visit(&callback).await })
    };
    while provider.exchanges().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    browser.abort();
    assert_eq!(app.wait(&pending.auth_id).await["token"], "not-lost");
    assert_eq!(app.token(&question).await, "not-lost");
}

async fn a_caller_that_leaves_while_waiting_does_not_lose_the_token(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let waiter = {
        let (waiter, auth_id) = (Caller::clone(&app), pending.auth_id.clone());
        tokio::spawn(async move { waiter.wait(&auth_id).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    waiter.abort();
    app.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(app.wait(&pending.auth_id).await["status"], "completed");
}

async fn nine_minutes_at_the_provider_are_not_too_long(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    app.advance(9 * 60);
    app.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
}

async fn what_else_the_provider_sends_along_is_ignored(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let mut callback = provider.consent(&pending.url);
    for (name, value) in [
        ("scope", "read everything"),
        ("authuser", "0"),
        ("session_state", "a.b"),
        ("error", ""),
        ("access_token", "not-this-way"),
        ("token", "not-this-way"),
        ("user_id", "bob"),
        ("redirect_uri", "https://evil.example/"),
    ] {
        callback.query_pairs_mut().append_pair(name, value);
    }
    app.come_back(&callback).await;
    assert!(app.token(&asking("alice", &["read"])).await.starts_with("access-"));
    assert_eq!(app.tokens().await[0]["scopes"], json!(["read"]));
}

async fn the_published_callback_address_does_the_same(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let mut callback = provider.consent(&pending.url);
    callback.set_path("/v2/auth/callback/acme");
    let answer = app.visit(&callback).await;
    assert!([200, 303].contains(&answer.status.as_u16()), "{answer:?}");
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
}

const APPLICATION: &str = "https://app.example/callback";

/// A request whose browser returns to the application instead of to us; gives `auth_id`, code and state.
async fn returned_to_the_application(app: &TestApp, provider: &AuthorizationServer) -> (String, serde_json::Value) {
    let listed = json!({"allowed_redirect_uris": [APPLICATION]});
    app.register_as(with(provider.definition("acme"), listed)).await;
    let question = json!({"redirect_uri": APPLICATION});
    let pending = app.begin(&with(asking("alice", &["read"]), question)).await;
    let callback = provider.consent(&pending.url);
    assert!(callback.as_str().starts_with(APPLICATION));
    let received: serde_json::Map<_, _> =
        callback.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned().into())).collect();
    (pending.auth_id, received.into())
}

async fn an_application_may_hand_in_the_code_itself(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let (auth_id, received) = returned_to_the_application(&app, &provider).await;
    let answer = app.post("/v2/auth/callback/acme", &received).await;
    answer.expect(200);
    assert_eq!(provider.exchange().value("redirect_uri"), Some(APPLICATION));
    assert_eq!(app.look(&auth_id).await["status"], "completed");
    app.token(&asking("alice", &["read"])).await;
}

async fn handing_in_the_same_code_twice_makes_one_exchange(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let (_, received) = returned_to_the_application(&app, &provider).await;
    let path = "/v2/auth/callback/acme";
    app.post(path, &received).await.expect(200);
    let again = app.post(path, &received).await;
    assert!(!again.status.is_server_error(), "{again:?}");
    assert_eq!(provider.exchanges().len(), 1);
}

async fn handing_in_a_code_that_the_provider_refuses_is_told(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let (auth_id, received) = returned_to_the_application(&app, &provider).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_grant"})).status(400));
    let answer = app.post("/v2/auth/callback/acme", &received).await;
    assert!([400, 502].contains(&answer.status.as_u16()), "{answer:?}");
    let body = answer.json();
    assert!(body["detail"].is_string() && body["code"].is_string());
    let answer = app.look(&auth_id).await;
    assert_eq!(answer["status"], "not_found");
    assert_eq!(answer["error"], "invalid_grant");
}

async fn handing_in_an_unknown_state_is_refused(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let made_up = json!({"code": "a-code", "state": "made-up"});
    let answer = app.post("/v2/auth/callback/acme", &made_up).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(provider.token_requests().len(), 0);
}

async fn the_setup_address_acts_as_the_callback(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let mut callback = provider.consent(&pending.url);
    callback.set_path("/v2/auth/setup/acme");
    callback.query_pairs_mut().append_pair("setup_action", "install").append_pair("installation_id", "123");
    let answer = app.visit(&callback).await;
    assert!([200, 303].contains(&answer.status.as_u16()), "{answer:?}");
    assert_eq!(app.look(&pending.auth_id).await["status"], "completed");
}

async fn the_setup_address_greets_an_update(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.anonymous().get("/v2/auth/setup/acme?setup_action=update&installation_id=123").await.expect_html(200);
    assert_eq!(provider.token_requests().len(), 0);
}

async fn an_installation_id_alone_is_worth_nothing(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    for query in [
        "setup_action=install&installation_id=123".to_owned(),
        "installation_id=123&code=a-code".to_owned(),
        format!("installation_id=123&state={}", pending.state()),
    ] {
        let path = format!("/v2/auth/setup/acme?{query}");
        let answer = app.anonymous().get(&path).await;
        assert!(!answer.status.is_server_error(), "{query}: {answer:?}");
        assert!(!answer.status.is_redirection(), "{query}: {answer:?}");
    }
    assert_eq!(provider.token_requests().len(), 0);
    assert_ne!(app.look(&pending.auth_id).await["status"], "completed");
}

async fn changing_the_provider_meanwhile_does_not_change_the_begun_request(app: TestApp) {
    let (begun_at, moved_to) = (AuthorizationServer::start().await, AuthorizationServer::start().await);
    app.register(&begun_at).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    let callback = begun_at.consent(&pending.url);
    let patch = json!({"token_url": moved_to.at("/token"), "client_id": "another", "client_secret": CLIENT_SECRET});
    app.patch("/v2/auth/providers/acme", &patch).await.expect(200);
    app.visit(&callback).await;
    assert_eq!(moved_to.token_requests().len(), 0, "the code goes where the request was begun");
    let exchange = begun_at.exchange();
    assert_eq!(exchange.value("client_id"), Some("acme-client"));
}

async fn a_grant_whose_keeping_was_not_confirmed_is_written_again_without_harm(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let pending = app.begin(&asking("alice", &["read"])).await;
    app.come_back(&provider.consent(&pending.url)).await;
    let before = app.authenticate(&asking("alice", &["read"])).await;
    // The database kept it, and the connection broke before it could say so: what was kept is brought once more.
    let (store, now) = (app.app.broker.store(), app.clock.now());
    let tenant = store.home_tenant(now).await.unwrap();
    let request =
        store.authorization_request(Reach::whole(&tenant), pending.auth_id.parse().unwrap()).await.unwrap().unwrap();
    let token = store.token(&tenant, request.token.unwrap()).await.unwrap().unwrap();
    let grant = Grant {
        access_token: token.access_token.clone(),
        refresh_token: None,
        scopes: Some(token.scopes.clone()),
        metadata: token.metadata.clone(),
        account_id: None,
        account_label: None,
        expires_at: token.expires_at,
        refresh_due_at: token.refresh_due_at,
        refresh_token_expires_at: None,
    };
    let kept =
        store.complete_authorization_request(&request, &grant, request.expires_at, &Act::service(), now).await.unwrap();
    assert_eq!(kept, Some(token.id), "it is there: nobody revokes it");
    let again = store.token(&tenant, token.id).await.unwrap().unwrap();
    assert_eq!((again.generation, app.tokens().await.len()), (token.generation, 1));
    assert_eq!(app.authenticate(&asking("alice", &["read"])).await, before);
}
