//! What a developer meets who registers an application.
//! Owns these cases.
//! Must not know how the provider remembers.

use super::*;

#[tokio::test]
async fn a_registered_application_can_be_consented_to() {
    let browser = Browser::new();
    let redirect_uri = "http://127.0.0.1:8080/host-oauth-callback/mine";
    let registered = browser.post("/apps", None, &[("name", "Mine <3"), ("redirect_uri", redirect_uri)]).await;
    assert_eq!(registered.status, StatusCode::OK, "{}", registered.body);
    assert!(registered.body.contains("Mine &#60;3") && registered.header("cache-control") == "no-store");
    let shown = |id: &str| {
        let (_, rest) = registered.body.split_once(&format!("<code id=\"{id}\">")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    let page =
        browser.authorize(&[("client_id", Some(&shown("client_id"))), ("redirect_uri", Some(redirect_uri))]).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let form = [("request", request_of(&page)), ("decision", "approve")];
    let back = browser.post("/decision", None, &form).await;
    let code = back.header("location").split_once("code=").unwrap().1.split('&').next().unwrap().to_owned();
    let exchange = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", VERIFIER),
        ("client_id", &shown("client_id")),
        ("client_secret", &shown("client_secret")),
    ];
    token_in(&browser.post("/token", None, &exchange).await, "access_token");
}

#[tokio::test]
async fn people_are_sent_back_to_the_demo_only() {
    let browser = Browser::new();
    for elsewhere in ["", "https://evil.example/", "http://127.0.0.1:8080/", "http://127.0.0.1:8080.evil.example/host"]
    {
        let refused = browser.post("/apps", None, &[("name", "Mine"), ("redirect_uri", elsewhere)]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{elsewhere}");
        assert!(refused.body.contains("role=\"alert\"") && !refused.body.contains("client_secret"));
    }
    assert_eq!(browser.get("/apps").await.status, StatusCode::OK);
}
