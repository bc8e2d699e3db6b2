//! What signs nobody in, and how often somebody may try.

use agent_auth::broker::audit::record_refusals;
use serde_json::json;

use super::super::events;
use super::{CONSOLE_COOKIE, admins, admins_with, at, events_there, is_in, is_signed_in, sign_in, signed_in};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::browser::{Browser, post_form};
use crate::support::caller::{Caller, with};
use crate::support::database::Database;
use crate::support::langsmith::{
    ALICES_KEY, ALICES_TOKEN, FOREIGN_KEY, OTHER_WORKSPACE, SERVICE_KEY, WORKSPACE, WithLangSmith, alice,
};

both_databases! {
    without_the_setting_no_credential_goes_to_langsmith_and_none_signs_in,
    a_service_key_signs_nobody_in,
    what_langsmith_refuses_signs_nobody_in,
    failed_sign_ins_are_throttled_and_audited,
    people_of_a_workspace_that_is_not_accepted_do_not_sign_in,
    a_workspace_that_is_not_the_one_of_the_credential_signs_nobody_in,
    what_can_only_be_a_key_of_this_server_is_not_sent_to_langsmith,
    keys_of_this_server_sign_in_as_before,
    another_site_cannot_sign_a_browser_in,
}

async fn without_the_setting_no_credential_goes_to_langsmith_and_none_signs_in(app: WithLangSmith) {
    let plain = TestApp::start(Database::sqlite()).await;
    for app in [&app as &Caller, &plain as &Caller] {
        let browser = Browser::new(app);
        for (key, said) in [(ALICES_KEY, "set CONSOLE_LANGSMITH_ROLE"), (ALICES_TOKEN, "not a valid API key")] {
            let page = sign_in(&browser, key, WORKSPACE).await.expect_html(401);
            assert!(page.contains(said) && !page.contains("name=\"workspace\""), "{page}");
        }
        assert!(!is_signed_in(&browser).await);
    }
    assert_eq!(app.langsmith.count(), 0);
}

async fn a_service_key_signs_nobody_in(database: Database) {
    let app = admins(database).await;
    let browser = Browser::new(&app);
    let page = sign_in(&browser, SERVICE_KEY, "").await.expect_html(403);
    assert!(page.contains("a service key signs nobody in") && page.contains("lsv2_pt_"), "{page}");
    app.langsmith.answer_next(Reply::json(with(alice(), json!({"ls_user_id": "", "user_id": ""}))));
    sign_in(&browser, ALICES_KEY, "").await.expect_html(403);
    assert!(!browser.cookies().contains_key(CONSOLE_COOKIE));
    assert_eq!(app.database.row_counts().await["console_people"], 0);
    record_refusals(&app.app.broker).await.unwrap();
    let denied = &events_there(&app, "access.denied").await[0];
    assert_eq!((&denied["actor"], &denied["details"]["outside"]), (&json!("langsmith"), &json!("person")));
    assert_eq!(
        (&denied["details"]["request"], &denied["details"]["count"]),
        (&json!("POST /console/sign-in"), &json!("2"))
    );
}

async fn what_langsmith_refuses_signs_nobody_in(database: Database) {
    let app = admins(database).await;
    let browser = Browser::new(&app);
    let refused = |status| Reply::text("text/html", "<h1>secret-of-langsmith</h1>").status(status);
    for (reply, status, said) in [
        (refused(401), 401, "Neither this server nor LangSmith accepts this"),
        (refused(403), 403, "LangSmith denies access"),
        (Reply::json(with(alice(), json!({"tenant_id": null}))), 403, "LangSmith names no workspace"),
        (Reply::json(json!({})), 403, "LangSmith names no workspace"),
    ] {
        app.langsmith.answer_next(reply);
        let page = sign_in(&browser, ALICES_KEY, "").await.expect_html(status);
        assert!(page.contains(said) && page.contains("role=\"alert\""), "{page}");
        assert!(!page.contains(ALICES_KEY) && !page.contains("secret-of-langsmith"), "{page}");
    }
    // What no request could carry is not sent.
    let before = app.langsmith.count();
    let long = "x".repeat(8193);
    for (key, workspace) in [
        ("lsv2_pt_\u{e9}", ""),
        ("two words", ""),
        ("a\r\nb", ""),
        (&*long, ""),
        (ALICES_KEY, "w w"),
        (ALICES_KEY, &long),
    ] {
        sign_in(&browser, key, workspace).await.expect_html(401);
    }
    assert_eq!(app.langsmith.count(), before);
    assert!(!is_signed_in(&browser).await);
}

async fn failed_sign_ins_are_throttled_and_audited(database: Database) {
    let app = admins_with(database, |settings| settings.failed_keys_per_minute = 3).await;
    let guesser = app.browser().at_address("192.0.2.7").with("sec-fetch-site", "same-origin");
    let guess = async |key: &str| post_form(&guesser, &at("/sign-in"), &[("key", key)]).await;
    guess("lsv2_pt_a-guess").await.expect_html(401);
    guess("eyJ.a-guess").await.expect_html(401);
    guess(ALICES_TOKEN).await.expect_html(403);
    let answer = guess("lsv2_pt_a-guess").await;
    answer.expect_html(429);
    assert!(!answer.header("retry-after").is_empty());
    // A valid key is never slowed by others behind the same address.
    is_in(&guess(ALICES_KEY).await);
    guess(SERVICE_KEY).await.expect_html(403);
    record_refusals(&app.app.broker).await.unwrap();
    let refused = &events(&app, "api_key.refused").await[0];
    assert_eq!((&refused["address"], &refused["details"]["count"]), (&json!("192.0.2.7"), &json!("4")));
    assert_eq!(refused["actor"], "unknown");
}

async fn people_of_a_workspace_that_is_not_accepted_do_not_sign_in(database: Database) {
    let app = admins_with(database, |settings| settings.langsmith_tenant_ids = Some(WORKSPACE.into())).await;
    let browser = Browser::new(&app);
    for (key, workspace) in [(FOREIGN_KEY, ""), (ALICES_TOKEN, OTHER_WORKSPACE)] {
        let page = sign_in(&browser, key, workspace).await.expect_html(403);
        assert!(page.contains("LANGSMITH_TENANT_IDS") && !page.contains(WORKSPACE), "{page}");
    }
    assert!(!is_signed_in(&browser).await);
    assert!(is_signed_in(&signed_in(&app, ALICES_KEY, "").await).await);
    record_refusals(&app.app.broker).await.unwrap();
    assert_eq!(events(&app, "api_key.refused").await[0]["details"]["count"], "2");
}

async fn a_workspace_that_is_not_the_one_of_the_credential_signs_nobody_in(database: Database) {
    let app = admins(database).await;
    let browser = Browser::new(&app);
    let page = sign_in(&browser, ALICES_KEY, OTHER_WORKSPACE).await.expect_html(403);
    assert!(page.contains("belongs to another workspace"), "{page}");
    assert!(!is_signed_in(&browser).await);
    record_refusals(&app.app.broker).await.unwrap();
    let denied = &events_there(&app, "access.denied").await[0];
    assert_eq!(
        (&denied["actor_id"], &denied["details"]["outside"]),
        (&json!("langsmith:ls-alice"), &json!("workspace"))
    );
    is_in(&sign_in(&browser, ALICES_KEY, WORKSPACE).await);
}

async fn what_can_only_be_a_key_of_this_server_is_not_sent_to_langsmith(database: Database) {
    let app = admins(database).await;
    let agent = app.new_key(&["--role", "agent"]).await.key();
    let browser = Browser::new(&app);
    for (key, status) in [("aauth_not-a-key-of-this-server", 401), ("", 401), (&*agent, 403)] {
        sign_in(&browser, key, WORKSPACE).await.expect_html(status);
    }
    assert_eq!(app.langsmith.count(), 0);
}

async fn keys_of_this_server_sign_in_as_before(database: Database) {
    let app = admins(database).await;
    let viewer = app.new_key(&["--role", "viewer"]).await.key();
    for key in [&*app.database.bootstrap_key, &*viewer] {
        let browser = Browser::new(&app);
        let answer = sign_in(&browser, key, "").await;
        is_in(&answer);
        assert!(answer.header("set-cookie").contains("; Max-Age=43200;"));
        app.advance(3 * 3600);
        assert!(is_signed_in(&browser).await);
    }
    assert_eq!(app.langsmith.count(), 0);
}

async fn another_site_cannot_sign_a_browser_in(database: Database) {
    let app = admins(database).await;
    let browser = app.browser();
    for caller in [
        browser.clone(),
        browser.with("sec-fetch-site", "cross-site").with("origin", "https://evil.example"),
        browser.with("sec-fetch-site", "same-site"),
    ] {
        post_form(&caller, &at("/sign-in"), &[("key", ALICES_KEY)]).await.expect_html(403);
    }
    assert_eq!(app.langsmith.count(), 0);
}
