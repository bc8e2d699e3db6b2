//! Every route of the server in one table, with what it needs; and what each role gets there.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Method;
use serde_json::Value;

use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::both_databases;
use crate::support::caller::{Caller, acme};

both_databases! {
    every_role_gets_what_the_contract_says_at_every_route_and_nothing_else,
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    NoKey,
    Viewer,
    Agent,
    Admin,
    /// A viewer or an administrator: what all users have, which is no agent's business.
    Overseer,
}
use Needs::{Admin, Agent, NoKey, Overseer, Viewer};

impl Needs {
    /// Whether a key with the role `self` gets it.
    pub fn is_met_by(self, role: Self) -> bool {
        if self == Overseer { role != Agent } else { role >= self }
    }
}

/// The operations of the API, served as they are here and below `/api-host`.
pub const OPERATIONS: [(&str, &str, Needs); 38] = [
    ("POST", "/v2/auth/authenticate", Agent),
    ("GET", "/v2/auth/wait/{auth_id}", Agent),
    ("POST", "/v2/auth/authorizations/{auth_id}/confirm", Agent),
    ("GET", "/v2/auth/callback/{provider_id}", NoKey),
    ("POST", "/v2/auth/callback/{provider_id}", Agent),
    ("GET", "/v2/auth/setup/{provider_id}", NoKey),
    ("GET", "/v2/auth/providers", Viewer),
    ("POST", "/v2/auth/providers", Admin),
    ("POST", "/v2/auth/providers/mcp-discover", Admin),
    ("GET", "/v2/auth/providers/{provider_id}", Viewer),
    ("PATCH", "/v2/auth/providers/{provider_id}", Admin),
    ("DELETE", "/v2/auth/providers/{provider_id}", Admin),
    ("GET", "/v2/auth/tokens", Viewer),
    ("DELETE", "/v2/auth/tokens", Admin),
    ("GET", "/v2/auth/tokens/exists", Agent),
    ("POST", "/v2/auth/tokens/exists/batch", Agent),
    ("GET", "/v2/auth/tokens/{token_id}", Viewer),
    ("DELETE", "/v2/auth/tokens/{token_id}", Admin),
    ("PATCH", "/v2/auth/tokens/{token_id}/metadata", Admin),
    ("POST", "/v2/auth/tokens/{token_id}/report-invalid", Agent),
    ("GET", "/v2/auth/tokens/workspace/slack/exists", Agent),
    ("DELETE", "/v2/auth/tokens/workspace/slack", Admin),
    ("POST", "/v2/auth/connect-links", Agent),
    ("GET", "/v2/audit", Admin),
    ("GET", "/v2/admin/tokens", Overseer),
    ("GET", "/v2/admin/tokens/{token_id}", Overseer),
    ("DELETE", "/v2/admin/tokens/{token_id}", Admin),
    ("GET", "/v2/admin/webhooks", Overseer),
    ("POST", "/v2/admin/webhooks", Admin),
    ("DELETE", "/v2/admin/webhooks/{webhook_id}", Admin),
    ("POST", "/v2/admin/webhooks/{webhook_id}/test", Admin),
    ("POST", "/v2/admin/webhooks/{webhook_id}/enable", Admin),
    ("GET", "/v2/admin/webhooks/{webhook_id}/deliveries", Overseer),
    ("POST", "/v2/admin/webhooks/{webhook_id}/replay", Admin),
    ("GET", "/v2/events", Overseer),
    ("GET", "/v2/auth/agents/{agent_id}/connections", Viewer),
    ("POST", "/v2/auth/agents/{agent_id}/connections", Admin),
    ("DELETE", "/v2/auth/agents/{agent_id}/connections/{connection_id}", Admin),
];

/// What is outside the API. None of it takes a key; the console and the pages of people take their own cookies.
pub const OTHERS: [&str; 52] = [
    "/host-oauth-callback/{provider_id}",
    "/host-oauth-callback/{provider_id}/at/{callback_tag}",
    "/host-oauth-callback/{provider_id}/{auth_id}",
    "/connect/{reference}",
    "/connect/link/{link}",
    "/connections",
    "/connections/{secret}",
    "/connections/leave",
    "/connections/connect/{provider_id}",
    "/connections/held/{token_id}",
    "/connections/held/{token_id}/reconnect",
    "/connections/held/{token_id}/revoke",
    "/host-api-key/{provider_id}",
    "/oauth/client-metadata.json/{provider_id}",
    "/oauth/client-metadata.json/{provider_id}/{callback_tag}",
    "/brand/logo",
    "/brand/message.js",
    "/connections/requested/{auth_id}",
    "/",
    "/console",
    "/console/",
    "/console/{*rest}",
    "/console/sign-in",
    "/console/sign-in/openid",
    "/console/sign-in/openid/callback",
    "/console/sign-out",
    "/console/connections",
    "/console/connections/revoke",
    "/console/connections/{token_id}",
    "/console/connections/{token_id}/revoke",
    "/console/requests",
    "/console/events",
    "/console/events/stream",
    "/console/events.js",
    "/console/providers",
    "/console/providers/{provider_id}",
    "/console/providers/{provider_id}/edit",
    "/console/providers/{provider_id}/try",
    "/console/tried",
    "/console/providers/{provider_id}/delete",
    "/console/add-provider",
    "/console/add-mcp",
    "/console/keys",
    "/console/keys/{key_id}/revoke",
    "/console/audit",
    "/console/audit/export",
    "/console/audit/verify",
    "/console/settings",
    "/livez",
    "/readyz",
    "/ok",
    "/metrics",
];

pub const PREFIXES: [&str; 2] = ["", "/api-host"];

/// A route that is added has to be added to the tables above, and with that to the tests of roles and of limits.
#[test]
fn the_tables_have_every_route_of_the_router() {
    let description: Value = serde_json::to_value(agent_auth::http::description()).unwrap();
    let mut served = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete", "head", "options", "trace"] {
            if operations.get(method).is_some() {
                served.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    let table = OPERATIONS.map(|(method, path, _)| (method.to_owned(), path.to_owned()));
    assert_eq!(served, BTreeSet::from(table));

    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/mod.rs")).unwrap();
    let routes = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert_eq!(routes.collect::<BTreeSet<_>>(), BTreeSet::from(OTHERS));
    assert_eq!(source.matches(".routes(routes!(").count() + source.matches(".route(\"").count(), {
        // Any other way to add a route would be missed here.
        source.matches(".route").count()
    });
    let others = [".nest(", ".merge(", "fallback("].map(|way| source.matches(way).count());
    assert_eq!(
        others,
        [1, 4, 2],
        "the API below its prefix; the API, the documents, the pages of people and the console; what is not found"
    );
}

/// A page that is added has to be reachable where the server runs behind the delivered ingress. What only operators and
/// monitors open is not exposed.
#[test]
fn every_page_for_people_is_reached_through_the_ingress() {
    for manifest in ["agent-auth.yaml", "langsmith.yaml"] {
        let file = format!("{}/deploy/kubernetes/{manifest}", env!("CARGO_MANIFEST_DIR"));
        let ingress = std::fs::read_to_string(file).unwrap();
        let exposed: Vec<&str> = ingress.lines().filter_map(|line| line.trim().strip_prefix("- path: ")).collect();
        for page in OTHERS {
            let is_inside = |path: &&str| page == *path || page.starts_with(&format!("{path}/"));
            let for_operators =
                ["/", "/livez", "/readyz", "/ok", "/metrics"].contains(&page) || page.starts_with("/console");
            assert_eq!(exposed.iter().any(is_inside), !for_operators, "{page} in {manifest}");
        }
    }
}

/// Calls an operation with names that exist nowhere, except for the provider `acme`.
async fn call(caller: &Caller, method: &str, path: &str) -> Answer {
    let path = path
        .replace("{provider_id}", "acme")
        .replace("{agent_id}", "helper")
        .replace("{auth_id}", "0190f3c8-0000-4000-8000-000000000000")
        .replace("{token_id}", "0190f3c8-0000-7000-8000-000000000000")
        .replace("{webhook_id}", "0190f3c8-0000-7000-8000-000000000000")
        .replace("{connection_id}", "0190f3c8-0000-7000-8000-000000000000");
    let path = format!("{path}?timeout=0&provider_id=acme");
    let body = if ["GET", "DELETE"].contains(&method) { "" } else { "{}" };
    caller
        .with("content-type", "application/json")
        .send(method.parse::<Method>().unwrap(), &path, Body::from(body))
        .await
}

async fn every_role_gets_what_the_contract_says_at_every_route_and_nothing_else(app: TestApp) {
    let mut callers = Vec::new();
    for (role, may) in [("viewer", Viewer), ("agent", Agent), ("admin", Admin)] {
        let key = app.new_key(&["--role", role, "--kind", "service"]).await;
        callers.push((role, may, key.acting_for("alice")));
    }
    let nobody = [app.anonymous().clone(), app.with_key("aauth_not-a-key-of-this-server")];
    for prefix in PREFIXES {
        for (method, path, needs) in OPERATIONS {
            let path = format!("{prefix}{path}");
            app.register_as(acme()).await;
            for caller in &nobody {
                let answer = call(caller, method, &path).await;
                match needs {
                    NoKey => assert!(![401, 403].contains(&answer.status.as_u16()), "{method} {path}: {answer:?}"),
                    _ => drop(answer.expect_error(401, "unauthorized")),
                }
            }
            for (role, may, caller) in &callers {
                let answer = call(caller, method, &path).await;
                let status = answer.status.as_u16();
                if needs.is_met_by(*may) {
                    assert!(![401, 403].contains(&status), "{role}, {method} {path}: {answer:?}");
                    assert!(status < 500, "{role}, {method} {path}: {answer:?}");
                } else {
                    assert_eq!(status, 403, "{role}, {method} {path}: {answer:?}");
                    answer.expect_error(403, "forbidden");
                }
            }
            app.delete("/v2/auth/providers/acme").await;
        }
    }
}
