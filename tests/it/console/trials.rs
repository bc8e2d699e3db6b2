//! Trying a provider from its page: through its consent, and back to the console.

use serde_json::json;

use super::{Operator, at, events};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::browser::hidden;
use crate::support::caller::{asking, with};
use crate::support::database::PUBLIC_URL;

both_databases! {
    an_operator_tries_a_provider_sees_what_it_grants_and_ends_the_connection,
    a_trial_that_fails_comes_back_too_and_says_what_to_do,
    a_consent_that_the_application_confirms_is_confirmed_in_the_console,
    a_provider_that_needs_no_person_is_tried_at_once,
    a_wrong_trial_is_shown_again,
    a_trial_stays_inside_what_its_key_reaches,
}

const FORM: [(&str, &str); 2] = [("user", "console-trial"), ("scopes", "read write")];

async fn registered(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"revocation_url": provider.at("/revoke")}))).await;
    provider
}

/// Begins a trial; gives the address of our page.
async fn begin(operator: &Operator) -> String {
    let answer = operator.submit("/providers/acme/try", &FORM).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let page = answer.header("location").to_owned();
    assert!(page.starts_with(&format!("{PUBLIC_URL}/connect/")), "{page}");
    page
}

/// Opens an address that must lead to the page of the trial; gives that page and its address.
async fn back(operator: &Operator, url: &str) -> (String, String) {
    let answer = operator.open(url).await;
    assert_eq!(answer.status.as_u16(), 303, "{}", answer.text());
    let tried = answer.header("location").to_owned();
    assert!(tried.starts_with(&format!("{PUBLIC_URL}/console/tried?auth_id=")), "{tried}");
    (operator.open(&tried).await.expect_html(200), tried)
}

async fn an_operator_tries_a_provider_sees_what_it_grants_and_ends_the_connection(app: TestApp) {
    let provider = registered(&app).await;
    let operator = Operator::admin(&app).await;
    assert!(operator.page("/providers/acme").await.contains("href=\"/console/providers/acme/try\""));
    // The user of a personal key, as in the API; a service key acts for nobody in particular.
    assert!(operator.page("/providers/acme/try").await.contains("name=\"user\" value=\"admin\""));
    let service = Operator::new(&app, &app.service_key().await.key()).await;
    assert!(service.page("/providers/acme/try").await.contains("name=\"user\" value=\"console-trial\""));
    let page = begin(&operator).await;
    assert!(operator.page("/requests").await.contains(">console-trial<"));
    let at_provider = operator.go_on(&page).await;
    provider.answer_token(Reply::json(json!({
        "access_token": "access-77-secret", "refresh_token": "refresh-77-secret", "expires_in": 7300, "scope": "read",
    })));
    let (page, tried) = back(&operator, provider.consent(&at_provider).as_str()).await;
    for part in ["<h1>It works</h1>", ">console-trial<", "in 2 hours", "Requested, and not granted", ">write</code>"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("77-secret"), "{page}");
    let token = app.tokens_of("console-trial").await[0].clone();
    assert_eq!((&token["is_default"], &token["scopes"]), (&json!(false), &json!(["read"])));
    let consent = &events(&app, "consent.begun").await[0];
    assert_eq!((&consent["actor"], &consent["user_id"]), (&json!("console_user"), &json!("console-trial")));
    let revoke = format!("/connections/{}/revoke", token["id"].as_str().unwrap());
    assert!(page.contains(&format!("action=\"/console{revoke}\"")), "{page}");
    assert!(operator.done(&revoke, &[]).await.contains("its grant is revoked at the provider"));
    let page = operator.open(&tried).await.expect_html(200);
    assert!(page.contains("<h1>The connection was ended</h1>"), "{page}");
}

async fn a_trial_that_fails_comes_back_too_and_says_what_to_do(app: TestApp) {
    let provider = registered(&app).await;
    let operator = Operator::admin(&app).await;
    let at_provider = operator.go_on(&begin(&operator).await).await;
    let (page, _) = back(&operator, provider.deny(&at_provider).as_str()).await;
    for part in
        ["<h1>It did not work</h1>", ">access_denied</code>", "Try again, and approve.", "/providers/acme/try\""]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let at_provider = operator.go_on(&begin(&operator).await).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    let (page, _) = back(&operator, provider.consent(&at_provider).as_str()).await;
    assert!(page.contains(">invalid_client</code>") && page.contains("client id and the client secret"), "{page}");
    let cancelled = operator.press(&begin(&operator).await, "cancel").await;
    let page = operator.open(cancelled.header("location")).await.expect_html(200);
    assert!(page.contains("<h1>It did not work</h1>"), "{page}");
    let tried = cancelled.header("location").to_owned();
    app.advance(3601);
    operator.submit("", &[]).await;
    let operator = Operator::admin(&app).await;
    operator.open(&tried).await.expect_html(404);
    assert!(app.tokens_of("console-trial").await.is_empty());
}

async fn a_consent_that_the_application_confirms_is_confirmed_in_the_console(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let more = json!({"consent": "verify", "return_urls": ["https://app.example/back"]});
    app.register_as(with(provider.definition("acme"), more)).await;
    let operator = Operator::admin(&app).await;
    let at_provider = operator.go_on(&begin(&operator).await).await;
    let (page, tried) = back(&operator, provider.consent(&at_provider).as_str()).await;
    assert!(page.contains("<h1>One more step</h1>") && provider.exchanges().is_empty(), "{page}");
    let (auth_id, reference) = (hidden(&page, "auth_id"), hidden(&page, "reference"));
    let page = operator.page(&format!("/tried?auth_id={auth_id}")).await;
    assert!(page.contains("<h1>Not finished yet</h1>"), "{page}");
    operator.submit("/tried", &[("auth_id", &auth_id), ("reference", "another")]).await.expect_html(404);
    assert!(provider.exchanges().is_empty());
    let page = operator.done("/tried", &[("auth_id", &auth_id), ("reference", &reference)]).await;
    assert!(page.contains("<h1>It works</h1>"), "{page}");
    assert!(operator.open(&tried).await.expect_html(200).contains("<h1>It works</h1>"), "also when it is loaded again");
    assert_eq!(provider.exchanges().len(), 1);
}

async fn a_provider_that_needs_no_person_is_tried_at_once(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register_as(with(provider.definition("acme"), json!({"grant_type": "client_credentials"}))).await;
    let operator = Operator::admin(&app).await;
    provider.answer_token(Reply::json(json!({"error": "invalid_client"})).status(401));
    let page = operator.submit("/providers/acme/try", &FORM).await;
    assert!(page.text().contains("role=\"alert\"") && page.status.as_u16() >= 400, "{page:?}");
    app.advance(120);
    provider.answer_token(Reply::json(json!({"access_token": "access-77-secret", "expires_in": 3600})));
    let page = operator.done("/providers/acme/try", &FORM).await;
    assert!(page.contains("<h1>It works</h1>") && !page.contains("77-secret"), "{page}");
}

async fn a_wrong_trial_is_shown_again(app: TestApp) {
    registered(&app).await;
    let operator = Operator::admin(&app).await;
    for (user, scopes) in [("", "read"), ("a\u{7}b", "read"), ("alice", "r\u{e4}ad")] {
        let page = operator.submit("/providers/acme/try", &[("user", user), ("scopes", scopes)]).await.expect_html(422);
        assert!(page.contains("role=\"alert\"") && page.contains("name=\"scopes\""), "{user} {scopes}: {page}");
    }
    operator.submit("/providers/nobody/try", &FORM).await.expect_html(404);
    operator.open(&at("/providers/nobody/try")).await.expect_html(404);
    for path in ["/tried", "/tried?auth_id=x", "/tried?auth_id=0190f3c8-0000-4000-8000-000000000000", "/tried?token=x"]
    {
        operator.open(&at(path)).await.expect_html(404);
    }
    assert!(operator.page("/requests").await.contains("There are none."));
}

async fn a_trial_stays_inside_what_its_key_reaches(app: TestApp) {
    let provider = registered(&app).await;
    for (options, status) in [
        (&["--role", "viewer"][..], 403),
        (&["--role", "admin", "--only-provider", "other"], 403),
        (&["--role", "admin", "--only-agent", "helper"], 403),
    ] {
        let operator = Operator::new(&app, &app.new_key(options).await.key()).await;
        operator.open(&at("/providers/acme/try")).await.expect_html(status);
        operator.submit("/providers/acme/try", &FORM).await.expect_html(status);
    }
    let limited = Operator::new(&app, &app.new_key(&["--role", "admin", "--only-user", "alice"]).await.key()).await;
    assert!(limited.page("/providers/acme/try").await.contains("name=\"user\" value=\"alice\""));
    limited.submit("/providers/acme/try", &FORM).await.expect_html(403);
    // What an agent began is no trial, and a trial is nobody's outside its workspace or a key's limits.
    let pending = app.begin(&asking("alice", &["read"])).await;
    let operator = Operator::admin(&app).await;
    operator.open(&at(&format!("/tried?auth_id={}", pending.auth_id))).await.expect_html(404);
    let at_provider = operator.go_on(&begin(&operator).await).await;
    let (_, tried) = back(&operator, provider.consent(&at_provider).as_str()).await;
    let token = app.tokens_of("console-trial").await[0]["id"].as_str().unwrap().to_owned();
    let intruder = Operator::new(&app, &app.service_key_in("other", "place").await.key()).await;
    for other in [&limited, &intruder] {
        other.open(&tried).await.expect_html(404);
        other.open(&at(&format!("/tried?token={token}"))).await.expect_html(404);
    }
}
