//! The key file that SQLite generates: `agent-auth keys` changes it, as a whole.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::support::binary::{Server, run};
use crate::support::database::Database;

/// A database whose keys are in its file, with a token.
struct Story {
    database: Database,
    environment: Vec<(String, String)>,
}

impl Story {
    async fn begin() -> Self {
        let database = Database::sqlite();
        let environment = database.environment_with_keys("");
        let story = Self { database, environment };
        let server = story.server().await;
        let weather =
            json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key", "client_secret": "key-1"});
        server.post(&story.database.bootstrap_key, "/v2/auth/providers", &weather).await;
        assert_eq!(story.token(&server).await, "key-1");
        server.stop().await;
        story
    }

    async fn server(&self) -> Server {
        Server::start(&self.environment).await
    }

    async fn token(&self, server: &Server) -> String {
        let question = json!({"provider": "weather", "scopes": [], "user_id": "alice"});
        let answer = server.post(&self.database.bootstrap_key, "/v2/auth/authenticate", &question).await;
        answer["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    async fn done(&self, arguments: &[&str]) -> String {
        let done = run(arguments, &self.environment).await;
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        assert_eq!(done.stdout, "", "the keys are in the file, and nowhere else");
        done.stderr
    }

    fn file(&self) -> PathBuf {
        self.database.folder.path().join("encryption.key")
    }

    fn keys(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file()).unwrap();
        text.split(',').map(str::to_owned).collect()
    }
}

fn id(key: &str) -> &str {
    key.split_once(':').unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_does_everything_at_once_while_the_server_is_stopped() {
    let story = Story::begin().await;
    let old = story.keys();
    let server = story.server().await;
    let refused = run(&["keys", "rotate"], &story.environment).await;
    assert!(
        refused.expect_refusal().contains("another agent-auth uses the data folder"),
        "a running server has the old key"
    );
    assert_eq!(story.keys(), old);
    server.stop().await;

    let said = story.done(&["keys", "rotate"]).await;
    assert!(said.contains("The rotation is complete"), "{said}");
    let new = story.keys();
    assert_eq!((old.len(), new.len()), (1, 1));
    assert_ne!(old, new);
    assert_eq!(std::fs::metadata(story.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(story.database.sealed_with(id(&old[0])).await, [].into());
    assert_eq!(story.database.number("SELECT count(*) FROM encryption_keys").await, 1);
    assert_eq!(story.token(&story.server().await).await, "key-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_broke_off_is_finished_by_the_next_one() {
    for steps in 1..=2 {
        let story = Story::begin().await;
        let old = story.keys();
        story.done(&["keys", "add"]).await;
        let added = story.keys();
        assert_eq!((added.len(), &added[0]), (2, &old[0]));
        if steps == 2 {
            story.done(&["keys", "promote", id(&added[1])]).await;
            assert_eq!(story.keys(), [added[1].clone(), old[0].clone()]);
        }
        story.done(&["keys", "rotate"]).await;
        assert_eq!(story.keys(), [added[1].clone()], "no third key");
        assert_eq!(story.token(&story.server().await).await, "key-1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_work_beside_a_running_server() {
    let story = Story::begin().await;
    let old = story.keys();
    let server = story.server().await;
    story.done(&["keys", "add"]).await;
    let added = story.keys()[1].clone();
    let refused = run(&["keys", "promote", id(&added)], &story.environment).await;
    assert!(refused.expect_refusal().contains("1 of 1 running servers do not have key"), "{refused:?}");
    server.stop().await;
    let server = story.server().await;
    story.done(&["keys", "promote", id(&added)]).await;
    let refused = run(&["keys", "retire", id(&old[0])], &story.environment).await;
    assert!(refused.expect_refusal().contains("1 running server(s) still seal"), "{refused:?}");
    server.stop().await;
    let server = story.server().await;
    story.done(&["keys", "reseal"]).await;
    story.done(&["keys", "retire", id(&old[0])]).await;
    assert_eq!(story.keys(), [added]);
    assert_eq!(story.token(&server).await, "key-1");
    server.stop().await;
    assert_eq!(story.token(&story.server().await).await, "key-1");
}
