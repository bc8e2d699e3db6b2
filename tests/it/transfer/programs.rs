//! What is imported from other programs: LangSmith's providers, and the identities of Auth0. (Nango: `tests/sdk/test_nango.py`.)

use std::time::Duration;

use serde_json::{Value, json};

use super::{file, import, lines};
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::{Finished, Server, Started, run};
use crate::support::both_databases;
use crate::support::caller::asking;
use crate::support::database::Database;
use crate::support::eventually::eventually;

both_databases! {
    providers_of_langsmith_are_brought_over_with_the_secrets_that_the_operator_has,
    identities_of_auth0_are_grants_of_their_users,
    an_import_from_auth0_that_is_killed_is_repeated,
}

const LISTED: &str = "/v2/auth/providers";

async fn langsmith(database: &Database, server: &AuthorizationServer, more: &[&str]) -> Finished {
    let mut environment = database.environment();
    environment.push(("LANGSMITH_API_KEY".to_owned(), "lsv2_sk_a_key_of_langsmith".to_owned()));
    environment.push(("LANGSMITH_API_URL".to_owned(), server.at("")));
    run(&[&["import", "langsmith-env"], more].concat(), &environment).await
}

/// A provider as LangSmith lists it.
fn listed(provider_id: &str, more: &Value) -> Value {
    let mut provider = json!({
        "id": "0198a3c0-0000-7000-8000-000000000000", "organization_id": "o", "provider_id": provider_id, "name": "Acme",
        "client_id": "acme-client", "auth_url": "https://acme.example/authorize", "token_url": "https://acme.example/token",
        "uses_pkce": true, "code_challenge_method": "S256", "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "provider_type": null, "mcp_server_url": null,
        "token_endpoint_auth_method": "client_secret_post", "is_dynamic_client": false,
    });
    provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    provider
}

async fn providers_of_langsmith_are_brought_over_with_the_secrets_that_the_operator_has(database: Database) {
    let server = AuthorizationServer::silent().await;
    let list = json!([
        listed("acme", &json!({})),
        listed("public", &json!({"token_endpoint_auth_method": "none"})),
        listed("secret-unknown", &json!({})),
        listed("tools", &json!({"is_dynamic_client": true, "mcp_server_url": "https://tools.example/mcp"})),
        "not a provider",
        listed("odd\nCreated provider forged.\u{1b}[31m", &json!({})),
    ]);
    server.show(LISTED, Reply::json(list));
    let secrets = file(&database, "secrets.json", r#"{"acme": "the-secret-of-acme"}"#);
    let done = langsmith(&database, &server, &["--client-secrets-file", &secrets]).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    for said in [
        "Created provider acme.",
        "Created provider public.",
        "Not taken: provider secret-unknown: LangSmith shows no client secrets",
        "agent-auth provider add tools --mcp https://tools.example/mcp",
        "Not taken: provider 5 of the list: it is not an object",
        "LangSmith gives out no refresh tokens",
    ] {
        assert!(done.stdout.contains(said), "{said}: {done:?}");
    }
    assert!(done.stdout.lines().all(|line| !line.starts_with("Created provider forged")), "{done:?}");
    assert!(!done.stdout.contains('\u{1b}'), "{done:?}");
    assert_eq!(server.requests(LISTED)[0].header("x-api-key"), "lsv2_sk_a_key_of_langsmith");
    assert!(!format!("{done:?}").contains("the-secret-of-acme"), "{done:?}");

    server.show(LISTED, Reply::json(json!({"detail": "no"})).status(401));
    let refused = langsmith(&database, &server, &[]).await;
    assert!(refused.stderr.contains("does not accept LANGSMITH_API_KEY (status 401)"), "{refused:?}");
    let unset = import(&database, &["langsmith-env"]).await;
    assert!(unset.expect_refusal().contains("set LANGSMITH_API_KEY"), "{unset:?}");
}

async fn add_provider(database: &Database, provider: &AuthorizationServer) {
    let mut definition = provider.definition("acme");
    definition["type"] = "provider".into();
    let definition = file(database, "provider.jsonl", &format!("{definition}\n"));
    assert!(import(database, &["jsonl", &definition]).await.status.success());
}

async fn identities_of_auth0_are_grants_of_their_users(database: Database) {
    let provider = AuthorizationServer::start().await;
    add_provider(&database, &provider).await;
    let users = json!([{
        "user_id": "acme|1", "email": "alice@acme.example",
        "identities": [
            {"provider": "oauth2", "connection": "acme-login", "user_id": "1", "access_token": "a", "refresh_token": "r-1"},
            {"provider": "oauth2", "connection": "other", "user_id": "2"},
        ],
    }]);
    let users = file(&database, "users.json", &users.to_string());
    let arguments = ["auth0", &users, "--provider", "acme-login=acme", "--scopes", "acme-login=read,write"];
    let done = import(&database, &arguments).await;
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert!(done.stdout.contains("Took 1 grants with a refresh token."), "{done:?}");
    assert!(done.stdout.contains("Not taken: user 1, identity 2: Auth0 has written no tokens"), "{done:?}");
    let server = Server::start(&database.environment()).await;
    let answer =
        server.post(&database.bootstrap_key, "/v2/auth/authenticate", &asking("acme|1", &["read", "write"])).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    assert_eq!(provider.refreshes().last().unwrap().value("refresh_token"), Some("r-1"));
}

async fn an_import_from_auth0_that_is_killed_is_repeated(database: Database) {
    const USERS: i64 = 4_000;
    let provider = AuthorizationServer::silent().await;
    add_provider(&database, &provider).await;
    let user = |number: i64| {
        let identity = json!({
            "provider": "oauth2", "connection": "acme", "user_id": number, "refresh_token": format!("refresh-{number}"),
        });
        json!({"user_id": format!("acme|{number}"), "identities": [identity]})
    };
    let users = file(&database, "users.jsonl", &lines(&(0..USERS).map(user).collect::<Vec<_>>()));
    let tokens = async || database.number("SELECT count(*) FROM tokens").await;
    for killed_at in [400, 1_200] {
        let mut running = Started::begin(&["import", "auth0", &users], &database.environment());
        eventually(Duration::from_mins(2), async || {
            assert!(!running.has_ended(), "it ended too soon");
            tokens().await >= killed_at
        })
        .await;
        running.kill();
    }
    let before = tokens().await;
    let done = import(&database, &["auth0", &users]).await;
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.contains(&format!("{before} grants were brought in before.")), "{done:?}");
    assert_eq!(tokens().await, USERS, "none is lost");
    let users = database.number("SELECT count(DISTINCT user_id) FROM tokens").await;
    assert_eq!(users, USERS, "none is doubled");
}
