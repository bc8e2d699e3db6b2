//! Callers who lose their rights while a request of theirs takes its time: they get no token.

use std::time::Duration;

use agent_auth::identity::api_keys;
use agent_auth::model::actor::Act;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};
use crate::support::langsmith::{OTHER_WORKSPACE, WithLangSmith, alice};

both_databases! {
    a_key_that_is_revoked_during_authenticate_or_a_report_gets_no_token,
    a_caller_whom_langsmith_refuses_meanwhile_gets_no_token,
    a_caller_whom_langsmith_moves_elsewhere_meanwhile_gets_no_token,
    a_caller_is_asked_to_try_again_while_langsmith_says_nothing,
    a_caller_whom_langsmith_still_knows_gets_its_token,
}

/// The requests that may take as long as a provider does.
#[derive(Clone, Copy, Debug)]
enum Slow {
    Authenticate,
    Report,
}

const BOTH: [Slow; 2] = [Slow::Authenticate, Slow::Report];

impl Slow {
    async fn send(self, caller: &Caller) -> Answer {
        match self {
            Self::Authenticate => caller.try_authenticate(&question()).await,
            Self::Report => {
                let id = caller.tokens().await[0]["id"].as_str().unwrap().to_owned();
                caller.post(&format!("/v2/auth/tokens/{id}/report-invalid"), &json!({})).await
            }
        }
    }
}

fn question() -> Value {
    asking("ls-alice", &["read"])
}

/// With a token of the user `ls-alice` that is due.
async fn due(app: &TestApp, caller: &Caller) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    caller.register(&provider).await;
    caller.connect(&provider, &question()).await;
    app.advance(3600);
    provider
}

/// The request takes more than a second, because the provider does, and `meanwhile` happens in it.
async fn while_it_takes(
    slow: Slow,
    caller: &Caller,
    provider: &AuthorizationServer,
    meanwhile: impl AsyncFnOnce(),
) -> Answer {
    provider.hold();
    let request = tokio::spawn({
        let caller = caller.clone();
        async move { slow.send(&caller).await }
    });
    provider.until_held(1).await;
    meanwhile().await;
    // A shorter request is not checked again.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    provider.release();
    request.await.unwrap()
}

#[track_caller]
fn has_no_token(answer: &Answer, status: u16, code: &str) {
    answer.expect_error(status, code);
    assert!(!answer.text().contains("access-"), "{}", answer.text());
}

/// How many hand-outs the audit log has.
async fn hand_outs(app: &TestApp) -> usize {
    app.app.broker.handouts.write().await.unwrap();
    let events = app.get("/v2/audit?event=token.handed_out&limit=1000").await.expect(200);
    events["data"].as_array().unwrap().len()
}

async fn a_key_that_is_revoked_during_authenticate_or_a_report_gets_no_token(app: TestApp) {
    for slow in BOTH {
        let caller = app.service_key().await.acting_for("ls-alice");
        let provider = due(&app, &caller).await;
        let before = hand_outs(&app).await;
        let answer = while_it_takes(slow, &caller, &provider, async || {
            let store = app.app.broker.store();
            let keys = api_keys::list(store).await.unwrap();
            let key = keys.iter().find(|key| caller.key().starts_with(&key.prefix)).expect("its record");
            assert!(api_keys::revoke(store, key.id, &Act::command_line(), app.clock.now()).await.unwrap());
        })
        .await;
        has_no_token(&answer, 401, "unauthorized");
        assert_eq!(hand_outs(&app).await, before, "what was not handed out is not recorded");
        app.delete("/v2/auth/providers/acme").await.expect(200);
    }
}

/// What the caller gets if LangSmith answers with this from then on.
async fn with_answer(app: &WithLangSmith, slow: Slow, reply: Reply) -> Answer {
    let provider = due(app, &app.alice()).await;
    let answer = while_it_takes(slow, &app.alice(), &provider, async || {
        app.langsmith.show(reply);
        app.advance(60);
    })
    .await;
    app.langsmith.recover();
    app.advance(60);
    app.alice().delete("/v2/auth/providers/acme").await.expect(200);
    answer
}

async fn a_caller_whom_langsmith_refuses_meanwhile_gets_no_token(app: WithLangSmith) {
    for slow in BOTH {
        let answer = with_answer(&app, slow, Reply::json(json!({"detail": "Invalid token"})).status(401)).await;
        has_no_token(&answer, 401, "unauthorized");
    }
}

async fn a_caller_whom_langsmith_moves_elsewhere_meanwhile_gets_no_token(app: WithLangSmith) {
    let elsewhere = json!({"tenant_id": OTHER_WORKSPACE});
    let somebody_else = json!({"user_id": "auth-bob", "ls_user_id": "ls-bob"});
    for (slow, other) in [(Slow::Authenticate, elsewhere), (Slow::Report, somebody_else)] {
        let answer = with_answer(&app, slow, Reply::json(with(alice(), other))).await;
        has_no_token(&answer, 401, "unauthorized");
    }
}

async fn a_caller_is_asked_to_try_again_while_langsmith_says_nothing(app: WithLangSmith) {
    for slow in BOTH {
        let answer = with_answer(&app, slow, Reply::json(json!({})).status(500)).await;
        has_no_token(&answer, 503, "identity_unavailable");
    }
}

async fn a_caller_whom_langsmith_still_knows_gets_its_token(app: WithLangSmith) {
    for slow in BOTH {
        let answer = with_answer(&app, slow, Reply::json(alice())).await;
        assert!(answer.expect(200)["token"].as_str().unwrap().starts_with("access-"), "{slow:?}");
    }
}
