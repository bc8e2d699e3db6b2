//! The labels of metrics: their number is bounded, no two series have the same, and none names a tenant or a user.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::metrics::{AUTHENTICATE, Stage};
use crate::support::authorization_server::Reply;
use crate::support::both_databases;
use crate::support::caller::with;
use crate::support::database::Database;

both_databases! {
    a_provider_called_other_and_those_without_a_name_of_their_own_share_one_series,
    no_label_names_a_tenant_or_a_user,
}

async fn a_provider_called_other_and_those_without_a_name_of_their_own_share_one_series(database: Database) {
    let stage = Stage::new(database).await;
    let gets_a_token = async |provider: &str| {
        let definition = with(stage.provider.definition(provider), json!({"grant_type": "client_credentials"}));
        stage.post("/v2/auth/providers", &definition).await;
        stage.provider.answer_token(Reply::json(json!({"access_token": format!("access-{provider}")})));
        let question = json!({"provider": provider, "scopes": ["read"], "user_id": "alice"});
        assert_eq!(stage.post(AUTHENTICATE, &question).await["status"], "completed", "{provider}");
    };
    let counted = async |provider: &str| {
        let labels = [("provider", provider), ("endpoint", "token"), ("outcome", "ok")];
        // Reading fails if a series comes twice.
        stage.scrape().await.value("agent_auth_upstream_requests_total", &labels)
    };
    gets_a_token("other").await;
    gets_a_token("none").await;
    assert_eq!((counted("other").await, counted("none").await), (Some(2.0), None));
    // With `acme`, fifty have a name of their own.
    for number in 1..=49 {
        stage.post("/v2/auth/providers", &stage.provider.definition(&format!("named-{number}"))).await;
    }
    gets_a_token("one-too-many").await;
    assert_eq!((counted("other").await, counted("one-too-many").await), (Some(3.0), None));
    assert_eq!(counted("named-49").await, Some(0.0));
}

async fn no_label_names_a_tenant_or_a_user(database: Database) {
    let stage = Stage::new(database).await;
    stage.connect("alice-in-a-label", 3600).await;
    let (_, text) = stage.server.get("/metrics").await.unwrap();
    let ids = stage.server.get_with_key(&stage.database.bootstrap_key, "/v2/audit").await.unwrap().1;
    let events: Value = serde_json::from_str(&ids).unwrap();
    let tenant = ["organization_id", "workspace_id"].map(|id| events["data"][0][id].as_str().unwrap_or("alice"));
    for name in ["alice"].into_iter().chain(tenant) {
        assert!(!text.contains(name), "{name}");
    }
    let scrape = stage.scrape().await;
    let labels: BTreeSet<&String> = scrape.samples.iter().flat_map(|sample| sample.labels.keys()).collect();
    let known = [
        "cache", "cause", "code", "database", "endpoint", "event", "kind", "le", "method", "outcome", "provider",
        "result", "route", "state", "status", "trigger", "version",
    ];
    assert_eq!(labels, known.map(str::to_owned).iter().collect());
}
