//! How this server authenticates at the token endpoint: the three methods and their exact bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Request};
use crate::support::both_databases;
use crate::support::caller::{asking, with, without};

both_databases! {
    client_secret_post_sends_id_and_secret_in_the_body,
    client_secret_basic_sends_them_in_the_header_only,
    client_secret_basic_encodes_special_characters_as_a_form_first,
    client_secret_post_survives_special_characters,
    none_sends_the_id_without_any_secret,
    a_client_without_a_secret_sends_no_empty_one,
}

const ODD_ID: &str = "client:id/with +%&=?";
const ODD_SECRET: &str = "s3cr:et /+%&=\"'\\~*";

/// The requests of one exchange and one refresh by a client registered like that.
async fn requests(app: &TestApp, definition: impl FnOnce(Value) -> Value) -> Vec<Request> {
    let provider = AuthorizationServer::start().await;
    app.register_as(definition(provider.definition("acme"))).await;
    let question = asking("alice", &["read"]);
    app.connect(&provider, &question).await;
    app.advance(3600);
    app.token(&question).await;
    let requests = provider.token_requests();
    assert_eq!(requests.len(), 2, "an exchange and a refresh");
    requests
}

async fn client_secret_post_sends_id_and_secret_in_the_body(app: TestApp) {
    let method = json!({"token_endpoint_auth_method": "client_secret_post"});
    for request in requests(&app, |acme| with(acme, method)).await {
        assert_eq!(request.value("client_id"), Some("acme-client"));
        let secret = request.value("client_secret");
        assert_eq!(secret, Some("acme-client-secret-3f9a"));
        assert_eq!(request.header("authorization"), "");
    }
}

async fn client_secret_basic_sends_them_in_the_header_only(app: TestApp) {
    let method = json!({"token_endpoint_auth_method": "client_secret_basic"});
    for request in requests(&app, |acme| with(acme, method)).await {
        let (id, secret) = request.basic().expect("HTTP Basic");
        assert_eq!(id, "acme-client");
        assert_eq!(secret, "acme-client-secret-3f9a");
        assert_eq!(request.value("client_secret"), None);
    }
}

async fn client_secret_basic_encodes_special_characters_as_a_form_first(app: TestApp) {
    let odd = json!({
        "token_endpoint_auth_method": "client_secret_basic",
        "client_id": ODD_ID,
        "client_secret": ODD_SECRET,
    });
    for request in requests(&app, |acme| with(acme, odd)).await {
        let header = request.header("authorization").to_owned();
        let raw = STANDARD.decode(header.strip_prefix("Basic ").expect("HTTP Basic")).unwrap();
        let raw = String::from_utf8(raw).unwrap();
        assert_eq!(raw.matches(':').count(), 1, "colons are encoded: {raw}");
        assert!(raw.starts_with("client%3Aid%2Fwith+%2B%25%26%3D%3F:"), "{raw}");
        let (id, secret) = request.basic().unwrap();
        assert_eq!((id.as_str(), secret.as_str()), (ODD_ID, ODD_SECRET));
    }
}

async fn client_secret_post_survives_special_characters(app: TestApp) {
    let odd = json!({"client_id": ODD_ID, "client_secret": ODD_SECRET});
    for request in requests(&app, |acme| with(acme, odd)).await {
        assert_eq!(request.value("client_id"), Some(ODD_ID));
        assert_eq!(request.value("client_secret"), Some(ODD_SECRET));
    }
}

async fn none_sends_the_id_without_any_secret(app: TestApp) {
    let method = json!({"token_endpoint_auth_method": "none"});
    for request in requests(&app, |acme| with(acme, method)).await {
        assert_eq!(request.value("client_id"), Some("acme-client"));
        assert_eq!(request.value("client_secret"), None);
        assert_eq!(request.header("authorization"), "");
    }
}

async fn a_client_without_a_secret_sends_no_empty_one(app: TestApp) {
    for request in requests(&app, |acme| without(acme, "client_secret")).await {
        assert_eq!(request.value("client_id"), Some("acme-client"));
        assert_eq!(request.value("client_secret"), None);
        assert_eq!(request.header("authorization"), "");
    }
}
