//! Every 422 of the API, byte for byte, in one reviewed snapshot.
//! For each operation it sends each field alone with the values of `probes`, then the combinations of `combinations`.
//! SQLite is enough: what is wrong with a request does not depend on the database.

mod combinations;
mod probes;

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::caller::{with, without};
use crate::support::database::Database;

/// Nothing listens there, so a URL that is accepted is refused at once and nothing leaves this machine.
const NOBODY: &str = "http://127.0.0.1:1";
const NO_TOKEN: &str = "00000000-0000-4000-8000-000000000000";

/// An operation with a JSON body that it accepts.
struct Operation {
    method: Method,
    path: String,
    accepted: Value,
    fields: Vec<&'static str>,
}

const PROVIDER_FIELDS: [&str; 26] = [
    "provider_id",
    "name",
    "client_id",
    "client_secret",
    "grant_type",
    "device_authorization_url",
    "auth_url",
    "token_url",
    "userinfo_url",
    "revocation_url",
    "uses_pkce",
    "code_challenge_method",
    "provider_type",
    "token_endpoint_auth_method",
    "authorization_params",
    "allowed_redirect_uris",
    "issuer",
    "template",
    "template_params",
    "refresh_url",
    "scope_separator",
    "default_scopes",
    "always_scopes",
    "resource",
    "omit_resource",
    "token_params",
];

fn provider() -> Value {
    json!({
        "provider_id": "acme",
        "name": "Acme Inc.",
        "client_id": "client-1",
        "auth_url": format!("{NOBODY}/authorize"),
        "token_url": format!("{NOBODY}/token"),
    })
}

fn operations() -> Vec<Operation> {
    let operation = |method, path: &str, accepted, fields: &[&'static str]| Operation {
        method,
        path: path.to_owned(),
        accepted,
        fields: fields.to_vec(),
    };
    let provider_fields = [PROVIDER_FIELDS.as_slice(), &["token_format"]].concat();
    vec![
        operation(Method::POST, "/v2/auth/providers", provider(), &provider_fields),
        operation(Method::PATCH, "/v2/auth/providers/acme", json!({}), &provider_fields),
        operation(
            Method::POST,
            "/v2/auth/providers/mcp-discover",
            json!({"provider_id": "tools", "name": "Tools", "mcp_server_url": format!("{NOBODY}/mcp")}),
            &[
                "provider_id",
                "name",
                "mcp_server_url",
                "client_id",
                "client_secret",
                "token_endpoint_auth_method",
                "grant_type",
                "allow_missing_pkce",
                "omit_resource",
            ],
        ),
        operation(
            Method::POST,
            "/v2/auth/authenticate",
            json!({"provider": "acme", "scopes": ["read"], "user_id": "alice"}),
            &[
                "provider",
                "scopes",
                "user_id",
                "ls_user_id",
                "agent_id",
                "use_agent_builder_public_oauth",
                "force_new",
                "token_id",
                "is_default",
                "redirect_uri",
                "check_only",
                "min_ttl",
                "challenge",
                "grant",
            ],
        ),
        operation(
            Method::POST,
            "/v2/auth/callback/acme",
            json!({"code": "code-1", "state": "state-1"}),
            &["code", "state", "iss"],
        ),
        operation(Method::POST, "/v2/auth/tokens/exists/batch", json!({"provider_ids": ["acme"]}), &["provider_ids"]),
        operation(
            Method::PATCH,
            &format!("/v2/auth/tokens/{NO_TOKEN}/metadata"),
            json!({}),
            &["provider_account_label", "is_default"],
        ),
        operation(
            Method::POST,
            &format!("/v2/auth/tokens/{NO_TOKEN}/report-invalid"),
            json!({"token": "access-1"}),
            &["token"],
        ),
        operation(
            Method::POST,
            "/v2/auth/agents/agent-1/connections",
            json!({"oauth_token_id": NO_TOKEN}),
            &["oauth_token_id"],
        ),
    ]
}

/// The application, and what it has answered so far.
struct Recording {
    app: TestApp,
    text: String,
}

/// Requests that were answered alike stand together: their labels, and the one answer.
type Outcomes = Vec<(String, Vec<String>)>;

impl Recording {
    async fn send(&mut self, operation: &Operation, body: impl Into<Body>) -> String {
        let caller = self.app.with("content-type", "application/json");
        let answer = caller.send(operation.method.clone(), &operation.path, body.into()).await;
        if answer.status.is_success() && operation.path.starts_with("/v2/auth/providers") {
            self.reset(operation).await;
        }
        outcome(&answer)
    }

    /// Takes back what an accepted body has made or changed.
    async fn reset(&self, operation: &Operation) {
        for made in self.app.get("/v2/auth/providers").await.expect(200).as_array().expect("a list") {
            let id = made["provider_id"].as_str().expect("an id");
            self.app.delete(&format!("/v2/auth/providers/{id}")).await.expect(200);
        }
        if operation.path != "/v2/auth/providers" {
            self.app.register_as(provider()).await;
        }
    }

    fn section(&mut self, title: &str, outcomes: &Outcomes) {
        writeln!(self.text, "{title}").expect("text grows");
        for (outcome, labels) in outcomes {
            writeln!(self.text, "  [{}] {outcome}", labels.join(", ")).expect("text grows");
        }
        self.text.push('\n');
    }
}

/// Only what a request is refused for is recorded whole: other answers carry ids and times.
fn outcome(answer: &Answer) -> String {
    if answer.status.as_u16() == 422 {
        format!("422 {}", without_suggestions(&answer.text()))
    } else {
        answer.status.as_u16().to_string()
    }
}

/// Without the names that may have been meant: a new entry of the catalogue may be one of them.
fn without_suggestions(text: &str) -> String {
    let mut parts = text.split(" Near: ");
    let first = parts.next().unwrap_or_default();
    parts.fold(first.to_owned(), |text, part| text + part.split_once('.').map_or("", |(_, rest)| rest))
}

fn note(outcomes: &mut Outcomes, label: &str, outcome: String) {
    match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
        Some((_, labels)) => labels.push(label.to_owned()),
        None => outcomes.push((outcome, vec![label.to_owned()])),
    }
}

async fn fields_alone(recording: &mut Recording, operation: &Operation) {
    for field in &operation.fields {
        let mut outcomes = Outcomes::new();
        let absent = without(operation.accepted.clone(), field).to_string();
        note(&mut outcomes, "absent", recording.send(operation, absent).await);
        for (label, value) in probes::of(field) {
            let body = with(operation.accepted.clone(), json!({*field: value})).to_string();
            note(&mut outcomes, &label, recording.send(operation, body).await);
        }
        recording.section(&format!("{} {} {field}", operation.method, operation.path), &outcomes);
    }
}

async fn whole_bodies(recording: &mut Recording, operation: &Operation) {
    let mut outcomes = Outcomes::new();
    for (label, body) in probes::whole_bodies(operation) {
        note(&mut outcomes, &label, recording.send(operation, body).await);
    }
    recording.section(&format!("{} {} (whole body)", operation.method, operation.path), &outcomes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_of_a_request_is_as_reviewed() {
    let mut recording = Recording { app: TestApp::start(Database::sqlite()).await, text: String::new() };
    for operation in operations() {
        recording.reset(&operation).await;
        whole_bodies(&mut recording, &operation).await;
        fields_alone(&mut recording, &operation).await;
        combinations::record(&mut recording, &operation).await;
    }
    combinations::record_static_keys(&mut recording).await;
    combinations::record_outside_of_bodies(&mut recording).await;
    combinations::record_private_addresses(&mut recording).await;
    combinations::record_failed_discoveries(&mut recording).await;
    insta::assert_snapshot!("validation", recording.text);
}
