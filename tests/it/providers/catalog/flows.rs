//! Every provider of the catalogue, from its template to its revocation, against a server with the same paths.
//! Each is asked as `facts` says that it wants to be asked.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use super::facts::{FACTS, Facts, Revoking};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, Request};
use crate::support::binary::run;
use crate::support::both_databases;
use crate::support::caller::{Pending, with};
use crate::support::database::Database;

both_databases! {
    every_provider_is_asked_for_consent_as_it_wants,
    every_provider_goes_through_exchange_refresh_and_revocation,
    every_provider_ends_a_grant_in_its_own_words,
    slack_gives_a_persons_token_when_user_scopes_are_asked_for,
    a_callback_that_its_provider_should_have_signed_and_did_not_spends_no_code,
    those_that_know_devices_are_asked_in_their_own_way,
}

const DAY: u64 = 86_400;

/// A folder for `CATALOG_FILE`, of the built-in files with every endpoint at `server`, its path unchanged.
const CATALOGUE: &str = "providers";

pub async fn start(database: Database) -> (TestApp, AuthorizationServer) {
    start_with(database, |_| String::new()).await
}

/// The same, with a prefix of its own before the paths of each entry.
pub async fn start_with(database: Database, prefix: impl Fn(&str) -> String) -> (TestApp, AuthorizationServer) {
    let server = AuthorizationServer::silent().await;
    let folder = database.folder.path().join(CATALOGUE);
    std::fs::create_dir(&folder).unwrap();
    for (name, text) in built_in() {
        std::fs::write(folder.join(format!("{name}.toml")), entry_at(&server, &prefix(&name), &text)).unwrap();
    }
    (TestApp::start_with(database, |settings| settings.catalog_file = Some(folder)).await, server)
}

/// The built-in files, by the names of their entries.
pub fn built_in() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers")).unwrap();
    let paths = files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "toml"));
    paths
        .map(|path| (path.file_stem().unwrap().display().to_string(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn entry_at(server: &AuthorizationServer, prefix: &str, text: &str) -> String {
    let mut entry = String::new();
    for line in text.lines() {
        let is_endpoint = line.split_once(" = ").is_some_and(|(field, _)| field.trim().ends_with("url"));
        match line.split_once("\"https://").filter(|_| is_endpoint) {
            Some((field, url)) => {
                let path = url.find('/').map_or("\"", |slash| &url[slash..]);
                entry.extend([field, "\"", &server.at(&format!("{prefix}{path}"))]);
            }
            None => entry.push_str(line),
        }
        entry.push('\n');
    }
    entry
}

fn definition(facts: &Facts, server: &AuthorizationServer) -> Value {
    let set: serde_json::Map<_, _> = facts.set.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let revoking = match facts.revoking {
        // Known by the host of its token endpoint, which a server has not.
        Revoking::GitHub(path) => json!({"revocation_url": server.at(path)}),
        _ => json!({}),
    };
    with(
        json!({
            "provider_id": facts.name,
            "template": facts.name,
            "template_params": set,
            "client_id": "the-client",
            "client_secret": "the-secret",
        }),
        revoking,
    )
}

/// The same on the command line.
async fn added(app: &TestApp, server: &AuthorizationServer, facts: &Facts) {
    let folder = app.database.folder.path();
    let secret = folder.join("client-secret");
    std::fs::write(&secret, "the-secret").unwrap();
    let mut arguments = vec!["provider", "add", facts.name, "--client-id", "the-client"];
    let secret = secret.display().to_string();
    arguments.extend(["--client-secret-file", &secret]);
    let set: Vec<String> = facts.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    arguments.extend(set.iter().flat_map(|pair| ["--set", pair]));
    let revocation_url = match facts.revoking {
        Revoking::GitHub(path) => Some(server.at(path)),
        _ => None,
    };
    arguments.extend(revocation_url.iter().flat_map(|url| ["--revocation-url", url]));
    let mut environment = app.database.environment();
    environment.push(("AGENT_AUTH_CATALOG_FILE".to_owned(), folder.join(CATALOGUE).display().to_string()));
    let added = run(&arguments, &environment).await;
    assert!(added.status.success(), "{}: {added:?}", facts.name);
}

fn question(facts: &Facts) -> Value {
    json!({"provider": facts.name, "scopes": ["a", "b"], "user_id": "alice"})
}

pub fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

async fn every_provider_is_asked_for_consent_as_it_wants(database: Database) {
    let (app, server) = start(database).await;
    for facts in FACTS {
        let name = facts.name;
        let provider = app.register_as(definition(&facts, &server)).await;
        assert_eq!(provider["template"], name);
        let pending = app.begin(&question(&facts)).await;
        let url = Url::parse(&pending.url).unwrap();
        assert_eq!(pending.url.split('?').next().unwrap(), server.at(facts.paths.0), "{name}");
        assert_eq!(pending.parameter("scope").unwrap(), facts.scope, "{name}");
        assert_eq!(pending.parameter("code_challenge").is_some(), facts.pkce, "{name}");
        for (key, value) in facts.params {
            assert_eq!(pending.parameter(key).as_deref(), Some(*value), "{name}: {key}");
        }
        let protocol =
            ["response_type", "client_id", "redirect_uri", "state", "scope", "code_challenge", "code_challenge_method"];
        for (key, _) in url.query_pairs() {
            let known = protocol.contains(&&*key) || facts.params.iter().any(|(param, _)| key == *param);
            assert!(known, "{name} is sent {key}");
        }
    }
}

/// The token endpoint was asked once, by our client, as this provider wants it.
#[track_caller]
fn one_request(facts: &Facts, mut asked: Vec<Request>) -> Request {
    let name = facts.name;
    assert_eq!(asked.len(), 1, "{name}: {asked:?}");
    let request = asked.remove(0);
    assert_eq!((request.method.as_str(), request.is_json()), ("POST", facts.json), "{name}");
    assert!(request.header("accept").contains("json"), "{name}");
    assert_eq!(request.raw_basic().as_deref(), facts.basic.then_some("the-client:the-secret"), "{name}");
    assert_eq!(request.value("client_secret"), (!facts.basic).then_some("the-secret"), "{name}");
    for (key, value) in facts.token_params {
        assert_eq!(request.value(key), Some(*value), "{name}: {key}");
    }
    request
}

/// Where there are no refresh tokens, what a code is exchanged for is exchanged at once for what lives longer.
fn renews_itself(facts: &Facts) -> bool {
    facts.refresh.1 != "refresh_token"
}

/// Shopify signs what it sends the browser back with.
fn signs(facts: &Facts) -> bool {
    facts.name == "shopify"
}

/// The same with a parameter that only its provider knows, signed with the client secret.
pub fn signed(callback: &Url) -> Url {
    let mut callback = callback.clone();
    callback.query_pairs_mut().append_pair("shop", "acme.myshopify.com");
    let mut pairs: Vec<&str> = callback.query().unwrap().split('&').collect();
    pairs.sort_unstable();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"the-secret").unwrap();
    mac.update(pairs.join("&").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    callback.query_pairs_mut().append_pair("hmac", &signature);
    callback
}

async fn connected(app: &TestApp, server: &AuthorizationServer, facts: &Facts) -> Pending {
    let pending = app.begin(&question(facts)).await;
    if renews_itself(facts) {
        server.answer(facts.paths.1, Reply::json(json!({"access_token": "short", "expires_in": 3600})));
    }
    server.answer(facts.paths.1, Reply::json(object(facts.granted)));
    let callback = server.send_back(&pending.url, &[("code", "the-code")]);
    app.come_back(&if signs(facts) { signed(&callback) } else { callback }).await;
    let answer = app.wait(&pending.auth_id).await;
    assert_eq!(answer["status"], "completed", "{}: {answer}", facts.name);
    assert_eq!(answer["token"], "t1", "{}", facts.name);
    pending
}

async fn every_provider_goes_through_exchange_refresh_and_revocation(database: Database) {
    let (app, server) = start(database).await;
    for facts in FACTS {
        let name = facts.name;
        added(&app, &server, &facts).await;
        let pending = connected(&app, &server, &facts).await;
        let mut asked = server.take_requests(facts.paths.1);
        if renews_itself(&facts) {
            let longer = one_request(&facts, asked.split_off(1));
            assert_eq!(longer.value("grant_type").unwrap(), facts.refresh.1, "{name}");
            assert_eq!(longer.value(facts.refresh.1).unwrap(), "short", "{name}");
        }
        let exchange = one_request(&facts, asked);
        assert_eq!(exchange.value("grant_type").unwrap(), "authorization_code", "{name}");
        assert_eq!(exchange.value("code").unwrap(), "the-code", "{name}");
        assert_eq!(exchange.value("redirect_uri"), pending.parameter("redirect_uri").as_deref(), "{name}");
        assert_eq!(exchange.value("code_verifier").is_some(), facts.pkce, "{name}");
        if let Some(renewed) = facts.renewed {
            refreshed_twice(&app, &server, &facts, renewed).await;
        } else {
            app.advance(90 * DAY);
            assert_eq!(app.token(&question(&facts)).await, "t1", "{name}");
        }
        server.take_all_requests();
        revoked(&app, &server, &facts).await;
    }
}

/// A refresh, and another one that shows which refresh token was kept.
async fn refreshed_twice(app: &TestApp, server: &AuthorizationServer, facts: &Facts, renewed: &'static str) {
    let (granted, renewed) = (object(facts.granted), object(renewed));
    let renews = facts.refresh.1;
    // Where there are no refresh tokens the access token is brought.
    let kept = |answer: &Value| {
        let field = if renews == "refresh_token" { "refresh_token" } else { "access_token" };
        answer[field].as_str().map(ToOwned::to_owned)
    };
    let first = kept(&granted).unwrap();
    let second = kept(&renewed).unwrap_or_else(|| first.clone());
    for (brought, current) in [(first, &granted), (second, &renewed)] {
        server.answer(facts.refresh_path(), Reply::json(renewed.clone()));
        expire(app, facts, current).await;
        assert_eq!(app.token(&question(facts)).await, "t2", "{}", facts.name);
        let refresh = one_request(facts, server.take_requests(facts.refresh_path()));
        assert_eq!(refresh.value("grant_type").unwrap(), renews, "{}", facts.name);
        assert_eq!(refresh.value(renews).unwrap(), brought, "{}", facts.name);
        assert_eq!(refresh.value("scope"), None, "{}", facts.name);
    }
    let metadata = app.authenticate(&question(facts)).await["metadata"].clone();
    for field in ["instance_url", "team", "workspace_name", "stripe_user_id", "hub_id", "account_id"] {
        assert!(granted[field].is_null() || metadata[field] == granted[field], "{}: {metadata}", facts.name);
    }
}

/// The token's time is over; or, where the provider does not say when, an agent found it refused.
async fn expire(app: &TestApp, facts: &Facts, granted: &Value) {
    match granted["expires_in"].as_u64() {
        Some(seconds) => app.advance(seconds - 1),
        None => {
            app.advance(DAY);
            let token = token(app, facts).await;
            let path = format!("/v2/auth/tokens/{}/report-invalid", token["id"].as_str().unwrap());
            app.post_text(&path, "").await.expect(200);
        }
    }
}

async fn token(app: &TestApp, facts: &Facts) -> Value {
    let mut tokens = app.tokens().await;
    tokens.retain(|token| token["provider_id"] == facts.name);
    assert_eq!(tokens.len(), 1, "{}: {tokens:?}", facts.name);
    tokens.remove(0)
}

async fn revoked(app: &TestApp, server: &AuthorizationServer, facts: &Facts) {
    let name = facts.name;
    let path = match facts.revoking {
        Revoking::At(path)
        | Revoking::GitHub(path)
        | Revoking::Bearer(_, path)
        | Revoking::Json(path)
        | Revoking::Account(path) => path,
        Revoking::Not => "/nowhere",
    };
    for _ in 0..2 {
        server.answer(path, Reply::json(json!({"ok": true})));
    }
    let answer = app.delete(&format!("/v2/auth/tokens?provider_id={name}")).await.expect(200);
    assert_eq!(answer["upstream_revoked"], facts.revoking != Revoking::Not, "{name}: {answer}");
    let asked = server.take_all_requests();
    let asked_for: Vec<&str> = asked.iter().map(|request| request.path.as_str()).collect();
    match facts.revoking {
        Revoking::Not => assert!(asked.is_empty(), "{name}: {asked_for:?}"),
        Revoking::At(path) => {
            assert!(!asked.is_empty() && asked_for.iter().all(|at| *at == path), "{name}: {asked_for:?}");
            assert_eq!(asked[0].basic().is_some(), facts.basic, "{name}");
            assert_eq!(asked[0].value("client_secret").is_some(), !facts.basic, "{name}");
        }
        Revoking::GitHub(path) => {
            assert_eq!((asked[0].method.as_str(), asked_for.as_slice()), ("DELETE", &[path][..]));
            assert_eq!(asked[0].raw_basic().as_deref(), Some("the-client:the-secret"));
        }
        Revoking::Bearer(method, path) => {
            assert_eq!((asked[0].method.as_str(), asked_for.as_slice()), (method, &[path][..]), "{name}");
            assert_eq!(asked[0].header("authorization"), "Bearer t2", "{name}");
        }
        Revoking::Json(path) => {
            assert_eq!((asked[0].method.as_str(), asked_for.as_slice()), ("POST", &[path][..]), "{name}");
            assert_eq!(asked[0].raw_basic().as_deref(), Some("the-client:the-secret"), "{name}");
            assert!(asked[0].is_json(), "{name}");
            assert_eq!(asked[0].value("token"), Some("t2"), "{name}");
        }
        Revoking::Account(path) => {
            assert_eq!((asked[0].method.as_str(), asked_for.as_slice()), ("POST", &[path][..]), "{name}");
            assert_eq!(asked[0].header("authorization"), "Bearer the-secret", "{name}");
            assert_eq!(asked[0].value("client_id"), Some("the-client"), "{name}");
            assert_eq!(asked[0].value("stripe_user_id"), Some("acct_1"), "{name}");
        }
    }
    // What was laid ready and not asked for is for nobody else.
    server.forget_answers();
}

async fn every_provider_ends_a_grant_in_its_own_words(database: Database) {
    let (app, server) = start(database).await;
    for (name, status, words) in [
        (
            "github",
            200,
            r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired."}"#,
        ),
        ("google", 400, r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#),
        ("slack", 200, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
        ("microsoft", 400, r#"{"error":"interaction_required","error_codes":[50076]}"#),
        ("hubspot", 400, r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}"#),
        ("facebook", 400, r#"{"error":{"message":"Session has expired","type":"OAuthException","code":190}}"#),
        ("x", 400, r#"{"error":"invalid_grant","error_description":"Value passed for the token was invalid."}"#),
    ] {
        let facts = FACTS.iter().find(|facts| facts.name == name).unwrap();
        app.register_as(definition(facts, &server)).await;
        connected(&app, &server, facts).await;
        server.answer(facts.refresh_path(), Reply::json(object(words)).status(status));
        expire(&app, facts, &object(facts.granted)).await;
        app.begin(&question(facts)).await;
    }
}

async fn slack_gives_a_persons_token_when_user_scopes_are_asked_for(database: Database) {
    let (app, server) = start(database).await;
    let facts = FACTS.iter().find(|facts| facts.name == "slack").unwrap();
    let params = json!({"authorization_params": {"user_scope": ""}});
    app.register_as(with(definition(facts, &server), params)).await;
    let pending = app.begin(&question(facts)).await;
    assert_eq!((pending.parameter("user_scope").as_deref(), pending.parameter("scope")), (Some("a,b"), None));
    let person =
        json!({"id": "U1", "scope": "a,b", "access_token": "xoxp-1", "refresh_token": "r1", "expires_in": 43200});
    server.answer(facts.paths.1, Reply::json(json!({"ok": true, "team": {"id": "T1"}, "authed_user": person})));
    app.come_back(&server.send_back(&pending.url, &[("code", "the-code")])).await;
    assert_eq!(app.wait(&pending.auth_id).await["token"], "xoxp-1");
    let rotated =
        json!({"ok": true, "access_token": "xoxp-2", "refresh_token": "r2", "expires_in": 43200, "token_type": "user"});
    server.answer(facts.paths.1, Reply::json(rotated));
    app.advance(43_199);
    assert_eq!(app.token(&question(facts)).await, "xoxp-2");
}

async fn a_callback_that_its_provider_should_have_signed_and_did_not_spends_no_code(database: Database) {
    let (app, server) = start(database).await;
    let facts = FACTS.into_iter().find(signs).unwrap();
    app.register_as(definition(&facts, &server)).await;
    let unsigned = |url: &str| server.send_back(url, &[("code", "the-code")]);
    let other = |url: &str| {
        let genuine = signed(&server.send_back(url, &[("code", "the-code")]));
        Url::parse(&genuine.as_str().replace("code=the-code", "code=anothers")).unwrap()
    };
    for forge in [&unsigned as &dyn Fn(&str) -> Url, &other] {
        let pending = app.begin(&question(&facts)).await;
        let page = app.visit(&forge(&pending.url)).await;
        assert!(page.expect_html(502).contains("signature_mismatch"), "{}", page.text());
        assert_eq!(app.wait(&pending.auth_id).await["error"], "signature_mismatch");
    }
    assert!(server.take_all_requests().is_empty());
}

async fn those_that_know_devices_are_asked_in_their_own_way(database: Database) {
    let (app, server) = start(database).await;
    for facts in FACTS {
        let Some(path) = facts.device else { continue };
        app.register_as(definition(&facts, &server)).await;
        let codes = json!({"device_code": "d", "user_code": "ABCD", "verification_uri": server.at("/activate")});
        server.answer(path, Reply::json(codes));
        let answer = app.authenticate(&with(question(&facts), json!({"grant": "device"}))).await;
        assert_eq!((&answer["status"], &answer["user_code"]), (&"pending".into(), &"ABCD".into()), "{answer}");
        let asked = server.take_requests(path);
        assert_eq!(asked[0].value("client_id"), Some("the-client"), "{}", facts.name);
        assert_eq!(asked[0].value("scope"), Some(facts.scope), "{}", facts.name);
    }
}
