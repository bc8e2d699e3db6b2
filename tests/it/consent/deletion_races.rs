//! What is deleted while it is used: a caller who comes too late gets 404, and nothing else.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::both_databases;
use crate::support::caller::{Caller, asking, with};

both_databases! {
    a_provider_deleted_while_it_is_used_is_not_found,
    a_workspace_key_deleted_while_it_is_used_is_not_found,
    a_client_deleted_while_it_gets_tokens_is_not_found,
    a_token_deleted_while_it_is_used_is_not_found,
}

const ROUNDS: usize = 25;

/// All at once; each answer with what was asked.
async fn all(questions: Vec<(&'static str, String, Value)>, caller: &Caller) -> Vec<(String, Answer)> {
    let asked = questions.into_iter().map(|(method, path, body)| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let answer = match method {
                "GET" => caller.get(&path).await,
                "DELETE" => caller.delete(&path).await,
                "PATCH" => caller.patch(&path, &body).await,
                _ => caller.post(&path, &body).await,
            };
            (format!("{method} {path}"), answer)
        })
    });
    join_all(asked).await.into_iter().map(|asked| asked.expect("no panic")).collect()
}

#[track_caller]
fn expect(answers: &[(String, Answer)], allowed: &[u16]) {
    for (question, answer) in answers {
        assert!(allowed.contains(&answer.status.as_u16()), "{question}: {answer:?}");
    }
}

fn authenticate(body: Value) -> (&'static str, String, Value) {
    ("POST", "/v2/auth/authenticate".to_owned(), body)
}

fn delete_provider() -> (&'static str, String, Value) {
    ("DELETE", "/v2/auth/providers/acme".to_owned(), Value::Null)
}

async fn a_provider_deleted_while_it_is_used_is_not_found(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let codes = json!({"device_code": "d", "user_code": "WDJB", "verification_uri": provider.at("/activate"), "expires_in": 600});
    provider.show("/device", Reply::json(codes));
    let definition = with(provider.definition("acme"), json!({"device_authorization_url": provider.at("/device")}));
    for round in 0..ROUNDS {
        app.register_as(definition.clone()).await;
        let begun = app.begin(&asking("carol", &["read"])).await;
        let mut questions: Vec<_> =
            (0..8).map(|n| authenticate(asking(&format!("user-{round}-{n}"), &["read"]))).collect();
        questions.push(authenticate(with(asking("bob", &["read"]), json!({"grant": "device"}))));
        questions.insert(round % 9, delete_provider());
        questions.push(("GET", format!("/v2/auth/wait/{}?timeout=0", begun.auth_id), Value::Null));
        questions.push(("GET", "/v2/auth/providers/acme".into(), Value::Null));
        questions.push(("GET", "/v2/auth/tokens/exists?provider_id=acme".into(), Value::Null));
        questions.push(("DELETE", "/v2/auth/tokens?provider_id=acme".into(), Value::Null));
        expect(&all(questions, &app).await, &[200, 204, 404]);
    }
}

async fn a_workspace_key_deleted_while_it_is_used_is_not_found(app: TestApp) {
    let definition =
        json!({"provider_id": "acme", "name": "Weather", "grant_type": "api_key", "client_secret": "a-key"});
    for round in 0..ROUNDS {
        app.register_as(definition.clone()).await;
        let mut questions: Vec<_> = (0..8).map(|n| authenticate(asking(&format!("user-{round}-{n}"), &[]))).collect();
        questions.insert(round % 9, delete_provider());
        expect(&all(questions, &app).await, &[200, 404]);
    }
    assert_eq!(app.tokens().await, Vec::<Value>::new());
}

async fn a_client_deleted_while_it_gets_tokens_is_not_found(app: TestApp) {
    let provider = AuthorizationServer::start().await;
    let definition = json!({
        "provider_id": "acme", "name": "Acme Inc.", "grant_type": "client_credentials", "client_id": "acme-client",
        "client_secret": "acme-secret", "token_url": provider.at("/token"),
    });
    provider.show("/token", Reply::json(json!({"access_token": "t", "token_type": "Bearer", "expires_in": 3600})));
    for round in 0..ROUNDS {
        app.register_as(definition.clone()).await;
        let mut questions: Vec<_> = (0..6).map(|n| authenticate(asking(&format!("user-{round}-{n}"), &[]))).collect();
        questions.push(("PATCH", "/v2/auth/providers/acme".into(), json!({"name": "Other"})));
        questions.insert(round % 7, delete_provider());
        // 409: the change met the deletion, and the next try finds nothing.
        expect(&all(questions, &app).await, &[200, 404, 409]);
    }
    assert_eq!(app.tokens().await, Vec::<Value>::new());
}

async fn a_token_deleted_while_it_is_used_is_not_found(app: TestApp) {
    let definition =
        json!({"provider_id": "acme", "name": "Weather", "grant_type": "api_key", "client_secret": "a-key"});
    app.register_as(definition).await;
    for round in 0..ROUNDS {
        app.token(&asking("admin", &[])).await;
        let id = app.tokens().await[0]["id"].as_str().expect("an id").to_owned();
        let mut questions: Vec<_> = (0..6)
            .map(|n| ("POST", format!("/v2/auth/agents/helper-{n}/connections"), json!({"oauth_token_id": id})))
            .collect();
        questions.insert(round % 7, ("DELETE", format!("/v2/auth/tokens/{id}"), Value::Null));
        questions.push(("PATCH", format!("/v2/auth/tokens/{id}/metadata"), json!({"is_default": true})));
        questions.push(("GET", format!("/v2/auth/tokens/{id}"), Value::Null));
        questions.push(("POST", format!("/v2/auth/tokens/{id}/report-invalid"), json!({})));
        expect(&all(questions, &app).await, &[200, 201, 204, 404]);
        // The report may have ended the token without deleting it, and marked the provider.
        app.delete("/v2/auth/tokens?provider_id=acme").await;
        app.patch("/v2/auth/providers/acme", &json!({"client_secret": "a-key"})).await.expect(200);
    }
}
