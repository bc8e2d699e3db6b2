//! No page and no form shows or changes anything of another user, or outside the providers of a link.

use serde_json::json;

use super::{Person, at, connected, token_of};
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden};
use crate::support::caller::{asking, with};

both_databases! {
    nobody_sees_a_page_without_a_session,
    a_person_sees_and_changes_nothing_of_another_user_or_workspace,
    a_form_without_the_token_of_its_session_is_refused,
    a_link_for_some_providers_shows_only_what_is_held_there,
}

const FORMS: [&str; 3] = ["/connect/acme", "/held/ID/reconnect", "/held/ID/revoke"];

async fn nobody_sees_a_page_without_a_session(app: TestApp) {
    let (provider, _) = connected(&app).await;
    let id = token_of(&app, "alice").await;
    let made_up = Browser::new(&app);
    made_up.plant("__Host-agent-auth-person", &"A".repeat(43));
    for browser in [Browser::new(&app), made_up] {
        for path in ["", "/held/ID", "/held/ID/revoke"] {
            let page = browser.open(&at(&path.replace("ID", &id))).await.expect_html(401);
            assert!(page.contains("Open your link first") && !page.contains("alice"), "{page}");
        }
        for path in FORMS.iter().chain(&["/leave"]) {
            browser.send(&at(&path.replace("ID", &id)), &[("form_token", "x")]).await.expect_html(401);
        }
    }
    assert!(provider.revocations().is_empty());
    token_of(&app, "alice").await;
}

async fn a_person_sees_and_changes_nothing_of_another_user_or_workspace(app: TestApp) {
    let (provider, maker) = connected(&app).await;
    app.connect(&provider, &with(asking("alice-too", &["read"]), json!({"ls_user_id": "bob"}))).await;
    let elsewhere = app.service_key_in("other", "place").await;
    let (alice, too) = (token_of(&app, "alice").await, token_of(&app, "alice-too").await);
    for (maker, user) in [(&maker, "bob"), (&maker, "ALICE"), (&elsewhere, "alice")] {
        let person = Person::new(&app, maker, &json!({"user_id": user})).await;
        let page = person.page("").await;
        assert!(page.contains("You are not connected to anything here."), "{user}: {page}");
        for id in [&alice, &too] {
            for path in ["/held/ID", "/held/ID/revoke"] {
                person.open(&at(&path.replace("ID", id))).await.expect_html(404);
            }
            person.submit(&format!("/held/{id}/reconnect")).await.expect_html(404);
            let answer = person.submit(&format!("/held/{id}/revoke")).await;
            assert_eq!(answer.header("location"), "/connections?done=gone");
        }
    }
    assert!(provider.revocations().is_empty());
    assert_eq!((token_of(&app, "alice").await, token_of(&app, "alice-too").await), (alice, too));
}

async fn a_form_without_the_token_of_its_session_is_refused(app: TestApp) {
    let (provider, maker) = connected(&app).await;
    let body = json!({"user_id": "alice"});
    let (person, other) = (Person::new(&app, &maker, &body).await, Person::new(&app, &maker, &body).await);
    let id = token_of(&app, "alice").await;
    let of_other = hidden(&other.page("").await, "form_token");
    for path in FORMS.iter().chain(&["/leave"]) {
        let url = at(&path.replace("ID", &id));
        for token in ["", "x", &of_other] {
            person.send(&url, &[("form_token", token)]).await.expect_html(403);
        }
    }
    assert!(provider.revocations().is_empty());
    person.page("").await;
}

async fn a_link_for_some_providers_shows_only_what_is_held_there(app: TestApp) {
    let (provider, maker) = connected(&app).await;
    app.register_as(with(provider.definition("other"), json!({"name": "Other Inc."}))).await;
    let person = Person::new(&app, &maker, &json!({"user_id": "alice", "providers": ["other"]})).await;
    let page = person.page("").await;
    assert!(page.contains("You are not connected") && page.contains("Connect Other Inc."), "{page}");
    let id = token_of(&app, "alice").await;
    person.open(&at(&format!("/held/{id}"))).await.expect_html(404);
    person.submit(&format!("/held/{id}/reconnect")).await.expect_html(404);
    person.submit("/connect/acme").await.expect_html(404);
    assert_eq!(person.submit(&format!("/held/{id}/revoke")).await.header("location"), "/connections?done=gone");
    token_of(&app, "alice").await;
}
