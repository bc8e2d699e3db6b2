//! What is wrong only together with something else: fields with each other, headers, queries, paths, settings, metadata.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use super::{NO_TOKEN, NOBODY, Operation, Outcomes, Recording, note, outcome, provider};
use crate::support::app::TestApp;
use crate::support::caller::{with, without};
use crate::support::database::Database;
use crate::support::mcp_server::{McpServer, RESOURCE_METADATA, SERVER_METADATA};

/// Records the combinations that this operation has rules for.
pub async fn record(recording: &mut Recording, operation: &Operation) {
    let mut outcomes = Outcomes::new();
    for (without_fields, more) in of(operation) {
        let mut body = operation.accepted.clone();
        for field in without_fields {
            body = without(body, field);
        }
        let label = format!("without {without_fields:?} with {more}");
        let body = with(body, more).to_string();
        note(&mut outcomes, &label, recording.send(operation, body).await);
    }
    if !outcomes.is_empty() {
        recording.section(&format!("{} {} (combinations)", operation.method, operation.path), &outcomes);
    }
}

fn of(operation: &Operation) -> Vec<(&'static [&'static str], Value)> {
    match (&operation.method, operation.path.as_str()) {
        (&Method::POST, "/v2/auth/providers") => [templates(), grant_types(), endpoints(), issuers()].concat(),
        (&Method::PATCH, "/v2/auth/providers/acme") => [templates(), endpoints(), changes()].concat(),
        (_, "/v2/auth/providers/mcp-discover") => clients(),
        (_, "/v2/auth/authenticate") => questions(),
        (_, "/v2/auth/callback/acme") => vec![(&[], json!({"code": "a", "state": "b", "iss": "c"}))],
        _ => Vec::new(),
    }
}

const BY_TEMPLATE: &[&str] = &["name", "auth_url", "token_url"];
const ENDPOINTS: &[&str] = &["auth_url", "token_url"];

fn templates() -> Vec<(&'static [&'static str], Value)> {
    vec![
        (BY_TEMPLATE, json!({"template": "github"})),
        (BY_TEMPLATE, json!({"template": "githb"})),
        (BY_TEMPLATE, json!({"template": "nothing of that kind"})),
        (BY_TEMPLATE, json!({"template": 7})),
        (BY_TEMPLATE, json!({"template": ""})),
        (BY_TEMPLATE, json!({"template": null, "template_params": {"tenant": "common"}})),
        (BY_TEMPLATE, json!({"template_params": {"tenant": "common"}})),
        (BY_TEMPLATE, json!({"template_params": {}})),
        (&[], json!({"template_params": {"tenant": "common"}})),
        (BY_TEMPLATE, json!({"template": "githb", "template_params": {"tenant": 7}})),
        (BY_TEMPLATE, json!({"template": "github", "template_params": {"tenant": "common"}})),
        (BY_TEMPLATE, json!({"template": "microsoft"})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": null})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {}})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": []})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {"tenant": ""}})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {"tenant": 7}})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {"tenant": "a/b"}})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {"tenant": "{tenant}"}})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {"tenant": "common", "more": "a"}})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {"more": "a", "other": "b"}})),
        (BY_TEMPLATE, json!({"template": "microsoft", "template_params": {"tenant": "YOUR_TENANT"}})),
        (BY_TEMPLATE, json!({"template": "github", "auth_url": "nowhere"})),
        (BY_TEMPLATE, json!({"template": "github", "auth_url": format!("{NOBODY}/token")})),
        (BY_TEMPLATE, json!({"template": "github", "token_url": format!("{NOBODY}/authorize")})),
        (BY_TEMPLATE, json!({"template": "github", "name": 7, "token_url": 7, "scope_separator": "; "})),
    ]
}

fn grant_types() -> Vec<(&'static [&'static str], Value)> {
    let key: &'static [&'static str] = &["client_id", "auth_url", "token_url"];
    let all: &'static [&'static str] = &["provider_id", "name", "client_id", "auth_url", "token_url"];
    vec![
        (key, json!({"grant_type": "api_key"})),
        (key, json!({"grant_type": "api_key", "client_secret": "key-1"})),
        (key, json!({"grant_type": "api_key", "client_secret": "key 1\n"})),
        (key, json!({"grant_type": "api_key", "client_id": 7, "auth_url": "nowhere", "token_url": ""})),
        (all, json!({"grant_type": "api_key"})),
        (all, json!({"grant_type": "client_credentials"})),
        (all, json!({"grant_type": "authorization_code"})),
        (all, json!({"grant_type": "password"})),
        (all, json!({"grant_type": 7})),
        (all, json!({"template": "github"})),
        (&[], json!({"grant_type": "client_credentials"})),
        (&[], json!({"grant_type": "client_credentials", "client_secret": null})),
        (&[], json!({"grant_type": "client_credentials", "client_secret": ""})),
        (&[], json!({"grant_type": "client_credentials", "client_secret": "secret-1"})),
        (&["auth_url"], json!({"grant_type": "client_credentials", "client_secret": "secret-1"})),
        (&["token_url"], json!({"grant_type": "client_credentials", "client_secret": "secret-1"})),
        (BY_TEMPLATE, json!({"template": "github", "grant_type": "client_credentials"})),
        (BY_TEMPLATE, json!({"template": "github", "grant_type": "api_key"})),
    ]
}

fn endpoints() -> Vec<(&'static [&'static str], Value)> {
    let pair = |auth: &str, token: &str| {
        (ENDPOINTS, json!({"auth_url": format!("{NOBODY}{auth}"), "token_url": format!("{NOBODY}{token}")}))
    };
    vec![
        pair("/token", "/authorize"),
        pair("/oauth/access_token", "/oauth/authorization/"),
        pair("/token?a=b", "/auth#c"),
        pair("/token", "/oauth"),
        pair("/token", "/token"),
        pair("/authorize", "/authorize"),
        pair("/TOKEN", "/Authorize"),
        pair("/{tenant}/authorize", "/{tenant}/token"),
        pair("/<tenant>/token", "/YOUR_TENANT/authorize"),
        (&["auth_url"], json!({"token_url": format!("{NOBODY}/authorize")})),
        (&["token_url"], json!({"auth_url": format!("{NOBODY}/token")})),
        (ENDPOINTS, json!({"auth_url": null, "token_url": null})),
        (ENDPOINTS, json!({"auth_url": "", "token_url": 7})),
    ]
}

fn issuers() -> Vec<(&'static [&'static str], Value)> {
    vec![
        (ENDPOINTS, json!({"issuer": NOBODY})),
        (ENDPOINTS, json!({"issuer": null})),
        (ENDPOINTS, json!({"issuer": ""})),
        (ENDPOINTS, json!({"issuer": 7, "name": 7})),
        (ENDPOINTS, json!({"issuer": "nowhere", "provider_id": "a b"})),
        (ENDPOINTS, json!({"issuer": format!("{NOBODY}?a=b")})),
        (ENDPOINTS, json!({"issuer": format!("{NOBODY}/#a")})),
        (ENDPOINTS, json!({"issuer": NOBODY, "name": 7})),
        (&[], json!({"issuer": []})),
    ]
}

fn changes() -> Vec<(&'static [&'static str], Value)> {
    vec![
        (&[], json!({"grant_type": "api_key"})),
        (&[], json!({"grant_type": "client_credentials", "client_secret": "a"})),
        (&[], json!({"grant_type": "authorization_code"})),
        (&[], json!({"grant_type": "password", "name": 7})),
        (&[], json!({"grant_type": "api_key", "name": "", "uses_pkce": "yes"})),
        (&[], json!({"token_endpoint_auth_method": "none", "client_secret": "a"})),
        (&[], json!({"token_endpoint_auth_method": "magic", "client_secret": ""})),
        (&[], json!({"provider_type": "myspace", "provider_id": "a b", "issuer": 7})),
    ]
}

fn clients() -> Vec<(&'static [&'static str], Value)> {
    let all: &'static [&'static str] = &["provider_id", "name", "mcp_server_url"];
    vec![
        (&[], json!({"client_id": "a"})),
        (&[], json!({"client_secret": "a"})),
        (&[], json!({"client_id": "a", "client_secret": "b"})),
        (&[], json!({"client_id": "a", "grant_type": "client_credentials"})),
        (&[], json!({"client_id": "a", "client_secret": null, "grant_type": "client_credentials"})),
        (&[], json!({"client_id": "a", "client_secret": "", "grant_type": "client_credentials"})),
        (&[], json!({"client_id": "a", "client_secret": "b", "grant_type": "client_credentials"})),
        (&[], json!({"client_id": "", "grant_type": "client_credentials"})),
        (&[], json!({"grant_type": "client_credentials"})),
        (&[], json!({"client_id": "a", "grant_type": "api_key"})),
        (&[], json!({"client_id": "a", "client_secret": "b", "token_endpoint_auth_method": "magic"})),
        (all, json!({"client_id": "a", "grant_type": "client_credentials"})),
        (all, json!({"grant_type": "api_key", "token_endpoint_auth_method": 7, "omit_resource": 7})),
    ]
}

fn questions() -> Vec<(&'static [&'static str], Value)> {
    vec![
        (&["user_id"], json!({})),
        (&["user_id"], json!({"ls_user_id": "alice"})),
        (&["user_id"], json!({"ls_user_id": ""})),
        (&[], json!({"user_id": null, "ls_user_id": 7})),
        (&[], json!({"grant": "device"})),
        (&[], json!({"grant": "device", "check_only": true})),
        (&[], json!({"redirect_uri": "https://app.example/callback"})),
        (&[], json!({"redirect_uri": "https://broker.example/host-oauth-callback/acme"})),
        (&[], json!({"redirect_uri": "http://app.example/callback"})),
        (&[], json!({"redirect_uri": "https://app.example/callback", "check_only": true})),
        (&[], json!({"token_id": NO_TOKEN})),
        (&[], json!({"provider": "nobody", "redirect_uri": "https://app.example/callback"})),
        (&[], json!({"challenge": "Bearer scope=\"a b\\u0000 c\\\"d\""})),
        (&["scopes"], json!({"challenge": "Bearer scope=\"a\""})),
        (&["scopes", "provider", "user_id"], json!({"min_ttl": -1, "token_id": "a", "grant": "", "agent_id": ""})),
    ]
}

async fn without_body(outcomes: &mut Outcomes, app: &TestApp, user: Option<&str>, request: (Method, &str)) {
    let caller = match user {
        Some(user) => app.acting_for(user),
        None => (**app).clone(),
    };
    let (method, path) = request;
    let shown = if path.len() > 120 { format!("{}... ({})", &path[..40], path.len()) } else { path.to_owned() };
    let user = user.map_or_else(String::new, |user| match user.len() {
        0..=40 => format!(" for {user:?}"),
        length => format!(" for {length} a"),
    });
    let answer = caller.send(method.clone(), path, Body::empty()).await;
    note(outcomes, &format!("{method} {shown}{user}"), outcome(&answer));
}

/// Queries, paths and headers; and a service key, which has no user of its own.
pub async fn record_outside_of_bodies(recording: &mut Recording) {
    let (app, mut outcomes) = (&recording.app, Outcomes::new());
    let timeouts =
        ["0", "", "a", "-1", "1.5", "301", "300a", "%00", "99999999999999999999", "%200%20", "+0", "0&timeout=a"];
    for timeout in timeouts {
        let path = format!("/v2/auth/wait/{NO_TOKEN}?timeout={timeout}");
        without_body(&mut outcomes, app, None, (Method::GET, &path)).await;
    }
    let many = |count| "a".repeat(count);
    for (method, path) in [
        (Method::GET, "/v2/auth/wait/nothing?timeout=-1".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists?provider_id".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists?provider_id=".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists?provider_id=a%00b".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists?Provider_id=acme".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists?provider_id=acme".to_owned()),
        (Method::DELETE, "/v2/auth/tokens".to_owned()),
        (Method::DELETE, "/v2/auth/tokens?provider_id=%00".to_owned()),
        (Method::GET, "/v2/auth/tokens?provider_id=%00".to_owned()),
        (Method::GET, "/v2/auth/tokens/nothing".to_owned()),
        (Method::GET, "/v2/auth/providers/a%20b".to_owned()),
        (Method::GET, format!("/v2/auth/agents/{}/connections", many(512))),
        (Method::GET, format!("/v2/auth/agents/{}/connections", many(513))),
        (Method::GET, "/v2/auth/agents/a%00b/connections".to_owned()),
        (Method::POST, "/v2/auth/agents/a%0Ab/connections".to_owned()),
        (Method::DELETE, format!("/v2/auth/agents/a%7Fb/connections/{NO_TOKEN}")),
        (Method::DELETE, format!("/v2/auth/agents/{}/connections/nothing", many(513))),
    ] {
        without_body(&mut outcomes, app, None, (method, &path)).await;
    }
    recording.section("queries and paths", &outcomes);

    let (app, mut outcomes) = (&recording.app, Outcomes::new());
    let (longest, too_long) = (many(512), many(513));
    for user in ["", " ", "alice", "a\tb", "ümlaut", &longest, &too_long] {
        without_body(&mut outcomes, app, Some(user), (Method::GET, "/v2/auth/tokens")).await;
        without_body(&mut outcomes, app, Some(user), (Method::GET, "/v2/auth/providers")).await;
    }
    recording.section("X-User-Id with a key that acts for any user", &outcomes);

    let (service, mut outcomes) = (recording.app.service_key().await, Outcomes::new());
    for (method, path) in [
        (Method::GET, "/v2/auth/tokens".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists?provider_id=acme".to_owned()),
        (Method::GET, "/v2/auth/tokens/exists".to_owned()),
        (Method::DELETE, "/v2/auth/tokens?provider_id=acme".to_owned()),
        (Method::DELETE, "/v2/auth/tokens?provider_id=nobody".to_owned()),
        (Method::DELETE, "/v2/auth/tokens".to_owned()),
        (Method::GET, format!("/v2/auth/tokens/{NO_TOKEN}")),
        (Method::GET, "/v2/auth/tokens/nothing".to_owned()),
        (Method::DELETE, format!("/v2/auth/tokens/{NO_TOKEN}")),
        (Method::DELETE, "/v2/auth/tokens/nothing".to_owned()),
        (Method::GET, "/v2/auth/agents/agent-1/connections".to_owned()),
    ] {
        let answer = service.send(method.clone(), &path, Body::empty()).await;
        note(&mut outcomes, &format!("{method} {path}"), outcome(&answer));
    }
    for (method, path, body) in [
        (Method::POST, "/v2/auth/authenticate", json!({"provider": "acme", "scopes": []})),
        (Method::POST, "/v2/auth/authenticate", json!({"provider": "acme", "scopes": [], "user_id": null})),
        (Method::POST, "/v2/auth/authenticate", json!({"provider": "acme", "scopes": [], "user_id": 7})),
        (Method::POST, "/v2/auth/authenticate", json!({"ls_user_id": ""})),
        (Method::POST, "/v2/auth/authenticate", json!({})),
        (Method::POST, "/v2/auth/tokens/exists/batch", json!({"provider_ids": ["acme"]})),
        (Method::POST, "/v2/auth/tokens/exists/batch", json!({"provider_ids": [7]})),
        (Method::PATCH, "/v2/auth/tokens/nothing/metadata", json!({"is_default": true})),
        (Method::PATCH, "/v2/auth/tokens/nothing/metadata", json!({"is_default": 7})),
        (Method::POST, "/v2/auth/agents/agent-1/connections", json!({"oauth_token_id": NO_TOKEN})),
    ] {
        let answer = service.send(method.clone(), path, body.to_string().into()).await;
        note(&mut outcomes, &format!("{method} {path} {body}"), outcome(&answer));
    }
    recording.section("a service key without X-User-Id", &outcomes);
}

/// What is refused where nobody has allowed private addresses, and what a catalogue's entry may not say there.
pub async fn record_private_addresses(recording: &mut Recording) {
    let app =
        TestApp::start_with(Database::sqlite(), |settings| settings.allow_private_upstreams = "false".into()).await;
    let mut outcomes = Outcomes::new();
    let provider =
        with(provider(), json!({"auth_url": "https://acme.example/a", "token_url": "https://acme.example/b"}));
    for url in [
        "http://acme.example/a",
        "https://127.0.0.1/a",
        "http://127.0.0.1/a",
        "https://10.0.0.1/a",
        "https://2130706433/a",
        "https://[::1]/a",
        "https://localhost/a",
        "http://localhost/a",
        "https://0x7f.1/a",
        "https://169.254.169.254/a",
    ] {
        for field in ["auth_url", "token_url", "userinfo_url", "refresh_url", "issuer", "resource"] {
            let body = with(provider.clone(), json!({field: url, "client_secret": ""}));
            let answer = app.post("/v2/auth/providers", &body).await;
            note(&mut outcomes, &format!("{field} {url}"), outcome(&answer));
        }
        let body = json!({"provider_id": "tools", "name": "Tools", "mcp_server_url": url});
        let answer = app.post("/v2/auth/providers/mcp-discover", &body).await;
        note(&mut outcomes, &format!("mcp_server_url {url}"), outcome(&answer));
    }
    recording.section("private addresses, where they are not allowed", &outcomes);
}

/// What an application brings as a person's static key and is none.
pub async fn record_static_keys(recording: &mut Recording) {
    let (app, mut outcomes) = (&recording.app, Outcomes::new());
    app.register_as(json!({"provider_id": "keys", "name": "Keys", "grant_type": "api_key"})).await;
    let pending = app.begin(&json!({"provider": "keys", "scopes": [], "user_id": "alice"})).await;
    for key in ["", " ", "a b", "a\nb", "ümlaut", &"a".repeat(4097), &"a".repeat(8193)] {
        let shown = if key.len() > 40 { format!("{} a", key.len()) } else { format!("{key:?}") };
        let answer = app.post("/v2/auth/callback/keys", &json!({"code": key, "state": pending.state()})).await;
        note(&mut outcomes, &format!("code {shown}"), outcome(&answer));
    }
    recording.section("POST /v2/auth/callback/keys (a static key)", &outcomes);
}

/// Metadata that is missing or cannot be believed. The server's port differs each time, and no answer names it.
pub async fn record_failed_discoveries(recording: &mut Recording) {
    let mut outcomes = Outcomes::new();
    let server = McpServer::silent().await;
    let app = &recording.app;
    let discover = "/v2/auth/providers/mcp-discover";
    let note_both = async |outcomes: &mut Outcomes, label: &str| {
        let answer = app.post(discover, &server.connection_with(json!({"provider_id": "tools"}))).await;
        note(outcomes, &format!("mcp_server_url: {label}"), outcome(&answer));
        let by_issuer = json!({"provider_id": "by-issuer", "name": "A", "client_id": "a", "issuer": server.at("")});
        let answer = app.post("/v2/auth/providers", &by_issuer).await;
        note(outcomes, &format!("issuer: {label}"), outcome(&answer));
        app.delete("/v2/auth/providers/by-issuer").await;
        app.delete("/v2/auth/providers/tools").await;
    };
    note_both(&mut outcomes, "nothing is there").await;
    server.show(SERVER_METADATA, json!({"issuer": "https://other.example"}));
    note_both(&mut outcomes, "no endpoints").await;
    server.show(SERVER_METADATA, with(server.server_metadata(), json!({"issuer": "https://other.example"})));
    note_both(&mut outcomes, "another issuer").await;
    for (label, more) in [
        ("an endpoint that is no URL", json!({"token_endpoint": "nowhere"})),
        ("an endpoint of another scheme", json!({"token_endpoint": "ftp://acme.example/token"})),
        (
            "endpoints in each other's place",
            json!({
                "authorization_endpoint": server.at("/token"), "token_endpoint": server.at("/authorize"),
            }),
        ),
        ("PKCE without S256", json!({"code_challenge_methods_supported": ["plain"]})),
        ("no PKCE", json!({"code_challenge_methods_supported": null})),
    ] {
        server.show(SERVER_METADATA, with(server.server_metadata(), more));
        note_both(&mut outcomes, label).await;
    }
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"resource": "https://other.example"})));
    note_both(&mut outcomes, "another resource").await;
    server.show(RESOURCE_METADATA, with(server.resource_metadata(), json!({"authorization_servers": []})));
    note_both(&mut outcomes, "no authorization server").await;
    recording.section("discovery", &outcomes);
}
