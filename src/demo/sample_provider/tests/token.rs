//! What the client meets: exchange, refresh, revocation and the profile.
//! Owns these cases.
//! Must not know how the provider remembers.

use super::*;

#[tokio::test]
async fn approve_gives_a_code_that_exchanges_once() {
    let browser = Browser::new();
    let returned = browser.decide("approve").await.returned();
    assert_eq!(returned["state"], "st&te=1");
    assert!(!returned.contains_key("error"));

    let issued = browser.exchange(&returned["code"], VERIFIER).await;
    assert_eq!(issued.header("cache-control"), "no-store");
    assert_eq!(issued.json()["token_type"], "Bearer");
    assert_eq!(issued.json()["expires_in"], 300);
    assert_eq!(issued.json()["scope"], "profile files.read");
    let access_token = token_in(&issued, "access_token");
    let profile = browser.me(&access_token).await;
    assert_eq!((profile.status, profile.json()["name"].as_str()), (StatusCode::OK, Some("Sam Sample")));

    browser.exchange(&returned["code"], VERIFIER).await.is_error(StatusCode::BAD_REQUEST, "invalid_grant");
    let withdrawn = browser.me(&access_token).await;
    assert_eq!(withdrawn.status, StatusCode::UNAUTHORIZED, "a replayed code withdraws its tokens");
    assert!(withdrawn.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn a_wrong_verifier_spends_the_code() {
    let browser = Browser::new();
    let code = browser.code().await;
    browser.exchange(&code, &VERIFIER.to_lowercase()).await.is_error(StatusCode::BAD_REQUEST, "invalid_grant");
    browser.exchange(&code, VERIFIER).await.is_error(StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn refresh_rotates_and_refuses_the_old_token() {
    let browser = Browser::new();
    let first = browser.exchange(&browser.code().await, VERIFIER).await;
    let second = browser.refresh(&token_in(&first, "refresh_token")).await;
    let third = browser.refresh(&token_in(&second, "refresh_token")).await;
    assert_ne!(token_in(&first, "access_token"), token_in(&second, "access_token"));
    assert_ne!(token_in(&second, "refresh_token"), token_in(&third, "refresh_token"));
    assert_eq!(third.json()["scope"], "profile files.read");

    browser.refresh(&token_in(&first, "refresh_token")).await.is_error(StatusCode::BAD_REQUEST, "invalid_grant");
    browser.refresh(&token_in(&third, "refresh_token")).await.is_error(StatusCode::BAD_REQUEST, "invalid_grant");
    assert_eq!(browser.me(&token_in(&third, "access_token")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn refresh_may_narrow_scopes_but_not_widen_them() {
    let browser = Browser::new();
    let first = browser.exchange(&browser.code().await, VERIFIER).await;
    let refresh = async |refresh_token: &str, scope: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("scope", scope)];
        browser.post("/token", Some(&basic_header()), &form).await
    };
    let refresh_token = token_in(&first, "refresh_token");
    refresh(&refresh_token, "profile admin").await.is_error(StatusCode::BAD_REQUEST, "invalid_scope");
    let narrowed = refresh(&refresh_token, "profile").await;
    assert_eq!(narrowed.json()["scope"], "profile");
    assert_eq!(browser.me(&token_in(&narrowed, "access_token")).await.json()["scope"], "profile");
}

#[tokio::test]
async fn clients_prove_who_they_are() {
    let browser = Browser::new();
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let known = browser.post("/token", Some(&basic_header()), &form).await;
    known.is_error(StatusCode::BAD_REQUEST, "invalid_grant");

    let unencoded = format!("Basic {}", BASE64_STANDARD.encode(format!("{CLIENT_ID}:{SECRET}")));
    for wrong in [None, Some("Basic !"), Some("Bearer x"), Some("Basic eDp5"), Some(unencoded.as_str())] {
        let refused = browser.post("/token", wrong, &form).await;
        refused.is_error(StatusCode::UNAUTHORIZED, "invalid_client");
        assert!(refused.header("www-authenticate").starts_with("Basic "));
        browser.post("/revoke", wrong, &[("token", "x")]).await.is_error(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let posted = |secret| {
        [("grant_type", "refresh_token"), ("refresh_token", "x"), ("client_id", CLIENT_ID), ("client_secret", secret)]
    };
    browser.post("/token", None, &posted("wrong")).await.is_error(StatusCode::UNAUTHORIZED, "invalid_client");
    browser
        .post("/token", Some(&basic_header()), &posted(SECRET))
        .await
        .is_error(StatusCode::BAD_REQUEST, "invalid_request");
}

#[tokio::test]
async fn the_token_endpoint_names_each_fault() {
    let browser = Browser::new();
    let post = async |form: &[(&str, &str)]| browser.post("/token", Some(&basic_header()), form).await;
    post(&[]).await.is_error(StatusCode::BAD_REQUEST, "invalid_request");
    post(&[("grant_type", "password")]).await.is_error(StatusCode::BAD_REQUEST, "unsupported_grant_type");
    post(&[("grant_type", "refresh_token")]).await.is_error(StatusCode::BAD_REQUEST, "invalid_request");
    post(&[("grant_type", "refresh_token"), ("grant_type", "refresh_token")])
        .await
        .is_error(StatusCode::BAD_REQUEST, "invalid_request");
    let code = browser.code().await;
    let elsewhere = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "http://127.0.0.1:8080/elsewhere"),
        ("code_verifier", VERIFIER),
    ];
    post(&elsewhere).await.is_error(StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn revocation_ends_a_grant_and_accepts_what_it_does_not_know() {
    let browser = Browser::new();
    let issued = browser.exchange(&browser.code().await, VERIFIER).await;
    let (access_token, refresh_token) = (token_in(&issued, "access_token"), token_in(&issued, "refresh_token"));
    let revoke = async |token: &str| browser.post("/revoke", Some(&basic_header()), &[("token", token)]).await.status;
    assert_eq!(revoke("never issued").await, StatusCode::OK);
    assert_eq!(browser.me(&access_token).await.status, StatusCode::OK);
    assert_eq!(revoke(&refresh_token).await, StatusCode::OK);
    assert_eq!(browser.me(&access_token).await.status, StatusCode::UNAUTHORIZED);
    browser.refresh(&refresh_token).await.is_error(StatusCode::BAD_REQUEST, "invalid_grant");

    let other = token_in(&browser.exchange(&browser.code().await, VERIFIER).await, "access_token");
    assert_eq!(revoke(&other).await, StatusCode::OK);
    assert_eq!(browser.me(&other).await.status, StatusCode::UNAUTHORIZED);
    browser.post("/revoke", Some(&basic_header()), &[]).await.is_error(StatusCode::BAD_REQUEST, "invalid_request");
}

#[tokio::test]
async fn the_profile_needs_a_bearer_token() {
    let browser = Browser::new();
    let bare = browser.get("/me").await;
    assert_eq!((bare.status, bare.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    assert!(browser.me("guessed").await.header("www-authenticate").contains("invalid_token"));
}
