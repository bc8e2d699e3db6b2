//! LangSmith refuses, fails, or says something else than who calls: nobody gets in, and nobody waits for long.

use std::time::Duration;

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::binary::free_port;
use crate::support::both_databases;
use crate::support::caller::with;
use crate::support::database::Database;
use crate::support::fault_proxy::{Fault, FaultProxy, Phase};
use crate::support::langsmith::{ALICES_KEY, LangSmith, WithLangSmith, alice};
use crate::support::trap::Trap;

both_databases! {
    a_refusal_of_langsmith_is_handed_on,
    an_identity_without_organization_or_workspace_is_denied,
    what_is_no_identity_is_unavailable,
    a_failing_langsmith_is_called_once_and_retry_after_is_handed_on,
    a_redirect_is_not_followed,
    a_huge_response_is_not_read,
    a_slow_langsmith_is_given_up,
    a_broken_connection_is_tried_twice_more,
    a_langsmith_that_is_down_is_unavailable,
    readiness_does_not_depend_on_langsmith,
    keys_of_this_server_do_not_depend_on_langsmith,
}

#[track_caller]
fn is_unavailable(answer: &Answer) {
    answer.expect_error(503, "identity_unavailable");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
}

async fn a_refusal_of_langsmith_is_handed_on(app: WithLangSmith) {
    for (status, code) in [(401, "unauthorized"), (403, "forbidden")] {
        app.langsmith.show(Reply::text("text/html", "<h1>secret-of-langsmith</h1>").status(status));
        let answer = app.alice().get("/v2/auth/providers").await;
        answer.expect_error(status, code);
        assert!(answer.text().contains("LangSmith") && !answer.text().contains("secret-of-langsmith"));
        assert!(!answer.text().contains(ALICES_KEY));
    }
}

async fn an_identity_without_organization_or_workspace_is_denied(app: WithLangSmith) {
    for field in ["organization_id", "tenant_id"] {
        for value in [json!(null), json!("")] {
            app.langsmith.show(Reply::json(with(alice(), json!({field: value}))));
            app.alice().get("/v2/auth/providers").await.expect_error(403, "forbidden");
        }
    }
    app.langsmith.show(Reply::json(json!({})));
    app.alice().get("/v2/auth/providers").await.expect_error(403, "forbidden");
}

async fn what_is_no_identity_is_unavailable(app: WithLangSmith) {
    let json = |text: &str| Reply::text("application/json", text);
    let identity = alice().to_string();
    for reply in [
        Reply::text("text/html", "<!doctype html><h1>Sign in</h1>"),
        json(""),
        json("{"),
        json("null"),
        json("[]"),
        json("\"alice\""),
        json(&format!("[{identity}]")),
        json(&format!("{identity}{identity}")),
        json(&identity.replacen('{', "{\"tenant_id\": \"another\", ", 1)),
        json("{\"organization_id\": 1, \"tenant_id\": 2}"),
        Reply::json(with(alice(), json!({"ls_user_id": ["ls-alice"]}))),
        Reply::json(with(alice(), json!({"tenant_id": "nul\0"}))),
        Reply::json(with(alice(), json!({"organization_id": "line\nbreak"}))),
        Reply::json(with(alice(), json!({"ls_user_id": "x".repeat(513)}))),
        Reply::json(alice()).status(201),
        Reply::json(alice()).status(206),
        json("").status(204),
    ] {
        app.langsmith.show(reply.clone());
        let answer = app.alice().get("/v2/auth/providers").await;
        assert_eq!(answer.status.as_u16(), 503, "{reply:?}");
        is_unavailable(&answer);
    }
    app.langsmith.recover();
    app.alice().get("/v2/auth/providers").await.expect(200);
}

async fn a_failing_langsmith_is_called_once_and_retry_after_is_handed_on(app: WithLangSmith) {
    for (status, retry_after, expected) in
        [(500, None, "1"), (502, None, "1"), (503, Some("7"), "7"), (429, Some("30"), "30"), (503, Some("9999"), "60")]
    {
        let reply = Reply::json(alice()).status(status);
        app.langsmith.show(retry_after.iter().fold(reply, |reply, value| reply.header("retry-after", value)));
        let before = app.langsmith.count();
        let answer = app.alice().get("/v2/auth/providers").await;
        is_unavailable(&answer);
        assert_eq!((answer.header("retry-after"), app.langsmith.count() - before), (expected, 1), "{status}");
    }
    app.langsmith.show(Reply::json(alice()).status(404));
    is_unavailable(&app.alice().get("/v2/auth/providers").await);
}

async fn a_redirect_is_not_followed(app: WithLangSmith) {
    let trap = Trap::set().await;
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = format!("http://127.0.0.1:{}/auth/public", trap.port);
        app.langsmith.show(Reply::json(alice()).status(status).header("location", &elsewhere));
        is_unavailable(&app.alice().get("/v2/auth/providers").await);
    }
    assert_eq!(trap.connections(), 0);
}

async fn a_huge_response_is_not_read(app: WithLangSmith) {
    app.langsmith.show(Reply::flood(1 << 40));
    is_unavailable(&app.alice().get("/v2/auth/providers").await);
}

async fn a_slow_langsmith_is_given_up(app: WithLangSmith) {
    for reply in [Reply::json(alice()).after(Duration::from_mins(10)), Reply::drip()] {
        app.langsmith.show(reply);
        let before = app.langsmith.count();
        // Long before LangSmith answers, which is what counts.
        let answer =
            tokio::time::timeout(Duration::from_mins(1), async { app.alice().get("/v2/auth/providers").await });
        is_unavailable(&answer.await.expect("it waits two seconds"));
        assert_eq!(app.langsmith.count() - before, 1, "a time-out is not tried again");
    }
}

async fn at(database: Database, endpoint: String) -> TestApp {
    TestApp::start_with(database, |settings| {
        "langsmith".clone_into(&mut settings.identity);
        settings.langsmith_endpoint = Some(endpoint);
    })
    .await
}

async fn a_broken_connection_is_tried_twice_more(database: Database) {
    let langsmith = LangSmith::start().await;
    langsmith.show(Reply::json(alice()).header("connection", "close"));
    let proxy = FaultProxy::before(langsmith.address()).await;
    let app = at(database, proxy.at("")).await;
    let alice = app.anonymous().with_key(ALICES_KEY);
    let phases = [Phase::BeforeRequest, Phase::AfterRequest, Phase::InAnswer(60)];
    for phase in phases {
        for fault in [Fault::Cut, Fault::Reset] {
            app.advance(60);
            proxy.spoil_next(phase, fault);
            proxy.spoil_next(phase, fault);
            assert_eq!(alice.get("/v2/auth/providers").await.status.as_u16(), 200, "{phase:?} {fault:?}");
        }
    }
    app.advance(60);
    let before = proxy.spoiled();
    for _ in 0..5 {
        proxy.spoil_next(Phase::AfterRequest, Fault::Reset);
    }
    is_unavailable(&alice.get("/v2/auth/providers").await);
    assert_eq!(proxy.spoiled() - before, 3);
}

async fn a_langsmith_that_is_down_is_unavailable(database: Database) {
    let app = at(database, format!("http://127.0.0.1:{}", free_port())).await;
    is_unavailable(&app.anonymous().with_key(ALICES_KEY).get("/v2/auth/providers").await);
}

async fn readiness_does_not_depend_on_langsmith(database: Database) {
    let app = at(database, format!("http://127.0.0.1:{}", free_port())).await;
    for path in ["/readyz", "/livez", "/ok"] {
        assert_eq!(app.anonymous().with_key(ALICES_KEY).get(path).await.status.as_u16(), 200, "{path}");
    }
}

async fn keys_of_this_server_do_not_depend_on_langsmith(database: Database) {
    let app = at(database, format!("http://127.0.0.1:{}", free_port())).await;
    app.get("/v2/auth/providers").await.expect(200);
    app.new_key(&[]).await.get("/v2/auth/providers").await.expect(200);
}
