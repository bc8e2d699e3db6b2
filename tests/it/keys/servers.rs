//! A server seals with its first key, so every server that runs beside it must have that key.

use super::{refused, serve};
use crate::support::binary::{Server, run};
use crate::support::database::{Database, encryption_key};

const KEYS: &str = "SELECT count(*) FROM encryption_keys";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_seal_with_a_key_that_a_running_one_lacks() {
    let database = Database::postgres().await;
    let (old, new) = (&database.encryption_keys, encryption_key("second"));
    let (appended, promoted) = (format!("{old},{new}"), format!("{new},{old}"));
    let first = Server::start(&database.environment()).await;
    let told = "1 of 1 running servers do not have key `second` yet, so nothing may be sealed with it; append it at the end of \
                ENCRYPTION_KEYS on all of them and restart them, before it becomes the first. A server that was killed counts \
                for one more minute";
    let line = serve(&database, &promoted).await;
    assert!(line.contains(told), "{line}");
    for command in [&["api-key", "create", "--name", "x"][..], &["provider", "list"]] {
        let refused = run(command, &database.environment_with_keys(&promoted)).await;
        assert!(refused.expect_refusal().contains(told), "{command:?}: {refused:?}");
    }
    let line = refused(&database, &promoted, &["reseal"]).await;
    assert!(line.contains(told), "{line}");
    assert_eq!(database.number(KEYS).await, 1, "a key that was refused was not used");

    // The rolling restart as it is documented: first the new key is appended everywhere.
    let second = Server::start(&database.environment_with_keys(&appended)).await;
    let line = serve(&database, &promoted).await;
    assert!(line.contains("1 of 2 running servers do not have key `second` yet"), "{line}");
    first.stop().await;
    let first = Server::start(&database.environment_with_keys(&promoted)).await;
    second.stop().await;
    let second = Server::start(&database.environment_with_keys(&promoted)).await;
    assert!(first.stop().await.0.success() && second.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_counts_until_its_announcement_ends() {
    let database = Database::postgres().await;
    let promoted = format!("{},{}", encryption_key("second"), database.encryption_keys);
    // SIGKILL.
    drop(Server::start(&database.environment()).await);
    let line = serve(&database, &promoted).await;
    assert!(line.contains("A server that was killed counts for one more minute"), "{line}");
    // The minute is over.
    database.tamper("UPDATE servers SET until = 0").await;
    Server::start(&database.environment_with_keys(&promoted)).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_server_of_a_database_is_not_held_up_by_itself() {
    let database = Database::sqlite();
    let promoted = format!("{},{}", encryption_key("second"), database.encryption_keys);
    // SIGKILL.
    drop(Server::start(&database.environment()).await);
    let server = Server::start(&database.environment_with_keys(&promoted)).await;
    // A command beside it must not seal with a key that it lacks.
    let third = format!("{},{promoted}", encryption_key("third"));
    let refused = run(&["api-key", "create", "--name", "x"], &database.environment_with_keys(&third)).await;
    assert!(refused.expect_refusal().contains("1 of 1 running servers do not have key `third` yet"), "{refused:?}");
    server.stop().await;
}
