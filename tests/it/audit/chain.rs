//! The chain: writers of one organization take turns on whichever replica, and every change behind its back is found.

use futures_util::future::join_all;
use serde_json::json;

use agent_auth::broker::audit;

use super::{organization, verified};
use crate::support::app::TestApp;
use crate::support::binary::{Finished, run};
use crate::support::both_databases;
use crate::support::caller::{Caller, acme, asking, with};

both_databases! {
    simultaneous_acts_of_two_replicas_make_one_chain,
    each_organization_has_a_chain_of_its_own,
    every_change_of_a_row_is_found_at_that_row,
    a_row_that_another_program_added_is_found,
    a_row_that_cannot_be_read_is_found_too,
    a_row_that_was_moved_is_found_where_it_was,
    a_row_that_is_missing_is_found_wherever_it_was,
    the_command_verifies_and_names_the_first_broken_event,
    the_command_exports_every_event_as_a_line,
}

/// Twenty providers, and as many events more.
async fn busy(app: &TestApp) {
    for number in 0..20 {
        app.post("/v2/auth/providers", &with(acme(), json!({"provider_id": format!("acme-{number}")})))
            .await
            .expect(200);
    }
}

async fn simultaneous_acts_of_two_replicas_make_one_chain(app: TestApp) {
    let there = app.replica().await;
    app.post("/v2/auth/providers", &acme()).await.expect(200);
    let before = verified(&app).await.events;
    let acts = (0..200).map(|number| {
        let caller = Caller::clone(if number % 2 == 0 { &app } else { &there });
        tokio::spawn(async move { caller.begin(&asking(&format!("user-{number}"), &["read"])).await })
    });
    join_all(acts).await.into_iter().for_each(|pending| drop(pending.unwrap()));
    let verified = verified(&app).await;
    assert_eq!((verified.broken, verified.events), (None, before + 200));
    assert_eq!(verified.last.sequence, before + 200);
}

async fn each_organization_has_a_chain_of_its_own(app: TestApp) {
    let elsewhere = app.service_key_in("another", "elsewhere").await;
    let acts = (0..20).map(|number| {
        let (here, elsewhere) = (Caller::clone(&app), elsewhere.clone());
        let definition = with(acme(), json!({"provider_id": format!("acme-{number}")}));
        tokio::spawn(async move {
            tokio::join!(here.register_as(definition.clone()), elsewhere.register_as(definition));
        })
    });
    join_all(acts).await.into_iter().for_each(|ended| ended.unwrap());
    let there = audit::verify(&app.app.broker, "another").await.unwrap().unwrap();
    assert_eq!((there.broken, there.events), (None, 21), "the key and the providers");
    assert_eq!(verified(&app).await.broken, None);
    let keys = app.database.number("SELECT count(DISTINCT audit_key) FROM audit_heads").await;
    assert_eq!(keys, 2);
    assert_eq!(audit::verify(&app.app.broker, "unknown").await.unwrap(), None);
}

async fn keep_event_nine(app: &TestApp) {
    app.database.tamper("CREATE TABLE kept AS SELECT * FROM audit_events WHERE sequence = 9").await;
}

async fn restore_event_nine(app: &TestApp) {
    let undo = "DELETE FROM audit_events WHERE sequence = 9;
                INSERT INTO audit_events SELECT * FROM kept; DROP TABLE kept";
    app.database.tamper(undo).await;
}

async fn every_change_of_a_row_is_found_at_that_row(app: TestApp) {
    busy(&app).await;
    let (text, json) = ("'changed'", r#"'["changed"]'"#);
    let id = if app.database.postgres.is_some() { "gen_random_uuid()" } else { "randomblob(16)" };
    let later = "'2020-01-01T00:00:00+00:00'";
    for (column, value) in [
        ("event", text),
        ("result", text),
        ("actor", text),
        ("actor_id", "NULL"),
        ("workspace_id", text),
        ("user_id", text),
        ("agent_id", text),
        ("provider_id", "NULL"),
        ("token_id", id),
        ("auth_id", id),
        ("scopes", json),
        ("error", text),
        ("details", "'{}'"),
        ("request_id", text),
        ("address", text),
        ("at", later),
    ] {
        keep_event_nine(&app).await;
        let change = format!("UPDATE audit_events SET {column} = {value} WHERE sequence = 9");
        assert_eq!(app.database.tamper(&change).await, 1);
        let broken = verified(&app).await.broken.unwrap_or_else(|| panic!("{column} may be changed"));
        assert_eq!(broken.sequence, 9, "{column}");
        restore_event_nine(&app).await;
        assert_eq!(verified(&app).await.broken, None, "{column}");
    }
}

async fn a_row_that_cannot_be_read_is_found_too(app: TestApp) {
    busy(&app).await;
    let values: &[_] = if app.database.postgres.is_some() {
        &[("scopes", "'{}'"), ("details", "'[1]'"), ("at", "'infinity'"), ("at", "'-infinity'"), ("hash", "''")]
    } else {
        &[("scopes", "'['"), ("details", "'x'"), ("at", "'2026-xx'"), ("token_id", "x'00'"), ("user_id", "x'ff'")]
    };
    for (column, value) in values {
        keep_event_nine(&app).await;
        app.database.tamper(&format!("UPDATE audit_events SET {column} = {value} WHERE sequence = 9")).await;
        let broken = verified(&app).await.broken.unwrap_or_else(|| panic!("{column} may be {value}"));
        assert_eq!(broken.sequence, 9, "{column} is {value}");
        let found = audit_command(&app, "verify").await;
        assert_eq!(found.status.code(), Some(1), "{found:?}");
        assert!(found.stderr.contains("event 9: "), "{found:?}");
        restore_event_nine(&app).await;
        assert_eq!(verified(&app).await.broken, None, "{column}");
    }
}

async fn a_row_that_was_moved_is_found_where_it_was(app: TestApp) {
    busy(&app).await;
    app.database.tamper("UPDATE audit_events SET sequence = 999999 WHERE sequence = 9").await;
    let broken = verified(&app).await.broken.expect("it is noticed");
    assert_eq!((broken.sequence, broken.problem), (9, "the event is missing"));
}

async fn a_row_that_is_missing_is_found_wherever_it_was(app: TestApp) {
    busy(&app).await;
    let last = verified(&app).await.last.sequence;
    for sequence in [1, 7, last] {
        app.database
            .tamper(&format!("CREATE TABLE kept AS SELECT * FROM audit_events WHERE sequence = {sequence}"))
            .await;
        app.database.tamper(&format!("DELETE FROM audit_events WHERE sequence = {sequence}")).await;
        let broken = verified(&app).await.broken.expect("it is noticed");
        assert_eq!((broken.sequence, broken.problem), (sequence, "the event is missing"));
        app.database.tamper("INSERT INTO audit_events SELECT * FROM kept; DROP TABLE kept").await;
        assert_eq!(verified(&app).await.broken, None);
    }
    app.database.tamper("UPDATE audit_events SET hash = (SELECT hash FROM audit_heads) WHERE sequence = 3").await;
    assert_eq!(verified(&app).await.broken.expect("it is noticed").sequence, 3);
}

async fn a_row_that_another_program_added_is_found(app: TestApp) {
    busy(&app).await;
    let organization = organization(&app).await;
    let last = verified(&app).await.last.sequence;
    for sequence in [last + 1, 0, -1] {
        let forged = format!(
            "CREATE TABLE forged AS SELECT * FROM audit_events WHERE sequence = 3;
             UPDATE forged SET sequence = {sequence};
             INSERT INTO audit_events SELECT * FROM forged; DROP TABLE forged"
        );
        app.database.tamper(&forged).await;
        let broken = verified(&app).await.broken.expect("it is noticed");
        assert_eq!((broken.sequence, broken.problem), (sequence, "the event was added by another program"));
        app.database.tamper(&format!("DELETE FROM audit_events WHERE sequence = {sequence}")).await;
        assert_eq!(verified(&app).await.broken, None);
    }
    app.database.tamper("UPDATE audit_heads SET workspace_id = 'moved'").await;
    assert!(verified(&app).await.broken.is_some());
    app.database.tamper("UPDATE audit_heads SET workspace_id = ''").await;
    let elsewhere = "CREATE TABLE forged AS SELECT * FROM audit_events WHERE sequence = 3;
         UPDATE forged SET organization_id = 'made-up';
         INSERT INTO audit_events SELECT * FROM forged; DROP TABLE forged";
    app.database.tamper(elsewhere).await;
    let found = audit_command(&app, "verify").await;
    assert!(!found.status.success(), "{found:?}");
    assert!(found.stderr.contains("organization made-up: its events have no recorded end"), "{found:?}");
    assert!(found.stdout.contains(&format!("organization {organization}: ")), "{found:?}");
}

async fn audit_command(app: &TestApp, command: &str) -> Finished {
    run(&["audit", command], &app.database.environment()).await
}

async fn the_command_verifies_and_names_the_first_broken_event(app: TestApp) {
    busy(&app).await;
    let whole = audit_command(&app, "verify").await;
    assert!(whole.status.success(), "{whole:?}");
    let (organization, last) = (organization(&app).await, verified(&app).await.last);
    let line = format!("organization {organization}: {0} events, 1 to {0}, last hash ", last.sequence);
    assert!(whole.stdout.starts_with(&line), "{whole:?}");
    app.database.tamper("UPDATE audit_events SET actor_id = 'somebody else' WHERE sequence = 4").await;
    let broken = audit_command(&app, "verify").await;
    assert!(!broken.status.success(), "{broken:?}");
    let line = format!("organization {organization}, event 4: the event, or the hash before it, was changed");
    assert!(broken.stderr.contains(&line), "{broken:?}");
}

async fn the_command_exports_every_event_as_a_line(app: TestApp) {
    busy(&app).await;
    let exported = audit_command(&app, "export").await;
    assert!(exported.status.success(), "{exported:?}");
    let lines: Vec<serde_json::Value> =
        exported.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let numbers: Vec<_> = lines.iter().map(|event| event["sequence"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=verified(&app).await.last.sequence).collect::<Vec<_>>());
    assert_eq!(lines.last().unwrap()["hash"].as_str().unwrap().len(), 64);
    let unknown = run(&["audit", "export", "--organization", "unknown"], &app.database.environment()).await;
    assert!(unknown.expect_refusal().contains("has no organization `unknown`"), "{unknown:?}");
}
