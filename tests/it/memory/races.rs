//! Callers that never stop asking one replica while another one replaces and deletes the token: nobody is given a token
//! whose replacement was reported before they asked.
//!
//! Reported means here: the replica that is asked has read the report from its connection. That is soon after the commit,
//! not at the commit; a caller that asks in between may still get the old token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use agent_auth::config::Settings;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{change_quietly, forced, question, until_remembered, until_reported};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::caller::{Caller, with};
use crate::support::database::Database;

const READERS: usize = 4;
const CHANGES: i64 = 90;

/// Callers that never stop would make the audit log the slowest part.
fn unrecorded(settings: &mut Settings) {
    "off".clone_into(&mut settings.audit_handouts);
}

struct Race {
    here: TestApp,
    there: TestApp,
    provider: AuthorizationServer,
    /// The newest change whose report has arrived at the replica that is asked.
    reported: AtomicI64,
    ended: AtomicBool,
    answers: AtomicUsize,
    /// Answers with a token that was older than the newest reported change when they were asked for.
    outdated: AtomicUsize,
}

impl Race {
    async fn begin() -> Arc<Self> {
        let here = TestApp::start_with(Database::postgres().await, unrecorded).await;
        let there = here.replica().await;
        let provider = AuthorizationServer::start().await;
        here.register(&provider).await;
        let race = Self {
            here,
            there,
            provider,
            reported: AtomicI64::new(0),
            ended: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            outdated: AtomicUsize::new(0),
        };
        race.grant(0).await;
        until_remembered(&race.there, &race.there, &question()).await;
        Arc::new(race)
    }

    /// A consent whose token names the change.
    async fn grant(&self, change: i64) {
        let token =
            json!({"access_token": change.to_string(), "refresh_token": format!("r{change}"), "expires_in": 3600});
        let (_, page) = self.here.exchange(&self.provider, forced(), Reply::json(token)).await;
        assert_eq!(page.status, 303, "{}", page.text());
    }

    async fn delete(&self) {
        self.here.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
    }

    async fn refresh(&self, change: i64) {
        let token =
            json!({"access_token": change.to_string(), "refresh_token": format!("r{change}"), "expires_in": 3600});
        self.provider.answer_token(Reply::json(token));
        // So long that the token is not just replaced, so short that it is not due.
        self.here.advance(31);
        let id = self.here.tokens().await[0]["id"].as_str().expect("an id").to_owned();
        let answer = self.here.post_text(&format!("/v2/auth/tokens/{id}/report-invalid"), "").await.expect(200);
        assert_eq!(answer["token"], change.to_string());
    }

    /// Grants, refreshes and deletes in turns.
    async fn write(&self) {
        for change in 1..=CHANGES {
            match change % 3 {
                1 => self.refresh(change).await,
                2 => self.delete().await,
                _ => self.grant(change).await,
            }
            until_reported(&self.here, &self.there).await;
            self.reported.store(change, Ordering::SeqCst);
        }
        self.ended.store(true, Ordering::SeqCst);
    }

    async fn read(self: Arc<Self>, reader: Caller) {
        let question = with(question(), json!({"check_only": true}));
        while !self.ended.load(Ordering::SeqCst) {
            let reported = self.reported.load(Ordering::SeqCst);
            let answer = reader.authenticate(&question).await;
            self.answers.fetch_add(1, Ordering::SeqCst);
            // An answer from memory never waits for anything.
            tokio::task::yield_now().await;
            if let Value::String(token) = &answer["token"]
                && token.parse::<i64>().expect("a change") < reported
            {
                self.outdated.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    async fn run(self: &Arc<Self>) {
        let readers = (0..READERS).map(|_| tokio::spawn(Arc::clone(self).read(Caller::clone(&self.there))));
        let readers: Vec<_> = readers.collect();
        self.write().await;
        for reader in join_all(readers).await {
            reader.expect("no panic");
        }
        assert!(self.answers.load(Ordering::SeqCst) > READERS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_token_whose_replacement_was_reported_before() {
    let race = Box::pin(Race::begin()).await;
    race.run().await;
    assert_eq!(race.outdated.load(Ordering::SeqCst), 0, "of {}", race.answers.load(Ordering::SeqCst));
    race.delete().await;
    until_reported(&race.here, &race.there).await;
    race.there.begin(&question()).await;
}

/// The same race with the reports taken away: it must be noticed, or the test above would show nothing.
#[tokio::test(flavor = "multi_thread")]
async fn without_reports_the_race_shows_outdated_tokens() {
    let race = Box::pin(Race::begin()).await;
    change_quietly(&race.here.database, "ALTER TABLE tokens DISABLE TRIGGER tokens_changed").await;
    race.run().await;
    assert!(race.outdated.load(Ordering::SeqCst) > 0, "of {}", race.answers.load(Ordering::SeqCst));
}

/// Deletions in one process, while others fill its memory all the time: after the answer to a deletion, nobody gets the
/// token any more.
async fn after_the_answer_to_a_deletion_the_token_is_gone(database: Database) {
    let app = TestApp::start_with(database, unrecorded).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let ended = AtomicBool::new(false);
    let fill = async || {
        while !ended.load(Ordering::SeqCst) {
            app.authenticate(&with(question(), json!({"check_only": true}))).await;
            tokio::task::yield_now().await;
        }
    };
    let delete = async || {
        for _ in 0..40 {
            app.connect(&provider, &question()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            app.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
            let answer = app.authenticate(&with(question(), json!({"check_only": true}))).await;
            assert_eq!(answer["status"], "connection_required", "{answer}");
        }
        ended.store(true, Ordering::SeqCst);
    };
    tokio::join!(fill(), fill(), fill(), delete());
}

crate::support::both_databases! {
    after_the_answer_to_a_deletion_the_token_is_gone,
}
