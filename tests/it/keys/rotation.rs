//! The steps of a rotation: add, promote, reseal, retire. What each does, and when it is refused.

use super::{EVERY_SEALED_COLUMN, done, fill, id_of, keys, new_list, refused, replica, serve};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::{Server, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::{Database, encryption_key};

both_databases! {
    after_a_rotation_every_secret_is_sealed_with_the_new_key_and_still_opens,
    a_key_that_stored_secrets_need_can_be_removed_by_no_command_and_no_start,
    a_key_that_was_listed_by_mistake_can_be_removed,
    rotate_leads_through_the_steps_where_the_operator_sets_the_list,
    a_value_that_cannot_be_opened_is_left_as_it_is_and_named,
    a_step_that_makes_no_sense_is_refused,
}

async fn after_a_rotation_every_secret_is_sealed_with_the_new_key_and_still_opens(app: TestApp) {
    let provider = fill(&app).await;
    let (alice, erin) = (asking("alice", &["read"]), asking("erin", &["read"]));
    let token = app.token(&alice).await;
    let pending = app.begin(&erin).await;
    app.stop().await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let before = database.sealed_with("first").await;
    assert_eq!(before.keys().map(String::as_str).collect::<Vec<_>>(), EVERY_SEALED_COLUMN, "{before:?}");

    let appended = new_list(database, old, &["add"]).await;
    let (kept, added) = appended.split_once(',').expect("two keys");
    assert_eq!(kept, old, "the new key opens, and does not seal yet");
    let promoted = new_list(database, &appended, &["promote", &id_of(added)]).await;
    assert_eq!(promoted, format!("{added},{old}"));
    let said = done(database, &promoted, &["reseal"]).await;
    assert!(
        said.contains(&format!("Resealed {} values with key {}", before.values().sum::<i64>(), id_of(added))),
        "{said}"
    );
    assert_eq!(database.sealed_with("first").await, [].into());
    assert_eq!(database.sealed_with(&id_of(added)).await, before, "each value, and nothing else");
    let said = done(database, &promoted, &["reseal"]).await;
    assert!(said.contains("Resealed 0 values"), "{said}");
    let alone = new_list(database, &promoted, &["retire", "first"]).await;
    assert_eq!(alone, added);

    let app = replica(&app, &alone).await;
    assert_eq!(app.token(&alice).await, token);
    app.come_back(&provider.consent(&pending.url)).await;
    assert_eq!(app.wait(&pending.auth_id).await["status"], "completed");
    app.advance(3600);
    assert_ne!(app.token(&alice).await, token, "the refresh token was resealed too");
    provider.show("/revoke", Reply::text("application/json", ""));
    app.advance(86_400);
    let after = replica(&app, &alone).await;
    crate::support::eventually::eventually(std::time::Duration::from_secs(20), async || {
        after.database.row_counts().await["revocations"] == 0
    })
    .await;
    assert_eq!(provider.requests("/revoke").last().expect("a revocation").value("client_id"), Some("acme-client"));
}

async fn a_key_that_stored_secrets_need_can_be_removed_by_no_command_and_no_start(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let token = app.connect(&provider, &question).await;
    app.stop().await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let needed: i64 = database.sealed_with("first").await.values().sum();
    assert!(needed >= 3, "a client secret, an access token, a refresh token");
    let new = encryption_key("second");
    let both = format!("{new},{old}");

    let line = refused(database, &both, &["retire", "first"]).await;
    assert!(line.contains(&format!("{needed} stored secrets still need key `first`")), "{line}");
    for command in [&["serve"][..], &["migrate"], &["api-key", "list"], &["keys", "retire", "first"]] {
        let line = match command {
            ["serve"] => serve(database, &new).await,
            _ => run(command, &database.environment_with_keys(&new)).await.expect_refusal().to_owned(),
        };
        assert!(
            line.contains(&format!("lacks key `first`, which {needed} stored secrets need")),
            "{command:?}: {line}"
        );
    }

    done(database, &both, &["reseal"]).await;
    assert_eq!(replica(&app, &new).await.token(&question).await, token, "nothing needs it any more");
    let line = refused(database, &both, &["retire", "second"]).await;
    assert!(line.contains("key `second` seals"), "{line}");
}

async fn a_key_that_was_listed_by_mistake_can_be_removed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let token = app.connect(&provider, &question).await;
    app.stop().await;
    let old = app.database.encryption_keys.clone();
    let mistaken = replica(&app, &format!("{old},{}", encryption_key("mistake"))).await;
    mistaken.stop().await;
    assert_eq!(app.database.number("SELECT count(*) FROM encryption_keys").await, 2);
    let again = replica(&app, &old).await;
    assert_eq!(again.token(&question).await, token);
    done(&app.database, &old, &["retire", "mistake"]).await;
    assert_eq!(app.database.number("SELECT count(*) FROM encryption_keys").await, 1, "its record has ended");
}

async fn rotate_leads_through_the_steps_where_the_operator_sets_the_list(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let question = asking("alice", &["read"]);
    let token = app.connect(&provider, &question).await;
    app.stop().await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let mut list = old.clone();
    for (step, keys) in [("add", 2), ("promote", 2), ("reseal", 1)] {
        list = new_list(database, &list, &["rotate"]).await;
        assert_eq!(list.split(',').count(), keys, "{step}");
        // As if every server was restarted with it.
        let server = replica(&app, &list).await;
        assert_eq!(server.token(&question).await, token, "{step}");
        server.stop().await;
    }
    let said = done(database, &list, &["rotate"]).await;
    assert!(said.contains("The rotation is complete"), "{said}");
    assert_eq!(database.sealed_with("first").await, [].into());
    assert_eq!(database.number("SELECT count(*) FROM encryption_keys").await, 1);
    let next = new_list(database, &list, &["rotate"]).await;
    assert!(next.starts_with(&format!("{list},")), "the next one begins with a new key");
}

async fn a_value_that_cannot_be_opened_is_left_as_it_is_and_named(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for user in ["alice", "bob"] {
        app.connect(&provider, &asking(user, &["read"])).await;
    }
    let bobs = app.token(&asking("bob", &["read"])).await;
    app.stop().await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    // As if the value had been moved there from another row.
    database
        .tamper(
            "UPDATE tokens SET access_token = (SELECT access_token FROM tokens WHERE user_id = 'bob') \
             WHERE user_id = 'alice'",
        )
        .await;
    let both = format!("{},{old}", encryption_key("second"));
    let finished = keys(database, &both, &["reseal"]).await;
    assert!(!finished.status.success(), "{finished:?}");
    for part in ["tokens.access_token of row ", "1 values cannot be opened"] {
        assert!(finished.stderr.contains(part), "{part}: {finished:?}");
    }
    assert_eq!(database.sealed_with("first").await, [("tokens.access_token".to_owned(), 1)].into());
    let line = refused(database, &both, &["retire", "first"]).await;
    assert!(line.contains("1 stored secrets still need key `first`"), "{line}");
    assert_eq!(replica(&app, &both).await.token(&asking("bob", &["read"])).await, bobs, "the others were resealed");
}

async fn a_step_that_makes_no_sense_is_refused(database: Database) {
    let old = &database.encryption_keys;
    let line = refused(&database, old, &["promote", "nobody"]).await;
    assert!(line.contains("no key `nobody`") && line.contains("keys add"), "{line}");
    let line = refused(&database, old, &["retire", "nobody"]).await;
    assert!(line.contains("no key `nobody`"), "{line}");
    let line = refused(&database, old, &["retire", "first"]).await;
    assert!(line.contains("key `first` seals"), "{line}");
}

/// Two replicas restart one after the other, so that for a while each step meets both orders of the keys.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_rolling_rotation_two_replicas_always_open_what_the_other_sealed() {
    let here = TestApp::start(Database::postgres().await).await;
    let provider = AuthorizationServer::start().await;
    here.register(&provider).await;
    let old = here.database.encryption_keys.clone();
    let there = here.replica().await;
    let appended = new_list(&here.database, &old, &["add"]).await;
    let second = id_of(appended.split_once(',').expect("two keys").1);
    let promoted_list = {
        let (old, new) = appended.split_once(',').expect("two keys");
        format!("{new},{old}")
    };

    let mut users = Vec::new();
    // Each connects a user and opens what the other has sealed.
    let mut both_open = async |here: &TestApp, there: &TestApp| {
        for (sealing, opening) in [(here, there), (there, here)] {
            let question = asking(&format!("user-{}", users.len()), &["read"]);
            let token = sealing.connect(&provider, &question).await;
            assert_eq!(opening.token(&question).await, token);
            users.push((question, token));
        }
        for (question, token) in &users {
            assert_eq!(&here.token(question).await, token);
            assert_eq!(&there.token(question).await, token);
        }
    };

    // The first round: the new key is appended.
    here.stop().await;
    let here = replica(&here, &appended).await;
    both_open(&here, &there).await;
    let line = refused(&here.database, &appended, &["promote", &second]).await;
    assert!(line.contains(&format!("1 of 2 running servers do not have key `{second}` yet")), "{line}");
    let line = refused(&here.database, &promoted_list, &["reseal"]).await;
    assert!(line.contains("1 of 2 running servers"), "the other could not open what is resealed: {line}");
    there.stop().await;
    let there = replica(&there, &appended).await;
    both_open(&here, &there).await;
    let promoted = new_list(&here.database, &appended, &["promote", &second]).await;
    assert_eq!(promoted, promoted_list);

    // The second round: it seals.
    here.stop().await;
    let here = replica(&here, &promoted).await;
    both_open(&here, &there).await;
    done(&here.database, &promoted, &["reseal"]).await;
    let line = refused(&here.database, &promoted, &["retire", "first"]).await;
    assert!(line.contains("1 running server(s) still seal with key `first`"), "{line}");
    let alone = promoted.split_once(',').expect("two keys").0;
    let line = refused(&here.database, alone, &["reseal"]).await;
    assert!(line.contains("with which another running server seals"), "{line}");
    both_open(&here, &there).await;
    there.stop().await;
    let there = replica(&there, &promoted).await;
    both_open(&here, &there).await;
    let line = refused(&here.database, &promoted, &["retire", "first"]).await;
    assert!(line.contains("stored secrets still need key `first`"), "what was sealed since the reseal: {line}");

    // The last one: the old key is removed.
    done(&here.database, &promoted, &["reseal"]).await;
    assert_eq!(new_list(&here.database, &promoted, &["retire", "first"]).await, alone);
    here.stop().await;
    let here = replica(&here, alone).await;
    both_open(&here, &there).await;
    there.stop().await;
    let there = replica(&there, alone).await;
    both_open(&here, &there).await;
}

/// A server that was killed has not said goodbye, so it counts until its announcement ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stopped_does_not_hold_up_a_rotation_and_one_that_runs_does() {
    let database = Database::postgres().await;
    let server = Server::start(&database.environment()).await;
    let new = encryption_key("second");
    let both = format!("{},{new}", database.encryption_keys);
    let line = refused(&database, &both, &["promote", "second"]).await;
    assert!(line.contains("1 of 1 running servers do not have key `second` yet"), "{line}");
    assert!(server.stop().await.0.success());
    assert_eq!(database.number("SELECT count(*) FROM servers").await, 0);
    new_list(&database, &both, &["promote", "second"]).await;
}

/// A server that was frozen for a minute does not count as running. When it goes on it lacks the new key.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_frozen_during_a_rotation_seals_nothing_with_the_retired_key() {
    let app = TestApp::start(Database::postgres().await).await;
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let new = encryption_key("second");
    let both = format!("{new},{old}");
    database.tamper("DELETE FROM servers").await;
    done(database, &both, &["reseal"]).await;
    let _alone = new_list(database, &both, &["retire", "first"]).await;
    app.app.broker.store().end_announcement().await.unwrap();
    agent_auth::broker::jobs::encryption_keys::announce(&app.app.broker).await.unwrap();
    let line = serve(database, &new).await;
    assert!(line.contains("lacks key `first`, with which another running server seals"), "{line}");
    let definition = provider.definition("sealed-by-the-old-key");
    // It cannot open the audit log's key any more.
    app.post("/v2/auth/providers", &definition).await.expect_error(503, "audit_unavailable");
    app.stop().await;
    assert_eq!(database.sealed_with("first").await, [].into());
}
