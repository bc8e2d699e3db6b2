//! The identity provider fails, changes its keys, or says of itself what cannot be right.

use serde_json::json;

use super::is_in;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::browser::Browser;
use crate::support::caller::with;
use crate::support::database::PUBLIC_URL;
use crate::support::identity_provider::{KEYS, METADATA, SigningKey, TOKEN, WithIdentityProvider, callback, metadata};

both_databases! {
    new_keys_are_read_when_a_token_needs_one_and_not_for_every_made_up_token,
    metadata_and_keys_are_read_once_for_an_hour,
    a_provider_that_is_another_than_the_configured_one_is_not_used,
    a_provider_that_fails_is_said_and_asked_again_later,
    keys_that_cannot_be_read_sign_nobody_in_and_are_asked_for_again_later,
    a_provider_that_fails_at_the_token_endpoint_is_no_failed_sign_in,
    the_secret_is_in_the_body_if_the_provider_wants_it_there,
}

const BEGIN: &str = "/console/sign-in/openid";

async fn new_keys_are_read_when_a_token_needs_one_and_not_for_every_made_up_token(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({})).await);
    let rotated = SigningKey::es256("second");
    app.provider.show(KEYS, Reply::json(json!({"keys": [rotated.published()]})));
    let come = async || {
        let begun = app.begin(&browser).await;
        app.come_back(&browser, &begun, &rotated.sign(&app.claims(&begun))).await
    };
    come().await.expect_html(401);
    assert_eq!(app.asked(KEYS), 1, "read a moment ago");
    app.advance(61);
    is_in(&come().await);
    assert_eq!(app.asked(KEYS), 2);
    let made_up = SigningKey::es256("third");
    for _ in 0..3 {
        let begun = app.begin(&browser).await;
        app.come_back(&browser, &begun, &made_up.sign(&app.claims(&begun))).await.expect_html(401);
    }
    assert_eq!(app.asked(KEYS), 2);
}

async fn metadata_and_keys_are_read_once_for_an_hour(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    for _ in 0..3 {
        is_in(&app.sign_in(&browser, json!({})).await);
    }
    assert_eq!((app.asked(METADATA), app.asked(KEYS)), (1, 1));
    app.advance(3601);
    is_in(&app.sign_in(&browser, json!({})).await);
    assert_eq!((app.asked(METADATA), app.asked(KEYS)), (2, 2));
}

async fn a_provider_that_is_another_than_the_configured_one_is_not_used(app: WithIdentityProvider) {
    for wrong in [
        json!({"issuer": "https://evil.example"}),
        json!({"issuer": app.provider.at("/")}),
        json!({"jwks_uri": "no URL"}),
        json!({"token_endpoint": null}),
    ] {
        app.provider.show(METADATA, Reply::json(with(metadata(&app.provider), wrong)));
        let answer = app.browser().get(BEGIN).await;
        let page = answer.expect_html(502);
        assert!(page.contains("identity provider cannot be used") && page.contains("type=\"password\""), "{page}");
        assert!(page.contains(answer.header("x-request-id")), "operators find the reason by it: {page}");
        assert!(!answer.headers.contains_key("set-cookie"));
        app.advance(6);
    }
}

async fn a_provider_that_fails_is_said_and_asked_again_later(app: WithIdentityProvider) {
    app.provider.show(METADATA, Reply::text("text/plain", "broken").status(500));
    for _ in 0..3 {
        let answer = app.browser().get(BEGIN).await;
        answer.expect_html(503);
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(app.asked(METADATA), 1, "all who come in the next moments share the failure");
    app.provider.show(METADATA, Reply::json(metadata(&app.provider)));
    app.advance(6);
    let browser = Browser::new(&app);
    is_in(&app.sign_in(&browser, json!({})).await);
    // The first page of the console works without the provider: who is signed in stays so.
    app.provider.show(METADATA, Reply::text("text/plain", "broken").status(500));
    app.advance(3601);
    browser.open(&format!("{PUBLIC_URL}/console")).await.expect_html(200);
}

async fn keys_that_cannot_be_read_sign_nobody_in_and_are_asked_for_again_later(app: WithIdentityProvider) {
    let browser = Browser::new(&app);
    for wrong in [Reply::json(json!({})).status(500), Reply::json(json!({"keys": "none"})), Reply::flood(1024 * 1024)] {
        let before = app.asked(KEYS);
        app.provider.show(KEYS, wrong);
        for _ in 0..2 {
            let answer = app.sign_in(&browser, json!({})).await;
            assert!(answer.status.is_server_error() && answer.text().contains("cannot be used at the moment"));
        }
        assert_eq!(app.asked(KEYS), before + 1);
        app.advance(6);
    }
    app.provider.show(KEYS, Reply::json(json!({"keys": [app.key.published()]})));
    is_in(&app.sign_in(&browser, json!({})).await);
}

async fn a_provider_that_fails_at_the_token_endpoint_is_no_failed_sign_in(app: WithIdentityProvider) {
    for (reply, status) in [
        (Reply::json(json!({"error": "invalid_client"})).status(401), 502),
        (Reply::text("text/html", "<h1>busy</h1>").status(503), 503),
        (Reply::text("text/html", "<h1>what?</h1>"), 502),
        (Reply::flood(1024 * 1024), 502),
    ] {
        let browser = Browser::new(&app);
        let begun = app.begin(&browser).await;
        app.provider.answer(TOKEN, reply);
        browser.open(&callback(&begun, "c")).await.expect_html(status);
    }
    agent_auth::broker::audit::record_refusals(&app.app.broker).await.unwrap();
    assert!(super::events(&app, "console.sign_in_refused").await.is_empty());
}

async fn the_secret_is_in_the_body_if_the_provider_wants_it_there(app: WithIdentityProvider) {
    let posts = json!({"token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"]});
    app.provider.show(METADATA, Reply::json(with(metadata(&app.provider), posts)));
    is_in(&app.sign_in(&Browser::new(&app), json!({})).await);
    let requests = app.provider.all_requests();
    let exchange = requests.iter().find(|request| request.path == TOKEN).unwrap();
    assert_eq!(exchange.value("client_secret"), Some(crate::support::identity_provider::CLIENT_SECRET));
    assert_eq!(exchange.basic(), None);
}
