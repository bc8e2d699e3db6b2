//! Signing in with LangSmith's credentials: who is signed in, as whom, where, and for how long.

mod refused;
mod unavailable;

use std::time::Duration;

use agent_auth::broker::jobs::sweep;
use agent_auth::config::Settings;
use serde_json::json;
use url::form_urlencoded;

use super::{PAGES, at};
use crate::support::answer::Answer;
use crate::support::authorization_server::Reply;
use crate::support::binary::Server;
use crate::support::both_databases;
use crate::support::browser::{Browser, hidden, post_form};
use crate::support::caller::{Caller, acme, with};
use crate::support::database::Database;
use crate::support::identity_provider::WithIdentityProvider;
use crate::support::langsmith::{
    ALICES_KEY, ALICES_TOKEN, AUTH, BOBS_KEY, FOREIGN_KEY, LangSmith, ORGANIZATION, OTHER_WORKSPACE, WORKSPACE,
    WithLangSmith, alice,
};

both_databases! {
    the_page_says_that_it_takes_credentials_of_langsmith_if_it_does,
    a_user_signs_in_with_a_personal_key_and_acts_as_themselves,
    only_the_credential_and_the_workspace_go_to_langsmith,
    a_token_is_sent_as_a_bearer_token_and_the_workspace_with_it,
    a_viewer_changes_nothing,
    a_session_ends_with_its_sign_out,
    a_session_ends_after_an_hour,
    langsmith_is_asked_at_the_sign_in_and_not_again,
    the_settings_decide_at_each_request_what_a_user_may_do,
    a_workspace_that_is_no_longer_accepted_has_no_sessions,
    two_workspaces_see_only_their_own,
    signing_in_and_out_is_recorded_with_the_user,
    people_of_the_identity_provider_keep_the_role_of_their_groups,
    a_session_counts_with_the_requests_of_its_user,
    the_credential_is_in_no_page_log_or_row,
}

const SIGN_IN: &str = "/console/sign-in";
const CONSOLE_COOKIE: &str = "__Host-agent-auth-console";

/// LangSmith's users are administrators of the console.
async fn admins(database: Database) -> WithLangSmith {
    admins_with(database, |_| ()).await
}

async fn admins_with(database: Database, change: impl FnOnce(&mut Settings)) -> WithLangSmith {
    WithLangSmith::start_with(database, |settings| {
        settings.console_langsmith_role = "admin".into();
        change(settings);
    })
    .await
}

/// Sends the form of the sign-in.
async fn sign_in(browser: &Browser, key: &str, workspace: &str) -> Answer {
    browser.send(&at("/sign-in"), &[("key", key), ("workspace", workspace)]).await
}

#[track_caller]
fn is_in(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/console"), "{}", answer.text());
}

/// A browser in which this credential signed somebody in.
async fn signed_in(app: &Caller, key: &str, workspace: &str) -> Browser {
    let browser = Browser::new(app);
    is_in(&sign_in(&browser, key, workspace).await);
    browser
}

async fn is_signed_in(browser: &Browser) -> bool {
    browser.open(&at("")).await.status.as_u16() == 200
}

/// Sends a form as the session's own pages do.
async fn submit(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = hidden(&browser.open(&at("")).await.expect_html(200), "form_token");
    browser.send(&at(path), &[&[("form_token", &*token)][..], fields].concat()).await
}

/// The events of that name in the workspace of LangSmith, newest first.
async fn events_there(app: &WithLangSmith, name: &str) -> Vec<serde_json::Value> {
    let key = app.service_key_in(ORGANIZATION, WORKSPACE).await;
    let events = key.get(&format!("/v2/audit?event={name}")).await.expect(200);
    events["data"].as_array().unwrap().clone()
}

async fn the_page_says_that_it_takes_credentials_of_langsmith_if_it_does(database: Database) {
    let without = WithLangSmith::start_with(Database::sqlite(), |_| ()).await;
    let page = Browser::new(&without).open(&at("/sign-in")).await.expect_html(200);
    assert!(!page.contains("LangSmith") && !page.contains("name=\"workspace\""), "{page}");
    let app = admins(database).await;
    let page = Browser::new(&app).open(&at("/sign-in")).await.expect_html(200);
    assert!(page.contains("LangSmith") && page.contains("name=\"workspace\"") && page.contains("one hour"), "{page}");
    assert_eq!(app.langsmith.count(), 0, "a page asks nobody");
}

async fn a_user_signs_in_with_a_personal_key_and_acts_as_themselves(database: Database) {
    let app = admins(database).await;
    let browser = Browser::new(&app);
    let answer = sign_in(&browser, ALICES_KEY, "").await;
    is_in(&answer);
    let set = answer.header("set-cookie");
    assert!(set.starts_with("__Host-agent-auth-console="), "{set}");
    assert!(set.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"), "{set}");
    for path in PAGES.into_iter().filter(|path| *path != "/settings") {
        let page = browser.open(&at(path)).await.expect_html(200);
        assert!(page.contains("alice@example.com") && page.contains("admin") && page.contains(WORKSPACE), "{page}");
    }
    browser.open(&at("/settings")).await.expect_html(403);
    let made = submit(&browser, "/keys", &[("name", "by alice"), ("role", "viewer"), ("kind", "service")]).await;
    assert!(made.expect_html(200).contains("aauth_"));
    let created = events_there(&app, "api_key.created").await;
    let event = created.iter().find(|event| event["details"]["api_key_name"] == "by alice").unwrap();
    assert_eq!((&event["actor"], &event["actor_id"]), (&json!("console_user"), &json!("langsmith:ls-alice")));
}

async fn only_the_credential_and_the_workspace_go_to_langsmith(database: Database) {
    let app = admins(database).await;
    let browser = app.browser().with("sec-fetch-site", "same-origin").with("cookie", "theme=dark; session=bob");
    let browser =
        browser.with("x-user-id", "ls-bob").with("x-service-key", "of-bob").with("authorization", "Basic Ym9i");
    is_in(&post_form(&browser, &at("/sign-in"), &[("key", ALICES_KEY), ("workspace", "")]).await);
    let requests = app.langsmith.requests();
    assert_eq!((requests.len(), requests[0].header("x-api-key")), (1, ALICES_KEY));
    for name in ["cookie", "authorization", "x-user-id", "x-service-key", "x-tenant-id", "origin", "referer"] {
        assert_eq!(requests[0].header(name), "", "{name}");
    }
}

async fn a_token_is_sent_as_a_bearer_token_and_the_workspace_with_it(database: Database) {
    let app = admins(database).await;
    let browser = Browser::new(&app);
    let page = sign_in(&browser, ALICES_TOKEN, "").await.expect_html(403);
    assert!(page.contains("Enter the id of the workspace"), "{page}");
    for workspace in [WORKSPACE, OTHER_WORKSPACE] {
        let browser = signed_in(&app, ALICES_TOKEN, &format!(" {workspace} ")).await;
        assert!(browser.open(&at("")).await.expect_html(200).contains(workspace));
        let requests = app.langsmith.requests();
        let asked = requests.last().unwrap();
        assert_eq!(asked.header("authorization"), format!("Bearer {ALICES_TOKEN}"));
        assert_eq!((asked.header("x-tenant-id"), asked.header("x-api-key")), (workspace, ""));
    }
}

async fn a_viewer_changes_nothing(database: Database) {
    let app = WithLangSmith::start_with(database, |settings| settings.console_langsmith_role = "viewer".into()).await;
    let browser = signed_in(&app, ALICES_KEY, "").await;
    let page = browser.open(&at("/keys")).await.expect_html(200);
    assert!(page.contains("viewer") && !page.contains("name=\"role\""), "{page}");
    browser.open(&at("/audit")).await.expect_html(403);
    submit(&browser, "/keys", &[("name", "x"), ("role", "admin")]).await.expect_html(403);
    // The API has its own setting for the same user.
    app.alice().register_as(acme()).await;
}

async fn a_session_ends_with_its_sign_out(database: Database) {
    let app = admins(database).await;
    let (browser, other) = (signed_in(&app, ALICES_KEY, "").await, signed_in(&app, ALICES_KEY, "").await);
    let kept = browser.cookies()[CONSOLE_COOKIE].clone();
    let answer = submit(&browser, "/sign-out", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, SIGN_IN));
    let thief = Browser::new(&app);
    thief.plant(CONSOLE_COOKIE, &kept);
    assert!(!is_signed_in(&thief).await && is_signed_in(&other).await);
}

async fn a_session_ends_after_an_hour(database: Database) {
    let app = admins(database).await;
    let browser = signed_in(&app, ALICES_KEY, "").await;
    app.advance(3600 - 60);
    assert!(is_signed_in(&browser).await);
    app.advance(61);
    assert!(!is_signed_in(&browser).await);
    signed_in(&app, BOBS_KEY, "").await;
    // The server sweeps by itself, too: then this waits for the next turn.
    while sweep::run_once(&app.app.broker).await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.database.row_counts().await["console_people"], 1, "nothing is kept of who does not come back");
}

async fn langsmith_is_asked_at_the_sign_in_and_not_again(database: Database) {
    let app = admins(database).await;
    app.alice().get("/v2/auth/providers").await.expect(200);
    let browser = signed_in(&app, ALICES_KEY, "").await;
    assert_eq!(app.langsmith.count(), 2, "what it said to the API is not enough for an hour");
    // The key is revoked.
    app.langsmith.show(Reply::json(json!({"detail": "Invalid token"})).status(401));
    sign_in(&Browser::new(&app), ALICES_KEY, "").await.expect_html(401);
    let before = app.langsmith.count();
    assert!(is_signed_in(&browser).await);
    assert_eq!(app.langsmith.count(), before);
}

async fn the_settings_decide_at_each_request_what_a_user_may_do(database: Database) {
    let app = admins(database).await;
    let browser = signed_in(&app, ALICES_KEY, "").await;
    let role_at = async |change: &dyn Fn(&mut Settings)| {
        let replica = app.replica_with(|settings| change(settings)).await;
        let there = Browser::new(&replica);
        there.plant(CONSOLE_COOKIE, &browser.cookies()[CONSOLE_COOKIE]);
        let answer = there.open(&at("")).await;
        let page = answer.text();
        (answer.status.as_u16(), page.contains(">admin<"), page.contains(">viewer<"))
    };
    assert_eq!(role_at(&|_| ()).await, (200, true, false));
    assert_eq!(role_at(&|settings| settings.console_langsmith_role = "viewer".into()).await, (200, false, true));
    assert_eq!(role_at(&|settings| settings.console_langsmith_role = "off".into()).await, (303, false, false));
    let elsewhere = |settings: &mut Settings| settings.langsmith_endpoint = Some("https://other.example".into());
    assert_eq!(role_at(&elsewhere).await, (303, false, false));
    let without = |settings: &mut Settings| {
        settings.identity = "api-key".into();
        settings.langsmith_endpoint = None;
        settings.console_langsmith_role = "off".into();
    };
    assert_eq!(role_at(&without).await, (303, false, false));
}

async fn a_workspace_that_is_no_longer_accepted_has_no_sessions(database: Database) {
    let app = admins(database).await;
    let (alices, carols) = (signed_in(&app, ALICES_KEY, "").await, signed_in(&app, FOREIGN_KEY, "").await);
    let replica = app.replica_with(|settings| settings.langsmith_tenant_ids = Some(WORKSPACE.into())).await;
    for (browser, status) in [(alices, 200), (carols, 303)] {
        let there = Browser::new(&replica);
        there.plant(CONSOLE_COOKIE, &browser.cookies()[CONSOLE_COOKIE]);
        assert_eq!(there.open(&at("")).await.status.as_u16(), status);
    }
}

async fn two_workspaces_see_only_their_own(database: Database) {
    let app = admins(database).await;
    app.register_as(with(acme(), json!({"provider_id": "of-the-first", "name": "Of the first"}))).await;
    app.alice().register_as(with(acme(), json!({"provider_id": "of-alice", "name": "Of Alice"}))).await;
    app.carol_elsewhere().register_as(with(acme(), json!({"provider_id": "of-carol", "name": "Of Carol"}))).await;
    for (key, own, others) in [
        (ALICES_KEY, "of-alice", ["of-carol", "of-the-first"]),
        (BOBS_KEY, "of-alice", ["of-carol", "of-the-first"]),
        (FOREIGN_KEY, "of-carol", ["of-alice", "of-the-first"]),
    ] {
        let browser = signed_in(&app, key, "").await;
        let page = browser.open(&at("/providers")).await.expect_html(200);
        let log = browser.open(&at("/audit")).await.expect_html(200);
        assert!(page.contains(own) && log.contains(own), "{key}: {page}");
        browser.open(&at(&format!("/providers/{own}"))).await.expect_html(200);
        for other in others {
            assert!(!page.contains(other) && !log.contains(other), "{key}: {page}");
            browser.open(&at(&format!("/providers/{other}"))).await.expect_html(404);
            let deleted = submit(&browser, &format!("/providers/{other}/delete"), &[]).await;
            assert!(deleted.header("location").ends_with("done=gone"), "{}", deleted.header("location"));
        }
    }
    app.get("/v2/auth/providers/of-the-first").await.expect(200);
    app.alice().get("/v2/auth/providers/of-alice").await.expect(200);
    app.carol_elsewhere().get("/v2/auth/providers/of-carol").await.expect(200);
}

async fn signing_in_and_out_is_recorded_with_the_user(database: Database) {
    let app = admins(database).await;
    let browser = signed_in(&app, ALICES_KEY, "").await;
    submit(&browser, "/sign-out", &[]).await;
    let junk = with(alice(), json!({"ls_user_id": null, "user_email": "a\u{0}l@\nexample.com"}));
    app.langsmith.answer_next(Reply::json(junk));
    let browser = signed_in(&app, ALICES_KEY, "").await;
    let signed_in = events_there(&app, "console.signed_in").await;
    let signed_out = events_there(&app, "console.signed_out").await;
    assert_eq!((signed_in.len(), signed_out.len()), (2, 1));
    for event in [&signed_in[1], &signed_out[0]] {
        assert_eq!((&event["actor"], &event["actor_id"]), (&json!("console_user"), &json!("langsmith:ls-alice")));
        let details = &event["details"];
        assert_eq!((&details["subject"], &details["email"]), (&json!("ls-alice"), &json!("alice@example.com")));
        assert_eq!(details["issuer"], json!(format!("{}{AUTH}", app.langsmith.endpoint())));
    }
    assert_eq!(sign_in(&browser, ALICES_KEY, "").await.status.as_u16(), 303);
    assert_eq!(events_there(&app, "console.signed_out").await.len(), 2, "the session before has ended");
    let details = &signed_in[0]["details"];
    assert_eq!((&details["subject"], &details["email"]), (&json!("auth-alice"), &json!("al@example.com")));
}

async fn people_of_the_identity_provider_keep_the_role_of_their_groups(database: Database) {
    let langsmith = LangSmith::start().await;
    let app = WithIdentityProvider::start_with(database, |settings| {
        settings.identity = "langsmith".into();
        settings.langsmith_endpoint = Some(langsmith.endpoint());
        settings.console_langsmith_role = "admin".into();
    })
    .await;
    let page = Browser::new(&app).open(&at("/sign-in")).await.expect_html(200);
    assert!(page.contains("href=\"/console/sign-in/openid\"") && page.contains("name=\"workspace\""), "{page}");
    let (support, alices) = (Browser::new(&app), signed_in(&app, ALICES_KEY, "").await);
    is_in(&app.sign_in(&support, json!({"groups": ["support"], "sub": "ls-alice"})).await);
    let overview = support.open(&at("")).await.expect_html(200);
    assert!(overview.contains(">viewer<") && !overview.contains(WORKSPACE), "{overview}");
    let overview = alices.open(&at("")).await.expect_html(200);
    assert!(overview.contains(">admin<") && overview.contains(WORKSPACE), "{overview}");
}

async fn a_session_counts_with_the_requests_of_its_user(database: Database) {
    let app = admins_with(database, |settings| settings.key_requests_per_second = 1).await;
    let (alices, bobs) = (signed_in(&app, ALICES_KEY, "").await, signed_in(&app, BOBS_KEY, "").await);
    // How many are accepted before depends on how fast the machine is.
    for number in 0.. {
        assert!(number < 10_000, "it was never refused");
        app.alice().get("/v2/auth/providers").await;
        if alices.open(&at("")).await.status == 429 {
            break;
        }
    }
    assert!(is_signed_in(&bobs).await);
}

async fn the_credential_is_in_no_page_log_or_row(database: Database) {
    let langsmith = LangSmith::start().await;
    let endpoint = langsmith.endpoint();
    let settings = [
        ("IDENTITY", "langsmith"),
        ("LANGSMITH_ENDPOINT", &endpoint),
        ("CONSOLE_LANGSMITH_ROLE", "admin"),
        ("LOG", "trace,hyper=trace,reqwest=trace,sqlx=trace"),
    ];
    let settings = settings.map(|(name, value)| (format!("AGENT_AUTH_{name}"), value.to_owned()));
    let environment: Vec<_> = database.environment().into_iter().chain(settings).collect();
    let server = Server::start(&environment).await;
    let wrong = ["lsv2_pt_canary-of-a-wrong-key", "eyJ.canary-of-a-wrong-token", "aauth_canary-of-our-own"];
    let mut said = Vec::new();
    for (key, workspace, status) in [
        (ALICES_KEY, "", 303),
        (ALICES_TOKEN, WORKSPACE, 303),
        (ALICES_TOKEN, "", 403),
        (ALICES_KEY, wrong[0], 403),
        (wrong[0], "", 401),
        (wrong[1], wrong[0], 401),
        (wrong[2], "", 401),
    ] {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("key", key)
            .append_pair("workspace", workspace)
            .finish();
        let request = server.http.post(server.url(SIGN_IN)).header("sec-fetch-site", "same-origin");
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{key}");
        said.push(format!("{:?}", answer.headers()));
        said.push(answer.text().await.unwrap());
    }
    assert_eq!(langsmith.count(), 6, "a key of this server is not sent there");
    let (_, log) = server.stop().await;
    let (said, stored) = (said.concat(), database.everything_at_rest().await);
    assert!(log.contains("console.signed_in") && stored.windows(8).any(|window| window == b"ls-alice"));
    for secret in [ALICES_KEY, ALICES_TOKEN].into_iter().chain(wrong) {
        assert!(!log.contains(secret) && !said.contains(secret), "{secret}");
        assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is stored");
    }
}
