//! Encryption keys: rotating them while servers run, two algorithms, and keys that Vault encrypted.

mod algorithms;
mod audited;
mod interrupted;
mod key_file;
mod rotation;
mod vault;

use crate::support::app::TestApp;
use crate::support::binary::{Finished, run};
use crate::support::database::Database;
use secrecy::SecretString;

/// Runs `agent-auth keys ...` with this list of keys.
async fn keys(database: &Database, list: &str, arguments: &[&str]) -> Finished {
    run(&[&["keys"], arguments].concat(), &database.environment_with_keys(list)).await
}

/// Runs it and gives what it printed on standard output: the new list of keys.
async fn new_list(database: &Database, list: &str, arguments: &[&str]) -> String {
    let done = keys(database, list, arguments).await;
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    done.stdout.trim().to_owned()
}

/// Runs it; it must succeed. Gives what it said.
async fn done(database: &Database, list: &str, arguments: &[&str]) -> String {
    let done = keys(database, list, arguments).await;
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    done.stderr
}

/// Runs it; it must refuse. Gives its reason, which holds no key.
async fn refused(database: &Database, list: &str, arguments: &[&str]) -> String {
    let refused = keys(database, list, arguments).await;
    let line = refused.expect_refusal();
    for key in list.split(',') {
        let secret = key.rsplit(':').next().expect("a key");
        assert!(!line.contains(secret), "it repeats a key: {line}");
    }
    line.to_owned()
}

fn id_of(key: &str) -> String {
    key.split_once(':').expect("id:...").0.to_owned()
}

/// Another replica with this list of keys.
async fn replica(app: &TestApp, list: &str) -> TestApp {
    app.replica_with(|settings| settings.encryption_keys = Some(SecretString::from(list))).await
}
