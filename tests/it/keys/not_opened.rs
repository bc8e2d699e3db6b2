//! Stored secrets that cannot be opened, because their key is missing or somebody changed them: the record is named,
//! everything else works, and nothing is given up.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::authorization_server::AuthorizationServer;
use crate::support::binary::{Server, run};
use crate::support::both_databases;
use crate::support::caller::{asking, with};
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    a_refresh_token_that_does_not_open_is_answered_at_once_and_kept,
    a_token_that_is_still_valid_is_handed_out_though_its_refresh_token_does_not_open,
    no_job_tries_again_and_again_to_refresh_what_does_not_open,
    a_provider_whose_secret_does_not_open_is_listed_and_repaired_by_a_new_secret,
    a_new_secret_in_place_of_one_that_does_not_open_exposes_no_grants,
    the_log_names_the_record_that_does_not_open,
}

const HOUR: u64 = 3600;
const SOON: Duration = Duration::from_secs(30);
/// Leases that were not released, and refreshes that a job would resume.
const HELD: &str = "SELECT count(*) FROM tokens WHERE refresh_owner IS NOT NULL OR refresh_until IS NOT NULL";
const ACTIVE: &str = "SELECT count(*) FROM tokens WHERE state = 'active' AND refresh_token IS NOT NULL";

fn question(user: &str) -> Value {
    asking(user, &["read"])
}

/// Alice's and Bob's tokens at `acme`.
async fn connected(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    app.register(&provider).await;
    for user in ["alice", "bob"] {
        app.connect(&provider, &question(user)).await;
    }
    app.database.tamper("CREATE TABLE backup AS SELECT id, access_token, refresh_token FROM tokens").await;
    provider
}

/// Puts Bob's value into Alice's row.
async fn swap(app: &TestApp, column: &str) {
    let swap = format!(
        "UPDATE tokens SET {column} = (SELECT t.{column} FROM tokens t WHERE t.user_id = 'bob') WHERE user_id = 'alice'"
    );
    assert_eq!(app.database.tamper(&swap).await, 1);
}

async fn restore(app: &TestApp, column: &str) {
    let of_row = format!("SELECT b.{column} FROM backup b WHERE b.id = tokens.id");
    let restore = format!("UPDATE tokens SET {column} = ({of_row}) WHERE user_id = 'alice'");
    app.database.tamper(&restore).await;
}

/// Bytes that nobody sealed.
fn junk(database: &Database) -> &'static str {
    if database.postgres.is_some() { "'\\x00ff'" } else { "X'00ff'" }
}

async fn a_refresh_token_that_does_not_open_is_answered_at_once_and_kept(app: TestApp) {
    let provider = connected(&app).await;
    let id = app.service_key().await.tokens_of("alice").await[0]["id"].as_str().unwrap().to_owned();
    swap(&app, "refresh_token").await;
    app.advance(HOUR);
    let question_of_alice = question("alice");
    for answer in join_all((0..20).map(|_| app.try_authenticate(&question_of_alice))).await {
        answer.expect_error(500, "internal_error");
        assert!(answer.text().contains("cannot be decrypted"), "{}", answer.text());
        // Nobody waits for a lease that nobody uses.
        assert_eq!(app.database.number(HELD).await, 0);
    }
    assert_eq!(provider.refreshes().len(), 0);
    assert_eq!(app.database.number(ACTIVE).await, 2, "the grant is kept");
    let alice = app.service_key().await.acting_for("alice");
    let state = alice.get(&format!("/v2/auth/tokens/{id}")).await.expect(200);
    assert_eq!((&state["state"], &state["last_error"]), (&json!("failing"), &json!("secret_not_opened")), "{state}");
    app.token(&question("bob")).await;
    // The key is back.
    restore(&app, "refresh_token").await;
    app.token(&question("alice")).await;
    assert_eq!(provider.refreshes().len(), 2, "one for each of them");
}

async fn a_token_that_is_still_valid_is_handed_out_though_its_refresh_token_does_not_open(app: TestApp) {
    let provider = connected(&app).await;
    let token = app.token(&question("alice")).await;
    swap(&app, "refresh_token").await;
    // It would be refreshed first.
    app.advance(HOUR / 2);
    let long = with(question("alice"), json!({"min_ttl": 3000}));
    assert_eq!(app.token(&long).await, token);
    assert_eq!(provider.refreshes().len(), 0);
}

async fn no_job_tries_again_and_again_to_refresh_what_does_not_open(app: TestApp) {
    let provider = connected(&app).await;
    app.advance(HOUR);
    for column in ["refresh_token", "access_token"] {
        swap(&app, column).await;
        // As a server leaves it that was killed in the middle of a refresh.
        app.database.tamper("UPDATE tokens SET refresh_owner = id, refresh_until = 0 WHERE user_id = 'alice'").await;
        eventually(SOON, async || app.database.number(HELD).await == 0).await;
        restore(&app, column).await;
    }
    assert_eq!(provider.refreshes().len(), 0);
    let resting = "SELECT count(*) FROM tokens WHERE last_error = 'secret_not_opened' AND last_error_at IS NOT NULL";
    assert_eq!(app.database.number(resting).await, 1);
    assert_eq!(app.database.number(ACTIVE).await, 2, "the grant is kept");
    app.token(&question("alice")).await;
}

/// Alice has a token at `beta`, whose client secret cannot be opened; `acme` is as it should be.
async fn with_broken_secret(app: &TestApp) -> AuthorizationServer {
    let provider = AuthorizationServer::start().await;
    for id in ["acme", "beta"] {
        app.register_as(provider.definition(id)).await;
    }
    app.connect(&provider, &at_beta("alice")).await;
    let spoil = format!("UPDATE providers SET client_secret = {} WHERE provider_id = 'beta'", junk(&app.database));
    assert_eq!(app.database.tamper(&spoil).await, 1);
    provider
}

fn at_beta(user: &str) -> Value {
    with(question(user), json!({"provider": "beta"}))
}

async fn a_provider_whose_secret_does_not_open_is_listed_and_repaired_by_a_new_secret(app: TestApp) {
    let provider = with_broken_secret(&app).await;
    let listed = app.get("/v2/auth/providers").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    app.get("/v2/auth/providers/beta").await.expect(200);
    let command = run(&["provider", "list"], &app.database.environment()).await;
    assert!(command.status.success() && command.stdout.contains("beta"), "{command:?}");
    app.begin(&question("carol")).await;
    app.token(&at_beta("alice")).await;

    app.advance(HOUR);
    let answers = [
        app.try_authenticate(&at_beta("alice")).await,
        app.try_authenticate(&at_beta("carol")).await,
        app.patch("/v2/auth/providers/beta", &json!({"name": "Other"})).await,
    ];
    for answer in answers {
        answer.expect_error(500, "internal_error");
        assert!(answer.text().contains("client secret of this provider cannot be decrypted"), "{}", answer.text());
    }
    assert_eq!((app.database.number(HELD).await, app.database.number(ACTIVE).await), (0, 1));
    assert_eq!(provider.refreshes().len(), 0);

    let patched = app.patch("/v2/auth/providers/beta", &json!({"client_secret": "the-new-one", "name": "Other"})).await;
    assert_eq!(patched.expect(200)["name"], "Other");
    app.token(&at_beta("alice")).await;
    assert_eq!(provider.refreshes().last().expect("a refresh").value("client_secret"), Some("the-new-one"));
    app.connect(&provider, &at_beta("carol")).await;
}

async fn a_new_secret_in_place_of_one_that_does_not_open_exposes_no_grants(app: TestApp) {
    with_broken_secret(&app).await;
    let elsewhere = AuthorizationServer::start().await;
    let moved = json!({"client_secret": "the-new-one", "token_url": elsewhere.at("/token")});
    let refused = app.patch("/v2/auth/providers/beta", &moved).await;
    assert_eq!(refused.expect_error(409, "confirmation_required")["grants"], 1);
    app.patch("/v2/auth/providers/beta", &with(moved, json!({"expose_grants": 1}))).await.expect(200);
}

async fn the_log_names_the_record_that_does_not_open(database: Database) {
    let server = Server::start(&database.environment()).await;
    let key = &database.bootstrap_key;
    let weather =
        json!({"provider_id": "weather", "name": "Weather", "grant_type": "api_key", "client_secret": "the-key"});
    let row = server.post(key, "/v2/auth/providers", &weather).await["id"].as_str().expect("an id").to_owned();
    database.tamper(&format!("UPDATE providers SET client_secret = {}", junk(&database))).await;
    let question = json!({"provider": "weather", "scopes": [], "user_id": "alice"});
    let (status, _) = server.try_post(key, "/v2/auth/authenticate", &question).await.expect("an answer");
    assert_eq!(status, 500);
    let (_, said) = server.stop().await;
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.into_iter().find(|line| line["event"] == "sealed_value.not_opened").expect("it is logged");
    let named = [&line["table"], &line["column"], &line["row"]];
    assert_eq!(named, [&json!("providers"), &json!("client_secret"), &json!(row)], "{line}");
}
