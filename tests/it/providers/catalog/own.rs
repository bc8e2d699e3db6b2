//! Entries of the operator's own: each field works in them as it does in a built-in one.

use serde_json::{Value, json};

use super::flows::object;
use crate::support::answer::Answer;
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply};
use crate::support::binary::run;
use crate::support::both_databases;
use crate::support::caller::with;
use crate::support::database::Database;

both_databases! {
    a_folder_adds_and_overrides_entries,
    a_fault_in_a_folder_names_the_file_and_the_field,
    an_entry_decides_what_an_authorization_request_contains,
    an_entry_decides_how_a_token_response_is_read,
    an_entry_decides_which_scopes_include_others,
    an_entry_decides_what_an_error_means,
    an_entry_decides_where_the_account_is_asked_for,
    an_entry_decides_how_a_grant_is_revoked,
    an_entry_decides_that_a_revocation_ends_the_whole_account,
    an_entry_decides_that_a_revocation_happens_only_where_the_record_names_it,
    an_entry_is_used_for_records_at_its_token_endpoint,
    an_entrys_path_is_revoked_at_in_its_style_everywhere,
    another_token_endpoint_leaves_the_built_in_addresses_behind,
}

/// What an entry cannot do without, with every endpoint at `server`.
pub fn entry(server: &AuthorizationServer, more: &str) -> String {
    format!(
        "display_name = 'Acme'\nauth_url = '{}'\ntoken_url = '{}'\nconsole = 'https://acme.example'\n\
         steps = ['Enter {{redirect_uri}}']\n{}",
        server.at("/authorize"),
        server.at("/token"),
        more.replace("SERVER", &server.at("")),
    )
}

pub async fn app_with(database: Database, entries: &[(&str, String)]) -> TestApp {
    let folder = database.folder.path().join("providers");
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in entries {
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    TestApp::start_with(database, |settings| settings.catalog_file = Some(folder)).await
}

/// The application with an entry `acme` and a provider that is made from it.
pub async fn acme(database: Database, more: &str) -> (TestApp, AuthorizationServer) {
    let server = AuthorizationServer::silent().await;
    let app = app_with(database, &[("acme", entry(&server, more))]).await;
    app.register_as(definition()).await;
    (app, server)
}

pub fn definition() -> Value {
    json!({"provider_id": "acme", "template": "acme", "client_id": "the-client", "client_secret": "the-secret"})
}

pub fn question() -> Value {
    json!({"provider": "acme", "scopes": ["a", "b"], "user_id": "alice"})
}

/// Alice, or somebody else, consents, and the token endpoint answers the code with `granted`.
pub async fn connect(app: &TestApp, server: &AuthorizationServer, question: &Value, granted: &str) -> Value {
    let pending = app.begin(question).await;
    server.answer("/token", Reply::json(object(granted)));
    app.come_back(&server.send_back(&pending.url, &[("code", "the-code")])).await;
    let answer = app.wait(&pending.auth_id).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    answer
}

async fn label(app: &TestApp) -> Value {
    app.tokens().await[0]["provider_account_label"].clone()
}

/// Deletes the tokens of acme: what the server is asked, and whether the grant is revoked there.
pub async fn delete(app: &TestApp, server: &AuthorizationServer) -> (Vec<String>, bool) {
    server.take_all_requests();
    let answer = app.delete("/v2/auth/tokens?provider_id=acme&user_id=alice").await.expect(200);
    let asked = server.take_all_requests();
    let lines = asked.iter().map(|request| {
        format!("{} {} {}", request.method, request.path, request.header("authorization")).trim_end().to_owned()
    });
    (lines.collect(), answer["upstream_revoked"].as_bool().unwrap())
}

async fn a_folder_adds_and_overrides_entries(database: Database) {
    let server = AuthorizationServer::silent().await;
    let github = "display_name = 'GitHub of ours'\n".to_owned();
    let app = app_with(database, &[("acme", entry(&server, "")), ("github", github)]).await;
    assert_eq!(app.register_as(definition()).await["token_url"], server.at("/token"));
    let github = app.register_as(with(definition(), json!({"provider_id": "github", "template": "github"}))).await;
    assert_eq!(github["name"], "GitHub of ours");
    assert_eq!(github["token_url"], "https://github.com/login/oauth/access_token", "the rest is as it was");
}

async fn a_fault_in_a_folder_names_the_file_and_the_field(database: Database) {
    let folder = database.folder.path().join("providers");
    std::fs::create_dir(&folder).unwrap();
    let mut environment = database.environment();
    environment.push(("AGENT_AUTH_CATALOG_FILE".into(), folder.display().to_string()));
    for (text, named) in [
        ("[userinfo\n", "line 1"),
        ("pkce = 'yes'\n", "in `pkce`"),
        ("[userinfo]\nlink = 'x'\n", "unknown field `link`"),
        ("revocation = 'by_letter'\n", "unknown variant `by_letter`"),
        ("userinfo = { url = 'nowhere' }\n", "userinfo.url is not a URL"),
    ] {
        std::fs::write(folder.join("github.toml"), text).unwrap();
        let refused = run(&["provider", "catalog"], &environment).await;
        let line = refused.expect_refusal();
        assert!(line.contains("providers/github.toml: ") && line.contains(named), "{line}");
    }
}

async fn an_entry_decides_what_an_authorization_request_contains(database: Database) {
    let more = "scope_separator = ';'\nalways_scopes = ['stay']\nauthorization_params = { as = '', kind = 'x' }\n\
                scope_parameter = 'as'\nenforced = ['always_scopes', 'authorization_params', 'scope_separator']\n\
                pkce = true\n";
    let (app, _server) = acme(database, more).await;
    let pending = app.begin(&question()).await;
    assert_eq!(pending.parameter("as").as_deref(), Some("a;b;stay"));
    assert_eq!((pending.parameter("scope"), pending.parameter("kind").as_deref()), (None, Some("x")));
    assert!(pending.parameter("code_challenge").is_some());
    // Taken from the record, it is still sent: that is what enforced means.
    app.patch("/v2/auth/providers/acme", &json!({"authorization_params": {}, "always_scopes": []})).await.expect(200);
    let pending = app.begin(&question()).await;
    assert_eq!(pending.parameter("kind").as_deref(), Some("x"));
    assert_eq!(pending.parameter("scope").as_deref(), Some("a;b;stay"));
}

async fn an_entry_decides_how_a_token_response_is_read(database: Database) {
    let more = "token_paths = ['/grant/inner']\nmetadata = ['region']\n\
                accounts = [{ id = ['/org/id', '/missing'] }, { id = ['/org/id', '/who'], label = ['/org/name'] }]\n";
    let (app, server) = acme(database, more).await;
    let granted = r#"{"grant":{"inner":{"access_token":"t1","expires_in":60}},"region":"eu","team":{"id":"T"},
                      "org":{"id":7,"name":"Org"},"who":"w"}"#;
    let answer = connect(&app, &server, &question(), granted).await;
    assert_eq!(answer["token"], "t1");
    assert_eq!(label(&app).await, "Org");
    let metadata = app.authenticate(&question()).await["metadata"].clone();
    assert_eq!((&metadata["region"], &metadata["team"]), (&json!("eu"), &Value::Null), "its own list counts");
}

async fn an_entry_decides_which_scopes_include_others(database: Database) {
    let more = "scope_prefix = 'https://acme.example/'\n[included_scopes]\nall = ['most']\nmost = ['a']\n";
    let (app, server) = acme(database, more).await;
    let granted = r#"{"access_token":"t1","scope":"all https://acme.example/b"}"#;
    connect(&app, &server, &question(), granted).await;
    assert_eq!(app.token(&question()).await, "t1", "everything that was requested is there");
    app.begin(&with(question(), json!({"scopes": ["c"]}))).await;
}

async fn an_entry_decides_what_an_error_means(database: Database) {
    let more = "dead_grant = ['gone']\nmisconfigured_client = ['bad_app']\nrate_limited = ['slower']\n\
                unknown_grant = ['never_heard_of_it']\n";
    let (app, server) = acme(database, more).await;
    let granted = r#"{"access_token":"t1","refresh_token":"r1","expires_in":60}"#;
    connect(&app, &server, &question(), granted).await;
    app.advance(3600);
    let refused = async |code: &str| -> Answer {
        server.answer("/token", Reply::json(json!({"error": code})).status(400));
        let answer = app.try_authenticate(&question()).await;
        app.advance(3600);
        answer
    };
    assert!(!refused("slower").await.status.is_success(), "the token stays");
    assert!(!refused("bad_app").await.status.is_success(), "the token stays");
    assert_eq!(app.get("/v2/auth/providers/acme").await.expect(200)["client_error"], "bad_app");
    assert_eq!(refused("gone").await.expect(200)["status"], "pending", "only a new consent helps");

    let mut environment = app.database.environment();
    let folder = app.settings.catalog_file.as_ref().unwrap().display().to_string();
    environment.push(("AGENT_AUTH_CATALOG_FILE".to_owned(), folder));
    server.answer("/token", Reply::json(json!({"error": "never_heard_of_it"})).status(400));
    let checked = run(&["provider", "check", "acme"], &environment).await;
    assert!(checked.stdout.contains("the client authentication is right"), "{checked:?}");
}

async fn an_entry_decides_where_the_account_is_asked_for(database: Database) {
    let more = "[userinfo]\nurl = 'SERVER/who'\nissuer = 'https://acme.example'\nscopes = ['a']\n\
                id = ['/person/no']\nlabel = ['/person/called']\n";
    let (app, server) = acme(database, more).await;
    server.answer("/who", Reply::json(json!({"person": {"no": 7, "called": "Ada"}, "id": "wrong"})));
    connect(&app, &server, &question(), r#"{"access_token":"t1","expires_in":60}"#).await;
    assert_eq!(label(&app).await, "Ada");
    assert_eq!(server.take_requests("/who")[0].header("authorization"), "Bearer t1");
    // Without the scope the call would be refused.
    let other = json!({"provider": "acme", "scopes": ["c"], "user_id": "bob"});
    connect(&app, &server, &other, r#"{"access_token":"t2","scope":"c"}"#).await;
    assert!(server.take_requests("/who").is_empty());
}

pub const GRANTED: &str = r#"{"access_token":"t1","refresh_token":"r1","expires_in":3600}"#;

async fn an_entry_decides_how_a_grant_is_revoked(database: Database) {
    let more = "revocation_url = 'SERVER/apps/{client_id}/end'\nrevocation = 'post_bearer'\n\
                dead_access_token = ['dead']\n";
    let (app, server) = acme(database, more).await;
    assert_eq!(app.get("/v2/auth/providers/acme").await.expect(200)["revocation_url"], Value::Null);
    connect(&app, &server, &question(), GRANTED).await;
    server.answer("/apps/the-client/end", Reply::json(json!({"error": "dead"})));
    server.answer("/token", Reply::json(json!({"access_token": "t2", "expires_in": 3600})));
    server.answer("/apps/the-client/end", Reply::json(json!({"ok": true})));
    let asked = ["POST /apps/the-client/end Bearer t1", "POST /token", "POST /apps/the-client/end Bearer t2"];
    assert_eq!(delete(&app, &server).await, (asked.map(str::to_owned).into(), true));
}

async fn an_entry_decides_that_a_revocation_ends_the_whole_account(database: Database) {
    let more = "revocation_url = 'SERVER/end'\nrevocation_ends_account = true\naccounts = [{ id = ['/account'] }]\n";
    let (app, server) = acme(database, more).await;
    let granted = r#"{"access_token":"t1","account":"shared"}"#;
    let service = app.service_key().await;
    connect(&app, &server, &question(), granted).await;
    let bob = json!({"provider": "acme", "scopes": ["a", "b"], "user_id": "bob", "ls_user_id": "bob"});
    let pending = service.acting_for("bob").begin(&bob).await;
    server.answer("/token", Reply::json(object(granted)));
    app.come_back(&server.send_back(&pending.url, &[("code", "another-code")])).await;
    let (asked, revoked) = delete(&app, &server).await;
    assert!(asked.is_empty() && !revoked, "it would end the other's token: {asked:?}");
}

async fn an_entry_decides_that_a_revocation_happens_only_where_the_record_names_it(database: Database) {
    let more = "revocation_url = 'SERVER/end'\nrevocation = 'delete_bearer'\nrevocation_only_if_named = true\n";
    let (app, server) = acme(database, more).await;
    connect(&app, &server, &question(), GRANTED).await;
    assert_eq!(delete(&app, &server).await, (Vec::new(), false));
    let change = json!({"revocation_url": server.at("/end"), "client_secret": "the-secret"});
    app.patch("/v2/auth/providers/acme", &change).await.expect(200);
    connect(&app, &server, &question(), GRANTED).await;
    server.answer("/end", Reply::json(json!({})));
    assert_eq!(delete(&app, &server).await, (vec!["DELETE /end Bearer t1".to_owned()], true));
}

/// A provider at the token endpoint of the entry, without its name.
fn by_hand(server: &AuthorizationServer, token_url: &str) -> Value {
    json!({"provider_id": "acme", "name": "Acme", "client_id": "the-client", "client_secret": "the-secret",
           "auth_url": server.at("/authorize"), "token_url": token_url})
}

async fn an_entry_is_used_for_records_at_its_token_endpoint(database: Database) {
    let server = AuthorizationServer::silent().await;
    let more = "token_hosts = ['127.0.0.1', 'localhost']\nrevocation_url = 'SERVER/end'\n\
                revocation = 'post_bearer'\nmetadata = ['region']\n";
    let app = app_with(database, &[("acme", entry(&server, more))]).await;
    app.register_as(by_hand(&server, &server.at("/token"))).await;
    connect(&app, &server, &question(), r#"{"access_token":"t1","region":"eu"}"#).await;
    assert_eq!(app.authenticate(&question()).await["metadata"]["region"], "eu");
    server.answer("/end", Reply::json(json!({})));
    assert_eq!(delete(&app, &server).await, (vec!["POST /end Bearer t1".to_owned()], true));
}

async fn an_entrys_path_is_revoked_at_in_its_style_everywhere(database: Database) {
    let server = AuthorizationServer::silent().await;
    let more = "revocation = 'delete_bearer'\nrevocation_paths = ['/sessions/*/end']\n";
    let elsewhere = entry(&server, more).replace(&server.at("/token"), "https://acme.example/token");
    let app = app_with(database, &[("acme", elsewhere)]).await;
    let path = "/v7/sessions/current/end";
    let revoked_at = json!({"revocation_url": server.at(path)});
    app.register_as(with(by_hand(&server, &server.at("/token")), revoked_at)).await;
    connect(&app, &server, &question(), GRANTED).await;
    server.answer(path, Reply::json(json!({})));
    assert_eq!(delete(&app, &server).await, (vec![format!("DELETE {path} Bearer t1")], true));
}

async fn another_token_endpoint_leaves_the_built_in_addresses_behind(database: Database) {
    let server = AuthorizationServer::silent().await;
    let text = format!("auth_url = '{}'\ntoken_url = '{}'\n", server.at("/authorize"), server.at("/token"));
    let app = app_with(database, &[("github", text)]).await;
    app.register_as(with(definition(), json!({"template": "github"}))).await;
    // GitHub's own endpoints get no token that this server issued: neither call is made.
    connect(&app, &server, &question(), GRANTED).await;
    assert_eq!(label(&app).await, Value::Null);
    assert_eq!(delete(&app, &server).await, (Vec::new(), false));
}
