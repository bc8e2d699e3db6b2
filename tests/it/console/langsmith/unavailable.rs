//! LangSmith fails, or says something else than who somebody is: the page says so, and nobody is locked out.

use std::time::Duration;

use agent_auth::broker::audit::record_refusals;

use super::super::{Operator, events};
use super::{admins, admins_with, is_signed_in, sign_in, signed_in};
use crate::support::answer::Answer;
use crate::support::authorization_server::Reply;
use crate::support::binary::free_port;
use crate::support::both_databases;
use crate::support::browser::Browser;
use crate::support::database::Database;
use crate::support::langsmith::{ALICES_KEY, BOBS_KEY, WithLangSmith, alice};
use crate::support::trap::Trap;

both_databases! {
    a_langsmith_that_does_not_say_who_it_is_is_said_and_counts_as_no_failure,
    a_slow_langsmith_is_given_up,
    a_redirect_is_not_followed,
    without_langsmith_keys_of_this_server_sign_in_and_sessions_go_on,
}

#[track_caller]
fn is_unavailable(answer: &Answer) {
    let page = answer.expect_html(503);
    assert!(page.contains("LangSmith did not respond usefully") && page.contains("type=\"password\""), "{page}");
    assert!(!page.contains(ALICES_KEY) && !page.contains("secret-of-langsmith"), "{page}");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(!answer.headers.contains_key("set-cookie"));
}

/// Somebody tries while every request is answered with this.
async fn try_with(app: &WithLangSmith, reply: Reply) -> Answer {
    app.langsmith.show(reply);
    sign_in(&Browser::new(app), ALICES_KEY, "").await
}

async fn a_langsmith_that_does_not_say_who_it_is_is_said_and_counts_as_no_failure(database: Database) {
    let app = admins_with(database, |settings| settings.failed_keys_per_minute = 1).await;
    for reply in [
        Reply::json(alice()).status(500),
        Reply::json(alice()).status(404),
        Reply::json(alice()).status(429).header("retry-after", "30"),
        Reply::text("text/html", "<!doctype html><h1>secret-of-langsmith</h1>"),
        Reply::text("application/json", "{\"organization_id\": 1}"),
        Reply::text("application/json", ""),
        Reply::flood(1 << 40),
    ] {
        is_unavailable(&try_with(&app, reply).await);
    }
    record_refusals(&app.app.broker).await.unwrap();
    assert!(events(&app, "api_key.refused").await.is_empty());
    assert_eq!(app.database.row_counts().await["console_people"], 0);
    app.langsmith.recover();
    assert!(is_signed_in(&signed_in(&app, ALICES_KEY, "").await).await);
}

async fn a_slow_langsmith_is_given_up(database: Database) {
    let app = admins(database).await;
    for reply in [Reply::json(alice()).after(Duration::from_mins(10)), Reply::drip()] {
        // Long before LangSmith answers, which is what counts.
        let answer = tokio::time::timeout(Duration::from_mins(1), try_with(&app, reply));
        is_unavailable(&answer.await.expect("it waits two seconds"));
    }
}

async fn a_redirect_is_not_followed(database: Database) {
    let app = admins(database).await;
    let trap = Trap::set().await;
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = format!("http://127.0.0.1:{}/auth/public", trap.port);
        is_unavailable(&try_with(&app, Reply::json(alice()).status(status).header("location", &elsewhere)).await);
    }
    assert_eq!(trap.connections(), 0);
}

async fn without_langsmith_keys_of_this_server_sign_in_and_sessions_go_on(database: Database) {
    let app = admins(database).await;
    let session = signed_in(&app, BOBS_KEY, "").await;
    app.langsmith.show(Reply::json(alice()).status(500));
    assert!(is_signed_in(&session).await);
    Operator::admin(&app).await;
    // Nothing listens there at all.
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let replica = app.replica_with(|settings| settings.langsmith_endpoint = Some(endpoint)).await;
    is_unavailable(&sign_in(&Browser::new(&replica), ALICES_KEY, "").await);
    Operator::admin(&replica).await;
}
