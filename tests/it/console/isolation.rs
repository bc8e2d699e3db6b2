//! No page and no form of the console shows or changes anything of another workspace, or outside the limits of a key.

use serde_json::{Value, json};

use super::{Operator, PAGES, at, connected, events, newest_token};
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{Caller, acme, asking, with};

both_databases! {
    no_page_shows_anything_of_another_workspace,
    no_form_changes_anything_of_another_workspace,
    a_limited_key_sees_and_changes_only_what_is_inside,
    the_settings_are_those_of_the_operator,
}

/// Everything of a workspace that a page could show, from its own API.
async fn belongings(caller: &Caller) -> Value {
    json!([
        caller.get("/v2/auth/providers").await.expect(200),
        caller.get("/v2/admin/tokens").await.expect(200),
        caller.get("/v2/audit?event=api_key.revoked").await.expect(200),
    ])
}

/// Two workspaces of the organization, and one of another organization.
async fn intruders(app: &TestApp) -> Vec<Operator> {
    let organization = app.app.broker.home_tenant().await.unwrap().organization;
    let mut operators = Vec::new();
    for (organization, workspace) in [(organization.as_str(), "beside"), ("other", "place")] {
        let caller = app.service_key_in(organization, workspace).await;
        caller.register_as(with(acme(), json!({"provider_id": "own", "name": "Own"}))).await;
        operators.push(Operator::new(app, &caller.key()).await);
    }
    operators
}

async fn no_page_shows_anything_of_another_workspace(app: TestApp) {
    let provider = connected(&app).await;
    app.connect(&provider, &with(asking("zoe-of-the-first", &["scope-of-the-first"]), json!({}))).await;
    app.begin(&with(asking("yan-of-the-first", &["read"]), json!({"agent_id": "agent-of-the-first"}))).await;
    app.new_key(&["--role", "viewer", "--only-user", "only-of-the-first"]).await;
    let token = newest_token(&app).await;
    let key = events(&app, "api_key.created").await[0]["details"]["api_key_id"].as_str().unwrap().to_owned();
    let owner = Operator::admin(&app).await;
    owner.done(&format!("/connections/{token}"), &[("action", "refresh")]).await;
    let named = ["/connections?user=alice", "/connections?provider=acme", "/audit?provider_id=acme", "/audit/export"];
    assert!(owner.page("").await.contains("1 replica of this server running"));
    assert!(owner.page("/connections").await.contains("zoe-of-the-first"));
    for intruder in intruders(&app).await {
        for path in PAGES.into_iter().filter(|path| *path != "/settings").chain(named) {
            let answer = intruder.open(&at(path)).await;
            assert_eq!(answer.status.as_u16(), 200, "{path}");
            let page = answer.text();
            for theirs in ["of-the-first", "alice", "acme.example/of", "Acme Inc.", "bootstrap", &token, &key] {
                // What was searched for is in the form again.
                let page = page.replace("value=\"alice\"", "").replace("value=\"acme\"", "");
                assert!(!page.contains(theirs), "{theirs} in {path}: {page}");
            }
        }
        assert!(intruder.page("/providers").await.contains(">Own<"));
        let overview = intruder.page("").await;
        assert!(
            overview.contains("No token was refreshed") && !overview.contains("replica of this server"),
            "{overview}"
        );
        let question = intruder.page(&format!("/connections/revoke?token={token}")).await;
        assert!(question.contains("1 of those that were chosen is gone") && !question.contains("zoe"), "{question}");
        for path in [
            format!("/connections/{token}"),
            format!("/connections/{token}/revoke"),
            "/providers/acme".to_owned(),
            "/providers/acme/delete".to_owned(),
            format!("/keys/{key}/revoke"),
        ] {
            let answer = intruder.open(&at(&path)).await;
            let page = answer.expect_html(404);
            assert!(!page.contains("alice") && !page.contains("Acme"), "{path}: {page}");
        }
    }
}

async fn no_form_changes_anything_of_another_workspace(app: TestApp) {
    let provider = connected(&app).await;
    let viewer = app.new_key(&["--role", "viewer"]).await;
    let token = newest_token(&app).await;
    let key = events(&app, "api_key.created").await[0]["details"]["api_key_id"].as_str().unwrap().to_owned();
    let before = belongings(&app).await;
    for intruder in intruders(&app).await {
        for (path, fields, status) in [
            (format!("/connections/{token}"), &[("action", "refresh")][..], 404),
            (format!("/connections/{token}"), &[("action", "default")], 404),
            (format!("/connections/{token}"), &[("action", "label"), ("label", "mine")], 404),
            (format!("/connections/{token}/revoke"), &[], 303),
            ("/connections/revoke".to_owned(), &[("token", &*token)], 200),
            ("/providers/acme".to_owned(), &[], 404),
            ("/providers/acme/delete".to_owned(), &[], 303),
            (format!("/keys/{key}/revoke"), &[], 303),
        ] {
            let answer = intruder.submit(&path, fields).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
            if status == 200 {
                assert!(answer.text().contains("<strong>1</strong> gone already"), "{path}: {}", answer.text());
                continue;
            }
            let said = if status == 404 { "" } else { answer.header("location") };
            assert!(status == 404 || said.ends_with("?done=gone"), "{path}: {said}");
        }
    }
    assert_eq!(belongings(&app).await, before);
    assert!(provider.refreshes().is_empty() && provider.revocations().is_empty());
    viewer.get("/v2/admin/tokens").await.expect(200);
}

async fn a_limited_key_sees_and_changes_only_what_is_inside(app: TestApp) {
    let provider = connected(&app).await;
    app.register_as(with(provider.definition("other"), json!({"name": "Other Inc."}))).await;
    app.connect(&provider, &asking("bob", &["read"])).await;
    app.connect(&provider, &with(asking("alice", &["read"]), json!({"provider": "other"}))).await;
    let of_other = newest_token(&app).await;
    let limited = async |options: &[&str]| {
        let options = [&["--role", "admin"][..], options].concat();
        Operator::new(&app, &app.new_key(&options).await.key()).await
    };
    let of_acme = limited(&["--only-provider", "acme"]).await;
    for path in ["", "/connections", "/providers", "/requests"] {
        assert!(!of_acme.page(path).await.contains("other"), "{path}");
    }
    assert!(of_acme.page("/connections").await.contains("bob"));
    of_acme.open(&at(&format!("/connections/{of_other}"))).await.expect_html(404);
    of_acme.open(&at("/providers/other")).await.expect_html(403);
    of_acme.submit("/providers/other", &[]).await.expect_html(403);
    of_acme.submit("/providers/other/delete", &[]).await.expect_html(403);
    let answer = of_acme.submit(&format!("/connections/{of_other}/revoke"), &[]).await;
    assert!(answer.header("location").ends_with("?done=gone"));
    let new = [("template", "github"), ("provider_id", "github"), ("client_id", "x")];
    of_acme.submit("/add-provider", &new).await.expect_html(403);

    let of_alice = limited(&["--only-user", "alice"]).await;
    let page = of_alice.page("/connections").await;
    assert!(page.contains("alice") && !page.contains("bob"), "{page}");
    for path in ["/providers/acme/delete", "/add-provider", "/keys", "/audit", "/audit/export", "/settings"] {
        of_alice.open(&at(path)).await.expect_html(403);
    }
    of_alice.submit("/providers/acme/delete", &[]).await.expect_html(403);
    of_alice.submit("/add-provider", &new).await.expect_html(403);
    assert_eq!(app.get("/v2/admin/tokens").await.expect(200)["data"].as_array().unwrap().len(), 3);
}

async fn the_settings_are_those_of_the_operator(app: TestApp) {
    for intruder in intruders(&app).await {
        let page = intruder.open(&at("/settings")).await.expect_html(403);
        assert!(page.contains("first workspace") && !page.contains("public_url"), "{page}");
    }
    Operator::admin(&app).await.page("/settings").await;
}
