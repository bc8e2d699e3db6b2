//! What the person's browser meets: the authorization endpoint, the consent page and its answer.
//! Owns these cases.
//! Must not know how the provider remembers.

use super::*;

#[tokio::test]
async fn the_consent_page_names_client_person_and_scopes() {
    let page = Browser::new().authorize(&[("scope", Some("profile x<script>"))]).await;
    assert_eq!(page.status, StatusCode::OK);
    for text in
        ["Some &#60;app&#62;", "Sam Sample", "sam@example.com", "See your name", "x&#60;script&#62;", "Approve", "Deny"]
    {
        assert!(page.body.contains(text), "{text}");
    }
    assert!(!page.body.contains("<script"));
    assert!(page.header("content-security-policy").contains("form-action 'self' http://127.0.0.1:8080;"));
    assert_eq!(page.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_person_chooses_an_account_and_a_hint_chooses_it_before() {
    let browser = Browser::new();
    let chosen = r#"value="sam-work" checked"#;
    let hint = [("login_hint", Some("sam@work.example.com")), ("scope", Some("profile"))];
    let hinted = browser.authorize(&hint).await;
    assert!(hinted.body.contains(chosen) && hinted.body.contains("sam@example.com"), "{}", hinted.body);
    for change in [("login_hint", None), ("login_hint", Some("mia@example.com"))] {
        let page = browser.authorize(&[change]).await;
        assert!(page.body.contains(r#"value="sam-sample" checked"#) && !page.body.contains(chosen), "{}", page.body);
    }
    let form = [("request", request_of(&hinted)), ("decision", "approve"), ("account", "sam-work")];
    let code = browser.post("/decision", None, &form).await.returned()["code"].clone();
    let token = token_in(&browser.exchange(&code, VERIFIER).await, "access_token");
    assert_eq!(browser.me(&token).await.json()["email"], "sam@work.example.com");
}

#[tokio::test]
async fn deny_goes_back_without_a_code() {
    let returned = Browser::new().decide("deny").await.returned();
    assert_eq!(returned["error"], "access_denied");
    assert_eq!(returned["state"], "st&te=1");
    assert!(!returned.contains_key("code"));
}

#[tokio::test]
async fn a_double_click_gets_the_same_answer() {
    let browser = Browser::new();
    let page = browser.authorize(&[]).await;
    let form = [("request", request_of(&page)), ("decision", "approve")];
    let first = browser.post("/decision", None, &form).await.returned();
    let second = browser.post("/decision", None, &form).await.returned();
    assert_eq!(first, second);
}

#[tokio::test]
async fn an_unknown_or_incomplete_decision_is_a_page() {
    let browser = Browser::new();
    let page = browser.authorize(&[]).await;
    for form in
        [[("request", "guessed"), ("decision", "approve")], [("request", request_of(&page)), ("decision", "maybe")]]
    {
        let answer = browser.post("/decision", None, &form).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.body.contains("<h1>"));
    }
}

#[tokio::test]
async fn a_wrong_client_or_redirect_uri_is_never_redirected() {
    let browser = Browser::new();
    for change in [
        ("client_id", None),
        ("client_id", Some("another")),
        ("redirect_uri", None),
        ("redirect_uri", Some("http://127.0.0.1:8080/host-oauth-callback/sample/")),
        ("redirect_uri", Some("https://evil.example/")),
    ] {
        let page = browser.authorize(&[change]).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{change:?}");
        assert!(page.body.contains("<h1>") && !page.headers.contains_key("location"));
    }
    let repeated = browser.get(&format!("/authorize?client_id=a&client_id={}", "b")).await;
    assert_eq!(repeated.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn other_faults_of_the_authorization_request_go_back_to_the_client() {
    let browser = Browser::new();
    for (change, error) in [
        (("response_type", None), "invalid_request"),
        (("response_type", Some("token")), "unsupported_response_type"),
        (("code_challenge", None), "invalid_request"),
        (("code_challenge", Some("short")), "invalid_request"),
        (("code_challenge_method", None), "invalid_request"),
        (("code_challenge_method", Some("plain")), "invalid_request"),
        (("scope", Some("a\"b")), "invalid_scope"),
    ] {
        let returned = browser.authorize(&[change]).await.returned();
        assert_eq!(returned["error"], error, "{change:?}");
        assert_eq!(returned["state"], "st&te=1");
    }
}
