//! `agent-auth webhook`.

use serde_json::{Value, json};

use super::{Hook, PATH, webhook};
use crate::support::app::TestApp;
use crate::support::authorization_server::Reply;
use crate::support::both_databases;

both_databases! {
    a_webhook_is_added_listed_tested_and_removed,
    a_list_of_deliveries_that_is_cut_off_says_so,
    what_is_wrong_is_said,
}

async fn a_list_of_deliveries_that_is_cut_off_says_so(app: TestApp) {
    let hook = Hook::add(&app.database, &[]).await;
    let postgres = app.database.postgres.is_some();
    let id = if postgres { "gen_random_uuid()" } else { "randomblob(16)" };
    let insert = format!(
        "INSERT INTO webhook_deliveries (id, organization_id, workspace_id, webhook, sequence, ordering_key, event, payload,
            created_at, delivered_at)
         SELECT {id}, organization_id, workspace_id, id, n, '', 'token.connected', '{{}}', created_at, created_at
         FROM webhooks, (WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1001)
            SELECT n FROM numbers) AS numbers"
    );
    assert_eq!(app.database.tamper(&insert).await, 1001);
    for options in [&[][..], &["--json"]] {
        let listed = hook.command(&app.database, "deliveries", options).await;
        assert_eq!(listed.stdout.lines().count(), 1000);
        assert!(listed.stderr.contains("the newest 1000"), "{}", listed.stderr);
    }
}

async fn a_webhook_is_added_listed_tested_and_removed(app: TestApp) {
    let hook = Hook::add(&app.database, &["--events", "token.revoked"]).await;
    assert!(hook.secret.starts_with("whsec_"), "{}", hook.secret);
    let listed = webhook(&app.database, &["list", "--json"]).await;
    assert!(!listed.stdout.contains(&hook.secret), "shown once");
    assert!(!listed.stderr.contains("URL"), "no headings with --json: {listed:?}");
    let listed: Value = serde_json::from_str(&listed.stdout).expect("one line for the one webhook");
    assert_eq!(listed["id"], hook.id.as_str());
    assert_eq!(listed["events"], json!(["token.revoked"]));
    assert_eq!(listed["url"], hook.receiver.at(PATH));
    let listed = webhook(&app.database, &["list"]).await;
    assert!(listed.stderr.contains("ID\tURL\tEVENTS\tSTATE"), "{listed:?}");
    let row = format!("{}\t{}\ttoken.revoked\tactive\n", hook.id, hook.receiver.at(PATH));
    assert_eq!(listed.stdout, row);
    let tested = hook.command(&app.database, "test", &[]).await;
    assert_eq!((tested.status.success(), tested.stdout.trim()), (true, "200"));
    assert_eq!(hook.bodies()[0]["type"], "webhook.test");
    assert_eq!(hook.bodies()[0]["data"]["webhook_id"], hook.id.as_str());
    hook.receiver.answer(PATH, Reply::json(json!({})).status(401));
    let tested = hook.command(&app.database, "test", &[]).await;
    assert_eq!((tested.status.success(), tested.stdout.trim()), (false, "401"));
    let removed = hook.command(&app.database, "remove", &[]).await;
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(webhook(&app.database, &["list"]).await.stdout, "");
    let events = app.get("/v2/audit?event=webhook.deleted").await.expect(200);
    assert_eq!(events["data"][0]["details"]["webhook_id"], hook.id.as_str());
    assert_eq!(events["data"][0]["actor"], "command_line");
}

async fn what_is_wrong_is_said(app: TestApp) {
    let hook = Hook::add(&app.database, &[]).await;
    for (arguments, expected) in [
        (&["add", "not a url"][..], "https://"),
        (&["add", "https://example.com", "--events", "token.exploded"], "token.consent_needed"),
        (&["remove", "17"], "agent-auth webhook list"),
        (&["test", "01890a5d-ac96-774b-bcce-b302099a8057"], "agent-auth webhook list"),
        (&["replay", &hook.id], "--since"),
        (&["replay", &hook.id, "--message", "msg_1"], "agent-auth webhook deliveries"),
    ] {
        let refused = webhook(&app.database, arguments).await;
        assert!(!refused.status.success(), "{arguments:?}");
        assert!(refused.stderr.contains(expected), "{arguments:?}: {refused:?}");
    }
}
