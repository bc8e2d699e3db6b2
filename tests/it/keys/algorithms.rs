//! AES-256-GCM beside XChaCha20-Poly1305, and the limit of what one of its keys seals.

use agent_auth::cipher::SEALS_MAX;

use super::{done, id_of, new_list, replica};
use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::run;
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::encryption_key;

both_databases! {
    values_of_both_algorithms_open_side_by_side_and_are_resealed,
    an_exhausted_key_seals_nothing_more_on_any_replica_and_still_opens,
    a_key_that_is_listed_with_another_algorithm_is_refused_at_start,
}

async fn values_of_both_algorithms_open_side_by_side_and_are_resealed(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    let (alice, bob) = (asking("alice", &["read"]), asking("bob", &["read"]));
    let alices = app.connect(&provider, &alice).await;
    app.stop().await;
    let (database, old) = (&app.database, &app.database.encryption_keys);
    let appended = new_list(database, old, &["add", "--algorithm", "aes256gcm"]).await;
    let added = appended.split_once(',').expect("two keys").1;
    assert!(added.contains(":aes256gcm:"), "the notation names it");
    let promoted = new_list(database, &appended, &["promote", &id_of(added)]).await;

    let both = replica(&app, &promoted).await;
    let bobs = both.connect(&provider, &bob).await;
    assert_eq!((both.token(&alice).await, both.token(&bob).await), (alices.clone(), bobs.clone()));
    let (first, second) = (database.sealed_with("first").await, database.sealed_with(&id_of(added)).await);
    assert!(!first.is_empty() && !second.is_empty(), "{first:?} {second:?}");
    both.stop().await;
    done(database, &promoted, &["reseal"]).await;
    let alone = new_list(database, &promoted, &["retire", "first"]).await;
    let aes = replica(&app, &alone).await;
    assert_eq!((aes.token(&alice).await, aes.token(&bob).await), (alices, bobs));
    let counted =
        database.number(&format!("SELECT sealed FROM encryption_keys WHERE key_id = '{}'", id_of(added))).await;
    let stored: i64 = database.sealed_with(&id_of(added)).await.values().sum();
    assert!(counted >= stored, "{counted} values are counted, and {stored} are stored");
}

async fn an_exhausted_key_seals_nothing_more_on_any_replica_and_still_opens(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    app.stop().await;
    let list = format!("{},{}", encryption_key("fips:aes256gcm"), app.database.encryption_keys);
    let aes = replica(&app, &list).await;
    let (alice, bob) = (asking("alice", &["read"]), asking("bob", &["read"]));
    let token = aes.connect(&provider, &alice).await;
    aes.stop().await;

    app.database.tamper(&format!("UPDATE encryption_keys SET sealed = {SEALS_MAX} WHERE key_id = 'fips'")).await;
    for server in [replica(&app, &list).await, replica(&app, &list).await] {
        assert_eq!(server.token(&alice).await, token, "it still opens");
        server.try_authenticate(&bob).await.expect_error(503, "encryption_unavailable");
        server.stop().await;
    }
    let list = format!("{},{list}", encryption_key("next:aes256gcm"));
    let rotated = replica(&app, &list).await;
    rotated.connect(&provider, &bob).await;
    assert_eq!(rotated.token(&alice).await, token);
}

async fn a_key_that_is_listed_with_another_algorithm_is_refused_at_start(app: TestApp) {
    app.stop().await;
    let changed = app.database.encryption_keys.replace("first:", "first:aes256gcm:");
    let refused = run(&["migrate"], &app.database.environment_with_keys(&changed)).await;
    let line = refused.expect_refusal();
    assert!(line.contains("`first` is listed with another algorithm"), "{line}");
}
