//! Connecting an MCP server by its URL, and what the page says on the way.

use serde_json::json;

use super::{Operator, at, events};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::with;
use crate::support::mcp_server::{McpServer, RESOURCE_METADATA, SERVER_METADATA};

both_databases! {
    a_server_is_connected_by_its_url_and_each_step_is_shown,
    the_step_that_failed_is_shown_with_what_to_do_and_nothing_is_stored,
    a_server_that_registers_no_client_takes_one_that_was_registered_by_hand,
    only_who_administers_providers_connects_a_server,
}

async fn a_server_is_connected_by_its_url_and_each_step_is_shown(app: TestApp) {
    let server = McpServer::start().await;
    let operator = Operator::admin(&app).await;
    assert!(operator.page("/providers").await.contains("href=\"/console/add-mcp\""));
    assert!(operator.page("/add-mcp").await.contains("name=\"url\""));
    let page = operator.submit("/add-mcp", &[("url", &server.url()), ("name", "Tools")]).await.expect_html(200);
    let steps = [
        "<h1>The MCP server is connected</h1>".to_owned(),
        format!("{}: status 401: it asks for authorization, and names its metadata", server.url()),
        format!("{}: its authorization server is {}", server.at(RESOURCE_METADATA), server.at("")),
        format!("{}: metadata of {}", server.at(SERVER_METADATA), server.at("")),
        "supports S256".to_owned(),
        format!("{}: registered as client-", server.at("/register")),
        "stored as mcp-server".to_owned(),
    ];
    let places: Vec<usize> =
        steps.iter().map(|step| page.find(step).unwrap_or_else(|| panic!("{step}: {page}"))).collect();
    assert!(places.is_sorted(), "in the order in which it was done: {page}");
    assert!(!page.contains("secret-") && !page.contains(">Failed<") && page.contains("/providers/mcp-server/try\""));
    let provider = app.get("/v2/auth/providers/mcp-server").await.expect(200);
    assert_eq!((&provider["name"], &provider["mcp_server_url"]), (&json!("Tools"), &json!(server.url())));
    assert_eq!(events(&app, "provider.discovered").await[0]["actor"], "console_user");
    let page = operator.submit("/add-mcp", &[("url", &server.url())]).await.expect_html(409);
    assert!(page.contains("role=\"alert\"") && page.contains("Choose another id"), "{page}");
    assert_eq!(server.requests("/register").len(), 1, "nothing is registered for a name that is taken");
}

async fn the_step_that_failed_is_shown_with_what_to_do_and_nothing_is_stored(app: TestApp) {
    let server = McpServer::start().await;
    let operator = Operator::admin(&app).await;
    let fails = async |status: u16, parts: &[&str]| {
        let form = [("url", &*server.url()), ("provider_id", "acme"), ("client_secret", "")];
        let page = operator.submit("/add-mcp", &form).await.expect_html(status);
        for part in [&["role=\"alert\"", "<h2 id=\"explained\">What to do</h2>", ">Failed<"], parts].concat() {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains(&format!("value=\"{}\"", server.url())), "what was entered is kept: {page}");
        app.get("/v2/auth/providers/acme").await.expect(404);
    };
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"resource": "https://bank.example/mcp"})));
    fails(422, &["metadata is of another resource", "operator has to correct its metadata"]).await;
    server.show(RESOURCE_METADATA, server.resource_metadata());
    server.answer(SERVER_METADATA, Reply::text("text/plain", "").status(503));
    fails(422, &[&server.at(SERVER_METADATA), "its server responds with an error"]).await;
    server.show(SERVER_METADATA, with(server.server_metadata(), json!({"code_challenge_methods_supported": null})));
    fails(422, &["<strong>PKCE</strong>", "accept that its metadata does not say so"]).await;
    server.show(SERVER_METADATA, server.server_metadata());
    server.answer("/register", Reply::json(json!({"error": "invalid_client_metadata"})).status(400));
    fails(502, &["<strong>client registration</strong>", "invalid_client_metadata", "by hand"]).await;
    // Its own metadata says nothing; and there is no other place.
    server.hide(RESOURCE_METADATA);
    server.hide(SERVER_METADATA);
    server.answer("/public/mcp", Reply::text("text/plain", "").status(200));
    let form = [("url", &*server.url()), ("provider_id", "acme")];
    let page = operator.submit("/add-mcp", &form).await.expect_html(422);
    for part in ["it does not ask for authorization", "status 404: nothing there", "it often ends in /mcp"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for url in ["", "no address", "ftp://mcp.example/", "https://name:word@mcp.example/", "javascript:alert(1)"] {
        let page = operator.submit("/add-mcp", &[("url", url), ("client_secret", "secret-77")]).await.expect_html(422);
        assert!(page.contains("role=\"alert\"") && !page.contains("secret-77"), "{url}: {page}");
    }
    assert_eq!(app.get("/v2/auth/providers").await.expect(200), json!([]));
}

async fn a_server_that_registers_no_client_takes_one_that_was_registered_by_hand(app: TestApp) {
    let server = McpServer::start().await;
    let operator = Operator::admin(&app).await;
    server.show(SERVER_METADATA, with(server.server_metadata(), json!({"registration_endpoint": null})));
    let form = [("url", &*server.url()), ("provider_id", "acme")];
    let page = operator.submit("/add-mcp", &form).await.expect_html(200);
    for part in ["<h1>A client has to be registered</h1>", "/host-oauth-callback/acme\"", "/providers/acme/edit\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let form = [("user", "console-trial"), ("scopes", "")];
    let page = operator.submit("/providers/acme/try", &form).await;
    assert!(page.status.as_u16() == 409 && page.text().contains("role=\"alert\""), "{page:?}");
    app.delete("/v2/auth/providers/acme").await.expect(200);
    let by_hand = [
        ("url", &*server.url()),
        ("provider_id", "acme"),
        ("client_id", "by-hand"),
        ("client_secret", "secret-77"),
        ("omit_resource", "1"),
    ];
    let page = operator.submit("/add-mcp", &by_hand).await.expect_html(200);
    assert!(page.contains("the one that you have registered by hand") && !page.contains("secret-77"), "{page}");
    let provider = app.get("/v2/auth/providers/acme").await.expect(200);
    assert_eq!((&provider["client_id"], &provider["omit_resource"]), (&json!("by-hand"), &json!(true)));
    assert!(server.requests("/register").is_empty());
}

async fn only_who_administers_providers_connects_a_server(app: TestApp) {
    let server = McpServer::start().await;
    for options in [
        &["--role", "viewer"][..],
        &["--role", "admin", "--only-user", "alice"],
        &["--role", "admin", "--only-provider", "other"],
    ] {
        let operator = Operator::new(&app, &app.new_key(options).await.key()).await;
        if !options.contains(&"--only-provider") {
            operator.open(&at("/add-mcp")).await.expect_html(403);
            assert!(!operator.page("/providers").await.contains("/add-mcp"));
        }
        operator.submit("/add-mcp", &[("url", &server.url())]).await.expect_html(403);
    }
    assert_eq!(server.count(), 0);
}
