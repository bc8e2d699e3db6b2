//! Limits of texts and lists: how long, how many, and which characters.
//! What exceeds a limit is refused, and nothing of it is stored.

use serde_json::json;

use super::bodies::create;
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{acme, asking, with};

both_databases! {
    nul_bytes_are_refused_in_every_text,
    control_characters_in_user_and_agent_ids_are_refused,
    empty_and_oversized_texts_are_refused,
    ten_thousand_scopes_are_refused,
    a_scope_that_is_no_scope_token_is_refused,
    a_provider_id_that_could_leave_its_path_is_refused,
    a_path_that_tries_to_climb_finds_nothing,
    nul_bytes_in_paths_and_queries_do_no_harm,
}

async fn nul_bytes_are_refused_in_every_text(app: TestApp) {
    for field in ["provider_id", "name", "client_id", "client_secret", "auth_url", "token_url"] {
        let text = acme()[field].as_str().unwrap_or("secret").to_owned();
        let body = with(acme(), json!({field: format!("{text}\0x")}));
        let answer = create(&app, &body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
    let body = with(acme(), json!({"authorization_params": {"a": "b\0"}}));
    create(&app, &body).await.expect_fault_at("body.authorization_params");
    app.register_as(acme()).await;
    for field in ["provider", "user_id", "ls_user_id", "agent_id"] {
        let body = with(asking("alice", &["read"]), json!({field: "a\0b"}));
        let answer = app.try_authenticate(&body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
    let answer = app.try_authenticate(&asking("alice", &["a\0b"])).await;
    answer.expect_fault_at("body.scopes.0");
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn control_characters_in_user_and_agent_ids_are_refused(app: TestApp) {
    app.register_as(acme()).await;
    for field in ["user_id", "ls_user_id", "agent_id"] {
        for wrong in ["a\nb", "a\u{7f}", "\u{1b}[31m"] {
            let body = with(asking("alice", &["read"]), json!({field: wrong}));
            let answer = app.try_authenticate(&body).await;
            answer.expect_fault_at(&format!("body.{field}"));
        }
    }
}

async fn empty_and_oversized_texts_are_refused(app: TestApp) {
    let long = |length: usize| "a".repeat(length);
    for (field, wrong) in [
        ("provider_id", String::new()),
        ("provider_id", long(129)),
        ("name", String::new()),
        ("name", long(257)),
        ("client_id", String::new()),
        ("auth_url", format!("https://acme.example/{}", long(2048))),
    ] {
        let body = with(acme(), json!({field: wrong}));
        let answer = create(&app, &body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
    app.register_as(acme()).await;
    for (field, wrong) in [("user_id", String::new()), ("user_id", long(513))] {
        let body = with(asking("alice", &["read"]), json!({field: wrong}));
        let answer = app.try_authenticate(&body).await;
        answer.expect_fault_at(&format!("body.{field}"));
    }
    app.begin(&asking(&long(512), &["read"])).await;
}

async fn ten_thousand_scopes_are_refused(app: TestApp) {
    app.register_as(acme()).await;
    let many: Vec<_> = (0..10_000).map(|n| format!("s{n}")).collect();
    let body = json!({"provider": "acme", "user_id": "alice", "scopes": many});
    let answer = app.try_authenticate(&body).await;
    answer.expect_fault("body.scopes", "too_long");
    assert_eq!(app.database.authorization_requests().await, 0);
}

async fn a_scope_that_is_no_scope_token_is_refused(app: TestApp) {
    app.register_as(acme()).await;
    for wrong in ["", "read write", "quo\"te", "back\\slash", "tab\t", "ümlaut", &"s".repeat(513)] {
        let answer = app.try_authenticate(&asking("alice", &[wrong])).await;
        answer.expect_fault_at("body.scopes.0");
    }
}

async fn a_provider_id_that_could_leave_its_path_is_refused(app: TestApp) {
    for wrong in ["../acme", "..", ".", "a/b", "a..b", "a\\b", "%2e%2e", "a b", "a?b", "a#b", "-a", ".a"] {
        let body = with(acme(), json!({"provider_id": wrong}));
        create(&app, &body).await.expect_fault_at("body.provider_id");
    }
}

async fn a_path_that_tries_to_climb_finds_nothing(app: TestApp) {
    app.register_as(acme()).await;
    for path in [
        "/v2/auth/providers/..%2Fproviders%2Facme",
        "/v2/auth/providers/%2e%2e",
        "/v2/auth/providers/../providers/acme",
        "/v2/auth/providers/acme%00",
        "/v2/auth/wait/..%2F..%2Fproviders?timeout=0",
        "/v2/auth/wait/not-an-id?timeout=0",
    ] {
        let answer = app.get(path).await;
        let refused = answer.status.is_client_error() || answer.json()["status"] == "not_found";
        assert!(refused, "{path}: {answer:?}");
    }
}

async fn nul_bytes_in_paths_and_queries_do_no_harm(app: TestApp) {
    for answer in [
        app.get("/v2/auth/providers/a%00b").await,
        app.get("/v2/auth/tokens?provider_id=a%00b").await,
        app.get("/v2/auth/tokens/exists?provider_id=a%00b").await,
        app.delete("/v2/auth/tokens?provider_id=a%00b").await,
        app.delete("/v2/auth/tokens/a%00b").await,
        app.get("/v2/auth/agents/a%00b/connections").await,
        app.get("/v2/auth/wait/a%00b?timeout=0").await,
        app.get("/host-oauth-callback/a%00b?code=a%00&state=%00").await,
        app.get("/v2/auth/providers/%ff").await,
        app.get("/v2/auth/tokens?provider_id=%ff").await,
        app.post("/v2/auth/tokens/exists/batch", &json!({"provider_ids": ["a\0b"]})).await,
        app.with("x-user-id", "alice").get("/v2/auth/tokens?provider_id=").await,
    ] {
        assert!(!answer.status.is_server_error(), "{answer:?}");
    }
}
