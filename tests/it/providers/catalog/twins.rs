//! Every entry of the catalogue against a twin: a scripted server at the entry's own paths, which expects and answers what
//! the entry's file says. The file is read here as plain data, so that a field that is not applied is noticed.
//! One process and one SQLite database for all of them: what the databases differ in is tested elsewhere.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use toml::Table;
use url::Url;

use super::flows::{built_in, signed, start_with};
use crate::support::app::TestApp;
use crate::support::authorization_server::{AuthorizationServer, Reply, Request};
use crate::support::caller::Pending;
use crate::support::database::Database;

/// What is supplied for every placeholder.
const FILLED: &str = "acme";

/// An entry, and the server that behaves as it says.
struct Twin<'s> {
    name: String,
    entry: Table,
    server: &'s AuthorizationServer,
}

impl Twin<'_> {
    fn text(&self, field: &str) -> Option<&str> {
        self.entry.get(field)?.as_str()
    }

    fn is_set(&self, field: &str) -> bool {
        self.entry.get(field).is_some_and(|value| value.as_bool().unwrap())
    }

    fn list(&self, field: &str) -> Vec<String> {
        texts(self.entry.get(field))
    }

    fn map(&self, field: &str) -> BTreeMap<String, String> {
        let pairs = self.entry.get(field).and_then(toml::Value::as_table).into_iter().flatten();
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
    }

    /// The first list of pointers to the account, and to its name, in a token response.
    fn account(&self) -> Option<(Vec<String>, Vec<String>)> {
        let first = self.entry.get("accounts")?.as_array()?.first()?;
        Some((texts(first.get("id")), texts(first.get("label"))))
    }

    fn path(&self, url: &str) -> String {
        let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let mut path = format!("/{}{path}", self.name).replace("{client_id}", "the-client");
        for param in self.map("params").keys() {
            path = path.replace(&format!("{{{param}}}"), FILLED);
        }
        path
    }

    fn token_path(&self) -> String {
        self.path(self.text("token_url").unwrap())
    }

    fn refresh_path(&self) -> String {
        self.text("refresh_url").map_or_else(|| self.token_path(), |url| self.path(url))
    }

    fn userinfo(&self) -> Option<&Table> {
        self.entry.get("userinfo")?.as_table()
    }

    fn userinfo_path(&self) -> Option<String> {
        let own = self.userinfo().and_then(|userinfo| userinfo.get("url")?.as_str());
        own.or(self.text("userinfo_url")).map(|url| self.path(url))
    }

    /// Two scopes, and one with which the userinfo endpoint may be called.
    fn scopes(&self) -> Vec<String> {
        let allowed = texts(self.userinfo().and_then(|userinfo| userinfo.get("scopes")));
        ["a".to_owned(), "b".to_owned()].into_iter().chain(allowed.into_iter().take(1)).collect()
    }

    fn question(&self) -> Value {
        json!({"provider": self.name, "scopes": self.scopes(), "user_id": "alice"})
    }

    /// A token response with all that the entry reads in one.
    fn token_response(&self, token: &str) -> Value {
        let grant = json!({
            "access_token": token, "refresh_token": token.replace('t', "r"), "expires_in": 3600, "token_type": "bearer",
        });
        let mut response = match self.list("token_paths").first() {
            Some(path) => {
                let mut response = json!({});
                set(&mut response, path, grant);
                response
            }
            None => grant,
        };
        if self.text("renewal_grant").is_some() {
            response.as_object_mut().unwrap().remove("refresh_token");
        }
        let (id, label) = self.account().unwrap_or_default();
        for (number, pointer) in id.iter().chain(label.first()).enumerate() {
            if !self.is_of_callback(pointer) && response.pointer(pointer).is_none() {
                set(&mut response, pointer, json!(format!("account-{number}")));
            }
        }
        for name in self.list("metadata") {
            if !self.is_of_callback(&format!("/{name}")) && response.get(&name).is_none() {
                response[&name] = json!(format!("{name} of {}", self.name));
            }
        }
        response
    }

    fn is_of_callback(&self, pointer: &str) -> bool {
        self.list("callback_parameters").iter().any(|name| *pointer == format!("/{name}"))
    }

    /// What the entry calls the client id.
    fn client_id(&self) -> &str {
        self.text("client_id_parameter").unwrap_or("client_id")
    }

    /// One request of our client, written as the entry says.
    #[track_caller]
    fn expect_client(&self, request: &Request) {
        let name = &self.name;
        let basic = self.text("authentication") == Some("client_secret_basic");
        assert_eq!(request.raw_basic().as_deref(), basic.then_some("the-client:the-secret"), "{name}");
        assert_eq!(request.value("client_secret"), (!basic).then_some("the-secret"), "{name}");
        assert_eq!(request.value(self.client_id()), (!basic).then_some("the-client"), "{name}");
    }

    #[track_caller]
    fn expect_token_request(&self, request: &Request) {
        self.expect_client(request);
        assert_eq!(request.method, "POST", "{}", self.name);
        let format = self.text("token_format");
        assert_eq!(request.is_json(), format == Some("json"), "{}", self.name);
        assert_eq!(request.body.is_empty(), format == Some("query"), "{}", self.name);
        for (name, value) in self.map("token_params") {
            assert_eq!(request.value(&name), Some(value.as_str()), "{}: {name}", self.name);
        }
    }

    async fn goes_the_whole_way(&self, app: &TestApp) {
        self.is_registered(app).await;
        let pending = self.is_asked_for_consent(app).await;
        self.exchanges_a_code(app, &pending).await;
        self.says_whose_account_it_is(app).await;
        self.refreshes(app).await;
        self.revokes(app).await;
        self.server.forget_answers();
    }

    async fn is_registered(&self, app: &TestApp) {
        let values: BTreeMap<_, _> = self.map("params").into_keys().map(|param| (param, FILLED)).collect();
        let definition = json!({
            "provider_id": self.name, "template": self.name, "template_params": values,
            "client_id": "the-client", "client_secret": "the-secret",
        });
        app.register_as(definition).await;
    }

    async fn is_asked_for_consent(&self, app: &TestApp) -> Pending {
        let name = &self.name;
        let pending = app.begin(&self.question()).await;
        let url = Url::parse(&pending.url).unwrap();
        assert_eq!(url.path(), self.path(self.text("auth_url").unwrap()), "{name}");
        let scopes: Vec<_> = self.scopes().into_iter().chain(self.list("always_scopes")).collect();
        let scope = scopes.join(self.text("scope_separator").unwrap_or(" "));
        let mut expected = self.map("authorization_params");
        expected.extend([
            ("response_type".to_owned(), "code".to_owned()),
            (self.client_id().to_owned(), "the-client".to_owned()),
            ("scope".to_owned(), scope),
        ]);
        for random in ["state", "redirect_uri"] {
            expected.insert(random.to_owned(), pending.parameter(random).unwrap());
        }
        if self.is_set("pkce") {
            expected.insert("code_challenge".to_owned(), pending.parameter("code_challenge").unwrap());
            expected.insert("code_challenge_method".to_owned(), "S256".to_owned());
        }
        assert_eq!(url.query_pairs().into_owned().collect::<BTreeMap<_, _>>(), expected, "{name}");
        pending
    }

    async fn exchanges_a_code(&self, app: &TestApp, pending: &Pending) {
        let name = &self.name;
        let renewal = self.text("renewal_grant");
        for _ in 0..=usize::from(renewal.is_some()) {
            self.server.answer(&self.token_path(), Reply::json(self.token_response("t1")));
        }
        if let (Some(path), None) = (self.userinfo_path(), self.account()) {
            let mut person = json!({});
            let userinfo = self.userinfo();
            let pointer = |field: &str, usual: &str| {
                let own = texts(userinfo.and_then(|userinfo| userinfo.get(field))).into_iter().next();
                own.unwrap_or_else(|| usual.to_owned())
            };
            set(&mut person, &pointer("id", "/sub"), json!("person-1"));
            set(&mut person, &pointer("label", "/email"), json!("ada@acme.example"));
            self.server.answer(&path, Reply::json(person));
        }
        let parameters: Vec<_> = self.list("callback_parameters");
        let mut back = vec![("code", "the-code")];
        back.extend(parameters.iter().map(|name| (name.as_str(), "from-the-redirect")));
        let callback = self.server.send_back(&pending.url, &back);
        app.come_back(&if self.is_set("signed_callback") { signed(&callback) } else { callback }).await;
        let answer = app.wait(&pending.auth_id).await;
        assert_eq!((&answer["status"], &answer["token"]), (&json!("completed"), &json!("t1")), "{name}: {answer}");

        let asked = self.server.take_requests(&self.token_path());
        assert_eq!(asked.len(), 1 + usize::from(renewal.is_some()), "{name}: {asked:?}");
        self.expect_token_request(&asked[0]);
        assert_eq!(asked[0].value("grant_type"), Some("authorization_code"), "{name}");
        assert_eq!(asked[0].value("code"), Some("the-code"), "{name}");
        assert_eq!(asked[0].value("redirect_uri"), pending.parameter("redirect_uri").as_deref(), "{name}");
        assert_eq!(asked[0].value("code_verifier").is_some(), self.is_set("pkce"), "{name}");
        let granted = self.token_response("t1");
        let metadata = app.authenticate(&self.question()).await["metadata"].clone();
        for field in self.list("metadata") {
            let said = if self.is_of_callback(&format!("/{field}")) {
                json!("from-the-redirect")
            } else {
                granted[&field].clone()
            };
            assert_eq!(metadata[&field], said, "{name}: {field}");
        }
    }

    async fn says_whose_account_it_is(&self, app: &TestApp) {
        let name = &self.name;
        let mut tokens = app.tokens().await;
        tokens.retain(|token| token["provider_id"] == *name);
        assert_eq!(tokens.len(), 1, "{name}");
        let asked = self.userinfo_path().map(|path| self.server.take_requests(&path)).unwrap_or_default();
        let label = match (self.account(), self.userinfo_path()) {
            (Some((_, labels)), _) => {
                assert!(asked.is_empty(), "{name}: the token response says whose account it is");
                let granted = self.token_response("t1");
                labels.first().map_or(Value::Null, |label| granted.pointer(label).unwrap().clone())
            }
            (None, Some(_)) => {
                assert_eq!(asked.len(), 1, "{name}");
                assert_eq!(
                    (asked[0].method.as_str(), asked[0].header("authorization")),
                    ("GET", "Bearer t1"),
                    "{name}"
                );
                json!("ada@acme.example")
            }
            (None, None) => Value::Null,
        };
        if !label.is_null() {
            assert_eq!(tokens[0]["provider_account_label"], label, "{name}");
        }
    }

    async fn refreshes(&self, app: &TestApp) {
        let name = &self.name;
        let grant = self.text("renewal_grant").unwrap_or("refresh_token");
        self.server.answer(&self.refresh_path(), Reply::json(self.token_response("t2")));
        app.advance(3599);
        assert_eq!(app.token(&self.question()).await, "t2", "{name}");
        let asked = self.server.take_requests(&self.refresh_path());
        assert_eq!(asked.len(), 1, "{name}: {asked:?}");
        self.expect_token_request(&asked[0]);
        assert_eq!(asked[0].value("grant_type"), Some(grant), "{name}");
        assert_eq!(asked[0].value(grant), Some(if grant == "refresh_token" { "r1" } else { "t1" }), "{name}");
    }

    async fn revokes(&self, app: &TestApp) {
        let name = &self.name;
        let url = self.text("revocation_url").filter(|_| !self.is_set("revocation_only_if_named"));
        let path = url.map(|url| self.path(url));
        for _ in 0..2 {
            self.server.answer(path.as_deref().unwrap_or("/nowhere"), Reply::json(json!({"ok": true})));
        }
        let answer = app.delete(&format!("/v2/auth/tokens?provider_id={name}")).await.expect(200);
        assert_eq!(answer["upstream_revoked"], path.is_some(), "{name}: {answer}");
        let asked = self.server.take_all_requests();
        assert!(asked.iter().all(|request| Some(&request.path) == path.as_ref()), "{name}: {asked:?}");
        let Some(first) = asked.first() else { return assert!(path.is_none(), "{name}: nothing was revoked") };
        let style = self.text("revocation").unwrap_or("rfc7009");
        let sent = (first.method.as_str(), first.header("authorization"), first.value("token"));
        match style {
            "rfc7009" => {
                let tokens: Vec<_> = asked.iter().map(|request| request.value("token").unwrap()).collect();
                assert_eq!(tokens, ["r2", "t2"], "{name}");
                self.expect_client(first);
            }
            "post_bearer" => assert_eq!(sent, ("POST", "Bearer t2", None), "{name}"),
            "delete_bearer" => assert_eq!(sent, ("DELETE", "Bearer t2", None), "{name}"),
            "stripe" => assert_eq!(sent, ("POST", "Bearer the-secret", None), "{name}"),
            "github" => assert_eq!((sent.0, first.value("access_token")), ("DELETE", Some("t2")), "{name}"),
            "notion" => assert_eq!((sent.0, sent.2), ("POST", Some("t2")), "{name}"),
            other => panic!("{name}: what does {other} expect?"),
        }
    }
}

fn texts(list: Option<&toml::Value>) -> Vec<String> {
    let list = list.and_then(toml::Value::as_array).into_iter().flatten();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Sets what a JSON pointer leads to. Numbers are places in a list.
fn set(target: &mut Value, pointer: &str, value: Value) {
    let mut place = target;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        place = match part.parse::<usize>() {
            Ok(number) => {
                if !place.is_array() {
                    *place = json!([]);
                }
                let list = place.as_array_mut().unwrap();
                list.resize((number + 1).max(list.len()), Value::Null);
                &mut list[number]
            }
            Err(_) => &mut place[&part],
        };
    }
    *place = value;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_goes_from_consent_to_revocation_with_its_twin() {
    let (app, server) = start_with(Database::sqlite(), |name| format!("/{name}")).await;
    for (name, text) in built_in() {
        let twin = Twin { entry: text.parse().unwrap(), name, server: &server };
        twin.goes_the_whole_way(&app).await;
    }
}
