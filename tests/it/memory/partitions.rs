//! A replica that PostgreSQL cannot report to: nothing is served from memory, and afterwards it begins with nothing.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use uuid::Uuid;

use super::{SOON, is_remembered, label, label_quietly, question, until_remembered};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::database::Database;
use crate::support::eventually::eventually;
use crate::support::wire::Wire;

/// One replica with a connection of its own to the database, and one whose connection a test can disturb.
struct Story {
    here: TestApp,
    there: TestApp,
    provider: AuthorizationServer,
    wire: Wire,
}

impl Story {
    async fn begin() -> Self {
        let here = TestApp::start(Database::postgres().await).await;
        let url = here.settings.database_url.clone().expect("a URL");
        let wire = Wire::to(url.expose_secret()).await;
        let disturbed = SecretString::from(wire.url(url.expose_secret()));
        let there = here.replica_with(|settings| settings.database_url = Some(disturbed)).await;
        let provider = AuthorizationServer::start().await;
        here.register(&provider).await;
        here.connect(&provider, &question()).await;
        until_remembered(&there, &there, &question()).await;
        Self { here, there, provider, wire }
    }

    /// Tokens are replaced and deleted at the other replica, and changed without any report. From the first answer that
    /// shows it, no more comes from memory.
    async fn expect_nothing_from_memory(&self) {
        let new = Uuid::new_v4().to_string();
        label_quietly(&self.here.database, &new).await;
        eventually(SOON, async || label(&self.there.authenticate(&question()).await) == new).await;
        for _ in 0..30 {
            assert!(!is_remembered(&self.there, &self.there, &question()).await);
        }
        let replaced = self.here.connect(&self.provider, &super::forced()).await;
        assert_eq!(self.there.token(&question()).await, replaced);
        let deleted = self.here.delete("/v2/auth/tokens?provider_id=acme").await.expect(200);
        assert_ne!(deleted["deleted"], Value::from(0), "{deleted}");
        self.there.begin(&question()).await;
    }

    async fn expect_memory_again(&self) {
        let current = self.here.connect(&self.provider, &question()).await;
        self.wire.restore();
        until_remembered(&self.there, &self.there, &question()).await;
        assert_eq!(self.there.token(&question()).await, current);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_from_memory_while_the_listener_is_cut_off() {
    let story = Story::begin().await;
    story.wire.cut_listeners();
    story.expect_nothing_from_memory().await;
    story.expect_memory_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_from_memory_soon_after_the_listener_has_become_silent() {
    let story = Story::begin().await;
    story.wire.silence_listeners();
    story.expect_nothing_from_memory().await;
    story.expect_memory_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_comes_back_begins_with_nothing() {
    let story = Story::begin().await;
    for _ in 0..5 {
        until_remembered(&story.there, &story.there, &question()).await;
        story.wire.cut_listeners();
        let current = story.here.connect(&story.provider, &super::forced()).await;
        story.wire.restore();
        // Whether it is back already or not: what it read before does not count.
        eventually(SOON, async || story.there.token(&question()).await == current).await;
        until_remembered(&story.there, &story.there, &question()).await;
        assert_eq!(story.there.token(&question()).await, current);
    }
}
