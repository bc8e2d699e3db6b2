//! Our client at the authorization server of an MCP server: how it is registered and when it is registered again.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::binary;
use crate::support::both_databases;
use crate::support::caller::{Pending, asking, with};
use crate::support::database::Database;
use crate::support::mcp_server::{McpServer, SERVER_METADATA};

both_databases! {
    a_server_that_registers_nobody_takes_a_client_made_by_hand,
    the_answer_to_a_registration_counts,
    a_registration_that_is_refused_is_told,
    a_server_that_takes_a_url_for_a_client_id_is_given_one,
    a_client_whose_secret_has_expired_is_registered_anew,
    a_client_that_was_forgotten_is_registered_anew_once,
    a_response_of_another_issuer_leads_to_no_token_request,
    an_issuer_that_always_names_itself_is_not_believed_without_its_name,
    the_command_line_connects_a_server_too,
    a_server_that_takes_our_own_tokens_needs_a_client_and_no_person,
    a_server_that_knows_devices_is_told_of_them,
    a_client_that_was_forgotten_is_registered_anew_for_a_device,
    another_workspace_is_registered_with_an_address_of_its_own,
    simultaneous_workspaces_are_registered_with_the_addresses_they_get,
    a_document_of_another_workspace_names_its_own_address,
}

const DISCOVER: &str = "/v2/auth/providers/mcp-discover";

/// The way back from the page Alice was sent to.
fn back(pending: &Pending, more: &str) -> url::Url {
    let redirect_uri = pending.parameter("redirect_uri").expect("a way back");
    format!("{redirect_uri}?state={}{more}", pending.state()).parse().expect("a URL")
}

async fn consent(app: &TestApp) {
    let pending = app.begin(&asking("alice", &[])).await;
    app.come_back(&back(&pending, "&code=a-code")).await;
}

async fn a_server_that_registers_nobody_takes_a_client_made_by_hand(app: TestApp) {
    let server = McpServer::start().await;
    let mut metadata = server.server_metadata();
    metadata.as_object_mut().expect("an object").remove("registration_endpoint");
    server.show(SERVER_METADATA, metadata);
    let answer = app.post(DISCOVER, &server.connection()).await.expect(409);
    assert_eq!(answer["code"], "registration_required");
    assert_eq!(answer["issuer"], server.at(""));
    // The provider is there, and says the same until it has a client.
    let asked = app.try_authenticate(&asking("alice", &[])).await.expect(409);
    assert_eq!(asked, answer);

    let by_hand = json!({"client_id": "by-hand", "client_secret": "a-secret-made-by-hand"});
    let provider = app.patch("/v2/auth/providers/acme", &by_hand).await.expect(200);
    assert_eq!(provider["is_dynamic_client"], false);
    let pending = app.begin(&asking("alice", &[])).await;
    assert_eq!(pending.parameter("client_id").as_deref(), Some("by-hand"));
    app.delete("/v2/auth/providers/acme").await.expect(200);
    // Or at once, for those who knew.
    app.post(DISCOVER, &server.connection_with(by_hand)).await.expect(200);
    assert_eq!(Some(&answer["redirect_uri"]), pending.parameter("redirect_uri").map(Value::from).as_ref());
}

async fn the_answer_to_a_registration_counts(app: TestApp) {
    let server = McpServer::start().await;
    server.answer("/register", Reply::json(json!({"client_id": "given"})).status(201));
    let provider = app.post(DISCOVER, &server.connection()).await.expect(200);
    assert_eq!(provider["token_endpoint_auth_method"], "none", "there is no secret");
    consent(&app).await;
    let exchange = &server.requests("/token")[0];
    assert_eq!(exchange.value("client_id"), Some("given"));
    assert_eq!(exchange.value("client_secret"), None);
}

async fn a_registration_that_is_refused_is_told(app: TestApp) {
    let server = McpServer::start().await;
    let others = json!({"client_id": "given", "redirect_uris": ["https://elsewhere.example/"]});
    let refusal = json!({"error": "invalid_redirect_uri", "error_description": "internal detail"});
    let cases = [
        (Reply::json(refusal).status(400), "invalid_redirect_uri"),
        (Reply::text("text/html", "<h1>internal detail</h1>").status(500), "without a reason"),
        (Reply::json(json!({"client_name": "x"})).status(201), "names no client"),
        (Reply::json(others).status(201), "redirect URI"),
    ];
    for (answer, told) in cases {
        server.answer("/register", answer);
        let answer = app.post(DISCOVER, &server.connection()).await.expect(502);
        let detail = answer["detail"].as_str().expect("a sentence");
        assert!(detail.contains(told) && !detail.contains("internal detail"), "{detail}");
        app.get("/v2/auth/providers/acme").await.expect(404);
    }
}

async fn a_server_that_takes_a_url_for_a_client_id_is_given_one(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.public_url = Some("https://auth.example".into())).await;
    let server = McpServer::start().await;
    let takes = json!({"client_id_metadata_document_supported": true});
    server.show(SERVER_METADATA, with(server.server_metadata(), takes));
    let provider = app.post(DISCOVER, &server.connection()).await.expect(200);
    let client_id = provider["client_id"].as_str().expect("an id");
    let path = client_id.strip_prefix("https://auth.example").expect("an address of ours");
    assert!(server.requests("/register").is_empty());
    let answer = app.anonymous().get(path).await;
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.expect(200);
    assert_eq!(document["client_id"], client_id);
    assert_eq!(document["token_endpoint_auth_method"], "none");
    let pending = app.begin(&asking("alice", &[])).await;
    assert_eq!(document["redirect_uris"], json!([pending.parameter("redirect_uri")]));
    assert_eq!(pending.parameter("client_id").as_deref(), Some(client_id));
    app.anonymous().get("/oauth/client-metadata.json/..%2Fx").await.expect(404);
}

async fn a_client_whose_secret_has_expired_is_registered_anew(app: TestApp) {
    let server = McpServer::start().await;
    let in_an_hour = chrono::Utc::now().timestamp() + 3600;
    let given = |id: &str| json!({"client_id": id, "client_secret": id, "client_secret_expires_at": in_an_hour});
    server.answer("/register", Reply::json(given("first")).status(201));
    app.post(DISCOVER, &server.connection()).await.expect(200);
    let pending = app.begin(&asking("alice", &[])).await;
    assert_eq!(pending.parameter("client_id").as_deref(), Some("first"));
    app.advance(3601);
    server.answer("/register", Reply::json(json!({"client_id": "second", "client_secret": "second"})).status(201));
    let pending = app.begin(&asking("alice", &[])).await;
    assert_eq!(pending.parameter("client_id").as_deref(), Some("second"));
    app.begin(&asking("bob", &[])).await;
    assert_eq!(server.requests("/register").len(), 2);
}

async fn a_client_that_was_forgotten_is_registered_anew_once(app: TestApp) {
    let server = McpServer::start().await;
    app.post(DISCOVER, &server.connection()).await.expect(200);
    consent(&app).await;
    server.answer("/token", Reply::json(json!({"error": "invalid_client"})).status(401));
    app.advance(3600);
    assert_eq!(app.try_authenticate(&asking("alice", &[])).await.status, 502);
    assert_eq!(server.requests("/register").len(), 2);
    // It did not help: the client is marked, and not registered again and again.
    for _ in 0..3 {
        app.advance(60);
        assert_eq!(app.try_authenticate(&asking("alice", &[])).await.status, 502);
    }
    assert_eq!(server.requests("/register").len(), 2);
    // A server that takes the new client, but not the old one's grant: consent heals it.
    server.answer("/token", Reply::json(json!({"error": "invalid_grant"})).status(400));
    app.advance(60);
    app.begin(&asking("alice", &[])).await;
    server.hide("/token");
    consent(&app).await;
    app.token(&asking("alice", &[])).await;
}

async fn a_response_of_another_issuer_leads_to_no_token_request(app: TestApp) {
    let server = McpServer::start().await;
    app.post(DISCOVER, &server.connection()).await.expect(200);
    let pending = app.begin(&asking("alice", &[])).await;
    let page = app.visit(&back(&pending, "&code=a-code&iss=https%3A%2F%2Fevil.example")).await;
    assert!(page.status.is_client_error() || page.status.is_server_error(), "{page:?}");
    assert!(!page.text().contains("evil.example"));
    assert!(server.requests("/token").is_empty());
    // An error of another issuer is neither shown nor acted on.
    let pending = app.begin(&asking("alice", &[])).await;
    let page = app.visit(&back(&pending, "&error=access_denied&error_description=gotcha&iss=https%3A%2F%2Fevil")).await;
    assert_eq!(page.status, 400);
    assert!(!page.text().contains("gotcha"));
    assert_eq!(app.look(&pending.auth_id).await["status"], "pending");
    let iss: String = url::form_urlencoded::byte_serialize(server.at("").as_bytes()).collect();
    app.come_back(&back(&pending, &format!("&code=a-code&iss={iss}"))).await;
}

async fn an_issuer_that_always_names_itself_is_not_believed_without_its_name(app: TestApp) {
    let server = McpServer::start().await;
    let always = json!({"authorization_response_iss_parameter_supported": true});
    server.show(SERVER_METADATA, with(server.server_metadata(), always));
    app.post(DISCOVER, &server.connection()).await.expect(200);
    let pending = app.begin(&asking("alice", &[])).await;
    app.visit(&back(&pending, "&code=a-code")).await;
    assert!(server.requests("/token").is_empty());
    assert_eq!(app.look(&pending.auth_id).await["error"], "issuer_mismatch");
}

async fn the_command_line_connects_a_server_too(app: TestApp) {
    let (server, environment) = (McpServer::start().await, app.database.environment());
    let url = server.url();
    let added = binary::run(&["provider", "add", "acme", "--mcp", &url], &environment).await;
    assert!(added.status.success(), "{added:?}");
    assert!(added.stdout.contains("Connected acme") && added.stdout.contains("read write"), "{added:?}");
    consent(&app).await;
    app.token(&asking("alice", &[])).await;

    let mut metadata = server.server_metadata();
    metadata.as_object_mut().expect("an object").remove("registration_endpoint");
    server.show(SERVER_METADATA, metadata);
    let refused = binary::run(&["provider", "add", "other", "--mcp", &url], &environment).await;
    assert!(!refused.status.success(), "{refused:?}");
    assert!(refused.stderr.contains("/host-oauth-callback/other"), "it says what to register: {refused:?}");
    let refused = binary::run(&["provider", "add", "third", "--mcp", "ftp://x/"], &environment).await;
    assert!(refused.stderr.contains("mcp_server_url"), "{refused:?}");
}

async fn a_server_that_takes_our_own_tokens_needs_a_client_and_no_person(app: TestApp) {
    let server = McpServer::start().await;
    let mut metadata = server.server_metadata();
    metadata.as_object_mut().expect("an object").remove("code_challenge_methods_supported");
    server.show(SERVER_METADATA, metadata);
    let alone = json!({"grant_type": "client_credentials"});
    let refused = app.post(DISCOVER, &server.connection_with(json!({"grant_type": "api_key"}))).await;
    assert_eq!(refused.expect(422)["detail"][0]["loc"], json!(["body", "grant_type"]));
    let no_secret = with(alone.clone(), json!({"client_id": "ours"}));
    let refused = app.post(DISCOVER, &server.connection_with(no_secret)).await.expect(422);
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "client_secret"]));

    let answer = app.post(DISCOVER, &server.connection_with(alone)).await.expect(409);
    assert_eq!(answer["code"], "registration_required");
    assert!(server.requests("/register").is_empty(), "what registers itself sends people");
    let client = json!({"client_id": "ours", "client_secret": "a-secret-made-by-hand"});
    app.patch("/v2/auth/providers/acme", &client).await.expect(200);
    app.token(&asking("alice", &["read"])).await;
    let asked = &server.requests("/token")[0];
    assert_eq!(asked.value("grant_type"), Some("client_credentials"));
    assert_eq!((asked.value("scope"), asked.value("resource")), (Some("read"), Some(&*server.url())));
    assert_eq!(asked.value("client_secret"), Some("a-secret-made-by-hand"));
}

fn on_devices(server: &McpServer) -> Value {
    with(server.server_metadata(), json!({"device_authorization_endpoint": server.at("/device")}))
}

fn codes(server: &McpServer) -> Value {
    json!({"device_code": "d", "user_code": "ABCD", "verification_uri": server.at("/activate")})
}

async fn a_server_that_knows_devices_is_told_of_them(app: TestApp) {
    let server = McpServer::start().await;
    server.show(SERVER_METADATA, on_devices(&server));
    server.show("/device", codes(&server));
    app.post(DISCOVER, &server.connection()).await.expect(200);
    let registered: Value = server.requests("/register")[0].json();
    let grants = registered["grant_types"].as_array().expect("a list");
    assert!(grants.contains(&"urn:ietf:params:oauth:grant-type:device_code".into()), "{registered}");
    let answer = app.authenticate(&with(asking("alice", &[]), json!({"grant": "device"}))).await;
    assert_eq!(answer["user_code"], "ABCD");
    assert_eq!(server.requests("/device")[0].value("resource"), Some(&*server.url()));
}

async fn a_client_that_was_forgotten_is_registered_anew_for_a_device(app: TestApp) {
    let server = McpServer::start().await;
    server.show(SERVER_METADATA, on_devices(&server));
    app.post(DISCOVER, &server.connection()).await.expect(200);
    server.answer("/device", Reply::json(json!({"error": "invalid_client"})).status(401));
    let asked = with(asking("alice", &[]), json!({"grant": "device"}));
    app.try_authenticate(&asked).await.expect_error(502, "provider_misconfigured");
    assert_eq!((server.requests("/register").len(), server.requests("/device").len()), (2, 2));
    app.try_authenticate(&asked).await.expect_error(502, "provider_misconfigured");
    assert_eq!(server.requests("/register").len(), 2, "it did not help, so it is not done again and again");
    server.show("/device", codes(&server));
    assert_eq!(app.authenticate(&asked).await["user_code"], "ABCD");
}

async fn another_workspace_is_registered_with_an_address_of_its_own(app: TestApp) {
    let server = McpServer::start().await;
    let in_an_hour = chrono::Utc::now().timestamp() + 3600;
    app.post(DISCOVER, &server.connection()).await.expect(200);
    let other = app.service_key_in("other", "ws").await;
    let given = json!({"client_id": "second", "client_secret": "s", "client_secret_expires_at": in_an_hour});
    server.answer("/register", Reply::json(given).status(201));
    let provider = other.post(DISCOVER, &server.connection()).await.expect(200);
    let own = provider["redirect_uri"].as_str().expect("an address");
    assert!(own.contains("/host-oauth-callback/acme/at/"), "{own}");
    app.advance(3601);
    let pending = other.begin(&asking("alice", &[])).await;
    assert_eq!(pending.parameter("redirect_uri").as_deref(), Some(own));
    let registered = server.requests("/register");
    let uris: Vec<Value> = registered.iter().map(|request| request.json()["redirect_uris"].clone()).collect();
    assert_eq!(uris, [json!(["https://broker.example/host-oauth-callback/acme"]), json!([own]), json!([own])]);
}

async fn simultaneous_workspaces_are_registered_with_the_addresses_they_get(app: TestApp) {
    let server = McpServer::start().await;
    let (one, two) = (app.service_key_in("one", "ws").await, app.service_key_in("two", "ws").await);
    let connection = server.connection();
    let (one, two) = tokio::join!(one.post(DISCOVER, &connection), two.post(DISCOVER, &connection));
    let addresses = [one.expect(200)["redirect_uri"].clone(), two.expect(200)["redirect_uri"].clone()];
    assert_ne!(addresses[0], addresses[1]);
    let registered: Vec<Value> =
        server.requests("/register").iter().map(|request| request.json()["redirect_uris"][0].clone()).collect();
    for address in addresses {
        assert!(registered.contains(&address), "{address} is not among {registered:?}");
    }
}

async fn a_document_of_another_workspace_names_its_own_address(database: Database) {
    let app = TestApp::start_with(database, |settings| settings.public_url = Some("https://auth.example".into())).await;
    let server = McpServer::start().await;
    let takes = json!({"client_id_metadata_document_supported": true});
    server.show(SERVER_METADATA, with(server.server_metadata(), takes));
    app.post(DISCOVER, &server.connection()).await.expect(200);
    let other = app.service_key_in("other", "ws").await;
    let provider = other.post(DISCOVER, &server.connection()).await.expect(200);
    let client_id = provider["client_id"].as_str().expect("an id");
    let document = app.anonymous().get(client_id.strip_prefix("https://auth.example").unwrap()).await.expect(200);
    assert_eq!(document["client_id"], client_id);
    assert_eq!(document["redirect_uris"], json!([provider["redirect_uri"]]));
    app.anonymous().get("/oauth/client-metadata.json/acme/..%2Fx").await.expect(404);
}
