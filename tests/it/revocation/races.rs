//! Revocations while something else happens to the same grant: none is lost and none is sent twice.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::deletions::{connected, delete, numbered, question, revoking, soon_none_is_queued};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::{Caller, asking};

both_databases! {
    a_caller_who_goes_away_changes_nothing,
    replicas_tell_the_provider_once,
    a_consent_that_finds_its_provider_deleted_is_revoked,
    consents_that_race_with_the_deletion_of_their_provider_are_all_revoked,
    a_refresh_that_finds_its_token_deleted_is_revoked_too,
}

async fn a_caller_who_goes_away_changes_nothing(app: TestApp) {
    let provider = connected(&app).await;
    provider.answer_revocation(Reply::json(json!({})).after(Duration::from_millis(500)));
    let caller = Caller::clone(&app);
    let deletion = tokio::spawn(async move { delete(&caller).await });
    provider.revoked_times(1).await;
    deletion.abort();
    assert!(deletion.await.unwrap_err().is_cancelled());
    provider.revoked_times(2).await;
    soon_none_is_queued(&app).await;
}

async fn replicas_tell_the_provider_once(app: TestApp) {
    let provider = revoking(&app, &["acme"]).await;
    for number in 0..10 {
        provider.answer_token(Reply::json(numbered(number)));
        app.connect(&provider, &asking(&format!("user-{number}"), &["read"])).await;
        provider.answer_revocation(Reply::text("text/plain", "busy").status(500));
    }
    app.delete("/v2/auth/providers/acme").await.expect(200);
    provider.revoked_times(10).await;
    app.advance(40);
    let _replicas = tokio::join!(app.replica(), app.replica(), app.replica());
    soon_none_is_queued(&app).await;
    provider.revoked_times(30).await;
}

async fn a_consent_that_finds_its_provider_deleted_is_revoked(app: TestApp) {
    let provider = revoking(&app, &["acme"]).await;
    let pending = app.begin(&question()).await;
    provider.answer_token(Reply::json(numbered(1)).after(Duration::from_millis(500)));
    let (browser, callback) = (Caller::clone(&app), provider.consent(&pending.url));
    let visit = tokio::spawn(async move { browser.visit(&callback).await });
    while provider.exchanges().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.delete("/v2/auth/providers/acme").await.expect(200);
    let page = visit.await.unwrap();
    assert_eq!(page.status.as_u16(), 400, "{}", page.text());
    provider.revoked_times(2).await;
    assert_eq!(provider.revoked("token"), ["refresh-1", "access-1"]);
    soon_none_is_queued(&app).await;
}

async fn consents_that_race_with_the_deletion_of_their_provider_are_all_revoked(app: TestApp) {
    let provider = revoking(&app, &["acme"]).await;
    let mut visits = Vec::new();
    for number in 0..24 {
        let pending = app.begin(&asking(&format!("user-{number}"), &["read"])).await;
        provider.answer_token(Reply::json(numbered(number)));
        let (browser, callback) = (Caller::clone(&app), provider.consent(&pending.url));
        visits.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10 * number as u64)).await;
            browser.visit(&callback).await.status.as_u16()
        }));
    }
    while provider.exchanges().len() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    app.delete("/v2/auth/providers/acme").await.expect(200);
    for status in join_all(visits).await {
        assert!([303, 400].contains(status.as_ref().unwrap()), "{status:?}");
    }
    soon_none_is_queued(&app).await;
    let granted = provider.exchanges().len();
    let mut told = provider.revoked("token");
    told.sort();
    let mut all: Vec<_> =
        (0..granted).flat_map(|number| [format!("access-{number}"), format!("refresh-{number}")]).collect();
    all.sort();
    assert_eq!(told, all, "every grant the provider gave is revoked, once");
}

async fn a_refresh_that_finds_its_token_deleted_is_revoked_too(app: TestApp) {
    let provider = connected(&app).await;
    app.advance(3600);
    provider.answer_token(Reply::json(numbered(2)).after(Duration::from_millis(800)));
    let caller = Caller::clone(&app);
    let asked = tokio::spawn(async move { caller.authenticate(&question()).await });
    while provider.refreshes().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(delete(&app).await["upstream_revoked"], true);
    assert_eq!(asked.await.unwrap()["status"], "pending");
    provider.revoked_times(4).await;
    assert_eq!(provider.revoked("token"), ["refresh-1", "access-1", "refresh-2", "access-2"]);
    assert!(app.tokens().await.is_empty());
    soon_none_is_queued(&app).await;
}
