//! Limits of LangSmith's callers: they count as the user that LangSmith names.

use crate::support::answer::Answer;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking};
use crate::support::database::Database;
use crate::support::langsmith::{SERVICE_KEY, WORKSPACE, WithLangSmith};

both_databases! {
    a_user_beyond_its_rate_is_refused_and_another_is_not,
    other_headers_and_ways_do_not_evade_the_rate,
    a_denied_caller_is_counted,
    waits_of_a_user_are_limited,
}

async fn with_rate(database: Database) -> WithLangSmith {
    WithLangSmith::start_with(database, |settings| settings.key_requests_per_second = 1).await
}

/// Sends until it is refused. (How many are accepted before depends on how fast the machine is.)
async fn until_refused(mut call: impl AsyncFnMut(usize) -> Answer) -> Answer {
    for number in 0..10_000 {
        let answer = call(number).await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("it was never refused");
}

async fn providers(caller: &Caller) -> Answer {
    caller.get("/v2/auth/providers").await
}

async fn a_user_beyond_its_rate_is_refused_and_another_is_not(database: Database) {
    let app = with_rate(database).await;
    let alice = app.alice();
    let refused = until_refused(async |_| providers(&alice).await).await;
    refused.expect_error(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    for other in [app.bob(), app.service(), app.carol_elsewhere()] {
        providers(&other).await.expect(200);
    }
    providers(&app).await.expect(200);
    let service = app.service();
    until_refused(async |_| providers(&service).await).await;
}

async fn other_headers_and_ways_do_not_evade_the_rate(database: Database) {
    let app = with_rate(database).await;
    let alice = app.alice();
    until_refused(async |number| providers(&alice.with("cookie", &format!("n={number}"))).await).await;
    let bearer = app.anonymous().with("authorization", &format!("Bearer {}", alice.key()));
    until_refused(async |number| match number % 2 {
        0 => providers(&bearer).await,
        _ => providers(&alice.with("x-tenant-id", WORKSPACE)).await,
    })
    .await;
    let service = app.anonymous().with_key(SERVICE_KEY);
    until_refused(async |number| providers(&service.acting_for(&format!("user-{number}"))).await).await;
}

async fn a_denied_caller_is_counted(database: Database) {
    let app = with_rate(database).await;
    let elsewhere = app.alice().with("x-tenant-id", "another");
    until_refused(async |_| providers(&elsewhere).await).await.expect_error(429, "rate_limited");
    let own = app.service_key().await.with("x-tenant-id", "another");
    until_refused(async |_| providers(&own).await).await.expect_error(429, "rate_limited");
}

async fn waits_of_a_user_are_limited(database: Database) {
    let app = WithLangSmith::start_with(database, |settings| settings.waits_per_key = 1).await;
    let provider = AuthorizationServer::start().await;
    app.alice().register(&provider).await;
    let pending = app.alice().begin(&asking("ls-alice", &["read"])).await;
    let path = format!("/v2/auth/wait/{}", pending.auth_id);
    let waiting = tokio::spawn({
        let (caller, path) = (app.alice(), format!("{path}?timeout=60"));
        async move {
            loop {
                let answer = caller.get(&path).await;
                // The looks below need a place for a moment, too.
                if answer.status != 429 {
                    return answer.expect(200);
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    });
    let look = format!("{path}?timeout=0");
    let varied = app.alice().with("cookie", "a=b");
    until_refused(async |_| varied.get(&look).await).await.expect_error(429, "too_many_waits");
    app.bob().get(&look).await.expect(200);
    app.bob().come_back(&provider.consent(&pending.url)).await;
    assert_eq!(waiting.await.unwrap()["status"], "completed");
    varied.get(&look).await.expect(200);
}
