//! Styles of an entry that a plain OAuth client does not have: another name for the client id, and parameters of the
//! redirect that the provider's API needs.

use serde_json::{Value, json};
use url::Url;

use super::own::{GRANTED, acme, app_with, connect, definition, delete, entry, question};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::browser::Browser;
use crate::support::caller::with;
use crate::support::database::Database;

both_databases! {
    the_client_id_is_called_as_the_entry_says,
    parameters_of_the_redirect_become_metadata_and_name_the_account,
    parameters_that_no_entry_names_are_not_read,
    a_parameter_of_the_redirect_replaces_no_field_of_the_response_and_repeats_no_secret,
    parameters_of_the_redirect_wait_for_the_application_too,
}

async fn the_client_id_is_called_as_the_entry_says(database: Database) {
    let more = "client_id_parameter = 'client_key'\nrevocation_url = 'SERVER/end'\n\
                authorization_params = { client_key = 'of-another', kind = 'x' }\n";
    let (app, server) = acme(database, more).await;
    let pending = app.begin(&question()).await;
    assert_eq!(pending.parameter("client_key").as_deref(), Some("the-client"));
    assert_eq!((pending.parameter("client_id"), pending.parameter("kind").as_deref()), (None, Some("x")));
    assert_eq!(Url::parse(&pending.url).unwrap().query_pairs().filter(|(name, _)| name == "client_key").count(), 1);

    connect(&app, &server, &with(question(), json!({"force_new": true})), GRANTED).await;
    server.answer("/token", Reply::json(json!({"access_token": "t2", "refresh_token": "r2", "expires_in": 3600})));
    app.advance(3599);
    assert_eq!(app.token(&question()).await, "t2");
    let asked = server.take_requests("/token");
    assert_eq!(asked.len(), 2);
    for request in asked {
        assert_eq!((request.value("client_key"), request.value("client_id")), (Some("the-client"), None));
        assert_eq!(request.value("client_secret"), Some("the-secret"));
    }
    for _ in 0..2 {
        server.answer("/end", Reply::json(json!({})));
    }
    app.delete("/v2/auth/tokens?provider_id=acme&user_id=alice").await.expect(200);
    let revoked = server.take_requests("/end");
    assert_eq!(revoked[0].value("client_key"), Some("the-client"));
}

const CALLBACK: &str = "callback_parameters = ['company', 'region']\nmetadata = ['company', 'region', 'plan']\n\
                        accounts = [{ id = ['/company'], label = ['/region'] }]\n";

/// A consent whose redirect brings these parameters.
async fn chosen(app: &TestApp, server: &AuthorizationServer, granted: &str, parameters: &[(&str, &str)]) -> Value {
    let pending = app.begin(&with(question(), json!({"force_new": true}))).await;
    server.answer("/token", Reply::json(serde_json::from_str::<Value>(granted).unwrap()));
    let back: Vec<_> = [("code", "the-code")].iter().chain(parameters).copied().collect();
    app.come_back(&server.send_back(&pending.url, &back)).await;
    let answer = app.wait(&pending.auth_id).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    app.authenticate(&question()).await["metadata"].clone()
}

async fn parameters_of_the_redirect_become_metadata_and_name_the_account(database: Database) {
    let (app, server) = acme(database, CALLBACK).await;
    let metadata = chosen(&app, &server, GRANTED, &[("company", "C-1"), ("region", "eu"), ("other", "x")]).await;
    assert_eq!((&metadata["company"], &metadata["region"]), (&json!("C-1"), &json!("eu")));
    assert_eq!(metadata["other"], Value::Null);
    assert_eq!(app.tokens().await[0]["provider_account_label"], "eu");
    // A refresh has no redirect; what was chosen stays.
    server.answer("/token", Reply::json(json!({"access_token": "t2", "refresh_token": "r2", "expires_in": 3600})));
    app.advance(3599);
    let answer = app.authenticate(&question()).await;
    assert_eq!((&answer["token"], &answer["metadata"]["company"]), (&json!("t2"), &json!("C-1")));
    // Another company is another account, and the same one replaces its token.
    chosen(&app, &server, GRANTED, &[("company", "C2")]).await;
    assert_eq!(app.tokens().await.len(), 2);
    chosen(&app, &server, GRANTED, &[("company", "C-1")]).await;
    assert_eq!(app.tokens().await.len(), 2);
}

async fn parameters_that_no_entry_names_are_not_read(database: Database) {
    let (app, server) = acme(database, "metadata = ['company']\naccounts = [{ id = ['/company'] }]\n").await;
    let metadata = chosen(&app, &server, GRANTED, &[("company", "C1")]).await;
    assert_eq!(metadata["company"], Value::Null);
}

async fn a_parameter_of_the_redirect_replaces_no_field_of_the_response_and_repeats_no_secret(database: Database) {
    let (app, server) = acme(database, CALLBACK).await;
    let granted = r#"{"access_token":"the-access-token","refresh_token":"r1","expires_in":3600,"company":"theirs"}"#;
    let metadata =
        chosen(&app, &server, granted, &[("company", "mine"), ("company", "again"), ("region", "the-secret")]).await;
    assert_eq!((&metadata["company"], &metadata["region"]), (&json!("theirs"), &Value::Null));
    // Agents build URLs of it.
    let long = "x".repeat(300);
    for unfit in ["a\r\nX-Evil: 1", "a b", "a/b", "..", "evil.example?", "x@evil.example", "", &long] {
        let metadata = chosen(&app, &server, GRANTED, &[("company", "C1"), ("region", unfit)]).await;
        assert_eq!((&metadata["company"], &metadata["region"]), (&json!("C1"), &Value::Null), "{unfit:?}");
    }
}

async fn parameters_of_the_redirect_wait_for_the_application_too(database: Database) {
    const RETURN: &str = "https://app.example/connected";
    let server = AuthorizationServer::silent().await;
    let app = app_with(database, &[("acme", entry(&server, CALLBACK))]).await;
    app.register_as(with(definition(), json!({"return_urls": [RETURN], "consent": "verify"}))).await;
    let pending = app.begin(&question()).await;
    let person = Browser::new(&app);
    let at_provider = person.go_on(&pending.url).await;
    let callback =
        server.send_back(&at_provider, &[("code", "the-code"), ("company", "C:1"), ("access_token", "evil")]);
    let redirect = person.open(callback.as_str()).await;
    let location = Url::parse(redirect.header("location")).unwrap();
    let reference = location.query_pairs().find(|(name, _)| name == "reference").unwrap().1.into_owned();
    assert!(server.take_all_requests().is_empty(), "no token request before the application confirms");

    server.answer("/token", Reply::json(serde_json::from_str::<Value>(GRANTED).unwrap()));
    let path = format!("/v2/auth/authorizations/{}/confirm", pending.auth_id);
    app.post(&path, &json!({"user_id": "alice", "reference": reference})).await.expect(200);
    assert_eq!(server.take_requests("/token")[0].value("code"), Some("the-code"));
    let answer = app.authenticate(&question()).await;
    assert_eq!((&answer["token"], &answer["metadata"]["company"]), (&json!("t1"), &json!("C:1")));
    let (asked, _) = delete(&app, &server).await;
    assert!(asked.is_empty(), "{asked:?}");
}
