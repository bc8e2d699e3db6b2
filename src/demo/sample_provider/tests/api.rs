//! What an agent meets that calls the API with an access token.
//! Owns these cases.
//! Must not know how the provider remembers.

use super::*;

async fn token_with(browser: &Browser, scope: &str) -> String {
    let page = browser.authorize(&[("scope", Some(scope))]).await;
    let form = [("request", request_of(&page)), ("decision", "approve")];
    let code = browser.post("/decision", None, &form).await.returned()["code"].clone();
    token_in(&browser.exchange(&code, VERIFIER).await, "access_token")
}

#[tokio::test]
async fn each_resource_needs_its_scope() {
    let browser = Browser::new();
    for (path, scope, found) in [
        ("/documents", "documents.read", "Travel plan"),
        ("/documents/travel", "documents.read", "Lisbon"),
        ("/calendar", "calendar.read", "Planning"),
        ("/contacts", "contacts.read", "ada@example.com"),
    ] {
        let answer = browser.call(path, &token_with(&browser, scope).await).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.body.contains(found) && answer.header("cache-control") == "no-store", "{path}: {}", answer.body);

        let refused = browser.call(path, &token_with(&browser, "profile.read").await).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        assert_eq!(refused.header("www-authenticate"), challenge);
    }
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_said() {
    let browser = Browser::new();
    let absent = browser.get("/documents").await;
    assert_eq!((absent.status, absent.header("www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
    let guessed = browser.call("/documents", "guessed").await;
    assert_eq!(guessed.status, StatusCode::UNAUTHORIZED);
    assert!(guessed.header("www-authenticate").contains("invalid_token"));
    // Whether there is a document is not for everybody either.
    assert_eq!(browser.call("/documents/none", "guessed").await.status, StatusCode::UNAUTHORIZED);
    let token = token_with(&browser, "documents.read").await;
    assert_eq!(browser.call("/documents/none", &token).await.status, StatusCode::NOT_FOUND);
}
